"""Where the frames of an instance stand (PS3.5 8, A.4): which bytes, or bits, of its file are which frame.

Native frames follow from the image's measures. Encapsulated ones are told apart, in this order, by the
Extended Offset Table, the Basic Offset Table, one fragment a frame, or fragments that begin as a codec
stream does. A table that contradicts the fragments is passed over; what still cannot be told is Absent.
"""

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple, overload

from pacsbridge.dicom.elements import NO_END, Element, Elements, holds_items
from pacsbridge.dicom.feeds import Feed, MemoryFeed
from pacsbridge.dicom.limits import Limits
from pacsbridge.dicom.opening import locate
from pacsbridge.dicom.transfer_syntaxes import (
    DEFLATED,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    GE_PRIVATE,
    IMPLICIT_LITTLE,
)
from pacsbridge.errors import Absent

LIMITS = Limits(elements=500_000, items=500_000, ratio=1 << 30)
"""As for metadata, but more items: a whole slide image has some hundred thousand frames."""

ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"

PIXEL_DATA = 0x7FE00010
PIXEL_TAGS: Mapping[int, int] = {0x7FE00008: 32, 0x7FE00009: 64, PIXEL_DATA: 0}
"""Float, Double Float and Pixel Data, with the bits of a sample where the tag says them (PS3.3 C.7.6.24)."""

_NATIVE = DEFLATED | {IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, GE_PRIVATE}
_VIDEO = tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109))
_EXTENDED_OFFSETS, _EXTENDED_LENGTHS = 0x7FE00001, 0x7FE00002
_SAMPLES, _PHOTOMETRIC, _FRAMES = 0x00280002, 0x00280004, 0x00280008
_ROWS, _COLUMNS, _BITS = 0x00280010, 0x00280011, 0x00280100
_MEASURES = frozenset((_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS, _BITS))
_TABLES = frozenset((_EXTENDED_OFFSETS, _EXTENDED_LENGTHS))
_STREAM_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51")  # SOI of JPEG and JPEG-LS, SOC and SIZ of JPEG 2000
_WORDS = {"OB": 1, "UN": 1, "SS": 2, "US": 2, "OW": 2, "AT": 2}
_WORDS |= {"OF": 4, "OL": 4, "FL": 4, "SL": 4, "UL": 4, "OD": 8, "OV": 8, "FD": 8, "SV": 8, "UV": 8}


class Piece(NamedTuple):
    """`length` bytes of a data set, from `start` on.

    With `bits`: so many bits from bit `bit` of that byte on, which make `length` bytes once they are shifted.
    """

    start: int
    length: int
    bit: int = 0
    bits: int = 0


@dataclass(frozen=True, slots=True)
class Run(Sequence[Piece]):
    """Some fragments as pieces, made as they are looked at: there may be very many."""

    starts: Sequence[int]
    lengths: Sequence[int]
    indexes: range

    def __len__(self) -> int:
        return len(self.indexes)

    @overload
    def __getitem__(self, at: int) -> Piece: ...
    @overload
    def __getitem__(self, at: slice) -> "Run": ...
    def __getitem__(self, at: int | slice) -> "Piece | Run":
        if isinstance(at, slice):
            return Run(self.starts, self.lengths, self.indexes[at])
        index = self.indexes[at]
        return Piece(self.starts[index], self.lengths[index])


