"""FHIR search parameters, as decoded pairs of name and text → Query, by the table of search parameters.

A parameter that is not in the table is left out and named in `Query.ignored`, or refused under strict
handling; those that FHIR defines as filters for every server are always refused. Everything else that cannot
be used as sent is refused: a malformed value, a modifier or a chain that is not supported (FHIR R4 search,
"modifiers": a server SHALL reject those), too many values.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pacsbridge.errors import NotSupported, NotUnderstood
from pacsbridge.kernel import search_values
from pacsbridge.kernel.query import Clause, Cursor, Kind, Query, Value
from pacsbridge.kernel.search_parameters import Parameter, find

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """`base_url` is this server's FHIR base; counts are entries a page; the rest are limits of one search."""

    base_url: str
    default_count: int = 50
    max_count: int = 1000
    max_parameters: int = 20
    max_alternatives: int = 100


def parse(type_: str, pairs: Pairs, settings: SearchSettings, *, strict: bool = False) -> Query:
    """What a search of `type_` asks for.

    Raises only NotUnderstood, whose `parameter` is the name as sent.
    """
    if len(pairs) > settings.max_parameters:
        raise NotUnderstood(f"a search has at most {settings.max_parameters} parameters")
    found = [(name, text, _understand(type_, name, text, settings)) for name, text in _ordered(pairs)]
    ignored = tuple(name for name, _text, meaning in found if meaning is None)
    if ignored and strict:
        raise NotSupported("this search parameter is not supported", parameter=ignored[0])
    fields: dict[str, Any] = {"count": settings.default_count}
    for _name, _text, meaning in found:
        fields |= meaning if isinstance(meaning, Mapping) else {}
    return Query(
        type_,
        tuple(meaning for _name, _text, meaning in found if isinstance(meaning, Clause)),
        understood=tuple(
            _shown(name, text, fields) for name, text, meaning in found if meaning and name != CURSOR
        ),
        ignored=ignored,
        **fields,
    )


def _ordered(pairs: Pairs) -> Iterable[tuple[str, str]]:
    """The pairs, those that `_CONTROLS` has last: a control can be given once only."""
    controls = [name for name, _text in pairs if name in _CONTROLS]
    for name in controls:
        if controls.count(name) > 1:
            raise NotUnderstood("this parameter may be given once", parameter=name)
    return sorted(pairs, key=lambda pair: _ORDER.get(pair[0], -1))


def _shown(name: str, text: str, fields: Mapping[str, Any]) -> tuple[str, str]:
    return name, str(fields["count"]) if name == "_count" else text


def _understand(
    type_: str, name: str, text: str, settings: SearchSettings
) -> Clause | Mapping[str, Any] | None:
    """One pair as a clause or as fields of Query; None when there is no such parameter."""
    try:
        _check(name, text)
        if name in _CONTROLS:
            return _CONTROLS[name](text, settings)
        return _clause(type_, name, text, settings)
    except NotUnderstood as exc:
        raise type(exc)(str(exc), parameter=name) from exc


def _check(name: str, text: str) -> None:
    if not (name and search_values.legal(name) and search_values.legal(text)):
        raise NotUnderstood("a name is empty, or a character is not allowed")


def _clause(type_: str, name: str, text: str, settings: SearchSettings) -> Clause | None:
    head, _, modifier = name.partition(":")
    code, chained, _ = head.partition(".")
    parameter = find(type_, code)
    if parameter is None:
        _refuse_filter(head)
        return None
    if chained or "." in modifier:
        raise NotSupported("chained searches are not supported")
    if modifier and modifier not in parameter.supported_modifiers:
        raise NotSupported("this modifier is not supported")
    if modifier == "missing":
        return Clause(parameter.param, parameter.kind, modifier, (search_values.missing(text),))
    texts = search_values.alternatives(text)
    if len(texts) > settings.max_alternatives:
        raise NotUnderstood(f"a parameter has at most {settings.max_alternatives} values")
    return _MODIFIED.get(modifier, _typed)(parameter, modifier, texts, settings)


def _refuse_filter(head: str) -> None:
    """What is not in the table is ignored, unless that would return what was to be filtered away."""
    if head in _FILTERS:
        raise NotSupported("this search parameter is not supported")


_FILTERS = frozenset(("_has", "_list", "_filter", "_query", "_text", "_content"))
"""Parameters that FHIR R4 search defines for every server, and that leave resources out."""


