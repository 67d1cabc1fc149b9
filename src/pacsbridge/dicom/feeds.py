"""Where the bytes of a data set come from: memory, a file, a deflated stream.

A feed hands out windows. Positions never go back, so that what lies before one can be forgotten; of a file,
what is passed over is never read.
"""

import zlib
from io import SEEK_END
from typing import BinaryIO, Protocol

from pacsbridge.dicom.limits import Limits
from pacsbridge.errors import NotUnderstood, TooLarge

Source = bytes | bytearray | memoryview | BinaryIO

_BLOCK = 64 << 10
_RATIO_FROM = 1 << 20


class Feed(Protocol):
    """`window` returns bytes from `position` on, and whether the data set ends with them.

    There are `size` bytes, or fewer if it ends.
    """

    def window(self, position: int, size: int) -> tuple[bytes, bool]:
        """The bytes at `position`."""
        ...

    def total(self) -> int | None:
        """How many bytes there are; None where only reading them all would tell."""
        ...


class MemoryFeed:
    """Bytes that are in memory already."""

    def __init__(self, source: bytes | bytearray | memoryview) -> None:
        self._view = memoryview(source).cast("B")

    def window(self, position: int, size: int) -> tuple[bytes, bool]:
        """A copy of the bytes at `position`."""
        piece = bytes(self._view[position : position + size])
        return piece, position + len(piece) >= len(self._view)

    def total(self) -> int:
        """The length of what is in memory."""
        return len(self._view)


class FileFeed:
    """A seekable binary file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def window(self, position: int, size: int) -> tuple[bytes, bool]:
        """Reads at `position`. Raises OSError."""
        self._file.seek(position)
        parts: list[bytes] = []
        while size > 0 and (part := self._file.read(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts), size > 0

    def total(self) -> int:
        """The length of the file. Raises OSError."""
        return self._file.seek(0, SEEK_END)


class DeflatedFeed:
    """A data set deflated as PS3.5 A.5 says, inflated only as far as it is asked for."""

    def __init__(self, deflated: Feed, position: int, limits: Limits) -> None:
        self._deflated = deflated
        self._read = position
        self._limits = limits
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._tail = b""
        self._consumed = 0
        self._buffer = bytearray()
        self._start = 0
        self._ended = False

    def window(self, position: int, size: int) -> tuple[bytes, bool]:
        """Inflates up to `position + size`. Raises TooLarge, NotUnderstood."""
        while not self._ended and self._start + len(self._buffer) < position + size:
            self._forget(position)
            self._inflate()
        self._forget(position)
        return bytes(self._buffer[:size]), self._ended and len(self._buffer) <= size

    def total(self) -> None:
        """Nobody knows."""

    def _forget(self, position: int) -> None:
        gone = min(position - self._start, len(self._buffer))
        if gone > 0:
            del self._buffer[:gone]
            self._start += gone

    def _inflate(self) -> None:
        chunk = self._tail
        if not chunk:
            chunk, _ = self._deflated.window(self._read, _BLOCK)
            self._read += len(chunk)
        try:
            piece = self._inflater.decompress(chunk, _BLOCK)
        except zlib.error as error:
            if not self._start and not self._buffer:
                raise NotUnderstood("the deflated data set is damaged") from error
            self._ended = True
            return
        self._tail = self._inflater.unconsumed_tail
        self._consumed += len(chunk) - len(self._tail)
        self._buffer += piece
        self._ended = self._inflater.eof or not (chunk or piece)
        self._check()

    def _check(self) -> None:
        out = self._start + len(self._buffer)
        if out > self._limits.inflated:
            raise TooLarge(f"a deflated header of more than {self._limits.inflated} bytes")
        if out > _RATIO_FROM and out > self._limits.ratio * max(self._consumed, 1):
            raise TooLarge(f"a data set deflated by more than {self._limits.ratio} to 1")


class View:
    """What is looked at of a feed: `block` bytes are fetched at a time, and kept until others are wanted."""

    def __init__(self, feed: Feed, block: int) -> None:
        self._feed = feed
        self._block = block
        self._base = 0
        self._buffer = b""

    def peek(self, position: int, size: int) -> bytes:
        """Up to `size` bytes at `position`, which must not lie before that of an earlier call."""
        at = position - self._base
        if at < 0 or at + size > len(self._buffer):
            self._buffer, _ = self._feed.window(position, max(size, self._block))
            self._base, at = position, 0
        return self._buffer[at : at + size]
