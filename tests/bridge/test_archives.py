"""Rounds with an archive that has every bad habit: real HTTP, a real store, what is published at the end."""

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pytest
from tests.remote import hostile

from pacsbridge.bridge.archive_records import FIELDS
from pacsbridge.bridge.archive_rounds import Rounds, Stopped
from pacsbridge.bridge.archive_rules import ArchiveRules
from pacsbridge.bridge.archive_state import DONE
from pacsbridge.bridge.publish import Publisher
from pacsbridge.bridge.sources import Source
from pacsbridge.errors import BadAnswer, Unavailable
from pacsbridge.kernel.publication import EndpointSpec, Publication
from pacsbridge.remote.qido import Archive
from pacsbridge.remote.settings import ArchiveSettings

TODAY = date(2023, 11, 14)
"""The day of the world's clock."""

RECENT = "20231113"
OLD = "20150601"


class Here:
    """A bridge that keeps up with archives."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.archives: list[Archive] = []

    def rounds(
        self, url: str, *, tries: int = 1, stopping: Callable[[], bool] = lambda: False, **rules: Any
    ) -> Rounds:
        """New rounds, as after a restart."""
        archive = Archive(ArchiveSettings(url, url, tries=tries), FIELDS, sleep=lambda _seconds: None)
        self.archives.append(archive)
        return Rounds(
            self.world.store,
            archive,
            Source(url, "main"),
            ArchiveRules(**{"page": 50, **rules}),
            self.world.clock,
            stopping=stopping,
        )

    def publish(self, *urls: str) -> None:
        """Publish what is due; each archive has an endpoint of its own."""
        own = EndpointSpec("http://127.0.0.1/dicomweb", name="own")
        endpoints = {url: (EndpointSpec(url, name="archive"),) for url in urls}
        publication = Publication(
            "http://fhir.example/fhir", b"key", endpoints=endpoints, default_endpoints=(own,)
        )
        Publisher(self.world.store, publication, self.world.clock).publish_all()

    def study(self, uid: str, *urls: str) -> dict[str, Any]:
        """The study as it is published now."""
        self.publish(*urls)
        found: dict[str, Any] = self.world.published(uid)
        return found

    def addresses(self, study: dict[str, Any]) -> list[str]:
        """Where the endpoints of a study lead."""
        ids = [one["reference"].removeprefix("Endpoint/") for one in study.get("endpoint", ())]
        return sorted(self.world.published(id_, "Endpoint")["address"] for id_ in ids)

    def reasons(self) -> list[tuple[str, str, int]]:
        """Key, reason and attempts of the archive's dead letters."""
        letters = self.world.letters("archive")
        return sorted((letter.key, letter.reason, letter.attempts) for letter in letters)


@pytest.fixture
def here(either: Any) -> Iterator[Here]:
    """A bridge on each engine."""
    found = Here(either)
    yield found
    for archive in found.archives:
        archive.close()


@pytest.fixture
def make_archive() -> Iterator[Callable[..., hostile.HostileArchive]]:
    """Makes archives of so many studies of one day, each of two series of two instances."""
    made: list[hostile.HostileArchive] = []

    def make(studies: int = 3, day: str = RECENT, **options: Any) -> hostile.HostileArchive:
        archive = hostile.HostileArchive()
        made.append(archive)
        for name, value in options.items():
            setattr(archive.options, name, value)
        for number in range(studies):
            archive.holdings.add(
                hostile.study(f"2.999.{number + 1}", day, f"{number * 7 % 24:02}{number % 60:02}00")
            )
        return archive

    yield make
    for archive in made:
        archive.close()


def listed(archive: hostile.HostileArchive) -> list[hostile.Asked]:
    """The questions for studies."""
    return archive.of("/dicom-web/studies")


def test_a_study_becomes_what_the_archive_says(here: Here, make_archive: Any) -> None:
    """Series, instances, counts, and an endpoint that leads to the archive."""
    archive = make_archive(1)
    assert here.rounds(archive.url).recent().changed == 1
    study = here.study("2.999.1", archive.url)
    assert (study["status"], study["numberOfSeries"], study["numberOfInstances"]) == ("available", 2, 4)
    assert [[one["uid"] for one in series["instance"]] for series in study["series"]] == [
        ["2.999.1.1.1", "2.999.1.1.2"],
        ["2.999.1.2.1", "2.999.1.2.2"],
    ]
    assert study["meta"]["source"] == archive.url
    assert here.addresses(study) == [archive.url]


