"""What a URL names (PS3.18 10.1): its UIDs, and the instances held under them."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pacsbridge.errors import Absent, NotUnderstood
from pacsbridge.store.records import Held
from pacsbridge.store.store import Store

_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII)
_LEVELS = ("study", "series", "instance")
_SEGMENTS = ("studies", "series", "instances")


@dataclass(frozen=True, slots=True)
class Target:
    """Study, series or instance: the UIDs named, from the study down."""

    uids: tuple[str, ...]

    @property
    def level(self) -> str:
        """Which of the three it is: study, series or instance."""
        return _LEVELS[len(self.uids) - 1]


def target(match: Mapping[str, str]) -> Target:
    """The target of a matched route. Raises NotUnderstood for what is no UID (PS3.5 9.1)."""
    return Target(tuple(_uid(level, match[level]) for level in _LEVELS if level in match))


def find(store: Store, wanted: Target) -> Sequence[Held]:
    """The instances held under a target. Raises Absent when there are none; blocks."""
    instances = store.held(*wanted.uids)
    if not instances:
        raise Absent(f"no such {wanted.level} is held here")
    return instances


def digest(instances: Sequence[Held], *form: str) -> str:
    """A hash, in hexadecimal, of the content of instances and of the form in which they are represented."""
    state = hashlib.sha256("\n".join(form).encode())
    for held in instances:
        names = f"\n{held.series_uid} {held.sop_uid} {held.transfer_syntax_uid} {held.location} {held.size} "
        state.update(names.encode() + held.sha256)
    return state.hexdigest()


def instance_url(base_url: str, held: Held) -> str:
    """The absolute URL of an instance."""
    return resource_url(base_url, (held.study_uid, held.series_uid, held.sop_uid))


def resource_url(base_url: str, uids: Sequence[str]) -> str:
    """The absolute URL of a study, series or instance by its UIDs, from the study down."""
    return base_url + "".join(f"/{name}/{uid}" for name, uid in zip(_SEGMENTS, uids, strict=False))


def _uid(level: str, text: str) -> str:
    if len(text) > 64 or not _UID.fullmatch(text):
        raise NotUnderstood(f"the {level} is not a UID", level)
    return text
