"""The store's contract, what archives say about studies: the same tests on SQLite and PostgreSQL."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from pacsbridge.kernel.attributes import Issue
from pacsbridge.kernel.model import Facts, StudyState
from pacsbridge.kernel.query import Clause, Kind, Query, TokenValue
from pacsbridge.kernel.reports import Report, ReportedSeries
from pacsbridge.store.records import Arrival, DeadLetter, Draft, Due, Reported
from pacsbridge.store.store import ARCHIVE, Store

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND
CT = "1.2.840.10008.5.1.4.1.1.2"
NORTH, SOUTH = "http://north.example/dicom-web", "http://south.example/dicom-web"
AE = "urn:dicom:ae:CT1"
STUDY, SERIES = "1.2.3", "1.2.3.1"


def told(
    uid: str = STUDY,
    instances: Sequence[int] = (1, 2),
    *,
    date: str | None = "20240311",
    record: bytes = b"record",
    patient: dict[str, Any] | None = None,
    issues: tuple[tuple[str, Issue], ...] = (),
    **study: Any,
) -> Reported:
    """What an archive says about a study of one series."""
    series = f"{uid}.1"
    facts = [{"uid": f"{series}.{number}", "sop_class": CT, "number": number} for number in instances]
    report = Report(
        {"key": "A|1", "gender": "female"} if patient is None else patient,
        {"uid": uid, "reported_instances": len(instances), **study},
        [ReportedSeries({"uid": series}, facts)],
        issues=issues,
    )
    return Reported(uid, sha256(record).digest(), date, report)


def pushed(number: int, uid: str = STUDY, **study: Any) -> Arrival:
    """One instance of the same series, pushed by a modality that names the station and the patient's sex."""
    series = f"{uid}.1"
    facts = Facts(
        patient={"key": "A|1", "gender": "female"},
        study={"uid": uid, **study},
        series={"uid": series, "station": "CT1"},
        instance={"uid": f"{series}.{number}", "sop_class": CT, "number": number, "title": "by header"},
    )
    sha = sha256(f"{uid}/{number}".encode()).digest()
    return Arrival(facts, AE, NOW, "1.2.840.10008.1.2.1", f"pack:1:{number}:10", 10, sha)


def due(store: Store, uid: str = STUDY) -> Due:
    """A study that waits to be published."""
    return next(one for one in store.due(NOW * 2) if one.uid == uid)


def state(store: Store, uid: str = STUDY) -> StudyState:
    """The state of a study that waits."""
    study = due(store, uid)
    return store.study_states([study])[study.pk]


def instances(found: StudyState) -> list[str]:
    """The SOP Instance UIDs of a study, in order."""
    return sorted(one.uid for series in found.series for one in series.instances)


def publish(store: Store) -> None:
    """Publish every study that waits, under its UID; those that have been deleted everywhere too."""
    studies = store.due(NOW * 2)
    drafts = [
        Draft("ImagingStudy", one.uid, {"resourceType": "ImagingStudy", "id": one.uid}, one.pk)
        for one in studies
    ]
    store.publish(drafts, NOW, studies)
    assert not store.due(NOW * 2)


def found_by_instance(store: Store, uid: str) -> list[str]:
    """The published studies that a search by SOP Instance UID finds."""
    clause = Clause("ImagingStudy.instance", Kind.HELD, (TokenValue(None, uid),))
    return [one.id for one in store.search(Query("ImagingStudy", (clause,))).entries]


# what is kept


def test_a_report_is_kept_whole(store: Store) -> None:
    """Patient, study, series and instances come back as they were told, with their archive as the source."""
    assert store.put_reports(NORTH, [told(description="Thorax", accession="A1")], NOW) == 1
    found = state(store)
    assert (found.patient["gender"], found.study["description"], found.sources) == (
        "female",
        "Thorax",
        (NORTH,),
    )
    assert instances(found) == [f"{SERIES}.1", f"{SERIES}.2"]
    assert (found.availability, found.withdrawn) == ("ONLINE", None)


