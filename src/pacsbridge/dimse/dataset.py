"""A data set while its fragments arrive: a small one in memory, a large one in a spool."""

from collections.abc import Callable
from dataclasses import replace

from pacsbridge import errors
from pacsbridge.blobs.spool import Spool
from pacsbridge.dimse.settings import Limits


def in_memory(limits: Limits, most: int) -> "DataSet":
    """A data set that is read here: in memory, up to `most` bytes."""
    return DataSet(_no_spool, replace(limits, memory=most, instance=most))


def _no_spool() -> Spool:
    raise AssertionError  # what is too long for memory is refused before


class DataSet:
    """A data set while its fragments arrive: in memory, beyond `limits.memory` in a spool."""

    __slots__ = ("_limits", "_memory", "_new_spool", "_spool", "fault", "size")

    def __init__(self, new_spool: Callable[[], Spool], limits: Limits) -> None:
        self._new_spool = new_spool
        self._limits = limits
        self._memory = bytearray()
        self._spool: Spool | None = None
        self.fault: Exception | None = None
        self.size = 0

    def write(self, fragment: memoryview) -> None:
        """Takes the next fragment. A fault is kept for `content`, and what follows is only counted."""
        self.size += len(fragment)
        if self.fault is None:
            try:
                self._keep(fragment)
            except Exception as fault:
                self.fault = fault
                self.discard()

    def _keep(self, fragment: memoryview) -> None:
        if self.size > self._limits.instance:
            raise errors.TooLarge(f"longer than {self._limits.instance} bytes")
        if self._spool is None and self.size > self._limits.memory:
            self._spill()
        if self._spool is None:
            self._memory += fragment
        else:
            self._spool.write(fragment)

    def _spill(self) -> None:
        """From memory to a spool."""
        self._spool = self._new_spool()
        self._spool.write(self._memory)
        self._memory = bytearray()

    def content(self) -> "bytearray | Spool":
        """All of it; raises the fault met on the way, one of the file system as errors.Unavailable."""
        if isinstance(self.fault, OSError):
            raise errors.Unavailable(f"cannot spool: {self.fault.strerror}") from self.fault
        if self.fault is not None:
            raise self.fault
        return self._memory if self._spool is None else self._spool

    def discard(self) -> None:
        """Lets go of what was kept."""
        self._memory = bytearray()
        spool, self._spool = self._spool, None
        if spool is not None:
            spool.discard()