class Words(NamedTuple):
    """A value of big endian words of `unit` bytes, from `start` to `end`; a unit of 1 is to be left alone."""

    unit: int = 1
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Native:
    """Frames one after the other without gaps, in bits where they are packed (PS3.5 8.1.1)."""

    value: Piece
    words: Words
    frame_bits: int
    count: int
    available: int
    """How many bytes of the value the file has."""

    @property
    def weight(self) -> int:
        """How much it holds in memory, in fragments."""
        return 1

    def frame(self, number: int) -> Sequence[Piece]:
        """The bytes of a frame, counted from 1. Raises Absent."""
        _check(number, self.count)
        if not self.frame_bits:
            raise Absent("the image does not say how large a frame is")
        first = (number - 1) * self.frame_bits
        start, bit = divmod(first, 8)
        if -(-(first + self.frame_bits) // 8) > self.available:
            raise Absent(f"the pixel data end before frame {number} does")
        bits = self.frame_bits if bit or self.frame_bits % 8 else 0
        return (Piece(self.value.start + start, -(-self.frame_bits // 8), bit, bits),)

    def whole(self) -> Sequence[Piece]:
        """All frames. Raises Absent."""
        if self.available < self.value.length:
            raise Absent("the pixel data are cut short")
        return (self.value,)


@dataclass(frozen=True, slots=True)
class Encapsulated:
    """Fragments; `firsts` says with which of them each frame begins, and is empty where nobody can tell.

    `exact` are lengths of frames without their padding, where they are known.
    """

    starts: Sequence[int]
    lengths: Sequence[int]
    firsts: Sequence[int]
    exact: Sequence[int]
    count: int
    video: bool

    @property
    def weight(self) -> int:
        """How much it holds in memory, in fragments."""
        return 1 + len(self.starts) + len(self.firsts)

    def frame(self, number: int) -> Sequence[Piece]:
        """The fragments of a frame, counted from 1. Raises Absent."""
        _check(number, self.count)
        if not self.firsts:
            raise Absent(f"{len(self.starts)} fragments cannot be told apart as {self.count} frames")
        first = self.firsts[number - 1]
        if self.exact:
            return (Piece(self.starts[first], self.exact[number - 1]),)
        behind = self.firsts[number] if number < len(self.firsts) else len(self.starts)
        return Run(self.starts, self.lengths, range(first, behind))


@dataclass(frozen=True, slots=True)
class Pixels:
    """The pixel data of an instance. Positions count in its file, or behind `deflated_from` once inflated."""

    tag: int
    transfer_syntax_uid: str
    deflated_from: int | None
    frames: Native | Encapsulated


@dataclass(frozen=True, slots=True)
class Value:
    """A value that is no pixel data of the image itself; `encapsulated` if it was in fragments."""

    pieces: Sequence[Piece]
    words: Words
    transfer_syntax_uid: str
    deflated_from: int | None
    encapsulated: bool


def read_pixels(file: BinaryIO) -> Pixels:
    """Finds the frames of a Part 10 file. Raises Absent, NotUnderstood, TooLarge, OSError."""
    return _Instance(file).pixels()


def read_value(file: BinaryIO, path: Sequence[int]) -> Value:
    """Finds the value at a path (see `Elements.find`) of a Part 10 file. Raises as `read_pixels`."""
    return _Instance(file).value(path)


class _Instance:
    """One open file on one walk."""

    def __init__(self, file: BinaryIO) -> None:
        found = locate(file, None, LIMITS)
        feed: Feed = found.window.feed or MemoryFeed(found.window.buffer)
        total = feed.total()
        self._end = NO_END if total is None else total
        self._elements = Elements(feed, LIMITS)
        self._start, self._layout = found.start, found.layout
        self._uid = found.transfer_syntax_uid
        self._deflated = found.dataset_offset if found.transfer_syntax_uid in DEFLATED else None

    def pixels(self) -> Pixels:
        seen: dict[int, bytes] = {}
        for element in self._elements.level(self._start, NO_END, self._layout):
            if element.tag in PIXEL_TAGS:
                return Pixels(element.tag, self._uid, self._deflated, self._frames(element, seen))
            if element.tag in _MEASURES | _TABLES and element.length <= 8 * LIMITS.items:
                seen[element.tag] = self._elements.peek(element.start, element.length)
        raise Absent("the instance has no pixel data")

    def value(self, path: Sequence[int]) -> Value:
        element = self._elements.find(path, self._start, self._layout)
        if element is None or element.vr == "SQ":
            raise Absent("no such value in the instance")
        if not element.open_ended:
            pieces: Sequence[Piece] = (self._whole(element),)
        elif holds_items(self._elements, element):
            _, fragments = self._fragments(element)
            pieces = Run(fragments.starts, fragments.lengths, range(len(fragments.starts)))
        else:
            raise Absent("a value of undefined length that is not in fragments")
        return Value(pieces, self._words(element, 0), self._uid, self._deflated, element.open_ended)

    def _whole(self, element: Element) -> Piece:
        if element.start + element.length > self._end:
            raise Absent("the value is cut short")
        return Piece(element.start, element.length)

    def _frames(self, element: Element, seen: Mapping[int, bytes]) -> Native | Encapsulated:
        if element.open_ended == (self._uid in _NATIVE):
            raise Absent("the pixel data are not encoded as their transfer syntax says")
        measures = _Measures(seen, element.layout.big, PIXEL_TAGS[element.tag])
        if element.open_ended:
            return self._encapsulated(element, seen, measures)
        value = Piece(element.start, element.length)
        available = min(element.length, max(0, self._end - element.start))
        return Native(
            value, self._words(element, measures.bits), measures.frame_bits, measures.count, available
        )

    def _words(self, element: Element, bits: int) -> Words:
        """What has to be turned round to be little endian; samples of 32 and 64 bits as wholes."""
        if element.open_ended or not (element.layout.big or (bits and self._uid == GE_PRIVATE)):
            return Words()
        unit = _WORDS.get(element.vr or "OW", 1)
        if element.vr == "OW" and bits in (32, 64):
            unit = bits // 8
        return Words(unit, element.start, min(self._end, element.start + element.length))

    def _encapsulated(
        self, element: Element, seen: Mapping[int, bytes], measures: "_Measures"
    ) -> Encapsulated:
        table, fragments = self._fragments(element)
        count = measures.count
        extended = _numbers(seen.get(_EXTENDED_OFFSETS, b""), "Q")
        firsts = _firsts(fragments, count, (extended, _numbers(table, "I")), video=self._is_video())
        exact = _numbers(seen.get(_EXTENDED_LENGTHS, b""), "Q") if extended else array("Q")
        if self._uid == ENCAPSULATED_UNCOMPRESSED:
            exact = array("Q", [-(-measures.frame_bits // 8)]) * count if measures.frame_bits else exact
        if not _agree(exact, fragments.lengths, count):
            exact = array("Q")
        return Encapsulated(fragments.starts, fragments.lengths, firsts, exact, count, self._is_video())

    def _is_video(self) -> bool:
        return self._uid.startswith(_VIDEO)

    def _fragments(self, element: Element) -> "tuple[bytes, _Fragments]":
        """The Basic Offset Table, and the fragments that are there in full."""
        found = _Fragments(array("Q"), array("Q"), bytearray())
        items = self._elements.items(element)
        first = next(items, None)
        if first is None or first.start + first.length > self._end:
            return b"", found
        table = self._elements.peek(first.start, min(first.length, 4 * LIMITS.items))
        for item in items:
            if item.start + item.length > self._end:
                break
            found.starts.append(item.start)
            found.lengths.append(item.length)
            found.marks.append(self._elements.peek(item.start, 4).startswith(_STREAM_STARTS))
        return table, found


class _Fragments(NamedTuple):
    """Where they start, how long they are, and which begin as a codec stream does."""

    starts: "array[int]"
    lengths: "array[int]"
    marks: bytearray


class _Measures:
    """What the header says of the image; what it does not say is 0, but one frame and one sample."""

    def __init__(self, seen: Mapping[int, bytes], big: bool, bits: int) -> None:
        self._seen = seen
        self._big = big
        self.bits = bits or self._number(_BITS)
        self.count = max(1, self._text_number(_FRAMES))
        samples = self._number(_SAMPLES) or 1
        pixels = self._number(_ROWS) * self._number(_COLUMNS)
        photometric = seen.get(_PHOTOMETRIC, b"").strip(b" \0")
        if photometric == b"YBR_FULL_422" and samples == 3:  # two pixels share their colour
            samples = 2
        self.frame_bits = pixels * samples * self.bits

    def _number(self, tag: int) -> int:
        return int.from_bytes(self._seen.get(tag, b"")[:2], "big" if self._big else "little")

    def _text_number(self, tag: int) -> int:
        text = self._seen.get(tag, b"").strip(b" \0")
        return int(text) if text.isdigit() and len(text) < 10 else 1


def _firsts(
    fragments: _Fragments, count: int, tables: Sequence["array[int]"], *, video: bool
) -> Sequence[int]:
    """With which fragment each frame begins; empty if that cannot be told."""
    number = len(fragments.starts)
    if number and (count == 1 or video):
        return (0,)
    for candidate in _candidates(fragments, count, tables):
        if len(candidate) == count and candidate[0] == 0:
            return candidate
    return ()


def _candidates(fragments: _Fragments, count: int, tables: Sequence["array[int]"]) -> Iterator[Sequence[int]]:
    yield from (_by_offsets(fragments.starts, offsets) for offsets in tables if len(offsets) == count)
    if len(fragments.starts) == count:
        yield range(count)
    yield array("Q", (at for at, mark in enumerate(fragments.marks) if mark))


def _by_offsets(starts: "array[int]", offsets: "array[int]") -> Sequence[int]:
    """The fragments at which the offsets of a table point; none unless all do, each behind the one before."""
    firsts = array("Q")
    for offset in offsets:
        wanted = starts[0] + offset if starts else 0
        at = bisect_left(starts, wanted)
        if at == len(starts) or starts[at] != wanted or (firsts and at <= firsts[-1]):
            return ()
        firsts.append(at)
    return firsts


def _agree(exact: Sequence[int], lengths: Sequence[int], count: int) -> bool:
    """Whether lengths without padding can be those of the fragments, one a frame."""
    if not len(exact) == len(lengths) == count:
        return False
    return all(length - 1 <= wanted <= length for wanted, length in zip(exact, lengths, strict=True))


def _numbers(raw: bytes, code: str) -> "array[int]":
    """The numbers of a table; encapsulated data sets are little endian (PS3.5 A.4)."""
    found = array(code)
    found.frombytes(raw[: len(raw) - len(raw) % found.itemsize])
    if sys.byteorder == "big":
        found.byteswap()
    return found


def _check(number: int, count: int) -> None:
    if not 1 <= number <= count:
        raise Absent(f"no frame {number}: the instance has {count}")