def test_what_is_known_of_reports(store: Store) -> None:
    """Of each study its record's digest and when it was had; nothing of other archives or studies."""
    store.put_reports(NORTH, [told(), told("1.2.4", record=b"other")], NOW)
    known = store.known_reports(NORTH, [STUDY, "1.2.4", "1.2.5"])
    assert {uid: one.digest for uid, one in known.items()} == {
        STUDY: sha256(b"record").digest(),
        "1.2.4": sha256(b"other").digest(),
    }
    assert all(one.usable and one.gone is None and one.fetched == NOW for one in known.values())
    assert not store.known_reports(SOUTH, [STUDY])


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ("20240311", "20240311", {"1.1"}),
        ("20240310", "20240312", {"1.1", "1.2"}),
        ("00000000", "99999999", {"1.1", "1.2"}),
        ("20240313", "99999999", set()),
    ],
)
def test_reports_by_date(store: Store, first: str, last: str, expected: set[str]) -> None:
    """Both ends belong to a stretch of time; studies without a date, withdrawn or of others do not."""
    reports = [
        told("1.1", date="20240311"),
        told("1.2", date="20240312"),
        told("1.3", date=None),
        told("1.4", date="20240311"),
    ]
    store.put_reports(NORTH, reports, NOW)
    store.put_reports(SOUTH, [told("1.5", date="20240311")], NOW)
    store.withdraw_reports(NORTH, ["1.4"], "delete", NOW)
    assert set(store.dated_reports(NORTH, first, last)) == expected


def test_counted_are_those_that_an_archive_has(store: Store) -> None:
    """Neither the studies of another archive, nor withdrawn ones, nor those whose facts could not be had."""
    store.put_reports(NORTH, [told("1.1"), told("1.2")], NOW)
    store.put_reports(SOUTH, [told("1.1")], NOW)
    store.park_report(NORTH, "1.3", b"digest", None, NOW)
    assert (store.count_reports(NORTH), store.count_reports(SOUTH)) == (2, 1)
    store.withdraw_reports(NORTH, ["1.2"], "unknown", NOW)
    assert (store.count_reports(NORTH), store.count_reports(SOUTH)) == (1, 1)


def test_an_issue_is_on_record_under_its_study(store: Store) -> None:
    """What could not be used of a record can be looked up by the study's UID."""
    issue = Issue("StudyDate", "garbage", "no date")
    store.put_reports(NORTH, [told(issues=((STUDY, issue),))], NOW)
    assert [(one["keyword"], one["value"]) for one in store.why(STUDY)["issues"]] == [
        (issue.keyword, issue.value)
    ]


# what is due


def test_saying_the_same_again_is_no_news(store: Store) -> None:
    """The same facts under another record: nothing is due, no revision more, but the record is known."""
    store.put_reports(NORTH, [told()], NOW)
    before = due(store)
    assert store.put_reports(NORTH, [told(record=b"renumbered")], NOW + SECOND) == 0
    assert due(store) == before
    publish(store)
    assert store.put_reports(NORTH, [told(record=b"again")], NOW + 2 * SECOND) == 0
    assert not store.due(NOW * 2)
    assert store.known_reports(NORTH, [STUDY])[STUDY].digest == sha256(b"again").digest()


@pytest.mark.parametrize(
    "news",
    [told(instances=(1, 2, 3)), told(instances=(1,)), told(description="Abdomen"), told(patient={})],
    ids=["more", "less", "corrected", "without patient"],
)
def test_anything_new_makes_a_study_due(store: Store, news: Reported) -> None:
    """Another number of instances, or any other fact, is one revision more."""
    store.put_reports(NORTH, [told()], NOW)
    before = due(store).revision
    publish(store)
    assert store.put_reports(NORTH, [news], NOW + SECOND) == 1
    assert due(store).revision == before + 1


def test_only_the_news_among_many_are_due(store: Store) -> None:
    """Of a group of reports those that say the same again leave their studies alone."""
    store.put_reports(NORTH, [told("1.1"), told("1.2"), told("1.3")], NOW)
    publish(store)
    group = [told("1.1"), told("1.2", description="new"), told("1.3"), told("1.4")]
    assert store.put_reports(NORTH, group, NOW + SECOND) == 2
    assert {one.uid for one in store.due(NOW * 2)} == {"1.2", "1.4"}


def test_what_waits_knows_how_large_it_is(store: Store) -> None:
    """Reported instances are counted with the pushed ones: groups are made by that."""
    store.put_reports(NORTH, [told(instances=(1, 2, 3)), told("1.2.4", instances=())], NOW)
    assert (due(store).instances, due(store, "1.2.4").instances) == (3, 0)
    store.put([pushed(9)], {}, NOW)
    assert due(store).instances == 4


