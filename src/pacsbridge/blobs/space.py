"""The room that must stay free on the disk."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pacsbridge.blobs.folders import unavailable
from pacsbridge.errors import Unavailable

EVERY_SECONDS = 1.0
EVERY_BYTES = 64 << 20
"""How old an answer of the file system may become, whichever comes first."""


class Watermark(NamedTuple):
    """The disk is low with less than `free_bytes` free, or more than `used_percent` used, as `df` has it."""

    free_bytes: int = 0
    used_percent: int = 100


NEVER = Watermark()
"""The mark that no disk is beyond."""


class Space:
    """Refuses to write while less than `minimum` bytes are free.

    Threads may share it without a lock: what they can disturb is only when the file system is asked next.
    """

    def __init__(self, folder: Path, minimum: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._minimum = minimum
        self._clock = clock
        self._asked = float("-inf")
        self._room = 0

    def claim(self, size: int) -> None:
        """Before `size` bytes are written. Raises Unavailable when that would leave too little."""
        if not self._minimum:
            return
        self._room -= size
        now = self._clock()
        if self._room < 0 or now - self._asked >= EVERY_SECONDS:
            self._asked = now
            spare = self.free() - self._minimum - size
            self._room = min(spare, EVERY_BYTES)
            if spare < 0:
                raise Unavailable("disk full: too little room is left")

    def free(self) -> int:
        """Bytes that are free for this user. Raises Unavailable."""
        return _free(self._state())

    def is_low(self, mark: Watermark) -> bool:
        """Whether the disk is beyond a mark; one that cannot be asked is."""
        if mark == NEVER:
            return False
        try:
            state = self._state()
        except Unavailable:
            return True
        return _free(state) < mark.free_bytes or _used_percent(state) > mark.used_percent

    def _state(self) -> os.statvfs_result:
        with unavailable("cannot ask for the free space"):
            return os.statvfs(self._folder)


def _free(state: os.statvfs_result) -> int:
    return state.f_bavail * state.f_frsize


def _used_percent(state: os.statvfs_result) -> float:
    """The share of what this user could have: what is kept back for the system counts on neither side."""
    used = state.f_blocks - state.f_bfree
    return 100 * used / max(used + state.f_bavail, 1)
