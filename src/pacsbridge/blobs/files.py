"""Files copied whole or not at all, each compared on the way with the copy that there was before."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pacsbridge.blobs.folders import (
    PRIVATE_FILE,
    descriptor,
    make_folder,
    reason,
    remove,
    sync_folder,
    unavailable,
)
from pacsbridge.blobs.losses import Copied
from pacsbridge.blobs.writer import write_all

_PIECE = 8 << 20
_BLOCK = 64 << 10
"""What is left out at a time where the disk cannot read."""


class Keep(NamedTuple):
    """What is asked where a file is not its former copy, or that and more: all by descriptors.

    `place` is the file below the data directory. `settle` is given source, former and new copy, and `place`:
    it may put into the new copy what was lost, and says whether that takes the place of the former one.
    `other` is given source and former copy: the ending under which a file that is another one altogether is
    copied beside it, or None.
    """

    place: str
    settle: Callable[[int, int, int, str], bool]
    other: Callable[[int, int], str | None] = lambda _source, _former: None


def bring(path: Path, target: Path, done: Copied, advance: Callable[[int], None], keep: Keep) -> None:
    """Copy a file that has another length or time than its copy. Raises Unavailable where that is at fault.

    What cannot be read of it is a loss. A file that is gone meanwhile has been erased.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as exc:
        done.lose("unread", keep.place, reason(exc))
        return
    try:
        size = os.fstat(fd).st_size
        with unavailable(f"cannot bring the copy of {keep.place} level"):
            _bring(fd, target, done, keep)
        advance(size)
    finally:
        os.close(fd)


def listed(folder: Path, done: Copied, place: str, pattern: str) -> list[Path] | None:
    """What is in a folder of the source, in order; None, and a loss, where that cannot be told."""
    try:
        return sorted(path for path in folder.iterdir() if path.match(pattern))
    except FileNotFoundError:
        return []
    except OSError as exc:
        done.lose("unread", place, reason(exc))
        return None


def _bring(fd: int, target: Path, done: Copied, keep: Keep) -> None:
    if _is_copy(target, os.fstat(fd)):
        done.kept += 1
        return
    with descriptor(target) as former:
        ending = None if former is None else keep.other(fd, former)
        if ending is None:
            _renew(fd, former, target, done, keep)
    if ending is not None:
        beside = target.with_name(f"{target.name}.{ending}")
        done.lose("other", keep.place, f"copied as {beside.name}")
        _bring(fd, beside, done, keep)


def _renew(fd: int, former: int | None, target: Path, done: Copied, keep: Keep) -> None:
    state, losses = os.fstat(fd), len(done.losses)
    make_folder(target.parent)
    with _unfinished(target) as (path, new):
        source = _Source(fd, state.st_size)
        begins_so = _write(source, former, new)
        if source.unread:
            done.lose("unread", keep.place, f"{source.unread} bytes")
        takes = former is None or begins_so or keep.settle(fd, former, new, keep.place)
        alike = begins_so and not source.unread
        if former is not None and alike and os.fstat(former).st_size == state.st_size:
            os.utime(target, ns=(state.st_atime_ns, state.st_mtime_ns))
            takes = False
        if not takes:
            done.kept += 1
            return
        if losses == len(done.losses):  # what is not the same as the source is looked at again the next time
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
        os.fsync(new)
        path.replace(target)
    sync_folder(target.parent)
    done.files += 1
    done.bytes += state.st_size


def _is_copy(target: Path, state: os.stat_result) -> bool:
    try:
        copy = target.stat()
    except FileNotFoundError:
        return False
    return (copy.st_size, copy.st_mtime_ns) == (state.st_size, state.st_mtime_ns)


class _Source:
    """An open file; `unread` counts the bytes that the disk could not read: they are zeros."""

    def __init__(self, fd: int, size: int) -> None:
        self.unread = 0
        self._fd = fd
        self._size = size

    def pieces(self) -> Iterator[bytes]:
        """All of it, piece by piece."""
        at = 0
        while at < self._size and (piece := self._piece(at, min(_PIECE, self._size - at))):
            yield piece
            at += len(piece)

    def _piece(self, at: int, size: int) -> bytes:
        try:
            return os.pread(self._fd, size, at)
        except OSError:
            if size > _BLOCK:
                return self._piece(at, _BLOCK)
            self.unread += size
            return bytes(size)


def _write(source: _Source, former: int | None, new: int) -> bool:
    """Write the new copy; whether it begins with all that the former one has."""
    at, same = 0, former is not None
    for piece in source.pieces():
        if former is not None and same:
            known = os.pread(former, len(piece), at)
            same = piece.startswith(known)
        at = write_all(new, [piece], at)
    return former is not None and same and os.fstat(former).st_size <= at


@contextmanager
def _unfinished(target: Path) -> Iterator[tuple[Path, int]]:
    """A new file beside `target`, removed at the end unless it has taken its place."""
    path = target.with_name(f"{target.name}.new")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        yield path, fd
    finally:
        os.close(fd)
        remove(path)
