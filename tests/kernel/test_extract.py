"""Extraction: what is required, what is tolerated, what is noted."""

import pytest

from pacsbridge.errors import NotUnderstood
from pacsbridge.kernel.attributes import Attributes, Issue
from pacsbridge.kernel.extract import extract
from pacsbridge.kernel.model import Rejection

UIDS = {
    "SOPClassUID": ("1.2.840.10008.5.1.4.1.1.2",),
    "SOPInstanceUID": ("1.2.3.4.5",),
    "StudyInstanceUID": ("1.2.3",),
    "SeriesInstanceUID": ("1.2.3.4",),
}


def header(**values: object) -> Attributes:
    """A header with its UIDs and `values`."""
    return Attributes({**UIDS, **values})  # type: ignore[dict-item]


def test_uids_alone_are_enough() -> None:
    """A data set without any other attribute is understood, and has no issue."""
    facts = extract(header())
    assert facts.study == {"uid": "1.2.3"}
    assert facts.series == {"uid": "1.2.3.4"}
    assert facts.instance == {"uid": "1.2.3.4.5", "sop_class": "1.2.840.10008.5.1.4.1.1.2"}
    assert (facts.patient, facts.issues, facts.rejections) == ({}, (), ())


@pytest.mark.parametrize("keyword", UIDS)
@pytest.mark.parametrize("value", [None, "", "  ", "x", "../../etc", "1" * 65])
def test_a_missing_or_illegal_uid_is_refused(keyword: str, value: str | None) -> None:
    """The error names the element and never its value."""
    with pytest.raises(NotUnderstood, match=keyword) as refused:
        extract(header(**{keyword: (value,) if value is not None else ()}))
    assert refused.value.parameter == keyword
    assert not value or not value.strip() or value not in str(refused.value)


def test_a_name_that_names_nobody_is_left_out() -> None:
    """Dashes that fill a field: no person, and on record; an empty name is no issue."""
    facts = extract(
        header(
            PatientName=("----",),
            NameOfPhysiciansReadingStudy=("--^-", "Doe^Jane"),
            OperatorsName=("*****",),
            ReferringPhysicianName=("^^",),
        )
    )
    assert "name" not in facts.patient
    assert [one["display"] for one in facts.study["interpreters"]] == ["Jane Doe"]
    assert "performers" not in facts.series
    assert sorted(issue.keyword for issue in facts.issues) == [
        "NameOfPhysiciansReadingStudy", "OperatorsName", "PatientName",
    ]  # fmt: skip


def test_issues_of_the_reader_come_first() -> None:
    """Decoding faults are kept before those of the values."""
    decoding = Issue("PatientName", "D?", "not in the character set")
    attributes = Attributes({**UIDS, "SeriesNumber": ("-1",)}, (decoding,))
    assert extract(attributes).issues == (decoding, Issue("SeriesNumber", "-1", "not a number from 0 up"))


def test_an_issue_is_short_and_clean() -> None:
    """What is kept of an offending value goes into a database column."""
    (issue,) = extract(header(StudyDate=("x\x00" * 200,))).issues
    assert issue == Issue("StudyDate", "x" * 32, "not a date")


def test_a_long_sequence_is_cut_and_noted() -> None:
    """A thousand requests in one header are no reason to keep a thousand references."""
    items = tuple(Attributes({"RequestedProcedureID": (f"R{number:04}",)}) for number in range(1000))
    facts = extract(header(RequestAttributesSequence=items))
    assert len(facts.series["requests"]) == 256
    assert [issue.keyword for issue in facts.issues] == ["RequestAttributesSequence"]


def note(code: str, designator: str = "DCM", sop_class: str = "1.2.840.10008.5.1.4.1.1.88.59") -> Attributes:
    """A rejection note about three references to two instances."""
    references = tuple(Attributes({"ReferencedSOPInstanceUID": (uid,)}) for uid in ("1.1", "1.2", "1.1", "x"))
    series = Attributes({"ReferencedSOPSequence": references})
    evidence = Attributes({"StudyInstanceUID": ("1.9",), "ReferencedSeriesSequence": (series,)})
    concept = Attributes({"CodeValue": (code,), "CodingSchemeDesignator": (designator,)})
    return header(
        SOPClassUID=(sop_class,),
        ConceptNameCodeSequence=(concept,),
        CurrentRequestedProcedureEvidenceSequence=(evidence,),
    )


@pytest.mark.parametrize("code", ["113001", "113037", "113038", "113039"])
def test_a_rejection_note_rejects_its_evidence(code: str) -> None:
    """Each instance once, with the reason, in the study that the evidence names."""
    assert extract(note(code)).rejections == (Rejection("1.9", "1.1", code), Rejection("1.9", "1.2", code))


@pytest.mark.parametrize(
    "attributes",
    [
        note("113000"),
        note("113001", "99X"),
        note("113001", sop_class="1.2.840.10008.5.1.4.1.1.88.11"),
        header(),
    ],
)
def test_anything_else_rejects_nothing(attributes: Attributes) -> None:
    """Other titles, other schemes, other documents."""
    assert extract(attributes).rejections == ()
