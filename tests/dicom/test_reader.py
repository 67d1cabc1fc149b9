"""Header reading against pydicom, in every encoding, from bytes and files, whole and broken."""

import contextlib
import io
import logging
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

from pacsbridge.dicom.limits import Limits
from pacsbridge.dicom.reader import read_header
from pacsbridge.errors import NotUnderstood
from pacsbridge.kernel.attributes import BY_TAG, ELEMENTS, Attributes

IMPLICIT, LITTLE, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED, GE = "1.2.840.10008.1.2.1.99", "1.2.840.113619.5.2"
CT = "1.2.840.10008.5.1.4.1.1.2"

# Not one wanted element is in these, or they are no instances.
NOTHING_WANTED = {"UN_sequence.dcm", "nested_priv_SQ.dcm", "priv_SQ.dcm", "meta_missing_tsyntax.dcm"}
DAMAGED = {"no_meta.dcm"}


@pytest.fixture(autouse=True)
def _quiet_pydicom() -> Iterator[None]:
    """Hides what pydicom says about its own broken files."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _texts(value: Any) -> tuple[str, ...]:
    """A value of pydicom as the reader gives it; () for none."""
    many = isinstance(value, pydicom.multival.MultiValue)
    parts = tuple("" if part is None else str(part).strip(" \0") for part in (value if many else [value]))
    return parts if any(parts) or len(parts) > 1 else ()


def _oracle(ds: pydicom.Dataset) -> dict[str, Any]:
    """The wanted elements of a data set of pydicom, read to the same shape."""
    values: dict[str, Any] = {}
    for tag, element in BY_TAG.items():
        if tag not in ds:
            continue
        value = ds[tag].value
        found = tuple(_oracle(item) for item in value or ()) if element.vr == "SQ" else _texts(value)
        if found:
            values[element.keyword] = found
    return values


def _plain(attributes: Attributes) -> dict[str, Any]:
    """Attributes as nested dicts; pydicom drops empty groups at the end of a name."""
    return {
        keyword: tuple(_plain(item) for item in attributes.items(keyword))
        or tuple(text.strip(" ").rstrip("=") for text in attributes.texts(keyword))
        for keyword in attributes
    }


def test_every_file_of_pydicom(pydicom_files: list[Path]) -> None:
    """Every wanted element of every file, in sequences too, is what pydicom reads; the others are refused."""
    refused = set()
    for path in pydicom_files:
        try:
            header = read_header(path.read_bytes())
        except NotUnderstood:
            refused.add(path.name)
            continue
        assert _plain(header.attributes) == _oracle(pydicom.dcmread(path, force=True)), path
    others = refused - NOTHING_WANTED - DAMAGED
    assert refused >= NOTHING_WANTED | DAMAGED
    assert all("DICOMDIR" in name or not name.endswith(".dcm") for name in others), others


def test_files_read_like_bytes(pydicom_files: list[Path]) -> None:
    """An open file gives what its bytes give, with windows of any size."""
    small = Limits(window=1 << 20)
    for path in pydicom_files[::5]:
        with path.open("rb") as file:
            assert _outcome(file, small) == _outcome(path.read_bytes(), small)


def _outcome(source: Any, limits: Limits) -> Any:
    try:
        header = read_header(source, limits=limits)
    except NotUnderstood as reason:
        return str(reason)
    return header, header.attributes.issues


def _issues(attributes: Attributes) -> list[tuple[str, str]]:
    return [(issue.keyword, issue.reason) for issue in attributes.issues]


def _instance(write: Any) -> bytes:
    """A small data set with a code sequence and a private element."""
    code = write.element(0x00080100, "SH", "CTHEAD") + write.element(0x00080104, "LO", "CT of head")
    return b"".join(
        (
            write.element(0x00080005, "CS", "ISO_IR 192"),
            write.element(0x00080016, "UI", CT),
            write.element(0x00080018, "UI", "1.2.3.4.5"),
            write.element(0x00081030, "LO", "Größe".encode()),
            write.sequence(0x00081032, [code, code]),
            write.element(0x00091001, "OB", bytes(1000)),
            write.element(0x00100010, "PN", "Doe^Jane "),
            write.element(0x0020000D, "UI", "1.2.3"),
            write.element(0x00200013, "IS", " 7"),
        )
    )


EXPECTED = {
    "SpecificCharacterSet": ("ISO_IR 192",),
    "SOPClassUID": (CT,),
    "SOPInstanceUID": ("1.2.3.4.5",),
    "StudyDescription": ("Größe",),
    "ProcedureCodeSequence": ({"CodeValue": ("CTHEAD",), "CodeMeaning": ("CT of head",)},) * 2,
    "PatientName": ("Doe^Jane",),
    "StudyInstanceUID": ("1.2.3",),
    "InstanceNumber": ("7",),
}

SYNTAXES = [
    (IMPLICIT, False, False),
    (LITTLE, True, False),
    (BIG, True, True),
    (GE, False, False),
    ("1.2.840.10008.1.2.4.90", True, False),
    ("1.2.840.10008.1.2.5", True, False),
]


@pytest.mark.parametrize(("uid", "explicit", "big"), SYNTAXES)
def test_bare_data_sets(encoder: Callable[..., Any], uid: str, explicit: bool, big: bool) -> None:
    """A data set of a C-STORE reads in every transfer syntax, given or detected."""
    data = _instance(encoder(explicit, big))
    header = read_header(data, uid)
    assert _plain(header.attributes) == EXPECTED
    assert header.attributes.issues == ()
    assert (header.transfer_syntax_uid, header.dataset_offset) == (uid, 0)
    assert _plain(read_header(data).attributes) == EXPECTED


@pytest.mark.parametrize(("uid", "explicit", "big"), SYNTAXES)
def test_wrong_transfer_syntax(encoder: Callable[..., Any], uid: str, explicit: bool, big: bool) -> None:
    """A data set that is not encoded as claimed is read as it is, with an issue."""
    data = _instance(encoder(not explicit or big, False))
    header = read_header(data, uid)
    assert _plain(header.attributes) == EXPECTED
    assert ("TransferSyntaxUID", "the data set is encoded otherwise") in _issues(header.attributes)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, io.BytesIO])
def test_kinds_of_sources(encoder: Callable[..., Any], kind: Callable[[bytes], Any]) -> None:
    """Bytes, bytearrays, memoryviews and files give the same, also with pixel data of several windows."""
    write = encoder()
    data = _instance(write) + write.element(0x7FE00010, "OW", bytes(6 << 20))
    assert _plain(read_header(kind(data), LITTLE).attributes) == EXPECTED


def test_deflated(encoder: Callable[..., Any]) -> None:
    """A deflated data set is inflated as far as its header goes; garbage behind it is never seen."""
    write = encoder()
    data = _instance(write) + write.element(0x7FE00010, "OW", b"\1\2" * (4 << 20))
    packer = zlib.compressobj(wbits=-15)
    deflated = packer.compress(data) + packer.flush()
    header = read_header(deflated[: len(deflated) // 2] + b"\xff" * 99, DEFLATED)
    assert _plain(header.attributes) == EXPECTED
    assert header.attributes.issues == ()
    with pytest.raises(NotUnderstood):
        read_header(b"\xff" * 100, DEFLATED)


class _Counting(io.BytesIO):
    """A file that counts the bytes read from it."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        """Reads and counts."""
        piece = super().read(size)
        self.count += len(piece)
        return piece


def test_files_are_not_read_whole(encoder: Callable[..., Any]) -> None:
    """Large values before and behind the wanted elements are passed over without being read."""
    write = encoder()
    blob = write.element(0x00091001, "OB", bytes(3 << 20))
    pixels = write.element(0x7FE00010, "OW", bytes(3 << 20))
    data = blob + _instance(write) + pixels
    file = _Counting(data)
    assert _plain(read_header(file, LITTLE).attributes) == EXPECTED
    assert file.count < 1 << 20


def test_a_sequence_of_several_windows(encoder: Callable[..., Any]) -> None:
    """A wanted sequence larger than a window is read with a larger one, its issues once."""
    write = encoder()
    item = write.element(0x00080100, "SH", b"\xff") + write.element(0x00400031, "UT", b"x" * 60_000)
    data = _instance(write) + write.sequence(0x00400275, [item] * 10, open_ended=True)
    whole, windowed = read_header(data, LITTLE), read_header(io.BytesIO(data), LITTLE)
    assert len(whole.attributes.items("RequestAttributesSequence")) == 10
    assert whole == windowed
    assert whole.attributes.issues == windowed.attributes.issues


@pytest.mark.parametrize("explicit", [True, False])
@pytest.mark.parametrize("big", [True, False])
def test_undefined_lengths_nest(encoder: Callable[..., Any], explicit: bool, big: bool) -> None:
    """Sequences of undefined length, wanted in unwanted and the other way round, private ones among them."""
    write = encoder(explicit, big)
    inner = write.element(0x00080100, "SH", "CODE")
    nested = write.sequence(0x00080051, [write.element(0x00400031, "UT", "NS")], open_ended=True)
    private = write.sequence(0x00091002, [nested + inner, nested], open_ended=True)
    unwanted = write.sequence(0x00081140, [nested + private + inner] * 2, open_ended=True)
    wanted = write.sequence(0x00400275, [nested + private + inner, b""], open_ended=True)
    data = write.element(0x00080018, "UI", "1.2") + nested + unwanted + wanted
    header = read_header(data, BIG if big else LITTLE if explicit else IMPLICIT)
    plain = _plain(header.attributes)
    issuer = ({"LocalNamespaceEntityID": ("NS",)},)
    assert plain["IssuerOfAccessionNumberSequence"] == issuer
    assert plain["RequestAttributesSequence"] == (
        {"IssuerOfAccessionNumberSequence": issuer, "CodeValue": ("CODE",)},
        {},
    )
    assert [issue for issue in _issues(header.attributes) if issue[0] != "TransferSyntaxUID"] == []


@pytest.mark.parametrize("open_ended", [True, False])
def test_un_sequences_are_implicit(encoder: Callable[..., Any], open_ended: bool) -> None:
    """UN holds implicit little endian items (PS3.5 6.2.2), in wanted and unwanted elements."""
    write, implicit = encoder(), encoder(False)
    body = implicit.sequence(0x00081032, [implicit.element(0x00080100, "SH", "X")], open_ended=open_ended)
    wanted = write.head(0x00081032, "UN", struct.unpack("<L", body[4:8])[0]) + body[8:]
    private = write.head(0x00091032, "UN", struct.unpack("<L", body[4:8])[0]) + body[8:]
    data = write.element(0x00080018, "UI", "1.2") + wanted + private + write.element(0x00100020, "LO", "ID")
    assert _plain(read_header(data, LITTLE).attributes) == {
        "SOPInstanceUID": ("1.2",),
        "ProcedureCodeSequence": ({"CodeValue": ("X",)},),
        "PatientID": ("ID",),
    }


def test_un_text_is_decoded(encoder: Callable[..., Any]) -> None:
    """UN of a known tag is read by the dictionary."""
    write = encoder()
    data = write.element(0x00080018, "UN", b"1.2\0") + write.element(0x00100010, "UN", b"Doe^J ")
    assert _plain(read_header(data, LITTLE).attributes) == {
        "SOPInstanceUID": ("1.2",),
        "PatientName": ("Doe^J",),
    }


MIXED = [
    ("implicit element among explicit", 0x00100020, b"\x10\x00\x20\x00\x04\x00\x00\x00ABCD"),
    ("VR of the future", 0x00100020, b"\x10\x00\x20\x00ZZ\x00\x00\x04\x00\x00\x00ABCD"),
    ("unknown VR of the short form", 0x00100020, b"\x10\x00\x20\x00ZZ\x04\x00ABCD"),
    ("question marks", 0x00100020, b"\x10\x00\x20\x00??\x04\x00ABCD"),
    ("another text VR", 0x00100020, b"\x10\x00\x20\x00UT\x00\x00\x04\x00\x00\x00ABCD"),
    ("bytes", 0x00100020, b"\x10\x00\x20\x00OB\x00\x00\x04\x00\x00\x00ABCD"),
]


@pytest.mark.parametrize(("name", "tag", "raw"), MIXED, ids=[row[0] for row in MIXED])
def test_strange_heads(encoder: Callable[..., Any], name: str, tag: int, raw: bytes) -> None:
    """Elements with odd heads are read, and so is what comes behind them."""
    write = encoder()
    data = _instance(write)[: -len(write.element(0x00200013, "IS", " 7"))] + raw
    header = read_header(data + write.element(0x00200013, "IS", " 7"), LITTLE)
    assert _plain(header.attributes) == EXPECTED | {"PatientID": ("ABCD",)}


def test_items_of_the_other_kind(encoder: Callable[..., Any]) -> None:
    """Implicit items in an explicit data set, and explicit ones in an implicit."""
    for outer, inner in ((encoder(True), encoder(False)), (encoder(False), encoder(True))):
        items = [inner.element(0x00080100, "SH", "X") + inner.element(0x00080104, "LO", "Meaning")]
        data = outer.element(0x00080018, "UI", "1.2") + outer.sequence(0x00081032, items)
        found = _plain(read_header(data, LITTLE if outer.explicit else IMPLICIT).attributes)
        assert found["ProcedureCodeSequence"] == ({"CodeValue": ("X",), "CodeMeaning": ("Meaning",)},)


def test_numbers_in_the_wrong_place(encoder: Callable[..., Any]) -> None:
    """A binary number where a text is wanted becomes its decimal text."""
    for write in (encoder(True, False), encoder(True, True)):
        data = (
            write.element(0x00080018, "UI", "1.2")
            + write.element(0x00200011, "US", write.pack("H", 12))
            + write.element(0x00200013, "SL", write.pack("l", -5))
        )
        attributes = read_header(data, BIG if write.big else LITTLE).attributes
        assert (attributes.text("SeriesNumber"), attributes.text("InstanceNumber")) == ("12", "-5")


def test_padding(encoder: Callable[..., Any]) -> None:
    """UIDs lose NULs and spaces, single texts keep leading spaces and backslashes, values are stripped."""
    write = encoder()
    data = (
        write.element(0x00080008, "CS", "ORIGINAL\\ PRIMARY \\\\AXIAL ")
        + write.element(0x00080016, "UI", b"1.2\0\0\0")
        + write.element(0x00080018, "UI", b" 1.2.3 \0")
        + write.element(0x00324000, "LT", b"  a\\b\r\n  ")
        + write.element(0x00100020, "LO", b"    ")
        + write.element(0x00100010, "PN", b"")
    )
    assert _plain_raw(read_header(data, LITTLE).attributes) == {
        "ImageType": ("ORIGINAL", "PRIMARY", "", "AXIAL"),
        "SOPClassUID": ("1.2",),
        "SOPInstanceUID": ("1.2.3",),
        "StudyComments": ("  a\\b\r\n",),
    }


def _plain_raw(attributes: Attributes) -> dict[str, tuple[str, ...]]:
    return {keyword: attributes.texts(keyword) for keyword in attributes}


def test_items_have_their_own_character_set(encoder: Callable[..., Any]) -> None:
    """An item's (0008,0005) holds in the item, and not behind it."""
    write = encoder()
    item = write.element(0x00080005, "CS", "ISO_IR 144") + write.element(0x00080104, "LO", b"\xb1")
    plain = write.element(0x00080104, "LO", b"\xe9")
    data = (
        write.element(0x00080005, "CS", "ISO_IR 100")
        + write.sequence(0x00081032, [item, plain])
        + write.element(0x00100020, "LO", b"\xe9")
    )
    attributes = read_header(data, LITTLE).attributes
    meanings = [item.text("CodeMeaning") for item in attributes.items("ProcedureCodeSequence")]
    assert (meanings, attributes.text("PatientID")) == (["Б", "é"], "é")