def test_an_unchanged_archive_costs_one_question(here: Here, make_archive: Any) -> None:
    """A window, a request; no version is published, nothing is due."""
    archive = make_archive(5)
    rounds = here.rounds(archive.url)
    rounds.recent()
    here.study("2.999.1", archive.url)
    archive.asked.clear()
    assert here.rounds(archive.url).recent().changed == 0
    assert [one.path for one in archive.asked] == ["/dicom-web/studies"]
    here.publish(archive.url)
    assert [here.world.version(f"2.999.{number}") for number in range(1, 6)] == [1] * 5


def test_growth_and_corrections_are_taken(here: Here, make_archive: Any) -> None:
    """Another count, another name: the study is asked for again, alone."""
    archive = make_archive(3)
    here.rounds(archive.url).recent()
    first = here.study("2.999.2", archive.url)
    row = archive.holdings.studies[1]
    row.update(hostile.study("2.999.2", RECENT, "070100"))
    row["00201208"] = hostile.value("IS", 5)
    row["00100010"] = {"vr": "PN", "Value": [{"Alphabetic": "Corrected^Name"}]}
    archive.holdings.instances.append(hostile.instance("2.999.2", "2.999.2.1", "2.999.2.1.3", 3))
    archive.asked.clear()
    assert here.rounds(archive.url).recent().changed == 1
    assert [one.path for one in archive.asked][1:] == ["/dicom-web/studies/2.999.2/instances"]
    grown = here.study("2.999.2", archive.url)
    assert (first["numberOfInstances"], grown["numberOfInstances"]) == (4, 5)
    patient = here.world.published(grown["subject"]["reference"].removeprefix("Patient/"), "Patient")
    assert patient["name"][0]["family"] == "Corrected"


@pytest.mark.parametrize("habits", [
    {},
    {"page_cap": 10},
    {"page_cap": 10, "warns": False},
    {"page_cap": 25, "warns": False},
    {"ignores_dates": True},
    {"ignores_dates": True, "page_cap": 20, "warns": False},
    {"ignores_offset": True},
    {"ignores_offset": True, "page_cap": 10, "warns": False},
    {"ignores_limit": True},
    {"refuses_includefield": True},
    {"refuses_uid_lists": True},
    {"finds_nothing_by_uid_lists": True},
    {"lacks_counts": True},
    {"empty_status": 200},
], ids=str)  # fmt: skip
def test_the_first_load_has_everything(here: Here, make_archive: Any, habits: dict[str, Any]) -> None:
    """Whatever an archive's habits: each study once, with all its instances; then nothing is left to do."""
    archive = make_archive(0, **habits)
    for number in range(64):
        day = f"{2023 - number // 16}{1 + number % 4:02}{1 + number % 2:02}"
        archive.holdings.add(hostile.study(f"2.999.{number + 1}", day, f"{number % 24:02}{number % 60:02}00"))
    archive.holdings.add(hostile.study("2.999.900", ""))
    rounds = here.rounds(archive.url)
    assert rounds.load().changed == 65 or habits.get("ignores_offset")
    assert rounds.state.frontier == DONE
    here.publish(archive.url)
    for number in range(64):
        assert here.world.published(f"2.999.{number + 1}")["numberOfInstances"] == 4
    if not habits.get("ignores_offset"):
        assert here.world.published("2.999.900")["numberOfInstances"] == 4
    assert here.rounds(archive.url).full().changed == 0


def test_what_cannot_be_had_whole_is_on_record(here: Here, make_archive: Any) -> None:
    """Too many studies at one minute, and no offset: said, not passed over."""
    archive = make_archive(0, ignores_offset=True, page_cap=10, warns=False)
    for number in range(30):
        archive.holdings.add(hostile.study(f"2.999.{number + 1}", RECENT, "120000"))
    here.rounds(archive.url).recent()
    assert any("or gives only a part of it" in why for _key, why, _attempts in here.reasons())


def test_a_load_that_is_interrupted_goes_on(here: Here, make_archive: Any) -> None:
    """After a fault in the middle and a restart: what was listed before is not asked for again."""
    archive = make_archive(3)
    for number in range(3):
        archive.holdings.add(hostile.study(f"2.999.5{number}", OLD))
    rounds = here.rounds(archive.url)
    archive.faults.extend([hostile.fine()] * 12 + [hostile.status(503)])
    with pytest.raises(Unavailable):
        rounds.load()
    reached = here.rounds(archive.url).state.frontier
    assert reached not in ("", DONE)
    archive.asked.clear()
    again = here.rounds(archive.url)
    assert again.load().listed >= 3
    first = next(pair for pair in listed(archive)[0].pairs if pair[0] == "StudyDate")
    assert first[1].rpartition("-")[2] < reached.replace("-", "")
    assert again.state.loaded


