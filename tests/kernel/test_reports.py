"""What archives say, put together with what was pushed: who wins, what stays, whose it is."""

import json
from itertools import permutations
from typing import Any

import pytest

from pacsbridge.kernel.model import InstanceState, SeriesState, StudyState
from pacsbridge.kernel.publication import Publication
from pacsbridge.kernel.reports import Report, ReportedSeries, Sourced, combined
from pacsbridge.kernel.resources import imaging_study

CT = "1.2.840.10008.5.1.4.1.1.2"
A, B, AE = "https://a.example/dicom-web", "https://b.example/dicom-web", "urn:dicom:ae:CT1"


def told(*numbers: int, series: int = 1, study: dict[str, Any] | None = None, **facts: Any) -> Report:
    """A report on study 1 with instances of one series."""
    instances = [{"uid": f"1.{series}.{number}", "sop_class": CT, "number": number} for number in numbers]
    return Report(
        {"key": "P1"},
        {"uid": "1", **(study or {})},
        [ReportedSeries({"uid": f"1.{series}", **facts}, instances)],
    )


def pushed(*numbers: int, sources: tuple[str, ...] = (AE,), **facts: Any) -> StudyState:
    """Study 1 as its pushed instances of series 1 have it."""
    instances = [InstanceState(f"1.1.{number}", CT, number, "pushed") for number in numbers]
    series = [SeriesState({"uid": "1.1", **facts}, instances)] if numbers else []
    return StudyState({"key": "P1"}, {"uid": "1"}, series, sources)


def instances(state: StudyState) -> dict[str, str | None]:
    """SOP Instance UID → title, which only pushed ones have here."""
    return {one.uid: one.title for series in state.series for one in series.instances}


def test_without_reports_nothing_changes() -> None:
    """A study that no archive knows is what was pushed, the very same object."""
    held = pushed(1, 2)
    assert combined(held, ()) is held


def test_a_report_alone_is_a_study() -> None:
    """With its series, instances and counts; available, as the archive says nothing else."""
    report = told(1, 2, modality="CT", study={"reported_instances": 5})
    state = combined(pushed(sources=(A,)), [Sourced(A, report)])
    assert [series.facts for series in state.series] == [{"uid": "1.1", "modality": "CT"}]
    assert instances(state) == {"1.1.1": None, "1.1.2": None}
    assert (state.study["reported_instances"], state.availability, state.withdrawn) == (5, "ONLINE", None)


def test_headers_win_over_records() -> None:
    """Series, study and instances: what the header lacks the archive adds."""
    held = pushed(1, sources=(A, AE), description="header")
    held.study["description"] = "header"
    report = told(
        1, 2, description="record", modality="CT", study={"description": "record", "study_id": {"value": "7"}}
    )
    state = combined(held, [Sourced(A, report)])
    assert state.series[0].facts == {"uid": "1.1", "description": "header", "modality": "CT"}
    assert state.study == {"uid": "1", "description": "header", "study_id": {"value": "7"}}
    assert instances(state) == {"1.1.1": "pushed", "1.1.2": None}


@pytest.mark.parametrize(("record", "header", "known"), [(9, None, 9), (9, 4, 9), (4, 9, 9), (None, 4, 4)])
def test_of_the_counts_of_a_series_the_larger_stays(
    record: int | None, header: int | None, known: int
) -> None:
    """A header that was written before the last image came knows less than the archive."""
    counted: list[dict[str, Any]] = [
        {} if number is None else {"reported_instances": number} for number in (record, header)
    ]
    held = pushed(1, sources=(A, AE), **counted[1])
    state = combined(held, [Sourced(A, told(1, **counted[0]))])
    assert state.series[0].facts["reported_instances"] == known


def test_of_the_counts_of_a_study_the_larger_stays() -> None:
    """Whichever archive came last."""
    reports = [
        Sourced(A, told(1, study={"reported_series": 3})),
        Sourced(B, told(study={"reported_series": 2})),
    ]
    for order in permutations(reports):
        assert combined(pushed(sources=(A, B)), order).study["reported_series"] == 3


def test_the_latest_report_wins_over_others() -> None:
    """Two archives that disagree and no header."""
    reports = [Sourced(A, told(1, description="older")), Sourced(B, told(1, description="newer"))]
    assert combined(pushed(sources=(A, B)), reports).series[0].facts["description"] == "newer"


