"""Files into the store: what is kept of their heads, and what is said of those that cannot be used."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pacsbridge.bridge import importing
from pacsbridge.bridge.importing import import_file, import_files
from pacsbridge.dicom.limits import DEFAULT
from pacsbridge.errors import NotUnderstood, TooLarge

LARGEST = 1 << 30
SMALL, LARGE = 1_000, importing.IN_MEMORY + 1
TIFF = b"II*\0" + bytes(range(124))
PROGRAM = b"\x7fELF" + bytes(124)


def pixels(size: int) -> bytes:
    """Pixel data of so many zero bytes (PS3.5 7.1.2)."""
    return struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, size) + bytes(size)


def file(folder: Path, dicom: Any, preamble: bytes, size: int) -> tuple[Path, bytes]:
    """A Part 10 file with this preamble, and its data set."""
    one = dicom.instance(1)
    data = dicom.encoded(one) + pixels(size + size % 2)
    head = dicom.head(dicom.CT, one["SOPInstanceUID"], dicom.EXPLICIT, "ELSEWHERE")
    path = folder / "one.dcm"
    path.write_bytes(preamble + head[128:] + data)
    return path, data


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_tiff_file_keeps_its_head(world: Any, dicom: Any, tmp_path: Path, size: int) -> None:
    """A file that is DICOM and TIFF at once comes back byte for byte: its TIFF offsets hold."""
    path, _data = file(tmp_path, dicom, TIFF, size)
    import_file(path, world.intake, world.source, LARGEST)
    world.index()
    (held,) = world.store.held(dicom.STUDY)
    assert world.intake.packs.open(held.location).read() == path.read_bytes()


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_other_preambles_are_made_harmless(world: Any, dicom: Any, tmp_path: Path, size: int) -> None:
    """A preamble that could be run is zero afterwards; the data set is as it was."""
    path, data = file(tmp_path, dicom, PROGRAM, size)
    import_file(path, world.intake, world.source, LARGEST)
    world.index()
    (held,) = world.store.held(dicom.STUDY)
    stored = world.intake.packs.open(held.location).read()
    assert stored[:128] == bytes(128)
    assert stored.endswith(data)


def test_pushed_and_imported_is_the_same(world: Any, dicom: Any, tmp_path: Path) -> None:
    """What came by C-STORE and is imported again is known: nothing is written."""
    path, data = file(tmp_path, dicom, bytes(128), SMALL)
    world.adopt(data)
    world.index()
    before = world.pack_bytes()
    assert not import_file(path, world.intake, world.source, LARGEST).new
    assert world.pack_bytes() == before


def test_longer_than_the_limit(world: Any, dicom: Any, tmp_path: Path) -> None:
    """A file beyond the limit is refused before it is read."""
    path, _data = file(tmp_path, dicom, bytes(128), SMALL)
    with pytest.raises(TooLarge, match="longer than 100 bytes"):
        import_file(path, world.intake, world.source, 100)


def test_junk_is_told_and_passed_over(world: Any, dicom: Any, tmp_path: Path) -> None:
    """Each file that cannot be used has a reason; the others are taken."""
    file(tmp_path, dicom, bytes(128), SMALL)
    (tmp_path / "notes.txt").write_text("not DICOM at all")
    (tmp_path / "empty").write_bytes(b"")
    outcomes = list(import_files([tmp_path], world.intake, world.source, LARGEST))
    reasons = {outcome.path.name: outcome.reason for outcome in outcomes if outcome.path.parent == tmp_path}
    assert reasons["one.dcm"] is None
    assert reasons["notes.txt"]
    assert reasons["empty"]


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("missing", ["StudyInstanceUID", "SOPInstanceUID"])
def test_refused_file_has_a_dead_letter(
    world: Any, dicom: Any, tmp_path: Path, size: int, missing: str
) -> None:
    """Under its SOP Instance UID, or its path where it has none; what is no DICOM has none at all."""
    one = dict(dicom.instance(1))
    del one[missing]
    head = dicom.head(dicom.CT, "2.999.1", dicom.EXPLICIT, "ELSEWHERE")
    path = tmp_path / "one.dcm"
    path.write_bytes(head + dicom.encoded(one) + pixels(size + size % 2))
    with pytest.raises(NotUnderstood):
        import_file(path, world.intake, world.source, LARGEST)
    (letter,) = world.letters("refused")
    key = one.get("SOPInstanceUID", str(path))
    assert letter.key == key
    assert world.store.why(key)["dead_letters"]


def test_configured_limits_hold_for_files(make_world: Callable[..., Any], dicom: Any, tmp_path: Path) -> None:
    """A header beyond the limits of the configuration is refused, whatever the reader's own limits are."""
    world = make_world()
    world.make_intake(limits=DEFAULT._replace(elements=3)).start()
    path, _data = file(tmp_path, dicom, bytes(128), SMALL)
    with pytest.raises(TooLarge, match="3 elements"):
        import_file(path, world.intake, world.source, LARGEST)
