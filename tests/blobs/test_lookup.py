"""Discarding instances, and locations that lead nowhere any more."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pacsbridge.blobs import holes
from pacsbridge.blobs.packs import Packs
from pacsbridge.blobs.replay import Entry
from pacsbridge.errors import Absent, Gone

SIZE = 1 << 20


def _store(packs: Packs) -> list[str]:
    return [packs.append({"n": n}, [b"%d" % n * SIZE], b"HEAD").text for n in range(3)]


def test_discarding_gives_the_room_back(
    packs: Packs, pack_file: Callable[[str], Path], replay: Callable[[], list[Entry]]
) -> None:
    """The instance is gone, its bytes are zeros, the room is free, and its neighbours are untouched."""
    texts = _store(packs)
    blob, before = packs.open(texts[1]), packs.total_bytes()
    packs.discard(texts[1])
    with pytest.raises(Gone):
        packs.open(texts[1])
    assert blob.read() == bytes(SIZE + 4)
    assert packs.total_bytes() <= before - SIZE + 8192
    assert packs.open(texts[0]).verify()
    assert packs.open(texts[2]).verify()
    packs.discard(texts[1])
    packs.append({"n": 3}, [b"more"])
    packs.close()
    assert [(entry.head["n"], entry.damaged) for entry in replay()] == [(0, False), (2, False), (3, False)]


def test_discarding_without_holes(packs: Packs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no holes gets zeros instead: the bytes are gone all the same."""
    texts = _store(packs)
    monkeypatch.setattr(holes, "_fallocate", lambda: None)
    blob = packs.open(texts[1])
    packs.discard(texts[1])
    assert blob.read() == bytes(SIZE + 4)
    assert packs.open(texts[2]).verify()


def test_discarding_an_object_removes_its_file(packs: Packs, replay: Callable[[], list[Entry]]) -> None:
    """The file is gone, and the record that referred to it is no damage."""
    with packs.spool() as spool:
        spool.write(b"large")
        text = packs.adopt({}, spool).text
    blob = packs.open(text)
    packs.discard(text)
    assert not blob.path.exists()
    with pytest.raises(Gone):
        packs.open(text)
    with pytest.raises(Absent, match="gone"):
        blob.read()
    assert not blob.verify()
    packs.close()
    assert replay() == []


def test_an_erasure_cut_short_is_finished_by_the_next(packs: Packs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the mark and the hole: discarding again makes the hole."""
    texts = _store(packs)
    blob = packs.open(texts[0])
    with monkeypatch.context() as patch:
        patch.setattr("pacsbridge.blobs.lookup.erase", lambda *_: None)
        packs.discard(texts[0])
    assert blob.verify()
    packs.discard(texts[0])
    assert blob.read() == bytes(SIZE + 4)


def test_a_file_that_is_cut_short(packs: Packs, pack_file: Callable[[str], Path]) -> None:
    """Reading what is no longer there raises, and never yields less than was stored."""
    text = packs.append({}, [b"x" * 1000]).text
    os.truncate(pack_file("00000001"), 500)
    with pytest.raises(Absent, match="cut short"):
        packs.open(text).read()
    assert not packs.open(text).verify()
