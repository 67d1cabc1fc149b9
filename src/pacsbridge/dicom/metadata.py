"""The whole header of an instance in the DICOM JSON model, for WADO-RS metadata (PS3.18 10.4.1.1.2, F.2).

Everything but pixel data, group lengths and padding; long binary values as BulkDataURI. Values are decoded
one by one, and one that cannot be decoded costs only itself. pydicom's dictionary gives the VRs of implicit
data sets; nothing here is on the path of an incoming instance.
"""

import math
from base64 import b64encode
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from pydicom.datadict import dictionary_VR

from pacsbridge.dicom.charsets import UNKNOWN, Charset, charset_of
from pacsbridge.dicom.feeds import Feed, MemoryFeed, Source, View
from pacsbridge.dicom.heads import Head, at_delimiter, head_at, true_layout
from pacsbridge.dicom.limits import Limits
from pacsbridge.dicom.opening import locate
from pacsbridge.dicom.transfer_syntaxes import (
    ITEM,
    ITEM_END,
    LAYOUTS,
    SEQUENCE_END,
    UNDEFINED,
    Layout,
    tag_of,
)
from pacsbridge.dicom.values import NUMBER_VRS, TEXT_VRS, decode, numbers
from pacsbridge.errors import TooLarge

LIMITS = Limits(elements=500_000, items=250_000, ratio=1 << 30)
"""A header for a client may be longer than what is mapped: per-frame groups count in full."""

INLINE_BYTES = 1024
"""Binary values up to this length stand in the document itself."""

_INLINE_TEXT = 64 << 10
_BLOCK = 64 << 10
_NO_END = 1 << 62
_CHARSET, _AVAILABLE_SYNTAX, _PIXEL_REPRESENTATION = "00080005", "00083002", "00280103"
_PIXEL_GROUP = 0x7FE0
_ENDS = {ITEM_END: 8, SEQUENCE_END: 0}
_PIXEL_ELEMENTS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_WIDTHS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
_AMBIGUOUS = {"US or SS": "US", "OB or OW": "OW", "US or OW": "OW", "US or SS or OW": "OW"}

Json = dict[str, Any]


class _Place(NamedTuple):
    """Layout, character set, URI of bulk data and depth of a data set; whether its pixels are signed."""

    layout: Layout
    charset: Charset
    uri: str
    depth: int
    signed: bool = False


def metadata(source: Source | str | PathLike[str], bulk_uri: str, charset: str = "") -> Json:
    """One instance in the DICOM JSON model.

    `source`: the bytes, a seekable binary file or a path. `charset` holds where (0008,0005) is absent.
    What is not inline stands under `<bulk_uri>/<TAG>`, in items `<bulk_uri>/<TAG>/<item, from 1>/<TAG>`.
    Raises NotUnderstood, TooLarge, OSError.
    """
    if isinstance(source, str | PathLike):
        with Path(source).open("rb") as file:
            return metadata(file, bulk_uri, charset)
    found = locate(source, None, LIMITS)
    known = charset_of(tuple(charset.split("\\"))) if charset else UNKNOWN
    reader = _Reader(found.window.feed or MemoryFeed(found.window.buffer))
    document: Json = {}
    reader.data_set(document, found.start, _NO_END, _Place(found.layout, known, bulk_uri, 0))
    if _CHARSET in document:
        document[_CHARSET] = {"vr": "CS", "Value": ["ISO_IR 192"]}  # what the document itself is in
    document.setdefault(_AVAILABLE_SYNTAX, {"vr": "UI", "Value": [found.transfer_syntax_uid]})
    return dict(sorted(document.items()))


