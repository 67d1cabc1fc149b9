"""The room that must stay free on the disk."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from pacsbridge.blobs.folders import unavailable
from pacsbridge.errors import Unavailable

EVERY_SECONDS = 1.0
EVERY_BYTES = 64 << 20
"""How old an answer of the file system may become, whichever comes first."""


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
        with unavailable("cannot ask for the free space"):
            state = os.statvfs(self._folder)
        return state.f_bavail * state.f_frsize