def test_a_smaller_report_takes_instances_away(store: Store) -> None:
    """What an archive no longer lists of a study is neither shown nor found."""
    store.put_reports(NORTH, [told()], NOW)
    store.put_reports(NORTH, [told(instances=(2,))], NOW + SECOND)
    assert instances(state(store)) == [f"{SERIES}.2"]
    publish(store)
    assert found_by_instance(store, f"{SERIES}.1") == []
    assert found_by_instance(store, f"{SERIES}.2") == [STUDY]


# patients


def test_a_later_report_corrects_the_patient(store: Store) -> None:
    """Facts of a patient in a later report stand, in all studies of that patient: each is due."""
    store.put_reports(NORTH, [told(), told("1.2.4")], NOW)
    publish(store)
    store.put_reports(NORTH, [told(patient={"key": "A|1", "gender": "male"})], NOW + SECOND)
    assert {one.uid for one in store.due(NOW * 2)} == {STUDY, "1.2.4"}
    assert state(store, "1.2.4").patient["gender"] == "male"


def test_a_later_report_names_another_patient(store: Store) -> None:
    """The study moves to the patient of the later report; that is on record."""
    store.put_reports(NORTH, [told()], NOW)
    store.put_reports(NORTH, [told(patient={"key": "A|2", "gender": "other"})], NOW + SECOND)
    assert state(store).patient == {"key": "A|2", "gender": "other"}
    assert [one["field"] for one in store.why(STUDY)["conflicts"]] == ["patient"]


# several sources


def test_pushed_and_reported_by_two_archives(store: Store) -> None:
    """One study of all of them: instances once each, headers before records, all three its sources."""
    store.put([pushed(1)], {}, NOW)
    store.put_reports(NORTH, [told(instances=(1, 2))], NOW + SECOND)
    store.put_reports(SOUTH, [told(instances=(2, 3))], NOW + 2 * SECOND)
    found = state(store)
    assert instances(found) == [f"{SERIES}.1", f"{SERIES}.2", f"{SERIES}.3"]
    assert set(found.sources) == {AE, NORTH, SOUTH}
    titles = {one.uid: one.title for series in found.series for one in series.instances}
    assert titles == {f"{SERIES}.1": "by header", f"{SERIES}.2": None, f"{SERIES}.3": None}
    assert [one.facts["station"] for one in found.series] == ["CT1"]


def test_one_of_several_withdraws(store: Store) -> None:
    """What an archive alone had goes, what others have stays; it is no source any more, nothing is gone."""
    store.put([pushed(1)], {}, NOW)
    store.put_reports(NORTH, [told(instances=(1, 2))], NOW)
    store.put_reports(SOUTH, [told(instances=(2, 3))], NOW)
    publish(store)
    assert store.withdraw_reports(SOUTH, [STUDY], "entered-in-error", NOW + SECOND) == 1
    found = state(store)
    assert instances(found) == [f"{SERIES}.1", f"{SERIES}.2"]
    assert set(found.sources) == {AE, NORTH}
    assert found.withdrawn is None


def test_all_archives_withdraw_what_was_pushed(store: Store) -> None:
    """What was pushed stays whatever archives delete, with the bridge as its only source."""
    store.put([pushed(1)], {}, NOW)
    for number, archive in enumerate((NORTH, SOUTH)):
        store.put_reports(archive, [told()], NOW)
        store.withdraw_reports(archive, [STUDY], "delete", NOW + number)
    found = state(store)
    assert (instances(found), found.sources, found.withdrawn) == ([f"{SERIES}.1"], (AE,), None)


@pytest.mark.parametrize("status", ["entered-in-error", "unknown", "delete"])
def test_withdrawn_by_the_only_archive(store: Store, status: str) -> None:
    """A study that nobody has any more is shown as it last was, with what the deletion means."""
    store.put_reports(NORTH, [told(description="Thorax")], NOW)
    publish(store)
    assert store.withdraw_reports(NORTH, [STUDY], status, NOW + SECOND) == 1
    found = state(store)
    assert (found.withdrawn, found.sources) == (status, ())
    assert (found.study["description"], instances(found)) == ("Thorax", [f"{SERIES}.1", f"{SERIES}.2"])
    assert store.known_reports(NORTH, [STUDY])[STUDY].gone == status


