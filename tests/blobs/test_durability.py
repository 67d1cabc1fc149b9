"""What is acknowledged is durable: the order of the syncs, and what a failing disk does."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pacsbridge.blobs import holes
from pacsbridge.blobs.packs import Packs
from pacsbridge.blobs.replay import Entry
from pacsbridge.errors import Unavailable

Probe = list[tuple[str, str]]


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Probe:
    """The order in which things were written, synced and renamed: (what, path below the folder)."""
    done: Probe = []

    def name(target: int | str | Path) -> str:
        path = os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else str(target)
        return str(Path(path).relative_to(tmp_path))

    def wrap(what: str, which: int) -> None:
        real = getattr(os, what)

        def wrapped(*args: object) -> object:
            target = name(args[which])  # type: ignore[arg-type]
            result = real(*args)
            done.append((what, target))
            return result

        monkeypatch.setattr(os, what, wrapped)

    for what, which in (("pwritev", 0), ("fsync", 0), ("fdatasync", 0), ("rename", 1)):
        wrap(what, which)
    return done


def test_nothing_is_acknowledged_before_the_sync(probe: Probe, tmp_path: Path) -> None:
    """A new pack: header, folder, record, sync, and only then the report; later records one sync each."""
    packs = Packs(tmp_path, committed=lambda _: probe.append(("committed", "")), min_free_bytes=0)
    probe.clear()
    packs.append({}, [b"one"])
    packs.append({}, [b"two"])
    packs.close()
    pack = "packs/00000001.pack"
    record = [("pwritev", pack), ("fdatasync", pack), ("committed", "")]
    assert probe == [("pwritev", pack), ("fsync", "packs"), *record, *record]


def test_folders_are_durable_before_they_are_used(probe: Probe, tmp_path: Path) -> None:
    """Every folder that had to be created is synced into the one above it."""
    Packs(tmp_path / "deep" / "er", min_free_bytes=0)
    assert probe == [("fsync", folder) for folder in (".", "deep", "deep/er", "deep/er", "deep/er")]


def test_an_object_is_durable_before_its_record(probe: Probe, packs: Packs) -> None:
    """fsync of the file, rename, fsync of both folders, and only then the record and its sync."""
    packs.append({}, [b"begin the pack"])
    with packs.spool() as spool:
        spool.write(b"large")
        incoming = spool.path
        probe.clear()
        path = packs.open(packs.adopt({}, spool).text).path
    folder, file = f"objects/{path.parent.name}", f"objects/{path.parent.name}/{path.name}"
    pack = "packs/00000001.pack"
    assert probe == [
        ("fsync", "objects"),
        ("fsync", f"incoming/{incoming.name}"),
        ("rename", file),
        ("fsync", folder),
        ("fsync", "incoming"),
        ("pwritev", pack),
        ("fdatasync", pack),
    ]


def test_discarding_marks_first(probe: Probe, packs: Packs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mark is durable before the bytes go, and their going is durable on return."""
    text = packs.append({}, [b"x" * 100_000]).text
    real = holes._punch

    def punch(fd: int, start: int, size: int) -> bool:
        probe.append(("punch", ""))
        return real(fd, start, size)

    monkeypatch.setattr(holes, "_punch", punch)
    probe.clear()
    packs.discard(text)
    sync = ("fdatasync", "packs/00000001.pack")
    assert probe == [sync, ("punch", ""), sync]


def _failing(monkeypatch: pytest.MonkeyPatch, function: str, code: int, times: int = 1) -> None:
    """Let a function of `os` fail the next `times` times."""
    real, left = getattr(os, function), [times]

    def fails(*args: object) -> object:
        if left[0]:
            left[0] -= 1
            raise OSError(code, os.strerror(code))
        return real(*args)

    monkeypatch.setattr(os, function, fails)


