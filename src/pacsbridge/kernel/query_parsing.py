"""FHIR search parameters, as decoded pairs of name and text → Query, by the table of search parameters.

A parameter that is not in the table is left out and named in `Query.ignored`, or refused under strict
handling; those that FHIR defines as filters for every server are always refused. Everything else that cannot
be used as sent is refused: a malformed value, a modifier or a chain that is not supported (FHIR R4 search,
"modifiers": a server SHALL reject those), too many values.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pacsbridge.errors import NotSupported, NotUnderstood
from pacsbridge.kernel import search_results, search_values
from pacsbridge.kernel.cursors import Cursor
from pacsbridge.kernel.query import ChainValue, Clause, Form, Kind, PresentValue, Query, TokenValue, Value
from pacsbridge.kernel.search_parameters import Parameter, find

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """`base_url` is this server's FHIR base; counts are entries a page; the rest are limits of one search.

    `secret` seals the cursors of links.
    """

    base_url: str
    default_count: int = 50
    max_count: int = 1000
    max_parameters: int = 20
    max_alternatives: int = 100
    secret: bytes = b""


def parse(type_: str, pairs: Pairs, settings: SearchSettings, *, strict: bool = False) -> Query:
    """What a search of `type_` asks for.

    Raises only NotUnderstood, whose `parameter` is the name as sent.
    """
    if len(pairs) > settings.max_parameters:
        raise NotUnderstood(f"a search has at most {settings.max_parameters} parameters")
    check_repeats(pairs, _ONCE)
    found = [(name, text, _understand(type_, name, text, settings)) for name, text in pairs]
    ignored = tuple(name for name, _text, meaning in found if meaning is None)
    if ignored and strict:
        raise NotSupported("this search parameter is not supported", parameter=ignored[0])
    clauses = tuple(meaning for _name, _text, meaning in found if isinstance(meaning, Clause))
    fields = _fields((meaning for _n, _t, meaning in found if isinstance(meaning, Mapping)), settings)
    if fields.get("form") is Form.TEXT and (fields.get("include") or fields.get("revinclude")):
        raise NotUnderstood("a summary of texts goes with no includes", parameter="_summary")
    understood = tuple(shown(name, text, fields) for name, text, meaning in found if meaning is not None)
    scope = _scope(type_, understood)
    return Query(
        type_,
        clauses,
        understood=tuple(pair for pair in understood if pair[0] != CURSOR),
        ignored=ignored,
        scope=scope,
        after=_cursor(pairs, settings, scope),
        **fields,
    )


def check_repeats(pairs: Pairs, once: Collection[str]) -> None:
    """Raise NotUnderstood where one of the names `once` is there twice."""
    names = [name for name, _text in pairs if name in once]
    for name in names:
        if names.count(name) > 1:
            raise NotUnderstood("this parameter may be given once", parameter=name)


def _fields(found: Iterable[Mapping[str, Any]], settings: SearchSettings) -> dict[str, Any]:
    """The fields of Query that the controls set; what may be repeated adds up."""
    fields: dict[str, Any] = {"count": settings.default_count}
    for meaning in found:
        for name, value in meaning.items():
            fields[name] = fields.get(name, ()) + value if name in _ADDING else value
    return fields


_ADDING = ("include", "revinclude")


def shown(name: str, text: str, fields: Mapping[str, Any]) -> tuple[str, str]:
    """A parameter as the link `self` has it: as sent, but for a count that is too large."""
    return name, str(fields["count"]) if name == "_count" else text


def _scope(type_: str, understood: Iterable[tuple[str, str]]) -> str:
    """What a cursor belongs to: the conditions and the order, not the form of the answer."""
    return json.dumps([type_, *sorted(pair for pair in understood if pair[0] not in _FORMS)])


def _cursor(pairs: Pairs, settings: SearchSettings, scope: str) -> Cursor | None:
    text = next((text for name, text in pairs if name == CURSOR), None)
    try:
        return None if text is None else Cursor.decode(text, settings.secret, scope)
    except NotUnderstood as exc:
        raise NotUnderstood(str(exc), parameter=CURSOR) from exc


def _understand(
    type_: str, name: str, text: str, settings: SearchSettings
) -> Clause | Mapping[str, Any] | None:
    """One pair as a clause or as fields of Query; None when there is no such parameter."""
    try:
        _check(name, text)
        if name in search_results.CONTROLS:
            return search_results.CONTROLS[name](type_, text, settings.max_count)
        if name in _OF_THE_EDGE:
            return {}
        return _clause(type_, name, text, settings)
    except NotUnderstood as exc:
        raise type(exc)(str(exc), parameter=name) from exc


def _check(name: str, text: str) -> None:
    if not all(_PARTS.split(name)):
        raise NotUnderstood("a name, or a part of it, is empty")
    if not (search_values.legal(name) and search_values.legal(text)):
        raise NotUnderstood("a character is not allowed")


_PARTS = re.compile("[.:]")


def _clause(type_: str, name: str, text: str, settings: SearchSettings) -> Clause | None:
    link, _, chained = name.partition(".")
    code, _, modifier = link.partition(":")
    parameter = find(type_, code)
    if parameter is None:
        _refuse_filter(code)
        return None
    if chained:
        return _chain(parameter, modifier, chained, text, settings)
    if modifier and modifier not in parameter.supported_modifiers:
        raise NotSupported("this modifier is not supported")
    if modifier == "missing":
        return _missing(parameter, search_values.missing(text))
    texts = search_values.alternatives(text)
    if len(texts) > settings.max_alternatives:
        raise NotUnderstood(f"a parameter has at most {settings.max_alternatives} values")
    return _MODIFIED.get(modifier, _typed)(parameter, modifier, texts, settings)


def _refuse_filter(code: str) -> None:
    """What is not in the table is ignored, unless that would return what was to be filtered away."""
    if code in _FILTERS or search_results.is_control(code):
        raise NotSupported("this search parameter is not supported")


_FILTERS = frozenset(("_has", "_list", "_filter", "_query", "_text", "_content"))
"""Parameters that FHIR R4 search defines for every server, and that leave resources out."""


def _chain(parameter: Parameter, type_: str, chained: str, text: str, settings: SearchSettings) -> Clause:
    """A condition on the resource that a reference names (FHIR R4 search, "chained parameters")."""
    types = parameter.chains if not type_ else tuple({type_} & set(parameter.chains))
    if not types or "." in chained:
        raise NotSupported("this chain is not supported")
    clauses = [(target, _clause(target, chained, text, settings)) for target in types]
    if any(clause is None for _target, clause in clauses):
        raise NotSupported("this chain is not supported")
    values = (ChainValue(target, clause) for target, clause in clauses if clause is not None)
    return Clause(parameter.param, Kind.CHAIN, tuple(values))


def _missing(parameter: Parameter, missing: bool) -> Clause:
    """Rows say what is missing; what is there has rows of its own, or none."""
    if missing:
        return Clause(f"{parameter.param}:missing", Kind.TOKEN, (TokenValue(None, "true"),))
    rows = parameter.kind if parameter.indexer is not None else None
    return Clause(parameter.param, Kind.PRESENT, (PresentValue(rows),))


def _plain(parameter: Parameter, modifier: str, texts: Sequence[str], settings: SearchSettings) -> Clause:
    read = _READERS[parameter.type if parameter.type == "uri" else parameter.kind]
    values = [value for text in texts for value in read(parameter, text, settings)]
    return Clause(parameter.param, parameter.kind, tuple(values), negated=modifier == "not")


def _typed(parameter: Parameter, modifier: str, texts: Sequence[str], settings: SearchSettings) -> Clause:
    """A reference to the type that the modifier names, as in `subject:Patient=…`."""
    values = [search_values.reference(text, settings.base_url, (modifier,)) for text in texts]
    return Clause(parameter.param, Kind.REFERENCE, tuple(values))


def _of_rows(kind: Kind, read: Callable[[str], Value], suffix: str) -> "_Modified":
    """A modifier that looks at rows of its own, or reads the values in its own way."""

    def clause(
        parameter: Parameter, _modifier: str, texts: Sequence[str], _settings: SearchSettings
    ) -> Clause:
        return Clause(parameter.param + suffix, kind, tuple(map(read, texts)))

    return clause


_Modified = Callable[[Parameter, str, Sequence[str], SearchSettings], Clause]

_MODIFIED: Mapping[str, _Modified] = {
    "": _plain,
    "not": _plain,
    "identifier": _of_rows(Kind.TOKEN, search_values.token, ":identifier"),
    "of-type": _of_rows(Kind.TOKEN, search_values.of_type, ":of-type"),
    "text": _of_rows(Kind.STRING, search_values.string, ":text"),
    "exact": _of_rows(Kind.TOKEN, search_values.exact, ":exact"),
    "contains": _of_rows(Kind.STRING, search_values.inside, ""),
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

CURSOR = "_cursor"
"""The parameter of links that goes on from a page."""

_OF_THE_EDGE = ("_format", "_pretty", CURSOR)
"""Controls that are read where the answer is written, or last of all."""

_ONCE = frozenset((*_OF_THE_EDGE, *search_results.CONTROLS)) - {"_include", "_revinclude"}
_FORMS = frozenset((*_OF_THE_EDGE, *search_results.CONTROLS)) - {"_sort"}
