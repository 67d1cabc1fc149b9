"""Reading packs again: positions, torn tails, damage."""

import os
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacsbridge.blobs.packs import Packs
from pacsbridge.blobs.record import HEADER_SIZE, MAGIC, PREFIX_SIZE, header
from pacsbridge.blobs.replay import Entry
from pacsbridge.errors import Misconfigured

PackFile = Callable[[str], Path]
Replay = Callable[[], list[Entry]]


def _fill(packs: Packs, count: int = 3) -> list[int]:
    """Append records of about 3,000 bytes; returns their ends."""
    ends = [packs.append({"n": n}, [b"%d" % n * 3000], b"HEAD").end for n in range(count)]
    packs.close()
    return ends


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def test_reads_on_from_a_position(packs: Packs, tmp_path: Path) -> None:
    """What lies behind the position is read, and nothing of what lies before it."""
    ends = _fill(packs)
    again = Packs(tmp_path, min_free_bytes=0)
    for seen in range(4):
        done = {"00000001": ends[seen - 1]} if seen else {}
        assert [entry.head["n"] for entry in again.replay(done)] == [0, 1, 2][seen:]
    (first, *_rest) = again.replay({})
    assert (first.pack, first.start, first.end) == ("00000001", HEADER_SIZE, ends[0])
    assert (first.size, first.location) == (3004, "pack:00000001:44:3004")