def test_a_round_ends_when_the_process_does(here: Here, make_archive: Any) -> None:
    """In the middle, without harm."""
    archive = make_archive(3)
    with pytest.raises(Stopped):
        here.rounds(archive.url, stopping=lambda: True).recent()
    assert here.rounds(archive.url).recent().changed == 3


@pytest.mark.parametrize(("rule", "status"), [("entered-in-error",) * 2, ("unknown",) * 2, ("delete", None)])
def test_deletion(here: Here, make_archive: Any, rule: str, status: str | None) -> None:
    """What the archive no longer has becomes what the configuration says, and comes back when it does."""
    archive = make_archive(3)
    here.rounds(archive.url).recent()
    here.study("2.999.1", archive.url)
    gone = archive.holdings.studies.pop(0)
    assert here.rounds(archive.url, on_delete=rule).recent().gone == 1
    here.publish(archive.url)
    document = here.world.store.document("ImagingStudy", "2.999.1")
    if status is None:
        assert document.deleted
    else:
        study = here.world.published("2.999.1")
        assert (study["status"], "endpoint" in study, study["numberOfInstances"]) == (status, False, 4)
    assert here.rounds(archive.url, on_delete=rule).recent().gone == 0
    archive.holdings.studies.append(gone)
    assert here.rounds(archive.url, on_delete=rule).recent().changed == 1
    assert here.study("2.999.1", archive.url)["status"] == "available"


def test_deletions_can_be_ignored(here: Here, make_archive: Any) -> None:
    """The study stays as it was."""
    archive = make_archive(2)
    here.rounds(archive.url).recent()
    archive.holdings.studies.pop()
    assert here.rounds(archive.url, on_delete="ignore").recent().gone == 0
    assert here.study("2.999.2", archive.url)["status"] == "available"


