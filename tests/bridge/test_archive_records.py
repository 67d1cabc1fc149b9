"""Records of an archive → what it says: what is asked for, what counts as a change, what bad rows cost."""

from itertools import permutations
from typing import Any

import pytest
from tests.remote import hostile
from tests.remote.hostile import value

from pacsbridge.bridge.archive_records import FIELDS, LEVELS, record, report, study_of
from pacsbridge.dicom.limits import Limits
from pacsbridge.errors import NotUnderstood, TooLarge
from pacsbridge.kernel.attributes import BY_TAG
from pacsbridge.kernel.identity import Context
from pacsbridge.kernel.mapping import ROWS
from pacsbridge.kernel.model import Level
from pacsbridge.kernel.reports import Report

STUDY = hostile.study("1.2", patient="P1", accession="A1")
ROWS_OF_STUDY = [
    {
        **hostile.instance("1.2", f"1.2.{series}", f"1.2.{series}.{number}", number),
        "00080060": value("CS", "CT"),
    }
    for series in (1, 2)
    for number in (1, 2)
]


@pytest.mark.parametrize(
    ("level", "levels", "further"),
    [
        ("studies", (Level.PATIENT, Level.STUDY), {"InstanceAvailability"}),
        ("series", (Level.SERIES,), {"StudyInstanceUID", "SeriesInstanceUID"}),
        ("instances", (Level.SERIES, Level.INSTANCE), {"StudyInstanceUID", "SeriesInstanceUID"}),
    ],
)
def test_what_the_mapping_needs_is_asked_for(
    level: str, levels: tuple[Level, ...], further: set[str]
) -> None:
    """The root elements of its rows, each once, and the UIDs above; no character set, which breaks some."""
    names = [BY_TAG[int(tag, 16)].keyword for tag in FIELDS[level]]
    needed = {keyword for row in ROWS if row.level in levels for keyword in row.keywords}
    assert set(names) == needed | further
    assert len(set(names)) == len(names)
    assert "SpecificCharacterSet" not in names


def test_a_record_says_which_study_and_when() -> None:
    """Its UID, its date, how many instances."""
    one = record(STUDY)
    assert (one.uid, one.date, one.expected) == ("1.2", "20260102", 4)


@pytest.mark.parametrize("uid", [None, "", " ", "1.2/..", "1" * 65, True, ["1.2"], {"Alphabetic": "x"}])
def test_a_record_without_a_uid_is_refused(uid: Any) -> None:
    """It names no study, and is not quoted."""
    row = {**STUDY, "0020000D": {"vr": "UI", "Value": [uid]}}
    with pytest.raises(NotUnderstood, match=r"^StudyInstanceUID is missing or no UID$"):
        record(row)


def test_a_record_that_is_too_long_is_refused() -> None:
    """The limits of headers hold here, too."""
    with pytest.raises(TooLarge):
        record(STUDY, Limits(elements=3))


