"""A stored instance as a file of its own, though it is a stretch of a pack."""

import io
import os
from typing import BinaryIO, cast

from pacsbridge.blobs.blob import Blob
from pacsbridge.dicomweb.stored import opened


class _Window(io.RawIOBase):
    """Reads `length` bytes from `offset` of a file, as if there were no others."""

    def __init__(self, blob: Blob) -> None:
        self._file = opened(blob.path)
        self._offset = blob.offset
        self._length = blob.length
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        rest = max(0, self._length - self._at)
        wanted = rest if size < 0 else min(size, rest)
        piece = os.pread(self._file.fileno(), wanted, self._offset + self._at)
        self._at += len(piece)
        return piece

    def close(self) -> None:
        self._file.close()
        super().close()


def window(blob: Blob) -> BinaryIO:
    """The bytes of a blob as an open, seekable binary file, to be closed by the caller. Raises OSError."""
    return cast(BinaryIO, _Window(blob))
