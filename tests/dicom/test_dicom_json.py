"""DICOM JSON to attributes: the model, tolerated spellings, wrong types, hostile input."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.dicom.dicom_json import from_json
from pacsbridge.dicom.metadata import metadata
from pacsbridge.dicom.reader import read_header
from pacsbridge.errors import NotUnderstood, Refused, TooLarge
from pacsbridge.kernel.attributes import ELEMENTS, Attributes


def test_the_model() -> None:
    """Texts, numbers, names with three groups, nulls and sequences (PS3.18 F.2)."""
    attributes = from_json(
        {
            "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
            "00080008": {"vr": "CS", "Value": ["ORIGINAL", None, "AXIAL"]},
            "00100010": {
                "vr": "PN",
                "Value": [
                    {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}
                ],
            },
            "00081050": {"vr": "PN", "Value": [{"Alphabetic": "A"}, {"Phonetic": "b"}, "C^D"]},
            "00200011": {"vr": "IS", "Value": [3]},
            "00200013": {"vr": "IS", "Value": [4.0]},
            "00080051": {"vr": "SQ", "Value": [{"00400031": {"vr": "UT", "Value": ["NS"]}}, {}]},
            "00100020": {"vr": "LO"},
            "00091001": {"vr": "OB", "InlineBinary": "AAAA"},
        }
    )
    assert attributes == Attributes(
        {
            "SpecificCharacterSet": ("ISO_IR 192",),
            "ImageType": ("ORIGINAL", "", "AXIAL"),
            "PatientName": ("Yamada^Tarou=山田^太郎=やまだ^たろう",),
            "PerformingPhysicianName": ("A", "==b", "C^D"),
            "SeriesNumber": ("3",),
            "InstanceNumber": ("4",),
            "IssuerOfAccessionNumberSequence": (
                Attributes({"LocalNamespaceEntityID": ("NS",)}),
                Attributes({}),
            ),
        }
    )
    assert attributes.issues == ()


@pytest.mark.parametrize("name", ["0020000D", "0020000d", "StudyInstanceUID"])
def test_names_of_elements(name: str) -> None:
    """Tags in either case and keywords name an element."""
    assert from_json({name: {"vr": "UI", "Value": ["1.2"]}}).text("StudyInstanceUID") == "1.2"


WRONG = [
    {"vr": "LO", "Value": [True]},
    {"vr": "LO", "Value": [[1]]},
    {"vr": "LO", "Value": [{"Alphabetic": "x"}]},
    {"vr": "LO", "Value": [float("nan")]},
    {"vr": "LO", "Value": [10**400]},
    {"vr": "LO", "BulkDataURI": "http://h/b"},
    {"vr": "LO", "Value": {"a": 1}},
    "text",
    None,
    17,
    [],
]


@pytest.mark.parametrize("body", WRONG)
def test_wrong_types_cost_their_element(body: object) -> None:
    """A wrong type leaves its element out, on record, and nothing else."""
    attributes = from_json({"00100020": body, "0020000D": {"vr": "UI", "Value": ["1.2"]}})
    assert list(attributes) == ["StudyInstanceUID"]
    assert attributes.issues[-1].keyword == "PatientID"


@pytest.mark.parametrize("item", ["text", 1, [], True])
def test_wrong_items(item: object) -> None:
    """An item that is no object costs its sequence, on record."""
    attributes = from_json({"00081032": {"vr": "SQ", "Value": [{}, item]}})
    assert list(attributes) == []
    assert [issue.keyword for issue in attributes.issues] == ["ProcedureCodeSequence"]


def test_tolerated_shapes() -> None:
    """A value without its array, and backslashes left in a text, are met in the field."""
    attributes = from_json({"00100020": {"vr": "LO", "Value": "A\\B "}})
    assert attributes.texts("PatientID") == ("A", "B")
    assert attributes.issues[0].reason == "a value without its array"


def test_nested_issues_are_on_the_root() -> None:
    """Faults inside items are found on the root."""
    attributes = from_json({"00081032": {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": [{}]}}]}})
    assert [issue.keyword for issue in attributes.issues] == ["CodeValue"]


def _nested(levels: int) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for _ in range(levels):
        document = {"00081032": {"vr": "SQ", "Value": [document]}}
    return document


def test_hostile_sizes() -> None:
    """Nesting and counts are limited; 64 levels are fine."""
    assert list(from_json(_nested(64))) == ["ProcedureCodeSequence"]
    item = {"00080100": {"vr": "SH", "Value": ["x"]}}
    for hostile in (
        _nested(65),
        _nested(10_000),
        {"00081032": {"vr": "SQ", "Value": [{}] * 50_001}},
        {"00081032": {"vr": "SQ", "Value": [item | {str(n): {} for n in range(10_000)}] * 11}},
    ):
        with pytest.raises(TooLarge):
            from_json(hostile)


def test_long_texts_are_cut() -> None:
    """A long text is cut, on record."""
    attributes = from_json({"00324000": {"vr": "LT", "Value": ["x" * 100_000]}})
    assert len(attributes.texts("StudyComments")[0]) == 65536
    assert attributes.issues[0].reason == "cut at 65536 characters"


@pytest.mark.parametrize("document", [[], "x", None, 3])
def test_no_object(document: object) -> None:
    """Only an object is a data set."""
    with pytest.raises(NotUnderstood):
        from_json(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["00100010", "00081032", "00080100", "vr", "Value", "Alphabetic", "PatientID"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_total(document: object) -> None:
    """Any JSON gives attributes or is refused."""
    try:
        attributes = from_json(document)
    except Refused:
        assert not isinstance(document, dict)
        return
    for keyword in attributes:
        assert attributes.texts(keyword) or attributes.items(keyword)


def _folded(attributes: Attributes) -> dict[str, Any]:
    """Numbers as numbers and names without empty ends, so that both ways of reading can be compared."""
    return {
        keyword: [_folded(item) for item in attributes.items(keyword)]
        or [text.rstrip("=").lstrip("0+") for text in attributes.texts(keyword)]
        for keyword in attributes
        if keyword != "SpecificCharacterSet" and not _is_broken(keyword, attributes)
    }


def _is_broken(keyword: str, attributes: Attributes) -> bool:
    """Whether an integer string is none, which JSON has no number for."""
    texts = attributes.texts(keyword)
    return ELEMENTS[keyword].vr == "IS" and not all(text.strip().lstrip("+-").isdecimal() for text in texts)


def test_json_and_header_agree(pydicom_files: list[Path]) -> None:
    """The attributes of a file are the same through its metadata in JSON."""
    compared = 0
    for path in pydicom_files:
        try:
            header = read_header(path.read_bytes())
        except NotUnderstood:
            continue
        document = json.loads(json.dumps(metadata(path, "/bulk"), allow_nan=False))
        assert _folded(from_json(document)) == _folded(header.attributes), path
        compared += 1
    assert compared > 150


def test_pydicoms_json(sample: Callable[[str], bytes]) -> None:
    """What pydicom writes as DICOM JSON reads like the file."""
    raw = sample("reportsi.dcm")
    document = pydicom.dcmread(pydicom.filebase.DicomBytesIO(raw)).to_json_dict()
    assert _folded(from_json(document)) == _folded(read_header(raw).attributes)
