"""What a history asks for: which versions of what (FHIR R4 http, "history")."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pacsbridge.errors import NotSupported, NotUnderstood
from pacsbridge.kernel import search_results, search_values
from pacsbridge.kernel.cursors import Cursor
from pacsbridge.kernel.query import ReferenceValue
from pacsbridge.kernel.query_parsing import CURSOR, SearchSettings, check_repeats, shown


@dataclass(frozen=True, slots=True)
class Past:
    """Versions of one resource, of all of a type, or (`type` None) of all types.

    `since` is a moment in microseconds since 1970 from which on, `at` the period [first, end) within which a
    version was current. `patient`: only resources of that patient, and those of nobody. `understood`,
    `ignored` and `scope` are as in Query.
    """

    type: str | None
    id: str | None
    count: int = 50
    since: int | None = None
    at: tuple[int, int] | None = None
    after: Cursor | None = None
    understood: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()
    scope: str = ""
    patient: ReferenceValue | None = None


def parse_past(
    type_: str | None,
    id_: str | None,
    pairs: Sequence[tuple[str, str]],
    settings: SearchSettings,
    *,
    strict: bool = False,
) -> Past:
    """What a history asks for. Raises only NotUnderstood, whose `parameter` is the name as sent."""
    scope = f"{type_ or ''}/{id_ or ''}/_history?" + "&".join(
        f"{name}={text}" for name, text in pairs if name in ("_since", "_at")
    )
    check_repeats(pairs, _READERS)
    fields: dict[str, Any] = {"count": settings.default_count}
    ignored = tuple(name for name, _text in pairs if name not in _READERS)
    if ignored and strict:
        raise NotSupported("a history has no such parameter", parameter=ignored[0])
    for name, text in pairs:
        try:
            fields |= _READERS[name](text, settings, scope) if name in _READERS else {}
        except NotUnderstood as exc:
            raise type(exc)(str(exc), parameter=name) from exc
    known = (pair for pair in pairs if pair[0] in _READERS and pair[0] != CURSOR)
    understood = tuple(shown(name, text, fields) for name, text in known)
    return Past(type_, id_, understood=understood, ignored=ignored, scope=scope, **fields)


def _since(text: str, _settings: SearchSettings, _scope: str) -> Mapping[str, Any]:
    """An instant; anything shorter is its beginning, in UTC."""
    return {"since": search_values.period(text).low}


def _at(text: str, _settings: SearchSettings, _scope: str) -> Mapping[str, Any]:
    period = search_values.period(text)
    return {"at": (period.low, period.high)}


def _count(text: str, settings: SearchSettings, _scope: str) -> Mapping[str, Any]:
    return search_results.count(text, settings.max_count)


def _cursor(text: str, settings: SearchSettings, scope: str) -> Mapping[str, Any]:
    return {"after": Cursor.decode(text, settings.secret, scope)}


def _of_the_edge(_text: str, _settings: SearchSettings, _scope: str) -> Mapping[str, Any]:
    return {}


_READERS: Mapping[str, Callable[[str, SearchSettings, str], Mapping[str, Any]]] = {
    "_since": _since,
    "_at": _at,
    "_count": _count,
    CURSOR: _cursor,
    "_format": _of_the_edge,
    "_pretty": _of_the_edge,
}