def test_withdrawing_twice_is_withdrawing_once(store: Store) -> None:
    """What is gone already, or was never there, is not counted, and makes nothing due."""
    store.put_reports(NORTH, [told()], NOW)
    store.withdraw_reports(NORTH, [STUDY], "unknown", NOW)
    publish(store)
    assert store.withdraw_reports(NORTH, [STUDY, "9.9"], "delete", NOW) == 0
    assert store.withdraw_reports(SOUTH, [STUDY], "delete", NOW) == 0
    assert not store.due(NOW * 2)


def test_withdrawn_comes_back(store: Store) -> None:
    """The same report after a deletion is news: the study is what it was."""
    store.put_reports(NORTH, [told()], NOW)
    before = state(store)
    store.withdraw_reports(NORTH, [STUDY], "delete", NOW + SECOND)
    publish(store)
    assert store.put_reports(NORTH, [told()], NOW + 2 * SECOND) == 1
    assert state(store) == before
    publish(store)
    assert found_by_instance(store, f"{SERIES}.2") == [STUDY]


# searches


def test_found_by_a_reported_instance(store: Store) -> None:
    """By its SOP Instance UID the study is found, until the archive no longer has it."""
    store.put_reports(NORTH, [told(), told("1.2.4")], NOW)
    publish(store)
    assert found_by_instance(store, f"{SERIES}.2") == [STUDY]
    assert found_by_instance(store, f"{SERIES}.3") == []
    store.withdraw_reports(NORTH, [STUDY], "unknown", NOW + SECOND)
    publish(store)
    assert found_by_instance(store, f"{SERIES}.2") == []
    assert found_by_instance(store, "1.2.4.1.2") == ["1.2.4"]


def test_found_once_by_an_instance_that_all_have(store: Store) -> None:
    """Pushed and reported twice is one study; each of them is enough to find it."""
    store.put([pushed(1)], {}, NOW)
    store.put_reports(NORTH, [told()], NOW)
    store.put_reports(SOUTH, [told()], NOW)
    publish(store)
    assert found_by_instance(store, f"{SERIES}.1") == [STUDY]
    for archive in (NORTH, SOUTH):
        assert found_by_instance(store, f"{SERIES}.2") == [STUDY]
        store.withdraw_reports(archive, [STUDY], "delete", NOW + SECOND)
    assert found_by_instance(store, f"{SERIES}.2") == []
    assert found_by_instance(store, f"{SERIES}.1") == [STUDY]


# parked and forgotten


def test_parked_until_its_record_changes(store: Store) -> None:
    """Nothing is published of a study that could not be had; its record is known, and it is not usable."""
    store.park_report(NORTH, STUDY, b"digest", "20240311", NOW)
    known = store.known_reports(NORTH, [STUDY])[STUDY]
    assert (known.digest, known.usable, known.gone) == (b"digest", False, None)
    assert not store.due(NOW * 2)
    assert [one["parked"] for one in store.why(STUDY)["reports"]] == [True]


def test_parking_keeps_what_an_archive_said_before(store: Store) -> None:
    """A study whose new record cannot be used stays as it was."""
    store.put_reports(NORTH, [told()], NOW)
    store.park_report(NORTH, STUDY, b"digest", None, NOW + SECOND)
    assert store.known_reports(NORTH, [STUDY])[STUDY].usable
    assert instances(state(store)) == [f"{SERIES}.1", f"{SERIES}.2"]


def test_what_can_be_had_after_all_is_no_dead_letter(store: Store) -> None:
    """A report of a parked study ends its dead letters; those of other archives and studies stay."""
    for source, key in ((NORTH, STUDY), (SOUTH, STUDY), (NORTH, "1.2.4")):
        store.bury(DeadLetter(ARCHIVE, key, "broken", source), NOW)
    store.park_report(NORTH, STUDY, b"digest", None, NOW)
    assert store.put_reports(NORTH, [told()], NOW + SECOND) == 1
    left = {(one.source, one.key) for one in store.dead_letters()}
    assert left == {(SOUTH, STUDY), (NORTH, "1.2.4")}
    assert store.known_reports(NORTH, [STUDY])[STUDY].usable