def test_a_pack_that_is_done_is_not_opened(
    packs: Packs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the position is the file's length, not a byte is read."""
    end = _fill(packs)[-1]
    again = Packs(tmp_path, min_free_bytes=0)
    monkeypatch.setattr(os, "pread", lambda *_: pytest.fail("it was read"))
    assert list(again.replay({"00000001": end})) == []


def test_a_pack_shorter_than_its_position_is_read_again(packs: Packs, tmp_path: Path) -> None:
    """A position behind the end belongs to another pack of that name: reading all of it does no harm."""
    _fill(packs)
    assert len(list(Packs(tmp_path, min_free_bytes=0).replay({"00000001": 10**9}))) == 3


def test_packs_that_are_being_written_are_left_out(packs: Packs, tmp_path: Path) -> None:
    """They belong to a living writer, of this process or another, unless they are asked for."""
    packs.append({"n": 1}, [b"x"])
    other = Packs(tmp_path, min_free_bytes=0)
    assert list(other.replay({})) == []
    assert [entry.head["n"] for entry in other.replay({}, live=True)] == [1]
    packs.close()
    assert len(list(other.replay({}))) == 1


def test_the_tail_of_a_living_writer_is_not_cut(packs: Packs, pack_file: PackFile, tmp_path: Path) -> None:
    """A record that is just being written looks torn to others, and is none of their business."""
    end = packs.append({}, [b"x"]).end
    with pack_file("00000001").open("ab") as file:
        file.write(b"\x89PBr half a rec")
    assert len(list(Packs(tmp_path, min_free_bytes=0).replay({}, live=True))) == 1
    assert pack_file("00000001").stat().st_size == end + 15


@pytest.mark.parametrize("kept", [0, 1, PREFIX_SIZE - 1, PREFIX_SIZE, PREFIX_SIZE + 9, 3000])
def test_torn_tails_are_cut_off(packs: Packs, pack_file: PackFile, replay: Replay, kept: int) -> None:
    """A last record of which only the first `kept` bytes were written disappears, once and for all."""
    ends = _fill(packs)
    os.truncate(pack_file("00000001"), ends[1] + kept)
    assert [(entry.head["n"], entry.damaged) for entry in replay()] == [(0, False), (1, False)]
    assert pack_file("00000001").stat().st_size == ends[1]


def test_a_blank_tail_is_cut_off(packs: Packs, pack_file: PackFile, replay: Replay) -> None:
    """After a power cut some file systems show zeros where nothing was written."""
    end = _fill(packs)[-1]
    os.truncate(pack_file("00000001"), end + 100_000)
    assert len(replay()) == 3
    assert pack_file("00000001").stat().st_size == end


def test_a_pack_without_a_whole_header_is_empty(tmp_path: Path, pack_file: PackFile, replay: Replay) -> None:
    """A process killed while it began a pack has lost nothing."""
    Packs(tmp_path, min_free_bytes=0)
    for number, data in enumerate((b"", b"pacsbridge", header(bytes(8)))):
        pack_file(f"{number + 1:08d}").write_bytes(data)
    assert replay() == []


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_damaged_payload_is_flagged(packs: Packs, pack_file: PackFile, replay: Replay, number: int) -> None:
    """A flipped bit in a payload, be it that of the last record: reported with its head, never cut off."""
    end = _fill(packs)[number]
    _flip(pack_file("00000001"), end - 1)
    size = pack_file("00000001").stat().st_size
    entries = replay()
    assert [(entry.head["n"], entry.damaged) for entry in entries] == [(n, n == number) for n in range(3)]
    assert pack_file("00000001").stat().st_size == size


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("at", [0, 5, 20, PREFIX_SIZE - 1])
def test_a_damaged_prefix_is_skipped(
    packs: Packs, pack_file: PackFile, replay: Replay, number: int, at: int
) -> None:
    """A flipped bit in a prefix: the stretch is reported, and reading goes on at the next record."""
    ends = [HEADER_SIZE, *_fill(packs)]
    _flip(pack_file("00000001"), ends[number] + at)
    entries = replay()
    assert [entry.damaged for entry in entries] == [n == number for n in range(3)]
    damaged = entries[number]
    assert (damaged.start, damaged.end, damaged.location) == (ends[number], ends[number + 1], "")
    assert pack_file("00000001").stat().st_size == ends[-1]


def test_a_damaged_head_leaves_the_payload(packs: Packs, pack_file: PackFile, replay: Replay) -> None:
    """A flipped bit in the JSON: damaged, the payload can still be read at its location."""
    _fill(packs, 1)
    _flip(pack_file("00000001"), HEADER_SIZE + PREFIX_SIZE + 2)
    (entry,) = replay()
    assert (entry.damaged, entry.head) == (True, {})
    assert packs.open(entry.location).verify()


def test_a_damaged_header_line_costs_nothing(packs: Packs, pack_file: PackFile, replay: Replay) -> None:
    """The records know the mark too."""
    _fill(packs)
    _flip(pack_file("00000001"), 17)
    assert [entry.damaged for entry in replay()] == [False] * 3


def test_a_newer_format_is_refused(packs: Packs, pack_file: PackFile, replay: Replay) -> None:
    """A pack of a later version is neither read nor cut."""
    _fill(packs)
    data = pack_file("00000001").read_bytes()
    newer = header(bytes(8)).replace(b"pack 1", b"pack 2")[:35]
    pack_file("00000001").write_bytes(newer + b"%08x\n" % zlib.crc32(newer[:-1]) + data[HEADER_SIZE:])
    with pytest.raises(Misconfigured, match="newer"):
        replay()
    assert pack_file("00000001").stat().st_size == len(data)


def test_a_forged_record_is_not_found(packs: Packs, pack_file: PackFile, replay: Replay) -> None:
    """A payload that contains records of a pack cannot smuggle them in by way of damage."""
    with tempfile.TemporaryDirectory() as elsewhere:
        foreign = Packs(Path(elsewhere), min_free_bytes=0)
        foreign.append({"forged": True}, [b"x"])
        foreign.close()
        forged = (Path(elsewhere) / "packs" / "00000001.pack").read_bytes()[HEADER_SIZE:]
    packs.append({"n": 0}, [b"first"])
    start = packs.packs()[0][1]
    packs.append({"n": 1}, [forged * 3, MAGIC * 5])
    packs.append({"n": 2}, [b"last"])
    packs.close()
    _flip(pack_file("00000001"), start)
    assert [entry.head.get("n") for entry in replay()] == [0, None, 2]


def test_missing_and_short_objects_are_damaged(packs: Packs, replay: Replay) -> None:
    """A record whose object is gone or has another length is reported."""
    paths = []
    for _ in range(3):
        with packs.spool() as spool:
            spool.write(b"large")
            paths.append(packs.open(packs.adopt({}, spool).text).path)
    packs.close()
    paths[0].unlink()
    os.truncate(paths[1], 2)
    assert [entry.damaged for entry in replay()] == [True, True, False]


Records = st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=300)), min_size=1, max_size=6)


