"""Folders, locks and errors of the file system: what every part of the blob store needs."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from pacsbridge.errors import Unavailable

log = structlog.get_logger("pacsbridge.blobs")

PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600

_REASONS = {
    errno.ENOSPC: "disk full",
    errno.EDQUOT: "disk quota reached",
    errno.EIO: "the disk reports an error",
    errno.EROFS: "the file system is read-only",
    errno.EMFILE: "too many open files",
    errno.ENFILE: "too many open files",
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.ENOENT: "a folder is missing",
}


@contextmanager
def unavailable(deed: str) -> Iterator[None]:
    """Translate OSError into Unavailable: `deed` is what failed, e.g. "cannot write a pack"."""
    try:
        yield
    except OSError as exc:
        raise Unavailable(f"{deed}: {reason(exc)}") from exc


def reason(exc: OSError) -> str:
    """What went wrong, in words that name no path."""
    return _REASONS.get(exc.errno or 0) or exc.strerror or type(exc).__name__


def make_folder(folder: Path) -> None:
    """Create a folder that survives a power cut, with the folders above it. Raises OSError."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def descriptor(path: Path, flags: int = os.O_RDONLY) -> Iterator[int | None]:
    """A file that is open; None where there is none. Raises OSError."""
    try:
        fd = os.open(path, flags | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)


def remove(path: Path) -> None:
    """Remove a file that is of no use. Where that fails the log says so: the file takes room, and no more."""
    try:
        path.unlink(missing_ok=True)
    except OSError as exc:
        log.warning("file_not_removed", folder=path.parent.name, reason=reason(exc))


def lock(fd: int) -> bool:
    """Take the file's lock unless somebody else holds it; it lasts until the descriptor is closed."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_named(fd: int, path: Path) -> bool:
    """True while `path` still names the file that is open as `fd`."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def allocated(path: Path) -> int:
    """Bytes that a file takes on the disk, without its holes. Raises OSError."""
    return path.stat().st_blocks * 512
