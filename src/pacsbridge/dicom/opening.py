"""From a source to the start of its data set: Part 10 or bare, which transfer syntax, inflated or not.

source ── Part 10? ── file meta group ── transfer syntax ─┐
   └──── bare data set ──── given or detected ────────────┴─ deflated? ── where the elements start
"""

from struct import Struct
from typing import NamedTuple

from pacsbridge.dicom.feeds import DeflatedFeed, Feed, FileFeed, MemoryFeed, Source
from pacsbridge.dicom.heads import true_layout
from pacsbridge.dicom.limits import Limits
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
from pacsbridge.errors import NotUnderstood

DICOMDIR = "1.2.840.10008.1.3.10"
"""Media Storage Directory Storage: it lists files and is no instance (PS3.3 F)."""

FIRST = 16 << 10
"""Bytes of the first window: most headers are shorter, and reading pixels costs more than a second look."""

BLOCK = 256 << 10
"""Bytes of a window that is not the whole data set."""

_SMALL = 4 << 20
_META_HEAD = Struct("<HHHH").unpack_from
_META_LENGTH = Struct("<L").unpack_from
_META_ELEMENTS = 64
_SOP_CLASS, _SOP_INSTANCE, _TRANSFER_SYNTAX = 0x0002, 0x0003, 0x0010


class Window(NamedTuple):
    """Bytes of a feed from position 0 on, and whether the data set ends with them; no feed: these are all."""

    feed: Feed | None
    buffer: bytes
    last: bool


class Located(NamedTuple):
    """Where the elements are: in which window, from where on, laid out how.

    `transfer_syntax_uid` is the claimed one, or the detected if none is claimed; `contradicted` says that the
    elements are laid out otherwise. `dataset_offset` counts in the source, `start` in the window: they differ
    if the data set is deflated.
    """

    window: Window
    start: int
    layout: Layout
    transfer_syntax_uid: str
    contradicted: bool
    dataset_offset: int


class _Meta(NamedTuple):
    """The file meta group: what it says, and where the data set behind it starts."""

    sop_class_uid: str = ""
    transfer_syntax_uid: str = ""
    offset: int = 0
    sop_instance_uid: str = ""


def locate(source: Source, transfer_syntax_uid: str | None, limits: Limits) -> Located:
    """Finds the data set in `source`; see `reader.read_header` for the arguments and what is raised."""
    window = _open(source)
    meta = _read_meta(window.buffer) if transfer_syntax_uid is None else _Meta("", transfer_syntax_uid)
    if meta.sop_class_uid == DICOMDIR:
        raise NotUnderstood("a DICOMDIR: it lists files and is no instance")
    start, uid = meta.offset, meta.transfer_syntax_uid
    if uid in DEFLATED:
        window, start = _inflated(window, start, limits), 0
    layout = _layout(window.buffer, start, uid)
    contradicted = bool(uid) and layout != layout_of(uid)
    return Located(window, start, layout, uid or transfer_syntax_of(layout), contradicted, meta.offset)


def named_in(head: bytes) -> str:
    """The SOP Instance UID that a Part 10 head names (0002,0003), "" where it names none (PS3.10 7.1)."""
    return _read_meta(head).sop_instance_uid


def encoding_in(head: bytes) -> tuple[str, str]:
    """The SOP class and the transfer syntax that a Part 10 head names, "" for what it does not."""
    meta = _read_meta(head)
    return meta.sop_class_uid, meta.transfer_syntax_uid


def _open(source: Source) -> Window:
    """The first window. Bytes are one window, however many."""
    if isinstance(source, bytes):
        return Window(None, source, True)
    if not isinstance(source, bytearray | memoryview):
        feed: Feed = FileFeed(source)
    elif len(source) <= _SMALL:
        return Window(None, bytes(source), True)
    else:
        feed = MemoryFeed(source)
    return Window(feed, *feed.window(0, FIRST))


def _inflated(window: Window, start: int, limits: Limits) -> Window:
    feed = DeflatedFeed(window.feed or MemoryFeed(window.buffer), start, limits)
    return Window(feed, *feed.window(0, BLOCK))


def _read_meta(window: bytes) -> _Meta:
    """Reads the file meta group, by its elements: its group length is often wrong (PS3.10 7.1)."""
    position = 132 if window[128:132] == b"DICM" else 4 if window[:4] == b"DICM" else 0
    found: dict[int, str] = {}
    for _ in range(_META_ELEMENTS):
        if position + 12 > len(window) or window[position : position + 2] != b"\x02\x00":
            break
        element, start, length = _meta_head(window, position)
        position = start + length
        if element in (_SOP_CLASS, _SOP_INSTANCE, _TRANSFER_SYNTAX) and length <= 64:
            found[element] = window[start:position].decode("ascii", "replace").strip(PADDING)
    return _Meta(
        found.get(_SOP_CLASS, ""), found.get(_TRANSFER_SYNTAX, ""), position, found.get(_SOP_INSTANCE, "")
    )


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
    high = start if layout.big else start + 1  # of the first group, which is 0008 or so
    if window[high : high + 1] != b"\0":
        return detect(window, start) or layout
    return true_layout(layout, window, start, len(window))
