"""Erasing a stretch of a file and giving its room back to the file system."""

import ctypes
import os
from collections.abc import Callable
from functools import cache

_KEEP_SIZE_PUNCH_HOLE = 0x01 | 0x02
_ZEROS = bytes(1 << 20)


def erase(fd: int, start: int, size: int) -> None:
    """Make `size` bytes at `start` zeros, durably; a hole where the file system can. Raises OSError."""
    if size and not _punch(fd, start, size):
        _overwrite(fd, start, start + size)
    os.fdatasync(fd)


def _punch(fd: int, start: int, size: int) -> bool:
    fallocate = _fallocate()
    return fallocate is not None and fallocate(fd, _KEEP_SIZE_PUNCH_HOLE, start, size) == 0


def _overwrite(fd: int, at: int, end: int) -> None:
    while at < end:
        at += os.pwrite(fd, _ZEROS[: end - at], at)


@cache
def _fallocate() -> Callable[[int, int, int, int], int] | None:
    """Linux's fallocate(2), which Python lacks; None elsewhere."""
    function = getattr(ctypes.CDLL(None), "fallocate64", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
        function.restype = ctypes.c_int
    return function
