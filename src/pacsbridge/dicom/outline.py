"""The elements of a header that a frame's picture depends on (PS3.3 C.7.6.3, C.7.6.16, C.11), copied out.

They come as a data set of their own, laid out as the instance is, with the functional groups of one frame.
"""

from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

from pacsbridge.dicom.elements import NO_END, Element, Elements
from pacsbridge.dicom.feeds import Feed, MemoryFeed, View
from pacsbridge.dicom.frames import LIMITS, PIXEL_TAGS
from pacsbridge.dicom.opening import Located, locate
from pacsbridge.dicom.transfer_syntaxes import SHORT_VRS, UNDEFINED, Layout, vr_key
from pacsbridge.errors import TooLarge

OUTLINE_BYTES = 16 << 20
"""How long the elements may be together: look-up tables and functional groups are the longest."""

_BLOCK = 64 << 10
_PER_FRAME = 0x52009230
_ITEM = 0xFFFEE000
_WANTED = frozenset(
    {
        *(0x00181164, 0x00280002, 0x00280004, 0x00280006, 0x00280010, 0x00280011, 0x00280030, 0x00280034),
        *(0x00280100, 0x00280101, 0x00280102, 0x00280103, 0x00280106, 0x00280107, 0x00280120, 0x00280121),
        *(0x00281050, 0x00281051, 0x00281052, 0x00281053, 0x00281056, 0x00283000, 0x00283010),
        *(0x00281101, 0x00281102, 0x00281103, 0x00281201, 0x00281202, 0x00281203),
        *(0x00281221, 0x00281222, 0x00281223, 0x52009229),
    }
)


class Outline(NamedTuple):
    """An encoded data set, and how: with VRs or without, in which byte order."""

    explicit: bool
    big: bool
    elements: bytes


class _Extent(NamedTuple):
    """Where a value stands."""

    element: Element
    stop: int


def read_outline(file: BinaryIO, frame: int) -> Outline:
    """What the picture of a frame (from 1) depends on. Raises NotUnderstood, TooLarge, OSError."""
    layout, extents, per_frame = _found(file)
    item = _frame_item(file, frame) if per_frame else None
    groups = [item] if item is not None else []
    if sum(one.stop - one.element.start for one in (*extents, *groups)) > OUTLINE_BYTES:
        raise TooLarge(f"what a picture depends on takes more than {OUTLINE_BYTES} bytes of the header")
    copied = [_copied(one, value, layout) for one, value in _values(file, extents)]
    copied += [_wrapped(value, layout) for _, value in _values(file, groups)]
    return Outline(layout.explicit, layout.big, b"".join(copied))


def _values(file: BinaryIO, extents: Sequence[_Extent]) -> Iterator[tuple[_Extent, bytes]]:
    """What stands at places in ascending order."""
    peek = View(_feed(locate(file, None, LIMITS)), _BLOCK).peek
    for one in extents:
        yield one, peek(one.element.start, one.stop - one.element.start)


def _feed(found: Located) -> Feed:
    return found.window.feed or MemoryFeed(found.window.buffer)


def _found(file: BinaryIO) -> tuple[Layout, list[_Extent], bool]:
    """The wanted elements, and whether there are groups for each frame."""
    found = locate(file, None, LIMITS)
    extents: list[_Extent] = []
    elements = Elements(_feed(found), LIMITS)
    open_ended: Element | None = None
    per_frame = False
    for element in elements.level(found.start, NO_END, found.layout):
        if open_ended is not None:
            extents.append(_Extent(open_ended, elements.behind))
        if element.tag in PIXEL_TAGS:
            break
        wanted = element.tag in _WANTED
        open_ended = element if wanted and element.open_ended else None
        per_frame = per_frame or element.tag == _PER_FRAME
        if wanted and not element.open_ended:
            extents.append(_Extent(element, element.start + element.length))
    return found.layout, extents, per_frame


def _frame_item(file: BinaryIO, frame: int) -> _Extent | None:
    """The functional groups of a frame; None where they are missing."""
    found = locate(file, None, LIMITS)
    elements = Elements(_feed(found), LIMITS)
    groups = elements.find((_PER_FRAME,), found.start, found.layout)
    if groups is None:
        return None
    for number, item in enumerate(elements.items(groups), 1):
        stop = _stop(elements, item)
        if number == frame:
            return _Extent(item, stop)
    return None


def _stop(elements: Elements, item: Element) -> int:
    """Where the content of an item ends."""
    if not item.open_ended:
        return item.start + item.length
    for _ in elements.level(item.start, NO_END, item.layout, 1):
        pass
    return elements.behind - 8


def _copied(extent: _Extent, value: bytes, layout: Layout) -> bytes:
    """The element again; one that is cut short is left out."""
    element = extent.element
    if len(value) < extent.stop - element.start:
        return b""
    length = UNDEFINED if element.open_ended else len(value)
    return _head(element.tag, element.vr or "UN", length, layout) + value


def _wrapped(value: bytes, layout: Layout) -> bytes:
    """One item as a sequence of its own."""
    item = _tag(_ITEM, layout) + _number(len(value), 4, layout) + value
    return _head(_PER_FRAME, "SQ", len(item), layout) + item


def _head(tag: int, vr: str, length: int, layout: Layout) -> bytes:
    """The head of an element (PS3.5 7.1.2, 7.1.3)."""
    if not layout.explicit:
        return _tag(tag, layout) + _number(length, 4, layout)
    named = _tag(tag, layout) + vr.encode("ascii")
    if vr_key(vr) in SHORT_VRS:
        return named + _number(length, 2, layout)
    return named + b"\0\0" + _number(length, 4, layout)


def _tag(tag: int, layout: Layout) -> bytes:
    return _number(tag >> 16, 2, layout) + _number(tag & 0xFFFF, 2, layout)


def _number(value: int, size: int, layout: Layout) -> bytes:
    return value.to_bytes(size, "big" if layout.big else "little")