def plain(state: StudyState) -> str:
    """The study as it is published: what the order of rows is not to change."""
    publication = Publication("http://127.0.0.1/fhir", b"key")
    return json.dumps(imaging_study(state, publication), sort_keys=True)


def test_reports_that_agree_come_in_any_order() -> None:
    """Three archives with parts of one study: the same resource."""
    reports = [
        Sourced(A, told(1, 2, modality="CT", study={"reported_instances": 4})),
        Sourced(B, told(2, 3, description="axial", study={"description": "thorax"})),
        Sourced("urn:x:c", told(1, series=2, modality="SR")),
    ]
    held = pushed(5, sources=(A, B, "urn:x:c", AE))
    held.patient = {}
    found = {plain(combined(held, order)) for order in permutations(reports)}
    assert len(found) == 1
    assert json.loads(found.pop())["numberOfInstances"] == 5


def test_series_know_their_sources_where_they_differ() -> None:
    """Of those in every archive nothing is said; the others name theirs."""
    held = pushed(1, sources=(A, B, AE))
    reports = [Sourced(A, told(1)), Sourced(B, told(1)), Sourced(B, told(1, series=2))]
    state = combined(held, reports)
    assert {series.facts["uid"]: set(series.sources) for series in state.series} == {
        "1.1": set(),
        "1.2": {B},
    }
    only = combined(held, [Sourced(A, told(1, series=2)), Sourced(B, told(1, series=3))])
    assert {series.facts["uid"]: series.sources for series in only.series} == {
        "1.2": (A,), "1.3": (B,), "1.1": (AE,),
    }  # fmt: skip


def test_a_deletion_takes_its_own_part() -> None:
    """What the other archive and the packs have stays, with their sources."""
    reports = [Sourced(A, told(1, 2), "entered-in-error"), Sourced(B, told(3))]
    state = combined(pushed(5, sources=(B, AE)), reports)
    assert instances(state) == {"1.1.5": "pushed", "1.1.3": None}
    assert state.withdrawn is None
    left = combined(pushed(5), [Sourced(A, told(1), "delete"), Sourced(B, told(3), "delete")])
    assert (instances(left), left.withdrawn, left.availability) == ({"1.1.5": "pushed"}, None, None)


@pytest.mark.parametrize("status", ["entered-in-error", "unknown", "delete"])
def test_what_nobody_has_is_a_ghost(status: str) -> None:
    """The last deletion says what it means; the content stays, without sources."""
    reports = [Sourced(A, told(1), "unknown"), Sourced(B, told(2), status)]
    ghost = combined(pushed(sources=()), reports)
    assert (ghost.withdrawn, sorted(instances(ghost))) == (status, ["1.1.1", "1.1.2"])
    assert [ghost.sources, *(series.sources for series in ghost.series)] == [(), ()]


@pytest.mark.parametrize(
    ("words", "best"),
    [
        (["ONLINE"], "ONLINE"),
        (["UNAVAILABLE"], "UNAVAILABLE"),
        (["UNAVAILABLE", "NEARLINE"], "NEARLINE"),
        (["OFFLINE", "UNAVAILABLE"], "OFFLINE"),
    ],
)
def test_the_best_availability_counts(words: list[str], best: str) -> None:
    """One archive that can give it is enough."""
    reports = [
        Sourced(f"urn:x:{number}", Report({}, {"uid": "1"}, [], word)) for number, word in enumerate(words)
    ]
    assert combined(pushed(sources=tuple(one.source for one in reports)), reports).availability == best


def test_combining_changes_no_report() -> None:
    """Facts are shared between studies and processes: they are read."""
    reports = [Sourced(A, told(1, modality="CT")), Sourced(B, told(2, description="x"))]
    before = [json.dumps(one.report.plain(), sort_keys=True) for one in reports]
    combined(pushed(1, sources=(A, B, AE), number=3), reports)
    assert [json.dumps(one.report.plain(), sort_keys=True) for one in reports] == before


def test_a_report_survives_being_written_down() -> None:
    """As JSON and back, but for its issues."""
    report = told(1, 2, modality="CT", study={"started": "2026-01-02", "reported_series": 0})
    again = Report.of_plain(json.loads(json.dumps(report.plain())))
    assert again == report
    assert again.instance_uids == ["1.1.1", "1.1.2"]
