"""Header reading, the hot path of the product: bytes or a file in, the attributes that pacsbridge maps out.

    source ── Part 10? ── file meta group ── transfer syntax ─┐
       └──── bare data set ──── given or detected ────────────┴─ inflated? ── Walker ── Attributes

Only heads of elements and wanted values are looked at, pixel data never (PS3.5 7, PS3.10 7.1).
"""

from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from pacsbridge.dicom.charsets import UNKNOWN, Charset, charset_of
from pacsbridge.dicom.feeds import DeflatedFeed, Feed, FileFeed, MemoryFeed, Source
from pacsbridge.dicom.limits import DEFAULT, Limits
from pacsbridge.dicom.transfer_syntaxes import (
    DEFLATED,
    LONG_VRS,
    SHORT_VRS,
    Layout,
    detect,
    layout_of,
    transfer_syntax_of,
)
from pacsbridge.dicom.values import PADDING
from pacsbridge.dicom.walker import Walker, true_layout
from pacsbridge.errors import NotUnderstood, TooLarge
from pacsbridge.kernel.attributes import Attributes

__all__ = ["DEFAULT", "Header", "Limits", "Source", "read_header"]

DICOMDIR = "1.2.840.10008.1.3.10"
"""Media Storage Directory Storage: it lists files and is no instance (PS3.3 F)."""

_BLOCK = 256 << 10
_SMALL = 4 << 20
_META_HEAD = Struct("<HHHH").unpack_from
_META_LENGTH = Struct("<L").unpack_from
_META_ELEMENTS = 64
_SOP_CLASS, _TRANSFER_SYNTAX = 0x0002, 0x0010


@dataclass(frozen=True, slots=True)
class Header:
    """What was read: the attributes, the transfer syntax (claimed or detected), where the data set starts.

    `attributes.issues` holds the faults met; one with the reason "truncated" means that the data set breaks off.
    """

    attributes: Attributes
    transfer_syntax_uid: str
    dataset_offset: int


class _Meta(NamedTuple):
    """The file meta group: what it says, and where the data set behind it starts."""

    sop_class_uid: str = ""
    transfer_syntax_uid: str = ""
    offset: int = 0


class _View(NamedTuple):
    """A window: bytes of the feed from `base` on, and whether the data set ends with them."""

    feed: Feed | None
    base: int
    window: bytes
    last: bool


def read_header(
    source: Source, transfer_syntax_uid: str | None = None, charset: str = "", limits: Limits = DEFAULT
) -> Header:
    """Reads the mapped attributes of one instance.

    `source`: the bytes, or a seekable binary file, read from its start in blocks without its pixel data.
    `transfer_syntax_uid`: given, `source` is a bare data set so encoded; None, it is a Part 10 file, with or
    without its preamble, or a bare data set whose encoding is detected.
    `charset`: the terms of PS3.3 C.12.1.1.2, joined by backslashes, that hold where (0008,0005) is absent.

    Raises NotUnderstood if nothing in it can be read as DICOM, TooLarge beyond `limits`, OSError of the file.
    Anything less is an issue of the attributes.
    """
    view = _open(source)
    meta = _read_meta(view.window) if transfer_syntax_uid is None else _Meta("", transfer_syntax_uid)
    if meta.sop_class_uid == DICOMDIR:
        raise NotUnderstood("a DICOMDIR: it lists files and is no instance")
    start = meta.offset
    if meta.transfer_syntax_uid in DEFLATED:
        view, start = _inflated(view, start, limits), 0
    layout = _layout(view.window, start, meta.transfer_syntax_uid)
    walker = Walker(layout, charset_of(tuple(charset.split("\\"))) if charset else UNKNOWN, limits)
    _walk(walker, view, start, limits)
    if not walker.values:
        raise NotUnderstood("no DICOM element that pacsbridge knows")
    if meta.transfer_syntax_uid and layout != layout_of(meta.transfer_syntax_uid):
        walker.issue("TransferSyntaxUID", "the data set is encoded otherwise", meta.transfer_syntax_uid)
    attributes = Attributes(walker.values, tuple(walker.issues))
    return Header(attributes, meta.transfer_syntax_uid or transfer_syntax_of(layout), meta.offset)


def _open(source: Source) -> _View:
    """The first window. Bytes are one window, however many."""
    if isinstance(source, bytes):
        return _View(None, 0, source, True)
    if not isinstance(source, bytearray | memoryview):
        feed: Feed = FileFeed(source)
    elif len(source) <= _SMALL:
        return _View(None, 0, bytes(source), True)
    else:
        feed = MemoryFeed(source)
    return _View(feed, 0, *feed.window(0, _BLOCK))


def _inflated(view: _View, start: int, limits: Limits) -> _View:
    feed = DeflatedFeed(view.feed or MemoryFeed(view.window), start, limits)
    return _View(feed, 0, *feed.window(0, _BLOCK))


def _read_meta(window: bytes) -> _Meta:
    """Reads the file meta group, by its elements: its group length is often wrong (PS3.10 7.1)."""
    position = 132 if window[128:132] == b"DICM" else 4 if window[:4] == b"DICM" else 0
    found: dict[int, str] = {}
    for _ in range(_META_ELEMENTS):
        if position + 12 > len(window) or window[position : position + 2] != b"\x02\x00":
            break
        element, start, length = _meta_head(window, position)
        position = start + length
        if element in (_SOP_CLASS, _TRANSFER_SYNTAX) and length <= 64:
            found[element] = window[start:position].decode("ascii", "replace").strip(PADDING)
    return _Meta(found.get(_SOP_CLASS, ""), found.get(_TRANSFER_SYNTAX, ""), position)


def _meta_head(window: bytes, position: int) -> tuple[int, int, int]:
    """Element number, start of the value and its length; explicit VR, but implicit is met."""
    _, element, vr, length = _META_HEAD(window, position)
    if vr in SHORT_VRS:
        return element, position + 8, length
    if vr in LONG_VRS:
        return element, position + 12, _META_LENGTH(window, position + 8)[0]
    return element, position + 8, _META_LENGTH(window, position + 4)[0]


def _layout(window: bytes, start: int, transfer_syntax_uid: str) -> Layout:
    """The layout that the transfer syntax claims, unless the first element contradicts it."""
    if not transfer_syntax_uid:
        found = detect(window, start)
        if found is None:
            raise NotUnderstood("neither a DICOM file nor a data set")
        return found
    layout = layout_of(transfer_syntax_uid)
    if (
        window[start : start + 1] == b"\0"
        and not layout.big
        or layout.big
        and window[start + 1 : start + 2] == b"\0"
    ):
        return detect(window, start) or layout
    return true_layout(layout, window, start, len(window))


def _walk(walker: Walker, view: _View, start: int, limits: Limits) -> None:
    """Window after window, each from the first element that the walk could not finish in the one before."""
    feed, base, window, last = view
    size = _BLOCK
    while True:
        behind = walker.run(window, start - base, last)
        if walker.finished or last or feed is None:
            return
        size = _BLOCK if base + behind > start else size * 4
        if size > limits.window:
            raise TooLarge(f"a sequence of more than {limits.window} bytes")
        start = base + behind
        base = max(start - 1, 0)  # one byte before shows whether `start` lies behind the end
        window, last = feed.window(base, size)
