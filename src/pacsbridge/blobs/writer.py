"""One pack while it is written: appended to and synced by one thread at a time, locked while it lives."""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from pacsbridge.blobs.folders import PRIVATE_FILE, is_named, lock, remove, sync_folder
from pacsbridge.blobs.location import PACK_SUFFIX, pack_name, pack_number
from pacsbridge.blobs.record import HEADER_SIZE, MARK_SIZE, Buffer, header

_IOV_MAX = os.sysconf("SC_IOV_MAX")


class PackWriter:
    """The end of a pack that this process has begun. Not for several threads at once.

    Everything before `end` is durable. A writer that is not `sound` must be abandoned: what the disk holds
    behind `end` is unknown, and no later sync can be believed.
    """

    def __init__(self, path: Path, fd: int, mark: bytes) -> None:
        self.path = path
        self.name = path.name.removesuffix(PACK_SUFFIX)
        self.mark = mark
        self.end = HEADER_SIZE
        self.sound = True
        self._fd = fd

    def append(self, buffers: Sequence[Buffer]) -> None:
        """Write and sync. Raises OSError; then nothing of it counts, and `sound` says whether to go on."""
        self.sound = False
        try:
            end = write_all(self._fd, buffers, self.end)
        except OSError:
            self.sound = self._cut()
            raise
        os.fdatasync(self._fd)
        self.end = end
        self.sound = True

    def close(self) -> None:
        """End the pack; from now on it may be replayed."""
        os.close(self._fd)

    def abandon(self) -> None:
        """End the pack after a failure: cut off what is not durable; an empty pack is removed."""
        self._cut()
        if self.end == HEADER_SIZE:
            remove(self.path)
        self.close()

    def _cut(self) -> bool:
        """Shorten the file to what is durable; False when even that fails (the next replay cuts it then)."""
        try:
            os.ftruncate(self._fd, self.end)
        except OSError:
            return False
        return True


def begin(folder: Path, after: int = 0) -> PackWriter:
    """Begin a pack with a number above `after` and above those in the folder. Raises OSError.

    Its name is durable on return; its header becomes so with the first record. Another process may take the
    number first, or the lock, while it looks for packs to replay: then the next number is tried.
    """
    number = max([after, *numbers(folder)])
    while True:
        number += 1
        writer = _try_begin(folder / (pack_name(number) + PACK_SUFFIX))
        if writer is not None:
            return writer


def numbers(folder: Path) -> list[int]:
    """The numbers of the packs in a folder, ascending. Raises OSError."""
    with os.scandir(folder) as files:
        return sorted(number for file in files if (number := pack_number(file.name)) is not None)


def write_all(fd: int, buffers: Sequence[Buffer], offset: int) -> int:
    """Write all buffers at `offset`, however many and however short each write; returns the end."""
    waiting: list[Buffer] = [buffer for buffer in buffers if len(buffer)]
    first = 0
    while first < len(waiting):
        written = os.pwritev(fd, waiting[first : first + _IOV_MAX], offset)
        offset += written
        while first < len(waiting) and written >= len(waiting[first]):
            written -= len(waiting[first])
            first += 1
        if written:
            waiting[first] = memoryview(waiting[first])[written:]
    return offset


def _try_begin(path: Path) -> PackWriter | None:
    """Create, lock and head a pack; None when somebody else was quicker."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
    except FileExistsError:
        return None
    try:
        if not (lock(fd) and is_named(fd, path)):
            os.close(fd)
            return None
        mark = secrets.token_bytes(MARK_SIZE)
        write_all(fd, [header(mark)], 0)
        sync_folder(path.parent)
    except BaseException:
        remove(path)
        os.close(fd)
        raise
    return PackWriter(path, fd, mark)
