"""Processes that are killed, and disks that fail underneath them."""

import random
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from pacsbridge.blobs.packs import Packs
from pacsbridge.blobs.replay import Entry
from pacsbridge.errors import Unavailable

ROUNDS = 10
PRELUDE = b"PRELUDE"

Run = Callable[..., "subprocess.Popen[str]"]


def _acknowledged(said: str) -> list[tuple[str, str]]:
    """(location, digest) of every whole line about an instance."""
    found = re.findall(r"^(pack:\S+) ([0-9a-f]{64})\n", said, re.MULTILINE)
    return [(location, digest) for location, digest in found]


def _check(folder: Path, acknowledged: list[tuple[str, str]]) -> list[Entry]:
    """After a crash: all that was acknowledged is there, once, whole; nothing else is but whole records."""
    packs = Packs(folder, min_free_bytes=0)
    entries = list(packs.replay({}))
    assert not any(entry.damaged for entry in entries)
    assert len({entry.location for entry in entries}) == len(entries)
    assert {location for location, _ in acknowledged} <= {entry.location for entry in entries}
    for location, digest in acknowledged:
        data = packs.open(location).read()
        assert data.startswith(PRELUDE)
        assert sha256(data[len(PRELUDE) :]).hexdigest() == digest
    ends = {entry.pack: entry.end for entry in entries}
    assert all(size == ends.get(name, size) for name, size in packs.packs()), "a torn tail was not cut off"
    assert list(packs.replay(ends)) == []
    assert list((folder / "incoming").iterdir()) == []
    return entries


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_kill_while_storing(tmp_path: Path, run_writer: Run, seed: int) -> None:
    """kill -9 at any moment: what was acknowledged is there and whole, and a new process goes on."""
    process = run_writer("3", "0")
    assert process.stdout is not None
    first = process.stdout.readline()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(random.Random(seed).uniform(0, 0.4))
    process.kill()
    acknowledged = _acknowledged(first + process.communicate()[0])
    assert acknowledged
    _check(tmp_path, acknowledged)
    Packs(tmp_path, min_free_bytes=0).append({}, [b"goes on"])


def _fiu(*names: str) -> tuple[str, ...]:
    """A tenth of these library calls fails with one error or another."""
    faults = [f"enable_random name=posix/io/{name},probability=0.1" for name in names]
    return ("fiu-run", "-x", *(word for fault in faults for word in ("-c", fault)))


def _strace(calls: str, error: str) -> tuple[str, ...]:
    """Every seventh of these system calls fails."""
    inject = f"inject={calls}:error={error}:when=5+7"
    return ("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", inject)


@pytest.mark.parametrize(
    "inject",
    [
        _fiu("sync/fsync", "sync/fdatasync"),
        _fiu("sync/fsync", "sync/fdatasync", "rw/ftruncate", "dir/rename", "dir/unlink"),
        _strace("pwritev,pwritev2", "ENOSPC"),
        _strace("fdatasync,ftruncate", "EIO"),
    ],
    ids=["fsync", "files", "full", "disk"],
)
def test_system_calls_that_fail(tmp_path: Path, run_writer: Run, inject: tuple[str, ...]) -> None:
    """With system calls failing now and then, a real process acknowledges only what can be read back."""
    if shutil.which(inject[0]) is None:
        pytest.skip(f"{inject[0]} is not installed")
    Packs(tmp_path, min_free_bytes=0).close()
    said = run_writer("2", "150", before=inject).communicate(timeout=60)[0]
    assert "refused" in said, "nothing was injected"
    assert said.count("\n") == 300
    _check(tmp_path, _acknowledged(said))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system cannot be mounted here (needs root)")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_recovers(small_disk: Path) -> None:
    """A full disk refuses, keeps what it has, goes on reading, and takes more as soon as there is room."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(4 << 20))
    packs = Packs(small_disk, min_free_bytes=0)
    data = random.randbytes(1 << 20)
    stored: list[str] = []
    for number in range(3):
        stored.append(packs.append({"n": number}, [data]).text)
    for _ in range(20):
        with pytest.raises(Unavailable, match="disk full"):
            packs.append({}, [data])
        with pytest.raises(Unavailable, match="disk full"), packs.spool() as spool:
            spool.write(data)
    assert all(packs.open(text).verify() for text in stored)
    assert len(packs.packs()) == 1
    ballast.unlink()
    began = time.monotonic()
    stored.append(packs.append({"n": 200}, [data]).text)
    assert time.monotonic() - began < 10
    packs.close()
    entries = _check(small_disk, [])
    assert [entry.location for entry in entries] == stored


def test_room_that_must_stay_free(small_disk: Path) -> None:
    """Below the watermark nothing is written, neither to a pack nor to a spool; the reason says so."""
    now = [0.0]
    packs = Packs(small_disk, min_free_bytes=6 << 20, clock=lambda: now[0])
    location = packs.append({}, [bytes(1 << 20)])
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(2 << 20))
    now[0] += 1.0
    with pytest.raises(Unavailable, match="disk full: too little room is left"):
        packs.append({}, [b"x"])
    with pytest.raises(Unavailable, match="too little room"):
        packs.spool(b"HEAD")
    assert list((small_disk / "incoming").iterdir()) == []
    assert packs.open(location.text).verify()
    ballast.unlink()
    packs.append({}, [b"x"])
    packs.close()
