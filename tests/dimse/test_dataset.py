"""Data sets in memory, in spools, and beyond the limits."""

import errno
from collections.abc import Callable
from typing import Any

import pytest

from pacsbridge import errors
from pacsbridge.dimse.dataset import DataSet
from pacsbridge.dimse.settings import Limits


class List:
    """A spool that only remembers, and fails from `room` bytes on."""

    def __init__(self, room: int = 1000) -> None:
        self.data = bytearray()
        self.room = room
        self.discarded = False

    @property
    def size(self) -> int:
        """Bytes taken."""
        return len(self.data)

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        """Appends, or has no space."""
        if len(self.data) + len(data) > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.data += data

    def discard(self) -> None:
        """Remembers that."""
        self.discarded = True


def collect(spool: Callable[[], Any], fragments: int, **limits: int) -> DataSet:
    """A data set of fragments of ten bytes."""
    data = DataSet(spool, Limits(**limits))
    for number in range(fragments):
        data.write(memoryview(bytes((number,)) * 10))
    return data


def test_small_ones_never_touch_a_spool() -> None:
    """Up to the limit everything stays in memory."""
    assert collect(pytest.fail, 5, memory=50).content() == b"".join(bytes((n,)) * 10 for n in range(5))


def test_large_ones_are_spooled_whole_and_leave_memory() -> None:
    """What was collected in memory goes to the spool first, then each fragment."""
    spool = List()
    data = collect(lambda: spool, 20, memory=50)
    assert data.content() is spool
    assert spool.data == b"".join(bytes((n,)) * 10 for n in range(20))
    assert not spool.discarded


def test_a_full_disk_makes_it_unavailable_and_leaves_nothing() -> None:
    """After ENOSPC the rest is only counted, the spool is gone, and the answer is "try later"."""
    spool = List(room=100)
    data = collect(lambda: spool, 20, memory=50)
    assert (data.size, spool.size, spool.discarded) == (200, 100, True)
    with pytest.raises(errors.Unavailable, match="No space left"):
        data.content()


def test_no_spool_to_be_had_is_unavailable_too() -> None:
    """A folder that cannot be written to is met when the spool is opened."""

    def none() -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.raises(errors.Unavailable):
        collect(none, 20, memory=50).content()


def test_beyond_the_limit_nothing_is_kept() -> None:
    """An instance that is too large is drained, counted and refused."""
    spool = List()
    data = collect(lambda: spool, 20, memory=50, instance=150)
    assert (data.size, spool.discarded) == (200, True)
    with pytest.raises(errors.TooLarge):
        data.content()
