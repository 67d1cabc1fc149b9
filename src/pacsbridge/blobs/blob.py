"""One stored instance, to be read: a stretch of a file."""

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pacsbridge.blobs.folders import unavailable
from pacsbridge.errors import Absent

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Blob:
    """`length` bytes at `offset` of `path`: the prelude, then the content whose digest is `sha256`.

    Nothing stays open between calls. Reading raises Absent when the file is gone or too short, and
    Unavailable when the disk fails.
    """

    path: Path
    offset: int
    length: int
    sha256: bytes
    prelude_size: int
    prelude_crc: int

    def read(self) -> bytes:
        """All bytes at once."""
        return b"".join(self.chunks(max(self.length, 1)))

    def chunks(self, size: int = CHUNK, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` to `stop` (to the end when None), at most `size` at a time."""
        with unavailable("cannot read an instance"):
            try:
                fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise Absent("the file of this instance is gone") from None
            try:
                yield from _chunks(
                    fd, size, self.offset + start, self.offset + (self.length if stop is None else stop)
                )
            finally:
                os.close(fd)

    def verify(self) -> bool:
        """True when every byte is as it was written; reads all of them."""
        crc, hasher = 0, sha256()
        try:
            for chunk in self.chunks(stop=self.prelude_size):
                crc = zlib.crc32(chunk, crc)
            for chunk in self.chunks(start=self.prelude_size):
                hasher.update(chunk)
        except Absent:
            return False
        return crc == self.prelude_crc and hasher.digest() == self.sha256


def _chunks(fd: int, size: int, at: int, end: int) -> Iterator[bytes]:
    while at < end:
        chunk = os.pread(fd, min(size, end - at), at)
        if not chunk:
            raise Absent("the file of this instance is cut short")
        at += len(chunk)
        yield chunk