CHANGES = {
    "count": {"00201208": value("IS", 5)},
    "name": {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Other^Name"}]}},
    "availability": {"00080056": value("CS", "OFFLINE")},
    "gone": {"00080050": {"vr": "SH"}},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_of_what_is_used_is_a_change(change: dict[str, Any]) -> None:
    """The study is asked for again."""
    assert record({**STUDY, **change}).digest != record(STUDY).digest


NO_CHANGES: dict[str, dict[str, Any]] = {
    "another order": dict(reversed(STUDY.items())),
    "the address": {**STUDY, "00081190": value("UR", "http://x/1")},
    "private elements": {**STUDY, "00091001": value("LO", "now")},
    "a character set": {**STUDY, "00080005": value("CS", "ISO_IR 100")},
}


@pytest.mark.parametrize("row", NO_CHANGES.values(), ids=NO_CHANGES)
def test_what_is_not_asked_for_changes_nothing(row: dict[str, Any]) -> None:
    """Some archives tell the moment or their host's name in every answer."""
    assert record(row).digest == record(STUDY).digest


@pytest.mark.parametrize(
    "spelled", [str.lower, lambda tag: BY_TAG[int(tag, 16)].keyword], ids=["small", "keyword"]
)
def test_a_change_is_seen_however_elements_are_named(spelled: Any) -> None:
    """By tags in small letters, or by keywords."""
    first, later = (
        {spelled(tag): one for tag, one in row.items()} for row in (STUDY, {**STUDY, **CHANGES["count"]})
    )
    assert (record(first).uid, record(first).date) == ("1.2", "20260102")
    assert record(first).digest != record(later).digest


@pytest.mark.parametrize(
    ("row", "study"),
    [
        ({"0020000D": value("UI", "1.2")}, "1.2"),
        ({"0020000D": value("UI", "1.2\0")}, "1.2"),
        ({"0020000D": value("UI", "x y")}, "only"),
        ({"0020000D": value("UI", 3)}, "only"),
        ({}, "only"),
    ],
)
def test_the_study_of_a_row(row: dict[str, Any], study: str) -> None:
    """What it says, or else the only one it can be."""
    assert study_of(row, "only") == study


def told(rows: list[dict[str, Any]], level: str = "instance", study: dict[str, Any] = STUDY) -> Report:
    """What an archive says by a record and rows."""
    return report(record(study), rows, level, Context())


def test_instances_bring_their_series() -> None:
    """Facts of both come from rows of instances; the patient and the study from the record."""
    found = told(ROWS_OF_STUDY)
    assert found.patient["key"]
    assert found.study["reported_instances"] == 4
    assert [(one.facts["uid"], one.facts["modality"]) for one in found.series] == [
        ("1.2.1", "CT"),
        ("1.2.2", "CT"),
    ]
    assert found.instance_uids == ["1.2.1.1", "1.2.1.2", "1.2.2.1", "1.2.2.2"]
    assert (found.availability, list(found.issues)) == ("ONLINE", [])


@pytest.mark.parametrize(("level", "series"), [("study", 0), ("series", 2)])
def test_above_instances_there_are_none(level: str, series: int) -> None:
    """Each level has what was asked for, and no more."""
    rows = [hostile.series("1.2", f"1.2.{number}", "MR") for number in (1, 2)][:series]
    found = told(rows, level)
    assert [one.facts["modality"] for one in found.series] == ["MR"] * series
    assert found.instance_uids == []
    assert set(LEVELS) == {"study", "series", "instance", "metadata"}


def test_metadata_bring_patient_and_study() -> None:
    """Headers win over the record; what they lack the record has."""
    headers = [
        {**row, "00081030": value("LO", "header"), "00100020": value("LO", "P1")} for row in ROWS_OF_STUDY
    ]
    found = told(headers, "metadata", {**STUDY, "00081030": value("LO", "record")})
    assert found.study["description"] == "header"
    assert found.study["accession"]["value"] == "A1"
    assert found.study["reported_instances"] == 4


def test_the_order_of_rows_does_not_matter() -> None:
    """Nor do duplicates: the same report, so that nothing is published for it."""
    assert len({repr(told(list(rows)).plain()) for rows in permutations(ROWS_OF_STUDY)}) == 1
    assert told(hostile.twice(ROWS_OF_STUDY)).plain() == told(ROWS_OF_STUDY).plain()


BAD = {
    "no SOP Instance UID": ({"00080018": {"vr": "UI"}}, "SOPInstanceUID"),
    "no SOP Class UID": ({"00080016": value("UI", "CT")}, "SOPClassUID"),
    "no series": ({"0020000E": {"vr": "UI"}}, "SeriesInstanceUID"),
}


@pytest.mark.parametrize(("change", "keyword"), BAD.values(), ids=BAD)
def test_a_row_without_uids_is_left_out_and_noted(change: dict[str, Any], keyword: str) -> None:
    """The others are taken."""
    found = told([*ROWS_OF_STUDY[:3], {**ROWS_OF_STUDY[3], **change}])
    assert len(found.instance_uids) == 3
    assert [(uid, issue.keyword) for uid, issue in found.issues] == [("1.2", keyword)]


def test_a_wrong_representation_costs_its_element() -> None:
    """It becomes an issue of its instance; the rest of the row is used."""
    odd = {**ROWS_OF_STUDY[0], "00200013": {"vr": "IS", "Value": [{"Alphabetic": 7}]}}
    found = told([odd, *ROWS_OF_STUDY[1:]])
    assert len(found.instance_uids) == 4
    assert "number" not in found.series[0].instances[0]
    assert [(uid, issue.keyword) for uid, issue in found.issues] == [("1.2.1.1", "InstanceNumber")]


def test_a_wrong_record_costs_its_elements() -> None:
    """A date of another kind, no element at all, a value without its array: all are issues of the study."""
    found = told(ROWS_OF_STUDY, study=hostile.wrong_vrs([STUDY])[0])
    assert found.patient["identifier"]["value"] == "text"
    assert not {"started", "accession"} & found.study.keys()
    assert {issue.keyword for _uid, issue in found.issues} == {"StudyDate", "PatientID", "AccessionNumber"}


def test_availability_is_that_of_the_record() -> None:
    """Nothing said means online."""
    assert told([], "study", {**STUDY, "00080056": value("CS", "OFFLINE")}).availability == "OFFLINE"
