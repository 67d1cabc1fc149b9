"""Parameters that shape a result (FHIR R4 search, "managing returned resources").

Each is read by one function of `CONTROLS`: what it sets in the Query, or None where it asks for something
that a server may leave undone, and which is then named as ignored.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from pacsbridge.errors import NotUnderstood
from pacsbridge.kernel.elements import ELEMENTS
from pacsbridge.kernel.query import Form, Include
from pacsbridge.kernel.search_parameters import ORDER_FIELDS, PARAMETERS, Parameter, find

Fields = Mapping[str, Any]


def count(text: str, most: int) -> Fields:
    """The value of `_count`: entries a page, `most` at most."""
    if not (text.isascii() and text.isdigit()):
        raise NotUnderstood("a count is a whole number")
    return {"count": min(int(text), most) if len(text) < 10 else most}


def _count(_type: str, text: str, most: int) -> Fields:
    return count(text, most)


def _total(_type: str, text: str, _most: int) -> Fields:
    """An estimate is as good as exact."""
    if text not in ("none", "estimate", "accurate"):
        raise NotUnderstood("total is none, estimate or accurate")
    return {"counted": text != "none"}


def form(text: str) -> Form:
    """The value of `_summary`."""
    try:
        return Form(text)
    except ValueError as exc:
        raise NotUnderstood("summary is true, text, data, count or false") from exc


def _summary(_type: str, text: str, _most: int) -> Fields:
    return {"form": form(text)}


def elements(type_: str, text: str) -> frozenset[str]:
    """The value of `_elements`: names of elements at the root of the type."""
    names = frozenset(text.split(","))
    if not names <= ELEMENTS[type_]:
        raise NotUnderstood(f"elements are named as they stand at the root of {type_}, separated by commas")
    return names


def _elements(type_: str, text: str, _most: int) -> Fields:
    return {"elements": elements(type_, text)}


_SORT_KEY = re.compile("-?[^-].*")


def _sort(type_: str, text: str, _most: int) -> Fields | None:
    order: list[tuple[str, bool]] = []
    keys = text.split(",")
    if not all(_SORT_KEY.fullmatch(key) for key in keys):
        raise NotUnderstood("a sort is written as parameters separated by commas, - before one descends")
    for key in keys:
        parameter = find(type_, key.removeprefix("-"))
        if parameter is None or not parameter.orders:
            return None
        order.append((ORDER_FIELDS[parameter.kind], key.startswith("-")))
    if len({field for field, _descends in order}) < len(order):
        raise NotUnderstood("a sort names a parameter twice")
    return {"sort": tuple(order)}


def _include(type_: str, text: str, _most: int) -> Fields | None:
    """`Source:parameter[:Target]` or a star: what matches refer to."""
    if text == "*":
        text = f"{type_}:*"
    source, param, target = _link(text)
    if source != type_:
        return None
    found = _links(source, param, target)
    return {"include": found} if found else None


def _revinclude(type_: str, text: str, _most: int) -> Fields | None:
    """`Source:parameter[:Target]`: what refers to matches."""
    source, param, target = _link(text)
    if source not in PARAMETERS or target not in (None, type_):
        return None
    found = _links(source, param, type_)
    return {"revinclude": found} if found else None


def _link(text: str) -> tuple[str, str, str | None]:
    parts = text.split(":")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise NotUnderstood("written Source:parameter or Source:parameter:Target")
    return parts[0], parts[1], parts[2] if len(parts) == 3 else None


def _links(source: str, code: str, target: str | None) -> tuple[Include, ...]:
    """The references of a type under a code, or under all of them; those that can name `target`."""
    if source not in PARAMETERS:
        return ()
    named = PARAMETERS[source].values() if code == "*" else filter(None, (find(source, code),))
    found = {
        parameter.param: Include(source, parameter.param, target)
        for parameter in named
        if _may_name(parameter, target)
    }
    return tuple(found.values())


def _may_name(parameter: Parameter, target: str | None) -> bool:
    return parameter.type == "reference" and target in (None, *parameter.targets)


CONTROLS: Mapping[str, Callable[[str, str, int], Fields | None]] = {
    "_count": _count,
    "_total": _total,
    "_summary": _summary,
    "_elements": _elements,
    "_sort": _sort,
    "_include": _include,
    "_revinclude": _revinclude,
}
"""Name → what reads its text, given the resource type and the most entries of a page."""


def is_control(code: str) -> bool:
    """Whether a name without its modifier is one of a control: `_include:iterate` is none that is offered."""
    return code in CONTROLS
