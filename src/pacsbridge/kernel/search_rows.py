"""Elements of a resource as index rows, one function a FHIR data type.

A name of rows is that of their parameter, with a suffix for what a modifier looks at: `identifier:of-type`,
`subject:identifier` (logical references), `reason:text`, `family:exact`. A parameter whose element the
resource lacks has one row, under its name with `:missing`. A date is no row but a span: no type has two.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pacsbridge.kernel.query import ReferenceRow, Row, Span, StringRow, TokenRow
from pacsbridge.kernel.search_values import normalised, period

_RELATIVE = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})")


def elements(node: Any, path: Sequence[str]) -> Iterator[Any]:
    """Every element at a path below `node`; lists on the way are entered."""
    if isinstance(node, list):
        for item in node:
            yield from elements(item, path)
    elif not path:
        yield node
    elif path[0] in node:
        yield from elements(node[path[0]], path[1:])


def of_coding(param: str, coding: Mapping[str, Any]) -> Iterator[Row]:
    """A Coding; one without a code keeps its system only."""
    yield TokenRow(param, coding.get("system", ""), coding.get("code", ""))


def of_concept(param: str, concept: Mapping[str, Any]) -> Iterator[Row]:
    """The codings of a CodeableConcept."""
    codings: Sequence[Mapping[str, Any]] = concept.get("coding") or ({},)
    for coding in codings:
        yield from of_coding(param, coding)


def of_coding_with_text(param: str, coding: Mapping[str, Any]) -> Iterator[Row]:
    """A Coding, and its display for the modifier text."""
    yield from of_coding(param, coding)
    if "display" in coding:
        yield StringRow(f"{param}:text", normalised(coding["display"]))


def of_concept_with_text(param: str, concept: Mapping[str, Any]) -> Iterator[Row]:
    """The codings of a CodeableConcept, and its texts for the modifier text."""
    yield from of_concept(param, concept)
    displays = (coding["display"] for coding in concept.get("coding", ()) if "display" in coding)
    for text in (*displays, *filter(None, (concept.get("text"),))):
        yield StringRow(f"{param}:text", normalised(text))


def of_identifier(param: str, identifier: Mapping[str, Any]) -> Iterator[Row]:
    """An Identifier by system and value."""
    yield TokenRow(param, identifier.get("system", ""), identifier.get("value", ""))


def of_typed_identifier(param: str, identifier: Mapping[str, Any]) -> Iterator[Row]:
    """An Identifier, and its types for the modifier of-type."""
    yield from of_identifier(param, identifier)
    for coding in identifier.get("type", {}).get("coding", ()):
        typed = f"{coding.get('code', '')}|{identifier.get('value', '')}"
        yield TokenRow(f"{param}:of-type", coding.get("system", ""), typed)


def of_code(param: str, code: str) -> Iterator[Row]:
    """A code, uri or id: a token without a system."""
    yield TokenRow(param, "", code)


def of_reference(types: Sequence[str], param: str, reference: Mapping[str, Any]) -> Iterator[Row]:
    """A logical reference has a row without target; one that is only a display counts as missing.

    One to a type that is known to be none of `types` has no rows.
    """
    target, identifier = reference.get("reference", ""), reference.get("identifier")
    relative = _RELATIVE.fullmatch(target)
    if (relative[1] if relative else reference.get("type", types[0])) not in types:
        return
    if relative is not None:
        yield ReferenceRow(param, relative[1], relative[2])
    elif target or identifier:
        yield ReferenceRow(param, reference.get("type", ""), target)
    if identifier:
        yield from of_identifier(f"{param}:identifier", identifier)


def of_moment(text: str) -> Span:
    """A date or dateTime as instants (UTC where it has no zone), and as the wall clock shows it."""
    low, high, offset, _inner = period(text)
    return Span(low, high, low + (offset or 0), high + (offset or 0))


def of_string(param: str, text: str) -> Iterator[Row]:
    """A text, and as it is written for the modifier exact."""
    yield StringRow(param, normalised(text))
    yield TokenRow(f"{param}:exact", "", text)


def missing(param: str) -> Row:
    """What says that a resource lacks the element."""
    return TokenRow(f"{param}:missing", "", "true")


def of_name(param: str, name: Mapping[str, Any]) -> Iterator[Row]:
    """Every part of a HumanName."""
    single = (name[part] for part in ("text", "family") if part in name)
    several = (text for part in ("given", "prefix", "suffix") for text in name.get(part, ()))
    for text in (*single, *several):
        yield from of_string(param, text)
