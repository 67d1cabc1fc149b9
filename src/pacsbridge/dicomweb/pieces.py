"""Pieces of a stored instance as the body of an answer: read by ranges, a batch at a time, never whole.

Little endian is made of big endian words, and frames of packed bits are shifted to begin with a byte, while
they are read. Deflated data sets are inflated on the way to a piece, which is why those only go forwards.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pacsbridge.blobs.blob import Blob
from pacsbridge.dicom.feeds import DeflatedFeed, Feed
from pacsbridge.dicom.frames import LIMITS, Piece, Words
from pacsbridge.errors import Absent

BATCH = 1 << 20
"""Bytes read and sent at a time; two batches are in memory for each client."""

_BLOCK = 64 << 10
_KEPT = 16


class Part(NamedTuple):
    """One part of a body: its head, empty where there is no multipart, and its content."""

    head: bytes
    pieces: Sequence[Piece]

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return sum(piece.length for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message body. `parts` makes its parts anew at each call: there may be very many."""

    parts: Callable[[], Iterable[Part]]
    closing: bytes
    media_type: str
    words: Words
    length: int


class Reader:
    """Bytes of the data set of one blob, wherever they stand; nothing stays open between calls.

    `deflated_from`: where in the blob a deflated data set starts, None for all others.
    """

    def __init__(self, blob: Blob, deflated_from: int | None) -> None:
        self._blob = blob
        self._deflated_from = deflated_from
        self._feed = self._open()
        self._base = 0
        self._buffer = b""

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` to `stop`. Raises Absent, Unavailable, and of deflated ones TooLarge."""
        if start < self._base:
            self._feed = self._open()
        if start < self._base or stop > self._base + len(self._buffer):
            self._base = max(0, start - _KEPT)
            self._buffer, _ = self._feed.window(self._base, max(stop - start, _BLOCK) + _KEPT)
        piece = self._buffer[start - self._base : stop - self._base]
        if len(piece) < stop - start:
            raise Absent("the instance is shorter than its header says")
        return piece

    def _open(self) -> Feed:
        """From the beginning again: nothing that is inflated is kept for going back."""
        feed = _BlobFeed(self._blob)
        return feed if self._deflated_from is None else DeflatedFeed(feed, self._deflated_from, LIMITS)


class _BlobFeed:
    """A blob as a feed."""

    def __init__(self, blob: Blob) -> None:
        self._blob = blob

    def window(self, position: int, size: int) -> tuple[bytes, bool]:
        stop = min(position + size, self._blob.length)
        return b"".join(self._blob.chunks(max(size, 1), position, stop)), stop == self._blob.length

    def total(self) -> int:
        return self._blob.length


def batches(message: Message, reader: Reader, start: int, stop: int) -> Iterator[bytes]:
    """The bytes of a body from `start` to `stop`, in order; blocks."""
    buffer, position = bytearray(), 0
    for segment in _segments(message):
        size = segment.length if isinstance(segment, Piece) else len(segment)
        at, end = max(0, start - position), min(size, stop - position)
        while at < end:
            step = min(end - at, BATCH - len(buffer))
            buffer += _cut(reader, message.words, segment, at, step)
            at += step
            if len(buffer) == BATCH:
                yield bytes(buffer)
                buffer.clear()
        position += size
    if buffer:
        yield bytes(buffer)


def _segments(message: Message) -> Iterator[bytes | Piece]:
    for part in message.parts():
        yield part.head
        yield from part.pieces
    yield message.closing


def _cut(reader: Reader, words: Words, segment: bytes | Piece, at: int, size: int) -> bytes:
    """`size` bytes of a segment from its byte `at` on."""
    if not isinstance(segment, Piece):
        return segment[at : at + size]
    start = segment.start + at
    if not segment.bits:
        return _ordered(reader, words, start, start + size)
    bits = min(8 * size, segment.bits - 8 * at)
    raw = _ordered(reader, words, start, start + (segment.bit + bits + 7) // 8)
    number = int.from_bytes(raw, "little") >> segment.bit & ((1 << bits) - 1)
    return number.to_bytes(size, "little")


def _ordered(reader: Reader, words: Words, start: int, stop: int) -> bytes:
    """Bytes of a value as they stand in little endian."""
    if words.unit == 1:
        return reader.read(start, stop)
    first = start - (start - words.start) % words.unit
    behind = min(words.end, stop + (words.start - stop) % words.unit)
    return turned(reader.read(first, behind), words.unit)[start - first : stop - first]


def turned(raw: bytes, unit: int) -> bytes:
    """Each word of `unit` bytes the other way round; what is left over behind them stays."""
    whole = len(raw) - len(raw) % unit
    out = bytearray(raw)
    for at in range(unit):
        out[at:whole:unit] = raw[unit - 1 - at : whole : unit]
    return bytes(out)