def test_after_a_failed_sync_the_pack_is_left_for_ever(
    packs: Packs, replay: Callable[[], list[Entry]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group is refused, the next append begins a new pack, and nothing of before or after is lost."""
    before = packs.append({"n": 1}, [b"before"])
    _failing(monkeypatch, "fdatasync", errno.EIO)
    with pytest.raises(Unavailable, match="cannot write a pack: the disk reports an error"):
        packs.append({"n": 2}, [b"refused"])
    after = packs.append({"n": 3}, [b"after"])
    assert (before.pack, after.pack) == ("00000001", "00000002")
    packs.close()
    assert [entry.head["n"] for entry in replay()] == [1, 3]


def test_a_pack_that_never_held_anything_is_removed(packs: Packs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that refuses every sync does not fill the folder with empty packs."""
    _failing(monkeypatch, "fdatasync", errno.ENOSPC, times=5)
    for _ in range(5):
        with pytest.raises(Unavailable, match="disk full"):
            packs.append({}, [b"x"])
    assert packs.packs() == []
    assert packs.append({}, [b"y"]).pack == "00000006"


def test_after_a_failed_write_the_pack_goes_on(
    packs: Packs, replay: Callable[[], list[Entry]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that were half written are cut off at once, and the same pack takes the next record."""
    packs.append({"n": 1}, [b"before"])
    real = os.pwritev

    def half(fd: int, buffers: list[bytes], at: int) -> int:
        real(fd, [b"".join(buffers)[:40]], at)
        raise OSError(errno.EDQUOT, "")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", half)
        with pytest.raises(Unavailable, match="disk quota reached"):
            packs.append({"n": 2}, [b"refused" * 100])
    (size,) = [size for _name, size in packs.packs()]
    assert packs.append({"n": 3}, [b"after"]).end > size
    packs.close()
    assert [(entry.head["n"], entry.pack) for entry in replay()] == [(1, "00000001"), (3, "00000001")]


def test_bytes_that_cannot_be_cut_off_are_left_behind(
    packs: Packs, replay: Callable[[], list[Entry]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where neither the write nor the cut works, a new pack is begun; the replay cuts the torn tail."""
    packs.append({"n": 1}, [b"before"])
    real = os.pwritev

    def half(fd: int, buffers: list[bytes], at: int) -> int:
        real(fd, [b"".join(buffers)[:100]], at)
        raise OSError(errno.EIO, "")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", half)
        patch.setattr(os, "ftruncate", _refuse)
        with pytest.raises(Unavailable):
            packs.append({"n": 2}, [b"refused" * 100])
    torn = packs.packs()[0][1]
    assert packs.append({"n": 3}, [b"after"]).pack == "00000002"
    packs.close()
    assert [entry.head["n"] for entry in replay()] == [1, 3]
    assert packs.packs()[0][1] == torn - 100


def _refuse(*_args: object) -> None:
    raise OSError(errno.EIO, "")


@pytest.mark.parametrize(
    ("function", "code", "words"),
    [
        ("open", errno.EMFILE, "too many open files"),
        ("open", errno.EROFS, "the file system is read-only"),
        ("fsync", errno.EIO, "the disk reports an error"),
    ],
)
def test_a_pack_that_cannot_begin(
    packs: Packs, monkeypatch: pytest.MonkeyPatch, function: str, code: int, words: str
) -> None:
    """Neither a file nor a lock stays behind, and the next append may succeed."""
    before = len(os.listdir("/proc/self/fd"))
    _failing(monkeypatch, function, code)
    with pytest.raises(Unavailable, match=f"cannot begin a pack: {words}"):
        packs.append({}, [b"x"])
    assert (packs.packs(), len(os.listdir("/proc/self/fd"))) == ([], before)
    packs.append({}, [b"y"])


def test_an_interrupted_write_abandons_the_pack(
    packs: Packs, replay: Callable[[], list[Entry]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between write and sync: what was in flight does not count, and the store goes on."""

    def interrupt(fd: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            packs.append({"n": 1}, [b"x"])
    packs.append({"n": 2}, [b"y"])
    packs.close()
    assert [entry.head["n"] for entry in replay()] == [2]


@pytest.mark.parametrize("function", ["fsync", "rename", "pwritev"])
def test_an_object_that_cannot_be_adopted(
    packs: Packs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    """Whichever step fails, the sender is refused, and neither object nor spool takes room any more."""
    packs.append({}, [b"begin the pack"])
    with packs.spool() as spool:
        spool.write(b"large")
        _failing(monkeypatch, function, errno.EIO)
        with pytest.raises(Unavailable):
            packs.adopt({}, spool)
    assert list(tmp_path.glob("objects/*/*")) == []
    assert list((tmp_path / "incoming").iterdir()) == []


def test_an_object_whose_record_is_in_doubt(packs: Packs, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed sync the record may be on the disk all the same: its object stays, as an orphan."""
    with packs.spool() as spool:
        spool.write(b"large")
        _failing(monkeypatch, "fdatasync", errno.EIO)
        with pytest.raises(Unavailable):
            packs.adopt({}, spool)
    assert len(packs.orphans(2**40)) == 1


def test_errors_on_the_way_back_are_unavailable(packs: Packs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that cannot be read is no reason to say that nothing is there."""
    location = packs.append({}, [b"x"])
    blob = packs.open(location.text)
    monkeypatch.setattr(os, "pread", lambda *_: _refuse())
    with pytest.raises(Unavailable, match="cannot read a pack"):
        packs.open(location.text)
    with pytest.raises(Unavailable, match="cannot read an instance"):
        blob.read()
