"""WADO-RS metadata against pydicom's DICOM JSON."""

import io
import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest

from pacsbridge.dicom import metadata as module
from pacsbridge.dicom.metadata import metadata
from pacsbridge.errors import NotUnderstood, TooLarge

BULK = "/dicomweb/studies/1/series/2/instances/3/bulk"
OWN = {"00080005", "00083002", "7FE00010", "FFFCFFFC"}


def _oracle(path: Path) -> dict[str, Any]:
    """pydicom's JSON, element by element, so that a bad one costs only itself."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(path, force=True)
        return ds.to_json_dict(
            bulk_data_threshold=1025,
            bulk_data_element_handler=lambda _: BULK,
            suppress_invalid_tags=True,
        )


def _differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Tags of the elements that both have and that differ."""
    found = []
    for tag in sorted(set(ours) & set(theirs) - OWN):
        mine, other = ours[tag], theirs[tag]
        if mine["vr"] == "UN" and int(tag[:4], 16) % 2:
            continue  # pydicom knows some private elements
        if mine["vr"] == other["vr"] == "SQ":
            pairs = zip(mine.get("Value", []), other.get("Value", []), strict=True)
            found += [f"{tag}.{name}" for pair in pairs for name in _differences(*pair)]
        elif "BulkDataURI" in mine:
            assert mine["BulkDataURI"].endswith(tag)
            found += [] if "BulkDataURI" in other else [tag]
        elif _folded(mine) != _folded(other):
            found.append(tag)
    return found


def _folded(element: dict[str, Any]) -> dict[str, Any]:
    """Without the padding that pydicom keeps; empty values are null."""
    values = [
        value.strip() or None if isinstance(value, str) else value for value in element.get("Value", [])
    ]
    return element | {"Value": values} if values else element


def test_every_file_of_pydicom(pydicom_files: list[Path]) -> None:
    """Each instance has the elements that pydicom finds, with the same values; all of it is JSON."""
    compared = 0
    for path in pydicom_files:
        try:
            ours = metadata(path, BULK)
        except NotUnderstood:
            continue
        json.dumps(ours, allow_nan=False).encode()
        theirs = _oracle(path)
        assert _differences(ours, theirs) == [], path
        missing = {tag for tag in set(theirs) - set(ours) - OWN if not tag.endswith("0000")}
        assert not missing, path
        assert not [tag for tag in ours if tag.startswith("0002")]
        assert list(ours) == sorted(ours)
        compared += 1
    assert compared > 150


def test_kinds_of_sources(pydicom_files: list[Path]) -> None:
    """A path, its name, an open file and its bytes give the same."""
    path = next(path for path in pydicom_files if path.name == "CT_small.dcm")
    expected = metadata(path, BULK)
    assert metadata(str(path), BULK) == expected
    assert metadata(path.read_bytes(), BULK) == expected
    with path.open("rb") as file:
        assert metadata(file, BULK) == expected


def test_pixel_data_and_transfer_syntax(sample: Callable[[str], bytes]) -> None:
    """Pixel data are named, not read; the transfer syntax stands in (0008,3002)."""
    document = metadata(sample("JPEG2000.dcm"), BULK)
    assert document["7FE00010"] == {"vr": "OB", "BulkDataURI": f"{BULK}/7FE00010"}
    assert document["00083002"] == {"vr": "UI", "Value": ["1.2.840.10008.1.2.4.91"]}


def test_deflated(sample: Callable[[str], bytes]) -> None:
    """A deflated instance has its pixel data at the end of its metadata too."""
    document = metadata(sample("image_dfl.dcm"), BULK)
    assert document["7FE00010"]["BulkDataURI"] == f"{BULK}/7FE00010"


def test_bulk_data_in_items(encoder: Callable[..., Any]) -> None:
    """Long binary values in items are named by the way to them; short ones are inline."""
    write = encoder()
    item = write.element(0x00091010, "OB", bytes(2000)) + write.element(0x00091011, "OB", b"\1\2")
    data = write.element(0x00080018, "UI", "1.2") + write.sequence(0x00081140, [b"", item])
    items = metadata(data, "/b")["00081140"]["Value"]
    assert items[0] == {}
    assert items[1]["00091010"] == {"vr": "OB", "BulkDataURI": "/b/00081140/2/00091010"}
    assert items[1]["00091011"] == {"vr": "OB", "InlineBinary": "AQI="}


def test_big_endian_binaries_are_turned(encoder: Callable[..., Any]) -> None:
    """Inline binaries are little endian whatever the data set is (PS3.18 F.2.7)."""
    write = encoder(True, True)
    data = write.element(0x00080018, "UI", "1.2") + write.element(0x00091010, "OW", b"\1\2\3\4")
    assert metadata(data, "/b")["00091010"]["InlineBinary"] == "AgEEAw=="


def test_what_json_cannot_say(encoder: Callable[..., Any]) -> None:
    """NaN, infinity and text that is no number become null; names are objects in their own character set."""
    write = encoder()
    data = (
        write.element(0x00080005, "CS", "ISO_IR 144")
        + write.element(0x00080018, "UI", "1.2")
        + write.element(0x00100010, "PN", b"\xb1^A=\xb2")
        + write.element(0x00101030, "DS", "NaN\\1e999\\1_0\\abc\\1.5")
        + write.element(0x00186024, "FD", b"\0\0\0\0\0\0\xf8\x7f")
    )
    document = metadata(data, "/b")
    assert document["00101030"]["Value"] == [None, None, None, None, 1.5]
    assert document["00186024"]["Value"] == [None]
    assert document["00100010"]["Value"] == [{"Alphabetic": "Б^A", "Ideographic": "В"}]
    assert document["00080005"]["Value"] == ["ISO_IR 192"]


def test_truncated_instances(sample: Callable[[str], bytes]) -> None:
    """What is there of a file that breaks off is given."""
    whole = metadata(sample("CT_small.dcm"), BULK)
    part = metadata(sample("CT_small.dcm")[:3000], BULK)
    assert set(part) < set(whole)
    assert part["00080018"] == whole["00080018"]


def test_limits(encoder: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Elements, items and nesting are limited."""
    write = encoder()
    uid = write.element(0x00080018, "UI", "1.2")
    level = write.head(0x00081032, "SQ", 0xFFFFFFFF) + write.pack("HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    monkeypatch.setattr(module, "LIMITS", module.LIMITS._replace(elements=1000, items=1000))
    for hostile in (
        level * 65,
        level * 10_000,
        write.element(0x00091010, "LO", b"") * 1001,
        write.sequence(0x00081032, [b""] * 1001),
    ):
        with pytest.raises(TooLarge):
            metadata(io.BytesIO(uid + hostile), "/b")
