"""The watermark asks the file system seldom, and often enough."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from pacsbridge.blobs.space import EVERY_BYTES, Space
from pacsbridge.errors import Unavailable

MIB = 1 << 20


class Disk:
    """A file system with so many free bytes, that counts the questions."""

    def __init__(self) -> None:
        self.free = 500 * MIB
        self.asked = 0

    def __call__(self, _folder: object) -> SimpleNamespace:
        self.asked += 1
        return SimpleNamespace(f_bavail=self.free // 4096, f_frsize=4096)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Stands for the real one."""
    disk = Disk()
    monkeypatch.setattr(os, "statvfs", disk)
    return disk


def test_asks_once_a_second(disk: Disk) -> None:
    """A thousand small writes in a second are one question."""
    now = [100.0]
    space = Space(Path(), 100 * MIB, lambda: now[0])
    for _ in range(1000):
        space.claim(1000)
        now[0] += 0.0009
    assert disk.asked == 1
    now[0] += 1.0
    disk.free = 99 * MIB
    with pytest.raises(Unavailable, match="disk full"):
        space.claim(1000)


def test_asks_again_after_many_bytes(disk: Disk) -> None:
    """However fast the writer: what it writes between two questions is bounded."""
    space = Space(Path(), 100 * MIB, lambda: 0.0)
    space.claim(1)
    disk.free = 100 * MIB
    for _ in range(EVERY_BYTES // MIB - 1):
        space.claim(MIB)
    assert disk.asked == 1
    with pytest.raises(Unavailable):
        space.claim(2 * MIB)
    assert disk.asked == 2


def test_never_promises_more_than_there_is(disk: Disk) -> None:
    """Close to the mark, the room that is left is counted down exactly, and one write is never too large."""
    disk.free = 110 * MIB
    space = Space(Path(), 100 * MIB, lambda: 0.0)
    with pytest.raises(Unavailable):
        space.claim(11 * MIB)
    space.claim(10 * MIB)
    disk.free -= 10 * MIB
    with pytest.raises(Unavailable):
        space.claim(1)


def test_recovers_at_once(disk: Disk) -> None:
    """While the disk is full every write asks, so that the first one with room succeeds."""
    space = Space(Path(), 100 * MIB, lambda: 0.0)
    disk.free = 0
    for _ in range(3):
        with pytest.raises(Unavailable):
            space.claim(1)
    disk.free = 200 * MIB
    space.claim(1)


def test_zero_switches_it_off(disk: Disk) -> None:
    """Then the file system is never asked."""
    Space(Path(), 0).claim(1 << 60)
    assert disk.asked == 0
