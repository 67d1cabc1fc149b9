"""Copies of packs and objects: what the source has lost stays in them, and everything else gets there."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pacsbridge.blobs.copying import copy_blobs
from pacsbridge.blobs.inspection import Inspection
from pacsbridge.blobs.location import Location, position
from pacsbridge.blobs.losses import MEANINGS, REMEDIES, Copied
from pacsbridge.blobs.packs import Packs
from pacsbridge.blobs.record import DISCARDED, draft, header
from pacsbridge.blobs.salvage import put_back
from pacsbridge.errors import Absent, Gone

SIZE = 4_000
PACK = "packs/00000001.pack"


class Site:
    """A data directory with a pack that is being written, and its copy."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "data"
        self.copy = folder / "copy"
        self.packs = Packs(self.source, min_free_bytes=0)
        self.places: list[Location] = []
        self.add(4)

    def add(self, count: int, packs: Packs | None = None) -> None:
        """Append records, each of bytes of its own."""
        for _ in range(count):
            content = bytes([len(self.places) + 1]) * SIZE
            self.places.append((packs or self.packs).append({"n": len(self.places)}, [content], b"head"))

    def add_object(self) -> Path:
        """Append one as a file of its own; that file."""
        with self.packs.spool(b"head") as spool:
            spool.write(b"large" * SIZE)
            self.places.append(self.packs.adopt({"n": len(self.places)}, spool))
        return self.packs.open(self.places[-1].text).path

    def level(self) -> Copied:
        """Bring the copy level."""
        done = Copied()
        copy_blobs(self.source, self.copy, done)
        return done

    def lost(self) -> list[tuple[str, str]]:
        """Bring the copy level: kinds and files of what was lost, the same when it is done again."""
        found = [[(one.kind, one.place) for one in self.level().losses] for _ in range(2)]
        assert found[0] == found[1]
        return found[0]

    def readable(self) -> list[int]:
        """Numbers of the records that the copy has whole."""
        packs = Packs(self.copy, min_free_bytes=0)
        try:
            return [number for number, place in enumerate(self.places) if _is_whole(packs, place.text)]
        finally:
            packs.close()

    def start(self, number: int) -> int:
        """Where a record begins in its pack."""
        return position(self.places[number].text).start

    @property
    def pack(self) -> Path:
        """The first pack."""
        return self.source / PACK


def _is_whole(packs: Packs, place: str) -> bool:
    try:
        return packs.open(place).verify()
    except Absent:
        return False


def overwrite(path: Path, at: int, size: int) -> None:
    """What a disk, or `dd`, may do to a file."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(os.urandom(size))
    bump(path)


def mend(path: Path, content: bytes) -> None:
    """Put a file back as it was."""
    path.write_bytes(content)
    bump(path)


def bump(path: Path) -> None:
    """Let time have passed since a file was last written: clocks of file systems are coarse."""
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000_000))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Four records, copied."""
    site = Site(tmp_path)
    assert site.level().losses == []
    return site