def test_forgotten_records_are_asked_for_again(store: Store) -> None:
    """At every archive that has the study, and at those alone; nothing is due by that."""
    store.put_reports(NORTH, [told(), told("1.2.4")], NOW)
    store.park_report(SOUTH, STUDY, b"digest", None, NOW)
    publish(store)
    assert store.forget_reports([STUDY]) == 2
    assert store.forget_reports(["9.9"]) == 0
    digests = [store.known_reports(source, [STUDY])[STUDY].digest for source in (NORTH, SOUTH)]
    assert digests == [None, None]
    assert store.known_reports(NORTH, ["1.2.4"])["1.2.4"].digest is not None
    assert not store.due(NOW * 2)


# a rebuilt index


def _restored(store: Store, *arrivals: Arrival) -> None:
    """What `reindex` does: what was pushed comes back from the packs, then what archives say."""
    store.forget_facts()
    assert not store.due(NOW * 2)
    if arrivals:
        store.put(arrivals, {}, NOW + 60 * SECOND)
    store.restore_reports(NOW + 61 * SECOND)


def test_reports_outlive_the_index_of_facts(store: Store) -> None:
    """Two archives' word on several studies stands as before once it has been restored; all are due."""
    store.put_reports(NORTH, [told(), told("1.2.4", patient={"key": "A|2"})], NOW)
    store.put_reports(SOUTH, [told(instances=(2, 3))], NOW + SECOND)
    uids = (STUDY, "1.2.4")
    before = {uid: state(store, uid) for uid in uids}
    publish(store)
    _restored(store)
    assert {uid: state(store, uid) for uid in uids} == before
    publish(store)
    assert found_by_instance(store, f"{SERIES}.3") == [STUDY]
    assert store.known_reports(NORTH, [STUDY])[STUDY].digest == sha256(b"record").digest()


@pytest.mark.parametrize("by_whom", ["north", "both"])
def test_withdrawn_studies_outlive_the_index_of_facts(store: Store, by_whom: str) -> None:
    """What is gone stays gone at the archives that deleted it, and is found where it is left."""
    store.put_reports(NORTH, [told()], NOW)
    store.put_reports(SOUTH, [told(instances=(3,))], NOW + SECOND)
    for archive in (NORTH, SOUTH) if by_whom == "both" else (NORTH,):
        store.withdraw_reports(archive, [STUDY], "entered-in-error", NOW + 2 * SECOND)
    before = state(store)
    publish(store)
    _restored(store)
    assert state(store) == before
    publish(store)
    assert found_by_instance(store, f"{SERIES}.1") == []
    assert found_by_instance(store, f"{SERIES}.3") == ([] if by_whom == "both" else [STUDY])


@pytest.mark.parametrize("first", ["pushed", "reported"])
def test_pushed_and_reported_outlive_the_index_of_facts(store: Store, first: str) -> None:
    """Instances from the packs join what archives say; of the patient the later of them has the last word."""
    pushed_at, reported_at = (NOW, NOW + SECOND) if first == "pushed" else (NOW + SECOND, NOW)
    arrival = replace(pushed(1), received=pushed_at)
    report = told(patient={"key": "A|1", "gender": "male"})
    if first == "pushed":
        store.put([arrival], {}, pushed_at)
    store.put_reports(NORTH, [report], reported_at)
    if first == "reported":
        store.put([arrival], {}, pushed_at)
    before = state(store)
    assert before.patient["gender"] == ("male" if first == "pushed" else "female")
    publish(store)
    _restored(store, arrival)
    found = state(store)
    assert (found.patient, instances(found), set(found.sources)) == (
        before.patient,
        instances(before),
        set(before.sources),
    )
    assert [one.facts for one in found.series] == [one.facts for one in before.series]


# why


@pytest.mark.parametrize("key", [STUDY, f"{SERIES}.2"], ids=["study", "instance"])
def test_why_shows_what_archives_say(store: Store, key: str) -> None:
    """By the UID of a study or of an instance: each archive's word, when it came, whether it is gone."""
    store.put_reports(NORTH, [told()], NOW)
    store.put_reports(SOUTH, [told(date=None)], NOW + SECOND)
    store.withdraw_reports(SOUTH, [STUDY], "unknown", NOW + 2 * SECOND)
    found = store.why(key)
    shown = {one["source"]: (one["study"], one["date"], one["gone"]) for one in found["reports"]}
    assert shown == {NORTH: (STUDY, "20240311", None), SOUTH: (STUDY, None, "unknown")}
    assert all(not one["parked"] for one in found["reports"])
    assert found["counts"]["reports"] == 2
    assert [one["uid"] for one in found["studies"]] == [STUDY]