def _write(folder: Path, records: list[tuple[bytes, bytes]]) -> tuple[Path, list[int]]:
    """Store the records in a pack; returns its file, and where each begins and the last one ends."""
    packs = Packs(folder, min_free_bytes=0)
    ends = [
        packs.append({"n": number}, [payload], prelude).end
        for number, (prelude, payload) in enumerate(records)
    ]
    packs.close()
    return folder / "packs" / "00000001.pack", [HEADER_SIZE, *ends]


def _intact(folder: Path) -> list[int]:
    return [entry.head["n"] for entry in Packs(folder, min_free_bytes=0).replay({}) if not entry.damaged]


@settings(max_examples=60, deadline=None)
@given(records=Records, data=st.data())
def test_truncation_leaves_every_whole_record(
    records: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    """Wherever a pack ends, its whole records are read, and nothing else is left."""
    with tempfile.TemporaryDirectory() as folder:
        path, edges = _write(Path(folder), records)
        cut = data.draw(st.integers(HEADER_SIZE, edges[-1]))
        os.truncate(path, cut)
        whole = [number for number, end in enumerate(edges[1:]) if end <= cut]
        assert _intact(Path(folder)) == whole
        assert path.stat().st_size == edges[len(whole)]


@settings(max_examples=100, deadline=None)
@given(records=Records, data=st.data())
def test_flipped_bits_cost_only_their_records(
    records: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    """Whatever bits are flipped in records: exactly the records hit are lost, and nothing is cut."""
    with tempfile.TemporaryDirectory() as folder:
        path, edges = _write(Path(folder), records)
        places = st.lists(st.integers(HEADER_SIZE, edges[-1] - 1), unique=True, min_size=1, max_size=3)
        hit = data.draw(places)
        for place in hit:
            _flip(path, place)
        whole = [n for n in range(len(records)) if not any(edges[n] <= p < edges[n + 1] for p in hit)]
        assert _intact(Path(folder)) == whole
        assert path.stat().st_size == edges[-1]


def test_packs_of_the_same_time_are_merged(tmp_path: Path) -> None:
    """Two writers: what was received first comes first, and each pack keeps its own order."""
    earlier, one, two = (Packs(tmp_path, min_free_bytes=0) for _ in range(3))
    for packs, received in [(earlier, 1), (one, 3), (two, 4), (two, 6), (one, 5), (one, 2), (two, 7)]:
        packs.append({"received": received}, [b"content"], b"HEAD")
    for packs in (earlier, one, two):
        packs.close()
    again = Packs(tmp_path, min_free_bytes=0)
    assert [entry.head["received"] for entry in again.replay({})] == [1, 3, 4, 5, 2, 6, 7]
    assert len(list(again.replay({"00000001": 10**9, "00000002": 10**9}))) == 7


def test_few_packs_are_open_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was written after another is opened after it."""
    for received in range(40):
        packs = Packs(tmp_path, min_free_bytes=0)
        packs.append({"received": received}, [b"content"], b"HEAD")
        packs.close()
    is_open, most = 0, 0
    opening, closing = os.open, os.close

    def opened(*args: Any, **options: Any) -> int:
        nonlocal is_open, most
        is_open += 1
        most = max(most, is_open)
        return opening(*args, **options)

    def closed(fd: int) -> None:
        nonlocal is_open
        is_open -= 1
        closing(fd)

    again = Packs(tmp_path, min_free_bytes=0)
    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "close", closed)
    assert len(list(again.replay({}))) == 40
    assert (is_open, most <= 3) == (0, True)
