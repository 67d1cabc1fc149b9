"""Whether the disk takes writes: the fault of the last one, and tries that find out when it is over."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog

from pacsbridge.blobs.folders import PRIVATE_FILE, remove, sync_folder, unavailable
from pacsbridge.blobs.writer import write_all
from pacsbridge.errors import Unavailable

log = structlog.get_logger("pacsbridge.blobs")

TRY_SECONDS = 5.0
"""How long after a failure, or a try that failed, the next try may come at the earliest."""

_NAME = "trial"
_TRIAL = bytes(1 << 20)
"""As much as a common instance: a disk that is full for those is not well with room for a few bytes."""


class Writes:
    """What came of the last write to some folders, for any number of threads."""

    def __init__(self, folders: Sequence[Path], clock: Callable[[], float] = time.monotonic) -> None:
        self._folders = folders
        self._clock = clock
        self._trying = threading.Lock()
        self._failed = float("-inf")
        self._fault: str | None = None

    @contextmanager
    def watched(self, deed: str, *, durable: bool = True) -> Iterator[None]:
        """Something that writes; `durable`: it syncs as well, so that its success ends an earlier fault.

        Raises Unavailable for OSError: `deed` is what failed, e.g. "cannot write a pack".
        """
        try:
            with unavailable(deed):
                yield
        except Unavailable as exc:
            self._note(str(exc))
            raise
        if durable:
            self._note(None)

    def fault(self) -> str | None:
        """What is wrong with writing; None when nothing is known to be.

        After a failure this writes and syncs a file of 1 MiB in each of the folders and removes it again,
        once in `TRY_SECONDS`: nobody has to send anything until it is known that the disk is well again.
        """
        if self._fault is not None and self._clock() - self._failed >= TRY_SECONDS:
            self._try()
        return self._fault

    def _try(self) -> None:
        """One thread tries; a disk that hangs holds up no other."""
        if not self._trying.acquire(blocking=False):
            return
        try:
            with self.watched("cannot write"):
                for folder in self._folders:
                    _write(folder)
        except Unavailable:
            return
        finally:
            self._trying.release()

    def _note(self, fault: str | None) -> None:
        before, self._fault = self._fault, fault
        if fault is not None:
            self._failed = self._clock()
        if before is None and fault is not None:
            log.error("writing_fails", reason=fault)
        elif before is not None and fault is None:
            log.info("writing_works_again")


def _write(folder: Path) -> None:
    """Write a file, sync it and its name, and remove it again. Raises OSError."""
    path = folder / _NAME
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        write_all(fd, [_TRIAL], 0)
        os.fsync(fd)
        sync_folder(folder)
    finally:
        os.close(fd)
        remove(path)
