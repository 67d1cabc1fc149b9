"""What differs between two versions of a resource, by paths as people write them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

MOST = 200
"""Changes shown of one version."""

_UNSHOWN = frozenset(("meta.lastUpdated", "meta.versionId"))
_NAMES = ("uid", "id")
"""What tells the members of a list apart: series and instances, contained resources."""


class Change(NamedTuple):
    """One element: before and after, None where it was not there."""

    path: str
    before: str | None
    after: str | None


def changes(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Sequence[Change]:
    """Every element that was added, removed or changed, in the order of the later version."""
    old, new = dict(_flat("", before or {})), dict(_flat("", after or {}))
    paths = dict.fromkeys((*new, *old))
    return [Change(path, old.get(path), new.get(path)) for path in paths if old.get(path) != new.get(path)]


def _flat(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every value that is no object or list, by its path."""
    if isinstance(value, Mapping):
        for name, below in value.items():
            yield from _flat(f"{path}.{name}" if path else name, below)
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from _flat(f"{path}[{_name(below, number)}]", below)
    elif path not in _UNSHOWN:
        yield path, str(value).lower() if isinstance(value, bool) else str(value)


def _name(member: Any, number: int) -> str:
    """What a member of a list is called: by its own name, so that those behind a new one stay the same."""
    named = (member.get(name) for name in _NAMES) if isinstance(member, Mapping) else ()
    return next((str(name) for name in named if name), str(number))