def test_configured_character_set(encoder: Callable[..., Any]) -> None:
    """A source's character set holds where the data set names none; without one, ASCII survives."""
    write = encoder()
    data = write.element(0x00100020, "LO", b"M\xfcller")
    assert read_header(data, LITTLE, charset="ISO_IR 100").attributes.text("PatientID") == "Müller"
    attributes = read_header(data, LITTLE).attributes
    assert attributes.text("PatientID") == "M�ller"
    assert attributes.issues[0].keyword == "PatientID"
    named = write.element(0x00080005, "CS", "ISO_IR 192") + data
    assert read_header(named, LITTLE, charset="ISO_IR 100").attributes.text("PatientID") == "M�ller"


def test_unknown_character_set_is_on_record(encoder: Callable[..., Any]) -> None:
    """A term that nobody knows is an issue, and the source's character set is used."""
    write = encoder()
    data = write.element(0x00080005, "CS", "KLINGON") + write.element(0x00100020, "LO", b"\xe9")
    attributes = read_header(data, LITTLE, charset="ISO_IR 100").attributes
    assert attributes.text("PatientID") == "é"
    assert ("SpecificCharacterSet", "unknown character set") in _issues(attributes)


@pytest.mark.parametrize("explicit", [True, False])
def test_truncation(encoder: Callable[..., Any], explicit: bool) -> None:
    """Cut anywhere, a data set gives what was whole, and says that it is cut."""
    data = _instance(encoder(explicit))
    uid = LITTLE if explicit else IMPLICIT
    ends = 0
    for length in range(30, len(data)):
        attributes = read_header(data[:length], uid).attributes
        plain = _plain(attributes)
        for keyword, value in plain.items():
            assert keyword == "ProcedureCodeSequence" or value == EXPECTED[keyword]
        ends += not attributes.issues
    assert ends <= len(EXPECTED) + 1  # between two elements nobody can tell


