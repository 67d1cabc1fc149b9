"""Identifiers of queries against pydicom: what it writes is read, what is written here it reads."""

import contextlib
from io import BytesIO

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from pacsbridge.dicom.identifiers import Identifier, Writer, read
from pacsbridge.dicom.transfer_syntaxes import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from pacsbridge.errors import NotUnderstood
from pacsbridge.kernel.finding import Asked
from pacsbridge.kernel.query_keys import TAGS

SYNTAXES = (EXPLICIT_LITTLE, IMPLICIT_LITTLE)


def encoded(data: Dataset, syntax: str, *, undefined: bool = False) -> bytes:
    """A data set as pydicom writes it; sequences of undefined length on demand."""
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, syntax == IMPLICIT_LITTLE
    for element in data if undefined else ():
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
    write_dataset(out, data)
    return out.getvalue()


def decoded(data: bytes, syntax: str) -> Dataset:
    """A data set as pydicom reads it."""
    return pydicom.dcmread(BytesIO(data), force=True) if not data else _read(data, syntax)


def _read(data: bytes, syntax: str) -> Dataset:
    from pydicom.filereader import read_dataset

    found = read_dataset(BytesIO(data), syntax == IMPLICIT_LITTLE, True)
    found.decode()
    return found


@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_keys_are_read(syntax: str, undefined: bool) -> None:
    """Values, lists, empty keys, sequences with an item and without one, in both encodings."""
    query = Dataset()
    query.SpecificCharacterSet = "ISO_IR 100"
    query.QueryRetrieveLevel = "STUDY"
    query.PatientName = "Müller*"
    query.StudyInstanceUID = ["1.2", "1.3"]
    query.StudyDescription = ""
    query.Rows = 512
    item = Dataset()
    item.ScheduledProcedureStepID = "S1"
    query.RequestAttributesSequence = [item]
    query.ProcedureCodeSequence = []
    query.KVP = "120"
    found = read(encoded(query, syntax, undefined=undefined), syntax)
    assert found.character_set == ("ISO_IR 100",)
    assert {tag: asked.values for tag, asked in found.keys.items()} == {
        "00080052": ("STUDY",),
        "00100010": ("Müller*",),
        "0020000D": ("1.2", "1.3"),
        "00081030": (),
        "00081032": (),
        "00280010": ("512",),
        "00400275": (),
        "00180060": (),
    }
    assert found.keys["00400275"].item == {"00400009": Asked("(0040,0009)", ("S1",))}
    assert found.keys["00081032"].item is None


@pytest.mark.parametrize(
    "data",
    [
        b"\x08\x00",
        b"\x08\x00\x52\x00CS\xff\x00STUDY",
        b"\x08\x00\x05\x00CS\x08\x00KLINGON ",
        b"\x40\x00\x75\x02SQ\x00\x00\x10\x00\x00\x00" + b"\x08\x00\x52\x00CS\x06\x00STUDY ",
        b"\x10\x00\x10\x00PN\x04\x00\xe4\xf6\xfc ",
    ],
)
def test_what_is_broken_is_refused(data: bytes) -> None:
    """Half elements, values that are too long, unknown character sets, no items, foreign bytes."""
    with pytest.raises(NotUnderstood):
        read(data, EXPLICIT_LITTLE)


@given(st.binary(max_size=80), st.sampled_from(SYNTAXES))
def test_any_bytes_are_keys_or_refused(data: bytes, syntax: str) -> None:
    """Nothing but NotUnderstood comes out of what peers may send."""
    with contextlib.suppress(NotUnderstood):
        assert all(len(tag) == 8 for tag in read(data, syntax).keys)


RECORD = {
    TAGS["PatientName"]: ["Müller^Jörg"],
    TAGS["StudyInstanceUID"]: ["1.2.3"],
    TAGS["ModalitiesInStudy"]: ["CT", "SR"],
    TAGS["Rows"]: ["512"],
    TAGS["RequestAttributesSequence"]: [{TAGS["ScheduledProcedureStepID"]: ["S1"], "00401001": ["P"]}],
}


def written(
    record: dict[str, object], syntax: str, charset: tuple[str, ...] = (), **items: object
) -> Dataset:
    """What pydicom reads of an answer that asks for everything in a record, and the study's description."""
    keys = {tag: Asked(tag) for tag in record} | items
    tags = [*record, TAGS["StudyDescription"]]
    return decoded(Writer(Identifier(keys, charset), tags, syntax).write(record), syntax)  # type: ignore[arg-type]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_answers_are_read_by_others(syntax: str) -> None:
    """Texts, numbers and sequences; what has no value is there, and empty."""
    found = written(RECORD, syntax)
    assert found.PatientName == "Müller^Jörg"
    assert found.SpecificCharacterSet == "ISO_IR 192"
    assert list(found.ModalitiesInStudy) == ["CT", "SR"]
    assert found.Rows == 512
    assert found.RequestAttributesSequence[0].ScheduledProcedureStepID == "S1"
    assert found.RequestAttributesSequence[0].RequestedProcedureID == "P"
    assert found.StudyDescription == ""
    assert [element.tag for element in found] == sorted(element.tag for element in found)


def test_an_item_has_what_is_asked_of_it() -> None:
    """Keys within a sequence choose what of its items is returned."""
    item = {"00400275": Asked("s", item={TAGS["ScheduledProcedureStepID"]: Asked("i")})}
    found = written(RECORD, EXPLICIT_LITTLE, (), **item)
    assert [element.keyword for element in found.RequestAttributesSequence[0]] == ["ScheduledProcedureStepID"]


@pytest.mark.parametrize(
    ("name", "asked", "expected"),
    [
        ("Mueller", ("ISO_IR 100",), None),
        ("Müller", ("ISO_IR 100",), "ISO_IR 100"),
        ("Müller", (), "ISO_IR 192"),
        ("Müller", ("ISO_IR 192",), "ISO_IR 192"),
        ("Иванов", ("ISO_IR 144",), "ISO_IR 144"),
        ("Иванов", ("ISO_IR 100",), "ISO_IR 192"),
        ("山田", ("ISO 2022 IR 6", "ISO 2022 IR 87"), "ISO_IR 192"),
        ("王", ("GB18030",), "GB18030"),
    ],
)
def test_the_character_set_is_the_callers_where_it_has_the_letters(
    name: str, asked: tuple[str, ...], expected: str | None
) -> None:
    """ASCII where that is enough, else what was asked in, else UTF-8: and (0008,0005) says which."""
    found = written({TAGS["PatientName"]: [name]}, EXPLICIT_LITTLE, asked)
    assert found.get("SpecificCharacterSet") == expected
    assert str(found.PatientName) == name


def test_a_value_that_is_too_long_for_its_head_is_cut() -> None:
    """A 16-bit length holds 65,534 bytes."""
    record = {TAGS["StudyDescription"]: ["ä" * 1024] * 64}
    raw = Writer(Identifier({}), [*record], EXPLICIT_LITTLE).write(record)
    assert len(decoded(raw, EXPLICIT_LITTLE).StudyDescription) <= 65534