def _plain(parameter: Parameter, modifier: str, texts: Sequence[str], settings: SearchSettings) -> Clause:
    read = _READERS[parameter.type if parameter.type == "uri" else parameter.kind]
    values = [value for text in texts for value in read(parameter, text, settings)]
    return Clause(parameter.param, parameter.kind, modifier or None, tuple(values))


def _typed(parameter: Parameter, modifier: str, texts: Sequence[str], _settings: SearchSettings) -> Clause:
    values = [search_values.typed_reference(text, modifier) for text in texts]
    return Clause(parameter.param, Kind.REFERENCE, None, tuple(values))


def _of_rows(kind: Kind, read: Callable[[str], Value]) -> "_Modified":
    """A modifier that looks at rows of its own, named after it."""

    def clause(
        parameter: Parameter, modifier: str, texts: Sequence[str], _settings: SearchSettings
    ) -> Clause:
        return Clause(f"{parameter.param}:{modifier}", kind, None, tuple(map(read, texts)))

    return clause


_Modified = Callable[[Parameter, str, Sequence[str], SearchSettings], Clause]

_MODIFIED: Mapping[str, _Modified] = {
    "": _plain,
    "not": _plain,
    "identifier": _of_rows(Kind.TOKEN, search_values.token),
    "of-type": _of_rows(Kind.TOKEN, search_values.of_type),
    "text": _of_rows(Kind.STRING, search_values.string),
}
"""How a modifier's values are read; a resource type is a modifier too."""

_Reader = Callable[[Parameter, str, SearchSettings], Iterable[Value]]

_READERS: Mapping[str, _Reader] = {
    Kind.TOKEN: lambda parameter, text, _: parameter.aliases(search_values.token(text)),
    Kind.HELD: lambda parameter, text, _: parameter.aliases(search_values.token(text)),
    Kind.REFERENCE: lambda parameter, text, settings: (
        search_values.reference(text, settings.base_url, parameter.targets),
    ),
    Kind.DATE: lambda _parameter, text, _: (search_values.moment(text),),
    Kind.UPDATED: lambda _parameter, text, _: (search_values.moment(text),),
    Kind.STRING: lambda _parameter, text, _: (search_values.string(text),),
    Kind.ID: lambda _parameter, text, _: (search_values.logical_id(text),),
    "uri": lambda _parameter, text, _: (search_values.uri(text),),
}
"""How a plain value is read."""


def _count(text: str, settings: SearchSettings) -> Mapping[str, Any]:
    if not (text.isascii() and text.isdigit()):
        raise NotUnderstood("a count is a whole number")
    return {"count": min(int(text), settings.max_count) if len(text) < 10 else settings.max_count}


def _total(text: str, _settings: SearchSettings) -> Mapping[str, Any]:
    if text not in ("none", "estimate", "accurate"):
        raise NotUnderstood("total is none, estimate or accurate")
    return {"total": text}


def _summary(text: str, _settings: SearchSettings) -> Mapping[str, Any] | None:
    """Only `count` and `false`; a server need not shorten its answers (FHIR R4 search, "summary")."""
    if text not in ("true", "text", "data", "count", "false"):
        raise NotUnderstood("summary is true, text, data, count or false")
    return {"count": {"count": 0}, "false": {}}.get(text)


def _cursor(text: str, _settings: SearchSettings) -> Mapping[str, Any]:
    cursor = Cursor.decode(text)
    if len(cursor.values) != 1 or cursor.values[0] < 1:
        raise NotUnderstood("not a cursor of this search")
    return {"after": cursor}


def _of_the_edge(_text: str, _settings: SearchSettings) -> Mapping[str, Any]:
    return {}


CURSOR = "_cursor"
"""The parameter of `next` links that goes on behind a page."""

_CONTROLS: Mapping[str, Callable[[str, SearchSettings], Mapping[str, Any] | None]] = {
    "_format": _of_the_edge,
    "_pretty": _of_the_edge,
    CURSOR: _cursor,
    "_total": _total,
    "_count": _count,
    "_summary": _summary,
}
"""Parameters that shape the result; later ones overrule earlier ones."""

_ORDER = {name: place for place, name in enumerate(_CONTROLS)}
_UNSHOWN = frozenset((CURSOR, "_format", "_pretty"))