class _Reader:
    """One pass over the elements of a feed, its positions never going back."""

    def __init__(self, feed: Feed) -> None:
        self._peek = View(feed, _BLOCK).peek
        self._elements = LIMITS.elements
        self._items = LIMITS.items

    def data_set(self, document: Json, position: int, end: int, place: _Place) -> int:
        """Adds the elements up to `end` or an item's delimiter; returns the position behind them."""
        while position + 8 <= end:
            self._elements -= 1
            if self._elements < 0:
                raise TooLarge(f"more than {LIMITS.elements} elements")
            head = self._head(position, end, place.layout)
            if head is None or (head.key & 0xFFFF >= _PIXEL_GROUP and not place.depth):
                break
            if head.key in _ENDS:
                return position + _ENDS[head.key]
            position, place = self._element(document, head, end, place)
        if not place.depth:
            self._pixels(document, position, place)
        return position

    def _head(self, position: int, end: int, layout: Layout) -> Head | None:
        """The head at `position`, its value's start counted like it; None at the end."""
        raw = self._peek(position, 12)
        if len(raw) < 8:
            return None
        head = head_at(layout, raw, 0, end - position if len(raw) == 12 else len(raw))
        return head and head._replace(start=position + head.start)

    def _element(self, document: Json, head: Head, end: int, place: _Place) -> tuple[int, _Place]:
        """Adds one element; the position behind it, and the place with the character set that holds there."""
        tag = tag_of(head.key)
        name, vr = f"{tag:08X}", _vr_of(tag, head, place.signed)
        inner = place._replace(uri=f"{place.uri}/{name}")
        if vr == "SQ" and self._holds_items(head):
            items: list[Json] = []
            position = self._sequence(items, head, end, inner)
            document[name] = {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
            return position, place
        if head.length == UNDEFINED:
            document[name] = {"vr": vr, "BulkDataURI": inner.uri}
            return self._sequence(None, head, end, inner), place
        stop = head.start + head.length
        if stop <= end and tag & 0xFFFF and tag >> 16 != 0x0002:
            place = self._plain(document, name, vr, head, place)
        return stop, place

    def _holds_items(self, head: Head) -> bool:
        return head.length == 0 or at_delimiter(self._peek(head.start, 4), 0)

    def _plain(self, document: Json, name: str, vr: str, head: Head, place: _Place) -> _Place:
        """Adds an element that is no sequence."""
        if head.length > (_INLINE_TEXT if vr in TEXT_VRS else INLINE_BYTES):
            document[name] = {"vr": vr, "BulkDataURI": f"{place.uri}/{name}"}
            return place
        raw = self._peek(head.start, head.length)
        if len(raw) < head.length:
            return place
        document[name] = {"vr": vr, **_body(raw, vr, place)}
        if name == _PIXEL_REPRESENTATION:
            return place._replace(signed=document[name].get("Value") == [1])
        if name != _CHARSET:
            return place
        terms, _ = decode(raw, None, "CS", place.charset, place.layout.big)
        return place._replace(charset=charset_of(terms, place.charset))

    def _sequence(self, items: list[Json] | None, head: Head, end: int, place: _Place) -> int:
        """Adds the items, or with None passes over them; returns the position behind them."""
        if place.depth >= LIMITS.nesting:
            raise TooLarge(f"sequences nested deeper than {LIMITS.nesting}")
        stop = end if head.length == UNDEFINED else min(end, head.start + head.length)
        if head.vr == "UN" and head.length == UNDEFINED:
            place = place._replace(layout=LAYOUTS[False, False])
        position, number = head.start, 0
        while position + 8 <= stop and (item := self._head(position, stop, place.layout)) is not None:
            if item.key == SEQUENCE_END:
                return position + 8
            if item.key != ITEM:
                break
            number += 1
            position = self._item(items, item, stop, place._replace(uri=f"{place.uri}/{number}"))
        return stop

    def _item(self, items: list[Json] | None, item: Head, end: int, place: _Place) -> int:
        self._items -= 1
        if self._items < 0:
            raise TooLarge(f"more than {LIMITS.items} sequence items")
        stop = end if item.length == UNDEFINED else min(end, item.start + item.length)
        if items is None and item.length != UNDEFINED:
            return stop
        raw = self._peek(item.start, 12)
        layout = true_layout(place.layout, raw, 0, stop - item.start if len(raw) == 12 else len(raw))
        document: Json = {}
        inner = place._replace(layout=layout, depth=place.depth + 1)
        behind = self.data_set(document, item.start, stop, inner)
        if items is not None:
            document.pop(_CHARSET, None)  # the document is in one character set
            items.append(document)
        return behind if item.length == UNDEFINED else stop

    def _pixels(self, document: Json, position: int, place: _Place) -> None:
        """Names the pixel data where they stand, after all other elements."""
        head = self._head(position, _NO_END, place.layout)
        while head is not None and head.key & 0xFFFF == _PIXEL_GROUP:
            tag = tag_of(head.key)
            if tag in _PIXEL_ELEMENTS:
                name = f"{tag:08X}"
                document[name] = {"vr": _vr_of(tag, head, place.signed), "BulkDataURI": f"{place.uri}/{name}"}
            if head.length == UNDEFINED:
                return
            head = self._head(head.start + head.length, _NO_END, place.layout)


def _vr_of(tag: int, head: Head, signed: bool) -> str:
    """The VR that the data set says; the dictionary's where it says none, or UN (PS3.5 6.2.2)."""
    if head.vr not in (None, "UN"):
        return str(head.vr)
    vr = _dictionary_vr(tag, signed)
    return "SQ" if vr == "UN" and head.length == UNDEFINED else vr


def _dictionary_vr(tag: int, signed: bool) -> str:
    group, element = tag >> 16, tag & 0xFFFF
    if group % 2:
        return "LO" if 0x10 <= element <= 0xFF else "UN"
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        return "UN"
    return "SS" if signed and vr == "US or SS" else _AMBIGUOUS.get(vr, vr)


def _body(raw: bytes, vr: str, place: _Place) -> Json:
    """`Value` or `InlineBinary`, or neither where there is no value (PS3.18 F.2.5)."""
    if not raw:
        return {}
    if vr == "AT":
        return {"Value": _tags(raw, place.layout.big)}
    if vr in NUMBER_VRS:
        return _listed([_finite(number) for number in numbers(raw, vr, place.layout.big)])
    if vr not in TEXT_VRS:
        return {"InlineBinary": b64encode(_little_endian(raw, vr, place.layout.big)).decode("ascii")}
    texts, _ = decode(raw, vr, vr, place.charset, place.layout.big)
    return _listed([json_text(text, vr) for text in texts])


def _listed(values: Sequence[Any]) -> Json:
    return {"Value": list(values)} if values else {}


def _finite(number: int | float) -> int | float | None:
    """JSON knows no infinity and no NaN; neither is smaller than infinity."""
    return number if abs(number) < math.inf else None


def _tags(raw: bytes, big: bool) -> list[str]:
    words = [f"{word:04X}" for word in numbers(raw, "US", big)]
    return [group + element for group, element in zip(words[::2], words[1::2], strict=False)]


def _little_endian(raw: bytes, vr: str, big: bool) -> bytes:
    """InlineBinary is little endian (PS3.18 F.2.7)."""
    width = _WIDTHS.get(vr, 1)
    if not big or len(raw) % width:
        return raw
    return b"".join(raw[at : at + width][::-1] for at in range(0, len(raw), width))


def json_text(text: str, vr: str) -> Any:
    """One value of a textual VR: a number, an object for a person name, null where it is empty."""
    if not text:
        return None
    if vr == "PN":
        groups = zip(_NAME_GROUPS, text.split("="), strict=False)
        return {name: group for name, group in groups if group} or None
    return _number(text, vr) if vr in ("DS", "IS") else text


def _number(text: str, vr: str) -> int | float | None:
    """A decimal or integer string as a number, null if it is none (PS3.18 F.2.3)."""
    if "_" in text:  # Python reads 1_000, DICOM does not
        return None
    try:
        number = int(text) if vr == "IS" else float(text)
    except ValueError:
        return None
    return _finite(number)
