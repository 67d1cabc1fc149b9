"""The contract of the blob store."""

import os
import stat
import threading
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import pytest

from pacsbridge.blobs.packs import Committed, Packs
from pacsbridge.blobs.replay import Entry
from pacsbridge.errors import Absent, Unavailable


def _in_threads(count: int, work: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


def test_reads_back_what_was_appended(packs: Packs) -> None:
    """Prelude and every buffer come back as one, and the digest is that of the payload alone."""
    location = packs.append({"a": 1}, [b"one", bytearray(b"two"), memoryview(b"three")], b"HEAD")
    blob = packs.open(location.text)
    assert blob.read() == b"HEADonetwothree"
    assert (blob.length, location.size, blob.prelude_size) == (15, 15, 4)
    assert location.sha256 == blob.sha256 == sha256(b"onetwothree").digest()
    assert b"".join(blob.chunks(4)) == b"HEADonetwothree"
    assert [len(chunk) for chunk in blob.chunks(4)] == [4, 4, 4, 3]
    assert blob.path.read_bytes()[blob.offset : blob.offset + blob.length] == b"HEADonetwothree"
    assert blob.verify()


def test_stores_an_empty_payload(packs: Packs) -> None:
    """Nothing at all is an instance too."""
    location = packs.append({}, [])
    assert packs.open(location.text).read() == b""
    assert packs.open(location.text).verify()


def test_more_buffers_than_one_write_takes(packs: Packs) -> None:
    """A payload in 5,000 pieces is written whole, though one system call takes about a thousand."""
    location = packs.append({}, [b"%04d" % number for number in range(5000)])
    assert packs.open(location.text).read() == b"".join(b"%04d" % number for number in range(5000))


def test_wide_memoryviews_count_in_bytes(packs: Packs) -> None:
    """A memoryview of 16-bit words is stored in its full length."""
    words = memoryview(bytes(range(8))).cast("H")
    assert packs.open(packs.append({}, [words]).text).read() == bytes(range(8))


def test_short_writes_are_continued(packs: Packs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that takes five bytes at a time loses none."""
    real = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda fd, buffers, at: real(fd, [b"".join(buffers)[:5]], at))
    location = packs.append({"h": 1}, [b"abc", b"", b"defghij", b"k"])
    assert packs.open(location.text).read() == b"abcdefghijk"


def test_uses_the_digest_of_the_caller(packs: Packs) -> None:
    """A digest that the caller knows is not computed again, and stands in the record."""
    wrong = b"x" * 32
    location = packs.append({}, [b"data"], sha256=wrong)
    assert location.sha256 == wrong
    assert not packs.open(location.text).verify()


def test_begins_no_pack_before_the_first_append(packs: Packs) -> None:
    """A process that stores nothing leaves nothing."""
    assert packs.packs() == []
    packs.append({}, [b"x"])
    assert [name for name, _size in packs.packs()] == ["00000001"]


def test_rolls_over(tmp_path: Path) -> None:
    """A pack that has reached its length is followed by the next; all of them stay readable."""
    packs = Packs(tmp_path, pack_bytes=1000, min_free_bytes=0)
    locations = [packs.append({"n": n}, [b"%d" % n * 600]) for n in range(6)]
    assert [location.pack for location in locations] == [f"{n:08d}" for n in (1, 1, 2, 2, 3, 3)]
    assert [packs.open(location.text).read()[:1] for location in locations] == [b"%d" % n for n in range(6)]
    assert packs.total_bytes() >= sum(size for _name, size in packs.packs())
    packs.close()


def test_skips_numbers_that_are_taken(packs: Packs, pack_file: Callable[[str], Path]) -> None:
    """Gaps are tolerated: the next number is above every one there is, and foreign files do not matter."""
    pack_file("00000041").write_bytes(b"")
    pack_file("00000041").with_name("notes.txt").write_text("mine")
    assert packs.append({}, [b"x"]).pack == "00000042"


def test_is_private(tmp_path: Path, packs: Packs) -> None:
    """Nobody else may read packs, objects, or the folders that hold them."""
    packs.append({}, [b"x"])
    with packs.spool() as spool:
        spool.write(b"y")
        packs.adopt({}, spool)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert len(modes) == 6
    assert all(mode == (0o700 if path.is_dir() else 0o600) for path, mode in modes.items())


def test_refuses_heads_that_are_too_long(packs: Packs) -> None:
    """A head beyond the limit is the caller's mistake, and nothing is written."""
    with pytest.raises(ValueError, match="head of"):
        packs.append({"x": "y" * (1 << 20)}, [b"z"])
    with pytest.raises(ValueError, match="prelude of"):
        packs.append({}, [b"z"], prelude=bytes((1 << 20) + 1))
    assert packs.packs() == []


def test_heads_keep_any_text(packs: Packs, replay: Callable[[], list[Entry]]) -> None:
    """Text beyond ASCII, and even half a surrogate pair, comes back as it was."""
    head = {"text": "Grüße 山田 \ud800 \x00", "list": [1, None, True], "nested": {"a": 1.5}}
    packs.append(head, [b"x"])
    packs.close()
    assert replay()[0].head == head


def test_reports_commits_in_pack_order(tmp_path: Path) -> None:
    """Eight threads of 200: `committed` hears of each once, with its token, in the order of the pack."""
    heard: list[Committed] = []
    reported: set[str] = set()

    def hear(entries: Sequence[Committed]) -> None:
        heard.extend(entries)
        reported.update(one.location.text for one in entries)

    packs = Packs(tmp_path, pack_bytes=20_000, committed=hear, min_free_bytes=0)
    returned: dict[tuple[int, int], str] = {}

    def work(thread: int) -> None:
        for number in range(200):
            location = packs.append({"id": [thread, number]}, [b"%d-%d" % (thread, number)], token=number)
            if location.text in reported:
                returned[thread, number] = location.text

    _in_threads(8, work)
    packs.close()
    assert len(set(returned.values())) == 1600, "acknowledged before it was reported"
    assert [one.token for one in heard] == [one.head["id"][1] for one in heard]
    ends = [(one.location.pack, one.location.end) for one in heard]
    assert ends == sorted(ends)
    entries = list(Packs(tmp_path, min_free_bytes=0).replay({}))
    assert [entry.location for entry in entries] == [one.location.text for one in heard]
    assert all(packs.open(text).read() == b"%d-%d" % key for key, text in returned.items())


def test_waiting_threads_share_a_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one sync is under way, all that arrives waits for one more and no further one."""
    packs = Packs(tmp_path, min_free_bytes=0)
    gate, arrived, syncs = threading.Event(), threading.Semaphore(0), []
    real = os.fdatasync

    def slow(fd: int) -> None:
        syncs.append(fd)
        arrived.release()
        assert gate.wait(20)
        real(fd)

    monkeypatch.setattr(os, "fdatasync", slow)
    first = threading.Thread(target=packs.append, args=({}, [b"first"]))
    first.start()
    assert arrived.acquire(timeout=20)
    others = [threading.Thread(target=packs.append, args=({}, [b"other"])) for _ in range(5)]
    for thread in others:
        thread.start()
    _until(lambda: len(packs._group._waiting) == 5)
    gate.set()
    for thread in (first, *others):
        thread.join(20)
    assert len(syncs) == 2
    packs.close()


def test_an_error_of_the_listener_reaches_every_caller(tmp_path: Path) -> None:
    """Where `committed` fails, no caller is told that all is well; what was stored stays readable."""

    def refuse(entries: object) -> None:
        raise RuntimeError("no room in the queue")

    packs = Packs(tmp_path, committed=refuse, min_free_bytes=0)
    with pytest.raises(RuntimeError):
        packs.append({}, [b"x"])
    packs.close()
    assert len(list(Packs(tmp_path, min_free_bytes=0).replay({}))) == 1


def test_refuses_after_close(packs: Packs) -> None:
    """A store that has been closed takes nothing, and may be closed again."""
    location = packs.append({}, [b"x"])
    packs.close()
    with pytest.raises(Unavailable, match="shutting down"):
        packs.append({}, [b"y"])
    packs.close()
    assert packs.open(location.text).read() == b"x"


def test_adopts_a_spool(tmp_path: Path, packs: Packs, replay: Callable[[], list[Entry]]) -> None:
    """A large instance becomes a file of its own, named by its digest, that its record leads to."""
    with packs.spool(b"HEAD") as spool:
        spool.write(b"large ")
        spool.write(memoryview(b"instance"))
        with spool.file() as file:
            assert file.read() == b"HEADlarge instance"
        location = packs.adopt({"n": 1}, spool)
    blob = packs.open(location.text)
    assert blob.read() == b"HEADlarge instance"
    assert blob.path.name.startswith(location.sha256.hex())
    assert (blob.path.parent.parent, location.size, blob.verify()) == (tmp_path / "objects", 18, True)
    assert list((tmp_path / "incoming").iterdir()) == []
    packs.close()
    (entry,) = replay()
    assert (entry.location, entry.size, entry.sha256, entry.damaged) == (
        location.text,
        18,
        location.sha256,
        False,
    )


def test_one_instance_adopted_twice_is_two_objects(packs: Packs) -> None:
    """Two senders of the same instance do not touch each other's file."""
    texts = []
    for _ in range(2):
        with packs.spool() as spool:
            spool.write(b"same")
            texts.append(packs.adopt({}, spool).text)
    packs.discard(texts[0])
    assert packs.open(texts[1]).verify()


def test_orphans_are_found(packs: Packs, tmp_path: Path) -> None:
    """An object without a record is listed once it is old enough; one with a record never is."""
    with packs.spool() as spool:
        spool.write(b"with a record")
        packs.adopt({}, spool)
    orphan = tmp_path / "objects" / "ab" / "orphan"
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"without")
    changed = orphan.stat().st_ctime
    assert packs.orphans(changed + 3599) == []
    assert packs.orphans(changed + 3601) == ["ab/orphan"]


@pytest.mark.parametrize("missing", ["pack:00000009:44:1", "pack:00000001:45:1", "pack:00000001:44:2"])
def test_nothing_at_a_location(packs: Packs, missing: str) -> None:
    """No such pack, no record at that byte, another length: Absent."""
    packs.append({}, [b"x"])
    with pytest.raises(Absent):
        packs.open(missing)


def test_leaks_no_descriptors(tmp_path: Path) -> None:
    """After storing, reading, replaying and failing, as many files are open as before."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        packs = Packs(tmp_path, pack_bytes=200, min_free_bytes=0)
        for number in range(20):
            packs.open(packs.append({"n": number}, [b"x" * 50]).text).verify()
            with packs.spool() as spool:
                spool.write(b"y")
        next(packs.replay({}))
        with pytest.raises(Absent):
            packs.open("pack:00000001:45:1")
        packs.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_several_processes_share_a_folder(
    tmp_path: Path, packs: Packs, run_writer: Callable[..., object], replay: Callable[[], list[Entry]]
) -> None:
    """Three processes at once write packs of their own; none is touched by the replay of another."""
    writers = [run_writer("2", "40") for _ in range(3)]
    mine = [packs.append({"mine": number}, [b"m"]).text for number in range(40)]
    live = list(packs.replay({}))
    said = [writer.communicate(timeout=60)[0].split() for writer in writers]  # type: ignore[attr-defined]
    assert not any(entry.damaged for entry in live)
    texts = mine + [text for lines in said for text in lines[::2]]
    packs.close()
    entries = replay()
    assert sorted(entry.location for entry in entries) == sorted(texts)
    assert len(entries) == 40 + 3 * 2 * 40
    assert not any(entry.damaged for entry in entries)


def _until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    ticks = threading.Event()
    for _ in range(2000):
        if condition():
            return
        ticks.wait(0.01)
    raise AssertionError("it did not come to pass")