DAMAGES: dict[str, Callable[[Site], None]] = {
    "bytes of a content": lambda site: overwrite(site.pack, site.start(1) + 300, 20),
    "bytes of a prefix": lambda site: overwrite(site.pack, site.start(1) + 3, 20),
    "the first line": lambda site: overwrite(site.pack, 0, 44),
    "the first line and a record": lambda site: overwrite(site.pack, 0, 444),
    "zeros in the middle": lambda site: os.truncate(site.pack, site.start(2)),
    "cut short": lambda site: os.truncate(site.pack, site.start(3) + 100),
    "emptied": lambda site: os.truncate(site.pack, 0),
    "all of it": lambda site: overwrite(site.pack, 0, site.pack.stat().st_size),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_pack_does_not_spoil_its_copy(case: str, site: Site) -> None:
    """What was copied whole stays so, what the pack has taken since is copied, too; the pack is named."""
    DAMAGES[case](site)
    site.add(2)
    assert site.lost() == [("damaged", PACK)]
    assert site.readable() == [0, 1, 2, 3, 4, 5]
    assert [one.fault for one in Inspection(site.copy).records("00000001", checksum=True)] == [None] * 6
    mend(site.pack, (site.copy / PACK).read_bytes())
    assert site.lost() == []


def test_what_was_damaged_from_the_beginning(tmp_path: Path) -> None:
    """A copy of what cannot be read any more is made as it is; once the pack is mended the copy is, too."""
    site = Site(tmp_path)
    whole = site.pack.read_bytes()
    overwrite(site.pack, site.start(1) + 300, 20)
    assert site.lost() == []
    assert site.readable() == [0, 2, 3]
    mend(site.pack, whole)
    assert site.lost() == []
    assert site.readable() == [0, 1, 2, 3]


def test_a_copy_that_was_damaged_is_mended(site: Site) -> None:
    """What the copy alone has lost comes from the pack, as soon as that has changed."""
    overwrite(site.copy / PACK, site.start(1) + 300, 20)
    site.add(1)
    assert site.lost() == []
    assert site.readable() == [0, 1, 2, 3, 4]


def test_an_erasure_reaches_the_copy(site: Site) -> None:
    """Also in a pack that is damaged elsewhere; what was erased does not come back from the copy."""
    content = bytes([2]) * SIZE
    site.packs.discard(site.places[1].text)
    bump(site.pack)
    overwrite(site.pack, site.start(3) + 300, 20)
    assert site.lost() == [("damaged", PACK)]
    assert content not in (site.copy / PACK).read_bytes()
    assert site.readable() == [0, 2, 3]
    with pytest.raises(Gone):
        Inspection(site.copy).blob(site.places[1].text)
    overwrite(site.pack, site.start(1), 90)
    assert site.lost() == [("damaged", PACK)]
    with pytest.raises(Gone):
        Inspection(site.copy).blob(site.places[1].text)


def test_an_erasure_while_the_pack_is_copied(site: Site) -> None:
    """A record of which the mark was not yet copied, and the content no more, does not come back."""
    half = site.source.parent / "half"
    content = bytearray(site.pack.read_bytes())
    content[site.start(2) - SIZE : site.start(2)] = bytes(SIZE)
    half.write_bytes(content)
    site.packs.discard(site.places[1].text)
    files = [os.open(path, os.O_RDWR) for path in (site.copy / PACK, half, site.pack)]
    count = put_back(*files)
    for fd in files:
        os.close(fd)
    assert (count, half.read_bytes() == bytes(content)) == (0, True)


def test_what_was_never_finished(site: Site) -> None:
    """Half a record that was copied while it was written gives way to those that came after."""
    unfinished = site.pack.read_bytes()[site.start(3) : site.places[3].end]
    with (site.copy / PACK).open("ab") as file:
        file.write(unfinished[:-100])
    site.add(1)
    assert site.lost() == []
    assert (site.copy / PACK).read_bytes() == site.pack.read_bytes()


def pack_of(*records: tuple[int, int]) -> bytes:
    """A pack of records, each with its size and flags."""
    mark = b"12345678"
    drafts = (draft(b"{}", b"", [bytes([size % 251]) * size], flags=flags) for size, flags in records)
    return header(mark) + b"".join(part for one in drafts for part in one.buffers(mark))


def test_a_whole_record_of_a_group_that_failed(tmp_path: Path) -> None:
    """One that the copy has whole goes where the pack has others by now, erased ones too: they count."""
    former = pack_of((4_000, 0), (4_100, 0), (4_200, 0), (1_000, 0), (1_000, 0))
    now = pack_of((4_000, 0), (3_000, 0), (9_000, 0), (9_000, DISCARDED))
    for folder, content in (("copy", former), ("data", now)):
        (tmp_path / folder / "packs").mkdir(parents=True)
        (tmp_path / folder / PACK).write_bytes(content)
        os.utime(tmp_path / folder / PACK, (len(content), len(content)))
    done = Copied()
    copy_blobs(tmp_path / "data", tmp_path / "copy", done)
    assert done.losses == []
    assert (tmp_path / "copy" / PACK).read_bytes() == now


def test_another_pack_under_the_same_number(site: Site) -> None:
    """Where the last pack is lost, the next process takes its number: the copy has both, and says so."""
    site.packs.close()
    site.pack.unlink()
    assert site.lost() == [("gone", PACK)]
    packs = Packs(site.source, min_free_bytes=0)
    site.add(1, packs)
    assert site.pack.exists()
    assert site.lost() == [("other", PACK)]
    assert site.readable()[:4] == [0, 1, 2, 3]
    [beside] = site.copy.glob("packs/*.pack.*")
    assert beside.read_bytes() == site.pack.read_bytes()
    overwrite(site.pack, site.start(4) + 300, 20)
    site.add(1, packs)
    packs.close()
    assert site.lost() == [("other", PACK), ("damaged", PACK)]
    beside.rename(site.copy / "packs" / "00000007.pack")
    again = Inspection(site.copy).records("00000007", checksum=True)
    assert [one.fault for one in again] == [None, None]


def test_an_empty_pack_that_was_given_up(tmp_path: Path) -> None:
    """A pack without records is removed when its first write fails: nothing was lost, its name is free."""
    site = Site(tmp_path)
    (site.copy / "packs").mkdir(parents=True)
    second = site.source / "packs" / "00000002.pack"
    (site.copy / "packs" / second.name).write_bytes(site.pack.read_bytes()[:44])
    assert site.lost() == []
    second.write_bytes(pack_of((4_000, 0)))
    assert site.lost() == []
    assert (site.copy / "packs" / second.name).read_bytes() == second.read_bytes()


OBJECTS: dict[str, Callable[[Path], None]] = {
    "cut short": lambda path: os.truncate(path, path.stat().st_size - 5),
    "emptied": lambda path: os.truncate(path, 0),
    "bytes": lambda path: overwrite(path, 100, 20),
    "bytes of the head": lambda path: overwrite(path, 1, 2),
}


@pytest.mark.parametrize("case", OBJECTS)
def test_a_damaged_object_does_not_spoil_its_copy(case: str, site: Site) -> None:
    """The copy that is whole stays; one that is not takes what there is; the rest is copied all the same."""
    path = site.add_object()
    whole, place = path.read_bytes(), str(path.relative_to(site.source))
    assert site.lost() == []
    OBJECTS[case](path)
    site.add_object()
    assert site.lost() == [("damaged", place)]
    assert site.readable() == [0, 1, 2, 3, 4, 5]
    mend(path, whole)
    OBJECTS[case](site.copy / place)
    os.utime(site.copy / place, (1, 1))
    assert site.lost() == []
    assert site.readable() == [0, 1, 2, 3, 4, 5]


def test_an_object_that_is_gone(site: Site) -> None:
    """It is a loss, unless it was erased; also where the record that names it is lost with it."""
    path = site.add_object()
    place = str(path.relative_to(site.source))
    assert site.lost() == []
    path.unlink()
    assert site.lost() == [("gone", place)]
    whole = site.pack.read_bytes()
    os.truncate(site.pack, site.start(3))
    assert site.lost() == [("damaged", PACK), ("gone", place)]
    mend(site.pack, whole)
    site.packs.discard(site.places[-1].text)
    bump(site.pack)
    assert site.lost() == []


def test_files_that_cannot_be_read(site: Site) -> None:
    """A pack, an object and a folder that cannot be opened are named; what else there is is copied."""
    path = site.add_object()
    assert site.lost() == []
    for one in (site.pack, path):
        one.unlink()
        one.symlink_to(one.name)
    site.packs.close()
    packs = Packs(site.source, min_free_bytes=0)
    site.add(1, packs)
    packs.close()
    assert site.lost() == [("unread", PACK), ("unread", str(path.relative_to(site.source)))]
    assert site.readable() == [0, 1, 2, 3, 4, 5]
    path.unlink()
    path.parent.rmdir()
    path.parent.write_bytes(b"no folder")
    assert site.lost() == [("unread", PACK), ("unread", f"objects/{path.parent.name}")]


def test_bytes_that_the_disk_cannot_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """All around them is copied, and they are taken from the copy where it has them."""
    site.add(60)
    assert site.lost() == []
    site.add(1)
    bad, inode, read = site.start(20), site.pack.stat().st_ino, os.pread

    def pread(fd: int, size: int, at: int) -> bytes:
        if os.fstat(fd).st_ino == inode and at <= bad < at + size:
            raise OSError(errno.EIO, "Input/output error")
        return read(fd, size, at)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", pread)
        assert site.lost() == [("unread", PACK), ("damaged", PACK)]
    assert site.readable() == list(range(65))
    assert site.lost() == []
    assert site.level().kept == 1


def test_a_copy_that_was_touched(site: Site) -> None:
    """Where only the times differ, nothing is written."""
    os.utime(site.copy / PACK)
    before = (site.copy / PACK).stat().st_ino
    done = site.level()
    assert (done.files, done.kept, (site.copy / PACK).stat().st_ino) == (0, 1, before)


def test_every_kind_has_its_words() -> None:
    """What it means, and what to do."""
    assert MEANINGS.keys() == REMEDIES.keys() == {"damaged", "gone", "other", "behind", "unread"}
