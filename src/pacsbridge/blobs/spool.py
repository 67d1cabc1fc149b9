"""Large instances while they are received: a file each in `incoming/`, locked by its process."""

import os
import secrets
import zlib
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from pacsbridge.blobs.folders import PRIVATE_FILE, is_named, lock, remove, sync_folder, unavailable
from pacsbridge.blobs.record import MAX_HEAD, Buffer
from pacsbridge.blobs.space import Space
from pacsbridge.blobs.writer import write_all
from pacsbridge.blobs.writes import Writes


class Spool:
    """A file that grows: the prelude (the Part 10 head), then what is written. Leave it by `discard`.

    As a context manager it discards itself, unless it has been adopted by then. For one thread at a time.
    """

    def __init__(self, folder: Path, space: Space, writes: Writes, prelude: bytes = b"") -> None:
        """Create the file. Raises Unavailable, and ValueError when the prelude is longer than MAX_HEAD."""
        if len(prelude) > MAX_HEAD:
            raise ValueError(f"prelude of {len(prelude)} bytes; the most is {MAX_HEAD}")
        self.prelude = prelude
        self.size = 0
        self._space = space
        self._writes = writes
        self._hasher = sha256()
        with writes.watched("cannot begin a spool", durable=False):
            self.path, self._fd = _create(folder)
        try:
            self._append(prelude)
        except BaseException:
            self.discard()
            raise

    def write(self, data: Buffer) -> None:
        """Append bytes of the data set. Raises Unavailable; the spool can then only be discarded."""
        self._append(data)
        self._hasher.update(data)

    @property
    def sha256(self) -> bytes:
        """Digest of what has been written so far behind the prelude."""
        return self._hasher.digest()

    @property
    def prelude_crc(self) -> int:
        """CRC-32 of the prelude."""
        return zlib.crc32(self.prelude)

    def file(self) -> BinaryIO:
        """The file from its first byte, to read the header back. Raises Unavailable."""
        with unavailable("cannot read a spool"):
            return self.path.open("rb")

    def move(self, target: Path) -> None:
        """Make it durable under another name of the same file system. Raises OSError."""
        os.fsync(self._fd)
        os.rename(self.path, target)
        sync_folder(target.parent)
        sync_folder(self.path.parent)
        self._close()

    def discard(self) -> None:
        """Remove the file; nothing happens when it has been moved or discarded before."""
        if self._fd >= 0:
            remove(self.path)
            self._close()

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def _append(self, data: Buffer) -> None:
        self._space.claim(len(data))
        with self._writes.watched("cannot write a spool", durable=False):
            self.size = write_all(self._fd, [data], self.size)

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        os.close(fd)


def remove_leftovers(folder: Path) -> int:
    """Remove the spools of processes that are no more; returns how many. Raises OSError."""
    return sum(_remove_if_dead(path) for path in list(folder.iterdir()))


def _remove_if_dead(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        dead = lock(fd)
        if dead:
            path.unlink(missing_ok=True)
        return dead
    finally:
        os.close(fd)


def _create(folder: Path) -> tuple[Path, int]:
    """A new locked file. Where another process took it for a leftover in between, the next one is tried."""
    while True:
        path = folder / secrets.token_hex(16)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
        if lock(fd) and is_named(fd, path):
            return path, fd
        os.close(fd)
