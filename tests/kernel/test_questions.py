"""What archives are asked when a search finds nothing: never more than the search itself asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.kernel.query_parsing import SearchSettings, parse
from pacsbridge.kernel.questions import MOST, Question, questions

SETTINGS = SearchSettings("http://fhir.example/fhir")
NUMBERS = {"p1": ["P-1"], "p2": ["P-2", "P-2b"]}


def asked(*pairs: tuple[str, str], type_: str = "ImagingStudy") -> list[Question]:
    """The questions that a search leads to, with two patients known here."""
    query = parse(type_, pairs, SETTINGS, strict=False)
    return list(questions(query, lambda id_: NUMBERS.get(id_, [])))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("identifier", "A1", [("AccessionNumber", "A1")]),
        ("identifier", "urn:acc|A1", [("AccessionNumber", "A1")]),
        ("identifier", "A1,urn:acc|A2", [("AccessionNumber", "A1"), ("AccessionNumber", "A2")]),
        ("identifier", "urn:oid:1.2.3", [("StudyInstanceUID", "1.2.3")]),
        ("identifier", "urn:dicom:uid|urn:oid:1.2.3", [("StudyInstanceUID", "1.2.3")]),
        ("identifier", "urn:oid:1.2.x", [("AccessionNumber", "urn:oid:1.2.x")]),
        ("patient", "p1", [("PatientID", "P-1")]),
        ("patient", "Patient/p2", [("PatientID", "P-2"), ("PatientID", "P-2b")]),
        ("patient", "http://fhir.example/fhir/Patient/p1", [("PatientID", "P-1")]),
        ("subject", "Patient/p1", [("PatientID", "P-1")]),
        ("patient", "p9", []),
        ("patient.identifier", "urn:mr|P7", [("PatientID", "P7")]),
        ("subject:Patient.identifier", "P7", [("PatientID", "P7")]),
        ("patient:identifier", "urn:mr|P7", [("PatientID", "P7")]),
        ("patient.name", "ber", []),
        ("identifier:not", "A1", []),
        ("identifier", "urn:acc|", []),
        ("modality", "CT", []),
        ("started", "2026", []),
    ],
)
def test_questions(name: str, value: str, expected: list[Question]) -> None:
    """By accession number, Study Instance UID or PatientID; all else leads to none."""
    assert asked((name, value)) == expected


@pytest.mark.parametrize("text", ["*", "A*", "?", "A?1", "A\\\\B", "A\\,B"])
@pytest.mark.parametrize("name", ["identifier", "patient.identifier", "patient:identifier"])
def test_no_wildcards(name: str, text: str) -> None:
    """A value that an archive would take for many is not asked for."""
    assert asked((name, text)) == []


def test_one_clause_is_enough() -> None:
    """Of several the first that identifies; what comes back is searched again by all."""
    assert asked(("modality", "CT"), ("identifier", "A1"), ("patient", "p1")) == [("AccessionNumber", "A1")]


def test_other_types_ask_nothing() -> None:
    """Archives have studies."""
    assert asked(("identifier", "P-1"), type_="Patient") == []


@given(st.lists(st.text("AB*?\\,|:. 1", min_size=1, max_size=8), min_size=1, max_size=30))
def test_bounded_and_exact(values: list[str]) -> None:
    """Whatever is searched for: few questions, each for one plain value."""
    text = ",".join(value.replace("\\", "\\\\").replace(",", "\\,").replace("|", "\\|") for value in values)
    found = asked(("identifier", text))
    assert len(found) <= MOST
    assert all(value and not set(value) & set("*?\\,") for _key, value in found)