FAULTS = {
    "503": hostile.status(503),
    "500": hostile.status(500),
    "429": hostile.status(429),
    "404": hostile.status(404),
    "HTML": hostile.html(),
    "cut JSON": hostile.truncated(),
    "reset": hostile.reset(),
    "short": hostile.short(),
    "elsewhere": hostile.redirect("http://127.0.0.1:9/"),
    "no list": hostile.content(b"{}"),
    "no JSON": hostile.content(b"nothing"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_an_archive_at_fault_has_deleted_nothing(here: Here, make_archive: Any, fault: Any) -> None:
    """The round fails, with a reason; the studies are what they were; the next round goes on."""
    archive = make_archive(3)
    here.rounds(archive.url).recent()
    before = here.study("2.999.1", archive.url)
    archive.routes["/dicom-web/studies"] = fault
    rounds = here.rounds(archive.url)
    with pytest.raises((Unavailable, BadAnswer)) as failed:
        rounds.recent()
    rounds.note_failure(failed.value)
    assert here.rounds(archive.url).state.error
    assert here.study("2.999.1", archive.url) == before
    archive.routes.clear()
    later = here.rounds(archive.url)
    assert later.recent().gone == 0
    assert later.state.error is None


def test_days_at_which_an_archive_fails_are_gone_round(here: Here, make_archive: Any) -> None:
    """A lost file makes it fail wherever that study is listed: the others are taken, its day is told."""
    archive = make_archive(3)
    archive.holdings.add(hostile.study("2.999.50", OLD))
    archive.holdings.add(hostile.study("2.999.51", "20150602"))

    def answer(exchange: hostile.Exchange) -> None:
        if any(hostile.text(row, "0020000D") == "2.999.50" for row in archive.found(exchange.asked)):
            exchange.send(500)
        else:
            exchange.search()

    archive.routes["/dicom-web/studies"] = answer
    rounds = here.rounds(archive.url)
    assert rounds.load().changed == 4
    here.publish(archive.url)
    assert here.world.published("2.999.51")["numberOfInstances"] == 4
    assert [key for key, _why, _attempts in here.reasons()] == ["20150601", "everything"]
    assert rounds.state.loaded


def test_an_answer_about_others_denies_nothing(here: Here, make_archive: Any) -> None:
    """An archive that pays no heed to the UID it is asked for has not said that the study is gone."""
    archive = make_archive(3)
    here.rounds(archive.url).recent()
    others = [row for row in archive.holdings.studies if hostile.text(row, "0020000D") != "2.999.1"]
    archive.routes["/dicom-web/studies"] = lambda exchange: exchange.json(others)
    assert here.rounds(archive.url).recent().gone == 0
    assert here.study("2.999.1", archive.url)["status"] == "available"


def test_many_at_once_are_taken_for_a_fault(here: Here, make_archive: Any) -> None:
    """An archive that has lost most of what it had a minute ago: on record, and nothing is deleted."""
    archive = make_archive(130)
    here.rounds(archive.url, page=500).recent()
    del archive.holdings.studies[5:]
    assert here.rounds(archive.url, page=500).recent().gone == 0
    assert here.reasons() == [("main", "125 of 130 studies are missing at once", 1)]


def test_one_bad_study_is_parked_and_the_others_go_on(here: Here, make_archive: Any) -> None:
    """Tried five times, with the reason; then left alone until its record changes."""
    archive = make_archive(3)
    bad = "/dicom-web/studies/2.999.2/instances"
    archive.routes[bad] = hostile.truncated()
    archive.routes["/dicom-web/instances"] = hostile.status(500)
    archive.options.refuses_uid_lists = True
    del archive.routes["/dicom-web/instances"]
    assert (here.rounds(archive.url).recent().changed, here.reasons()) == (
        2,
        [("2.999.2", "JSON breaks off", 1)],
    )
    for attempt in range(2, 6):
        assert here.rounds(archive.url).recent().failed == 1
        assert here.reasons() == [("2.999.2", "JSON breaks off", attempt)]
    archive.asked.clear()
    assert here.rounds(archive.url).recent().failed == 0
    assert archive.of(bad) == []
    archive.routes.clear()
    assert here.rounds(archive.url).recent().changed == 0
    here.world.store.forget_reports(["2.999.2"])
    assert here.rounds(archive.url).recent().changed == 1
    assert here.reasons() == []
    assert here.study("2.999.2", archive.url)["numberOfInstances"] == 4


def test_when_no_study_can_be_had_it_is_the_archive(here: Here, make_archive: Any) -> None:
    """HTML for all instances: nothing is parked, the round fails, and the next one has all."""
    archive = make_archive(8, refuses_uid_lists=True)
    for number in range(1, 9):
        archive.routes[f"/dicom-web/studies/2.999.{number}/instances"] = hostile.html()
    for _time in range(7):
        with pytest.raises(BadAnswer, match="no study could be had"):
            here.rounds(archive.url).recent()
    assert here.reasons() == []
    archive.routes.clear()
    assert here.rounds(archive.url).recent().changed == 8


@pytest.mark.parametrize("change", [hostile.wrong_vrs, hostile.twice], ids=["wrong VRs", "duplicates"])
def test_bad_rows_cost_no_study(here: Here, make_archive: Any, change: Any) -> None:
    """What cannot be read is left out; each study is there once."""
    archive = make_archive(3)
    archive.routes["/dicom-web/studies"] = hostile.changed(change)
    assert here.rounds(archive.url).recent().changed == 3
    assert here.study("2.999.3", archive.url)["numberOfInstances"] == 4


def test_rows_without_uids_are_on_record(here: Here, make_archive: Any) -> None:
    """They name no study; the round goes on."""
    archive = make_archive(2)
    archive.routes["/dicom-web/studies"] = hostile.changed(hostile.without_uids)
    assert here.rounds(archive.url).recent().failed == 2
    [(key, why, _attempts)] = here.reasons()
    assert (key, why) == ("main", "a record that cannot be used: StudyInstanceUID is missing or no UID")


def test_a_study_here_and_in_two_archives(here: Here, make_archive: Any, dicom: Any) -> None:
    """One ImagingStudy with all endpoints; each archive's deletion takes its own part alone."""
    one, two = make_archive(1), make_archive(1)
    two.holdings.instances.append(hostile.instance("2.999.1", "2.999.1.1", "2.999.1.1.9", 9))
    here.world.adopt(dicom.instance(1, study="2.999.1", PatientID="SYN-1", SeriesDescription="pushed"))
    here.world.index()
    here.rounds(one.url).recent()
    here.rounds(two.url).recent()
    urls = (one.url, two.url)
    study = here.study("2.999.1", *urls)
    assert here.addresses(study) == sorted(["http://127.0.0.1/dicomweb", *urls])
    assert study["numberOfInstances"] == 5
    assert study["series"][0]["description"] == "pushed"
    assert len(study["series"][1]["endpoint"]) == 2
    one.holdings.studies.clear()
    assert here.rounds(one.url).recent().gone == 1
    study = here.study("2.999.1", *urls)
    assert here.addresses(study) == sorted(["http://127.0.0.1/dicomweb", two.url])
    two.holdings.studies.clear()
    assert here.rounds(two.url).recent().gone == 1
    study = here.study("2.999.1", *urls)
    assert (study["status"], study["numberOfInstances"]) == ("available", 1)
    assert here.addresses(study) == ["http://127.0.0.1/dicomweb"]


@pytest.mark.parametrize(
    ("level", "series", "instances"), [("instance", 2, 4), ("series", 2, 0), ("study", 0, 0)]
)
def test_depth(here: Here, make_archive: Any, level: str, series: int, instances: int) -> None:
    """Below the depth that is asked for, counts stand in."""
    archive = make_archive(2)
    assert here.rounds(archive.url, level=level).recent().changed == 2
    study = here.study("2.999.1", archive.url)
    assert (study["status"], study["numberOfSeries"], study["numberOfInstances"]) == ("available", 2, 4)
    found = study.get("series", [])
    assert (len(found), sum(len(one.get("instance", ())) for one in found)) == (series, instances)
    assert here.rounds(archive.url, level=level).recent().changed == 0


def test_uncounted_studies_are_asked_for_now_and_then(here: Here, make_archive: Any) -> None:
    """Growth shows in no record there: after ten minutes, not before."""
    archive = make_archive(1, lacks_counts=True)
    here.rounds(archive.url).recent()
    archive.holdings.instances.append(hostile.instance("2.999.1", "2.999.1.1", "2.999.1.1.7", 7))
    assert here.rounds(archive.url).recent().changed == 0
    here.world.clock.move(601)
    assert here.rounds(archive.url).recent().changed == 1
    assert here.study("2.999.1", archive.url)["numberOfInstances"] == 5


def test_exactly_what_the_mapping_needs_is_asked_for(here: Here, make_archive: Any) -> None:
    """By includefield, at both levels; the character set is not among it."""
    archive = make_archive(1)
    here.rounds(archive.url).recent()
    fields = [one.params["includefield"].split(",") for one in archive.asked]
    assert fields == [list(FIELDS["studies"]), list(FIELDS["instances"])]
    assert not any("00080005" in names for names in fields)


def test_searches_find_reported_instances(here: Here, make_archive: Any) -> None:
    """By SOP Instance UID, until the archive has them no more."""
    from pacsbridge.kernel.query_parsing import SearchSettings, parse

    query = parse("ImagingStudy", [("instance", "2.999.1.2.1")], SearchSettings("http://x/fhir"), strict=True)
    archive = make_archive(2)
    here.rounds(archive.url).recent()
    here.publish(archive.url)
    assert [found.id for found in here.world.store.search(query).entries] == ["2.999.1"]
    archive.holdings.studies.pop(0)
    here.rounds(archive.url).recent()
    here.publish(archive.url)
    assert here.world.store.search(query).entries == []


def test_reports_outlive_a_rebuilt_index(here: Here, make_archive: Any, dicom: Any) -> None:
    """As `reindex` does it: what archives say stays, with patients, instances and deletions."""
    archive = make_archive(3)
    here.world.adopt(dicom.instance(1, study="2.999.1", PatientID="SYN-1"))
    here.world.index()
    here.rounds(archive.url).recent()
    archive.holdings.studies.pop()
    here.rounds(archive.url).recent()
    before = [here.study(f"2.999.{number}", archive.url) for number in (1, 2, 3)]
    here.world.store.forget_facts()
    here.world.intake.recover({}, live=True)
    here.world.index()
    here.world.store.restore_reports(here.world.clock())
    after = [here.study(f"2.999.{number}", archive.url) for number in (1, 2, 3)]
    assert [without_meta(one) for one in after] == [without_meta(one) for one in before]
    assert here.rounds(archive.url).recent().changed == 0


def without_meta(resource: dict[str, Any]) -> dict[str, Any]:
    """A resource without version, moment and last writer."""
    return {name: value for name, value in resource.items() if name != "meta"}
