"""The watermark asks the file system seldom, and often enough."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from pacsbridge.blobs.space import EVERY_BYTES, Space, Watermark
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


@pytest.mark.parametrize(
    ("mark", "free", "kept_back", "low"),
    [
        (Watermark(), 0, 0, False),
        (Watermark(free_bytes=100 * MIB), 100 * MIB, 0, False),
        (Watermark(free_bytes=100 * MIB), 99 * MIB, 0, True),
        (Watermark(used_percent=90), 100 * MIB, 0, False),
        (Watermark(used_percent=90), 99 * MIB, 0, True),
        (Watermark(used_percent=90), 100 * MIB, 500 * MIB, False),
        (Watermark(used_percent=90), 99 * MIB, 500 * MIB, True),
    ],
)
def test_low_is_what_is_beyond_the_mark(
    monkeypatch: pytest.MonkeyPatch, mark: Watermark, free: int, kept_back: int, low: bool
) -> None:
    """Bytes, and per cent as df has them: what is kept back for the system counts on neither side."""
    state = SimpleNamespace(
        f_bavail=free // 4096,
        f_bfree=(free + kept_back) // 4096,
        f_blocks=(1000 * MIB + kept_back) // 4096,
        f_frsize=4096,
    )
    monkeypatch.setattr(os, "statvfs", lambda _folder: state)
    assert Space(Path(), 0).is_low(mark) == low


def test_a_disk_that_cannot_be_asked_is_low(tmp_path: Path) -> None:
    """Nothing could be stored there either; without a mark nobody asks."""
    gone = Space(tmp_path / "gone", 0)
    assert gone.is_low(Watermark(1))
    assert not gone.is_low(Watermark())
