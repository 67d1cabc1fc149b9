"""Whether the disk takes writes is known from the last one, and found out again without a caller."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pacsbridge.blobs.packs import Packs
from pacsbridge.blobs.writes import TRY_SECONDS
from pacsbridge.errors import Unavailable

READ_ONLY = "the file system is read-only"


class Disk:
    """Calls that write or sync fail with `error` while it is set; `tried` counts those that were made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error = 0
        self.tried = 0
        for name in ("pwritev", "fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self._failing(getattr(os, name)))

    def _failing(self, real: Callable[..., int]) -> Callable[..., int]:
        def call(*arguments: object) -> int:
            self.tried += 1
            if self.error:
                raise OSError(self.error, os.strerror(self.error))
            return real(*arguments)

        return call


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Stands before the real one."""
    return Disk(monkeypatch)


@pytest.fixture
def now() -> list[float]:
    """What the clock says."""
    return [100.0]


@pytest.fixture
def packs(tmp_path: Path, disk: Disk, now: list[float]) -> Packs:
    """A store on that disk."""
    return Packs(tmp_path, min_free_bytes=0, clock=lambda: now[0])


def _append(packs: Packs) -> None:
    packs.append({}, [b"small"])


def _spool(packs: Packs) -> None:
    with packs.spool() as spool:
        spool.write(b"large")


def _adopt(packs: Packs) -> None:
    with packs.spool() as spool:
        spool.write(b"large")
        packs.adopt({}, spool)


@pytest.mark.parametrize("write", [_append, _spool, _adopt])
@pytest.mark.parametrize("error", [errno.EIO, errno.EROFS, errno.ENOSPC])
def test_a_failed_write_is_known(
    packs: Packs, disk: Disk, error: int, write: Callable[[Packs], None]
) -> None:
    """Whatever kind of write fails, at whatever: why is told until one is durable again."""
    write(packs)
    assert packs.write_fault() is None
    disk.error = error
    with pytest.raises(Unavailable) as raised:
        write(packs)
    assert packs.write_fault() == str(raised.value)
    disk.error = 0
    _append(packs)
    assert packs.write_fault() is None


def test_what_is_not_synced_proves_nothing(packs: Packs, disk: Disk) -> None:
    """A spool that takes bytes while syncs fail does not make the disk well."""
    disk.error = errno.EIO
    with pytest.raises(Unavailable):
        _append(packs)
    disk.error = 0
    _spool(packs)
    assert packs.write_fault() is not None


def test_it_is_found_out_without_a_caller(packs: Packs, disk: Disk, now: list[float], tmp_path: Path) -> None:
    """Asking alone tries again, once in five seconds however often it is asked, and leaves no file."""
    _append(packs)
    disk.error = errno.EROFS
    with pytest.raises(Unavailable):
        _append(packs)
    before = sorted(tmp_path.rglob("*"))
    for _ in range(3):
        now[0] += TRY_SECONDS
        disk.tried = 0
        for _ in range(100):
            assert READ_ONLY in str(packs.write_fault())
        assert disk.tried == 1
    disk.error = 0
    now[0] += TRY_SECONDS - 0.1
    assert READ_ONLY in str(packs.write_fault())
    now[0] += 0.2
    assert packs.write_fault() is None
    assert sorted(tmp_path.rglob("*")) == before


def test_a_disk_that_hangs_holds_up_one_question(
    packs: Packs, disk: Disk, now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one try hangs, others are answered at once by what is known."""
    disk.error = errno.EIO
    with pytest.raises(Unavailable):
        _append(packs)
    disk.error = 0
    now[0] += TRY_SECONDS
    begun, over, real = threading.Event(), threading.Event(), os.fsync

    def hang(fd: int) -> None:
        begun.set()
        assert over.wait(30)
        real(fd)

    monkeypatch.setattr(os, "fsync", hang)
    asking = threading.Thread(target=packs.write_fault)
    asking.start()
    assert begun.wait(30)
    assert packs.write_fault() is not None
    over.set()
    asking.join()
    assert packs.write_fault() is None