def test_truncated_file(encoder: Callable[..., Any]) -> None:
    """A file whose end lies inside a value that is passed over is truncated too."""
    write = encoder()
    data = _instance(write) + write.head(0x00291010, "OB", 10 << 20) + bytes(1 << 20)
    for source in (data, io.BytesIO(data)):
        attributes = read_header(source, LITTLE).attributes
        assert _plain(attributes) == EXPECTED
        assert ("DataSet", "truncated") in _issues(attributes)


@pytest.mark.parametrize("explicit", [True, False])
@pytest.mark.parametrize("size", [1 << 10, 6 << 20])
def test_truncated_pixel_data(encoder: Callable[..., Any], explicit: bool, size: int) -> None:
    """The value at which the walk stops must be there: one byte too few is told, of memory and of files."""
    write, uid = encoder(explicit), LITTLE if explicit else IMPLICIT
    whole = _instance(write) + write.element(0x7FE00010, "OB", bytes(size))
    for data in (whole, whole[:-1], whole[: -size // 2], whole[:-size]):
        for source in (data, bytearray(data), memoryview(data), io.BytesIO(data)):
            attributes = read_header(source, uid).attributes
            assert _plain(attributes) == EXPECTED
            assert (("DataSet", "truncated") in _issues(attributes)) == (data is not whole)


def test_truncated_pixel_data_of_pydicoms_files(pydicom_files: list[Path]) -> None:
    """One file of pydicom is cut short, and no other is said to be."""
    cut = set()
    for path in pydicom_files:
        with path.open("rb") as file, contextlib.suppress(NotUnderstood):
            issues = _issues(read_header(file).attributes)
            cut |= {path.name for keyword, reason in issues if reason == "truncated"}
    assert cut == {"MR_truncated.dcm"}


_ONE = {"US": b"\x01\x00"}
"""How a value of 1 stands in a data set, where it is not a text."""


def test_all_elements_of_the_dictionary(encoder: Callable[..., Any]) -> None:
    """Every wanted element is read, at the root and in an item."""
    for write in (encoder(True), encoder(False)):
        rows = [row for row in ELEMENTS.values() if row.vr != "SQ" and row.keyword != "SpecificCharacterSet"]
        item = b"".join(write.element(row.tag, row.vr, _ONE.get(row.vr, "1")) for row in rows)
        sequences = [row for row in ELEMENTS.values() if row.vr == "SQ"]
        data = item + b"".join(write.sequence(row.tag, [item]) for row in sequences)
        found = _plain(read_header(data, LITTLE if write.explicit else IMPLICIT).attributes)
        flat = {row.keyword: ("1",) for row in rows}
        assert found == flat | {row.keyword: (flat,) for row in sequences}
