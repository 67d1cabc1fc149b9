"""DICOM JSON to attributes (PS3.18 F.2): what archives answer to QIDO-RS and WADO-RS metadata requests.

Elements may be named by tag or by keyword, and a lone value may stand where the model wants an array: both
are met. Any other wrong type costs its element only, and becomes an issue.
"""

import math
from collections.abc import Mapping, Sequence

from pacsbridge.dicom.limits import DEFAULT, Limits
from pacsbridge.dicom.values import PADDING
from pacsbridge.errors import NotUnderstood, TooLarge
from pacsbridge.kernel.attributes import BY_TAG, ELEMENTS, Attributes, Element, Issue

_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_SINGLE_VRS = frozenset({"LT", "ST", "UR", "UT"})
_INTEGER_BITS = 256
_SHOWN = 64
_ISSUES = 100

_BY_NAME: Mapping[str, Element] = {f"{tag:08X}": element for tag, element in BY_TAG.items()} | dict(ELEMENTS)


def from_json(obj: object, limits: Limits = DEFAULT) -> Attributes:
    """The attributes of one DICOM JSON object, as `json.loads` or `orjson.loads` gives it.

    Raises NotUnderstood if it is no object, TooLarge beyond the counts and the nesting of `limits`.
    """
    if not isinstance(obj, Mapping):
        raise NotUnderstood("a DICOM JSON data set must be an object")
    reader = _Reader(limits)
    values = reader.data_set(obj, 0)
    return Attributes(values, tuple(reader.issues))


_Values = dict[str, tuple[str, ...] | tuple[Attributes, ...]]


class _Wrong(Exception):
    """A value of a type that its element cannot have."""


class _Reader:
    """One walk over a JSON object, with what is left of the limits."""

    def __init__(self, limits: Limits) -> None:
        self.issues: list[Issue] = []
        self._limits = limits
        self._elements = limits.elements
        self._items = limits.items

    def data_set(self, obj: Mapping[object, object], depth: int) -> _Values:
        values: _Values = {}
        self._elements -= len(obj)
        if self._elements < 0:
            raise TooLarge(f"more than {self._limits.elements} elements")
        for name, body in obj.items():
            element = _BY_NAME.get(name) or _BY_NAME.get(name.upper()) if isinstance(name, str) else None
            if element is None:
                continue
            lone = self._lone_text(element, body)
            if lone is None:
                self._element(values, element, body, depth)
            elif lone:
                values[element.keyword] = (lone,)
        return values

    def _element(self, values: _Values, element: Element, body: object, depth: int) -> None:
        try:
            found = self._values(element, body, depth)
        except _Wrong as wrong:
            self._issue(element.keyword, str(wrong))
            return
        if found:
            values[element.keyword] = found

    def _lone_text(self, element: Element, body: object) -> str | None:
        """The one value of an element, as most have it; None where there is more to look at."""
        listed = body.get("Value") if type(body) is dict else None
        if type(listed) is not list or len(listed) != 1 or element.vr == "SQ":
            return None
        text = listed[0]
        if type(text) is int and text.bit_length() <= _INTEGER_BITS:
            return str(text)
        if type(text) is not str or "\\" in text or len(text) > self._limits.value:
            return None
        return text.rstrip(PADDING) if element.vr in _SINGLE_VRS else text.strip(PADDING)

    def _issue(self, keyword: str, reason: str, value: str = "") -> None:
        if len(self.issues) < _ISSUES:
            self.issues.append(Issue(keyword, value[:_SHOWN], reason))

    def _values(self, element: Element, body: object, depth: int) -> tuple[str, ...] | tuple[Attributes, ...]:
        listed = self._listed(element, body)
        if element.vr == "SQ":
            return self._sequence(listed, depth)
        texts = [text for value in listed for text in self._texts(element, value)]
        return tuple(texts) if any(texts) or len(texts) > 1 else ()

    def _listed(self, element: Element, body: object) -> Sequence[object]:
        """The array under `Value`; () where there is none."""
        if not isinstance(body, Mapping):
            raise _Wrong("not an element of the DICOM JSON model")
        if "Value" not in body and ("BulkDataURI" in body or "InlineBinary" in body):
            raise _Wrong("bulk data where a value is wanted")
        value = body.get("Value")
        if isinstance(value, list | tuple):
            return value
        if value is None:
            return ()
        self._issue(element.keyword, "a value without its array")
        return (value,)

    def _sequence(self, listed: Sequence[object], depth: int) -> tuple[Attributes, ...]:
        if depth >= self._limits.nesting:
            raise TooLarge(f"sequences nested deeper than {self._limits.nesting}")
        self._items -= len(listed)
        if self._items < 0:
            raise TooLarge(f"more than {self._limits.items} sequence items")
        return tuple(Attributes(self._item(item, depth)) for item in listed)

    def _item(self, item: object, depth: int) -> _Values:
        if item is None:  # an empty item (PS3.18 F.2.5)
            return {}
        if not isinstance(item, Mapping):
            raise _Wrong("an item that is no object")
        return self.data_set(item, depth + 1)

    def _texts(self, element: Element, value: object) -> Sequence[str]:
        """One JSON value; several if it is a text in which a server left the backslashes."""
        text = _name(value) if element.vr == "PN" and isinstance(value, Mapping) else _text(value)
        if len(text) > self._limits.value:
            self._issue(element.keyword, f"cut at {self._limits.value} characters")
            text = text[: self._limits.value]
        if element.vr in _SINGLE_VRS:
            return (text.rstrip(PADDING),)
        return [part.strip(PADDING) for part in text.split("\\")]


def _name(value: Mapping[object, object]) -> str:
    """A person name as PS3.5 6.2.1 writes it, from its groups (PS3.18 F.2.2)."""
    return "=".join(_text(value.get(group)) for group in _GROUPS).rstrip("=")


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= _INTEGER_BITS:
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else str(value)
    raise _Wrong(f"a value of the type {type(value).__name__}")
