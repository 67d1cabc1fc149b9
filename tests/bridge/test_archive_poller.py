"""The poller, a step at a time on a clock that nobody waits for; and an Orthanc's changes, over real HTTP."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from tests.remote import hostile
from tests.remote.hostile import HostileArchive

from pacsbridge.bridge.archive_changes import ANYWAY_SECONDS, SEARCHED_SECONDS, Changes
from pacsbridge.bridge.archive_poller import Poller
from pacsbridge.bridge.archive_records import FIELDS
from pacsbridge.bridge.archive_rounds import Rounds, Stopped
from pacsbridge.bridge.archive_rules import ArchiveRules
from pacsbridge.bridge.archive_state import DONE, read_state
from pacsbridge.bridge.sources import Source
from pacsbridge.errors import Unavailable
from pacsbridge.remote.orthanc import OrthancChanges, detect
from pacsbridge.remote.qido import Archive
from pacsbridge.remote.settings import ArchiveSettings

TODAY = date(2023, 11, 14)
"""The day of the world's clock."""

OLD = "20150601"
STUDIES = "/dicom-web/studies"


class Keeper:
    """Keeps up with one archive; `clock` is that of the poller and of the client."""

    def __init__(self, world: Any, pacs: HostileArchive) -> None:
        self.world = world
        self.pacs = pacs
        self.clock = hostile.Clock(0)
        self.stopping = threading.Event()
        settings = ArchiveSettings("main", pacs.url, tries=1)
        self.archive = Archive(settings, FIELDS, clock=self.clock, sleep=self.clock.sleep, random=lambda: 0.5)
        self.begin()

    def begin(self, poll_seconds: float = 30, clock: Callable[[], float] | None = None) -> None:
        """A process begins."""
        rules = ArchiveRules(page=30)
        source = Source(self.pacs.url, "main")
        self.rounds = Rounds(
            self.world.store, self.archive, source, rules, self.world.clock, stopping=self.stopping.is_set
        )
        self.changes = Changes(self._find, self.clock)
        self.poller = Poller(
            "main", self.rounds, self.changes, poll_seconds, self.stopping, clock or self.clock
        )

    def _find(self) -> OrthancChanges | None:
        root = detect(self.archive.client, self.pacs.url)
        return None if root is None else OrthancChanges(self.archive.client, root)

    def step(self, seconds: float = 0) -> float:
        """What is due so many seconds later."""
        self.clock.now += seconds
        return self.poller.step()

    def follow(self, seconds: float = 0) -> list[str]:
        """What has changed so many seconds later; returns the paths that were asked for."""
        self.clock.now += seconds
        self.pacs.asked.clear()
        self.changes.follow(self.rounds)
        return [one.path for one in self.pacs.asked]

    def status(self, uid: str) -> str:
        """The status of a study as it is published now."""
        self.world.publisher.publish_all()
        return str(self.world.published(uid)["status"])


@pytest.fixture
def keeper(world: Any, pacs: HostileArchive) -> Iterator[Keeper]:
    """Keeps up with the archive."""
    found = Keeper(world, pacs)
    yield found
    found.poller.stop()
    found.archive.close()


def days_ago(days: int) -> str:
    """A day before the world's as DICOM writes it."""
    return f"{TODAY - timedelta(days=days):%Y%m%d}"


# the poller


def test_a_step_does_what_is_due(keeper: Keeper, pacs: HostileArchive) -> None:
    """The last days and the first load; then nothing until the next poll, and the last days again."""
    pacs.holdings.add(hostile.study("2.999.1", days_ago(1)))
    pacs.holdings.add(hostile.study("2.999.2", OLD))
    assert keeper.step() == 30
    assert keeper.rounds.state.frontier == DONE
    pacs.asked.clear()
    assert (keeper.step(10), pacs.asked) == (20, [])
    assert keeper.step(20) == 30
    assert [one.path for one in pacs.asked] == [STUDIES]


def test_an_archive_that_fails_is_tried_ever_more_seldom(keeper: Keeper, pacs: HostileArchive) -> None:
    """Twice the pause each time, ten minutes at most; the reason is kept, and gone once it is back."""
    pacs.routes[STUDIES] = hostile.html()
    pauses = [keeper.step()]
    for _time in range(6):
        pauses.append(keeper.step(pauses[-1]))
    assert pauses == [30, 60, 120, 240, 480, 600, 600]
    assert keeper.rounds.state.error == "not JSON: text/html"
    assert keeper.rounds.state.error_at == keeper.world.clock()
    pacs.routes.clear()
    assert keeper.step(599) == 1
    assert keeper.step(1) == 30
    assert keeper.rounds.state == read_state(keeper.world.store, pacs.url)
    assert read_state(keeper.world.store, pacs.url).error is None
    pacs.routes[STUDIES] = hostile.html()
    assert keeper.step(30) == 30


@pytest.mark.parametrize(("asked_for", "pause"), [("7", 30), ("900", 900), ("99999", 3600)])
def test_an_archive_may_ask_for_patience(
    keeper: Keeper, pacs: HostileArchive, asked_for: str, pause: float
) -> None:
    """Not before the time that it names, an hour at most, whatever our own pause is; then all goes on."""
    pacs.holdings.add(hostile.study("2.999.1", days_ago(1)))
    pacs.faults.append(hostile.status(429, Retry_After=asked_for))
    assert keeper.step() == pause
    assert keeper.step(pause) == 30
    assert keeper.status("2.999.1") == "available"


def test_a_fault_of_our_own_is_none_of_the_thread(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is noted by its type, as its text may quote, and the next step goes on."""

    def broken() -> None:
        raise ZeroDivisionError("Synthetic^Person")

    monkeypatch.setattr(keeper.rounds, "recent", broken)
    assert keeper.step() == 30
    assert keeper.rounds.state.error == "internal fault: ZeroDivisionError"
    monkeypatch.undo()
    keeper.step(30)
    assert keeper.rounds.state.error is None


def test_a_database_that_is_away_is_no_end(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the failure can be written down: it is tried again all the same."""

    def away(*_given: Any) -> None:
        raise Unavailable("database away")

    monkeypatch.setattr(keeper.world.store, "known_reports", away)
    monkeypatch.setattr(keeper.world.store, "dated_reports", away)
    monkeypatch.setattr(keeper.world.store, "remember", away)
    assert [keeper.step(), keeper.step(30)] == [30, 60]
    monkeypatch.undo()
    assert keeper.step(60) == 30


def test_the_first_load_makes_room_for_recent_rounds(keeper: Keeper, pacs: HostileArchive) -> None:
    """Each request takes a while: what is new is not kept waiting for what is old."""
    for number in range(40):
        pacs.holdings.add(hostile.study(f"2.999.{number}", days_ago(number * 100)))

    def slow(exchange: hostile.Exchange) -> None:
        keeper.clock.now += 11
        exchange.search()

    pacs.routes[STUDIES] = slow
    recents: list[int] = []
    frontiers = []
    while not keeper.rounds.state.loaded:
        pacs.asked.clear()
        assert keeper.step() >= 0
        recents.append(sum(one.params.get("StudyDate") == f"{days_ago(7)}-" for one in pacs.asked))
        frontiers.append(keeper.rounds.state.frontier)
    assert recents == [1] * len(recents)
    assert len(recents) > 3
    assert frontiers == [*sorted(frontiers[:-1], reverse=True), DONE]
    keeper.world.publisher.publish_all()
    assert all(keeper.world.version(f"2.999.{number}") == 1 for number in range(40))


def test_a_restart_goes_on_with_the_load(keeper: Keeper, pacs: HostileArchive) -> None:
    """From the frontier that was reached, after a fault in the middle."""
    for number in range(40):
        pacs.holdings.add(hostile.study(f"2.999.{number}", days_ago(number * 100)))
    pacs.faults.extend([hostile.fine()] * 12 + [hostile.status(503)])
    assert keeper.step() == 30
    reached = keeper.rounds.state.frontier_day
    assert reached is not None
    keeper.begin()
    pacs.asked.clear()
    keeper.step(30)
    assert keeper.rounds.state.loaded
    dates = [one.params["StudyDate"] for one in pacs.asked if "StudyDate" in one.params]
    assert dates[1].rpartition("-")[2] < f"{reached:%Y%m%d}"


def test_stopping_ends_a_step(keeper: Keeper) -> None:
    """In the middle of a round."""
    keeper.stopping.set()
    with pytest.raises(Stopped):
        keeper.step()


def test_the_thread_polls_until_it_is_stopped(
    keeper: Keeper, pacs: HostileArchive, wait_until: Callable[..., None]
) -> None:
    """Again and again by itself."""
    keeper.begin(0.001, time.monotonic)
    keeper.poller.start()
    wait_until(lambda: keeper.rounds.state.loaded)
    pacs.asked.clear()
    wait_until(lambda: len(pacs.of(STUDIES)) > 2)
    keeper.poller.stop()
    assert not keeper.poller._thread.is_alive()


# an Orthanc's changes


class Orthanc:
    """What an Orthanc says beside DICOMweb: its log, and how many studies it has."""

    def __init__(self, pacs: HostileArchive) -> None:
        self.pacs = pacs
        self.log: list[str] = []
        self.page = 1000
        system = {"ApiVersion": 24, "DatabaseVersion": 6}
        pacs.routes["/system"] = hostile.content(json.dumps(system).encode(), "application/json")
        pacs.routes["/changes"] = self._changes
        pacs.routes["/statistics"] = lambda exchange: exchange.json(
            {"CountStudies": len(pacs.holdings.studies)}
        )

    def add(self, uid: str, day: str) -> None:
        """A study comes."""
        self.pacs.holdings.add(hostile.study(uid, day))
        self.tell(uid)

    def tell(self, uid: str) -> None:
        """An entry about a study."""
        self.log.append(uid)
        answer = json.dumps({"MainDicomTags": {"StudyInstanceUID": uid}}).encode()
        self.pacs.routes[f"/studies/id-{uid}"] = hostile.content(answer, "application/json")

    def remove(self, uid: str) -> None:
        """A study is deleted, with its entries."""
        rows = self.pacs.holdings.studies
        rows[:] = [row for row in rows if hostile.text(row, hostile.STUDY_UID) != uid]
        self.pacs.routes[f"/studies/id-{uid}"] = hostile.status(404)

    def _changes(self, exchange: hostile.Exchange) -> None:
        since = int(exchange.asked.params.get("since", len(self.log)))
        limit = min(int(exchange.asked.params.get("limit", 1)), self.page)
        entries = list(enumerate(self.log, 1))[since : since + limit]
        last = entries[-1][0] if entries else len(self.log)
        changes = [
            {"Seq": n, "ChangeType": "StableStudy", "ResourceType": "Study", "ID": f"id-{uid}"}
            for n, uid in entries
        ]
        exchange.json({"Changes": changes, "Last": last, "Done": last == len(self.log)})


@pytest.fixture
def orthanc(pacs: HostileArchive) -> Orthanc:
    """One that has two recent studies and an old one."""
    found = Orthanc(pacs)
    for uid, day in (("2.999.1", days_ago(1)), ("2.999.2", days_ago(2)), ("2.999.3", OLD)):
        found.add(uid, day)
    return found


QUIET = ["/changes", "/statistics"]


def test_an_unchanged_orthanc_costs_two_small_questions(keeper: Keeper, orthanc: Orthanc) -> None:
    """Once it is known; its studies are listed now and then all the same."""
    assert STUDIES in keeper.follow()
    keeper.rounds.load()
    assert keeper.follow(30) == QUIET
    assert keeper.follow(30) == QUIET
    assert STUDIES in keeper.follow(ANYWAY_SECONDS)
    assert keeper.follow(30) == QUIET


def test_changed_studies_are_asked_for_by_name(keeper: Keeper, orthanc: Orthanc) -> None:
    """Whatever their dates, over several pages of the log, each once."""
    keeper.follow()
    orthanc.page = 2
    for number in range(4, 9):
        orthanc.add(f"2.999.{number}", OLD)
    orthanc.tell("2.999.4")
    asked = keeper.follow(30)
    assert asked.count("/changes") == 3
    assert [one.params["StudyInstanceUID"] for one in orthanc.pacs.of(STUDIES)] == [
        f"2.999.{number}" for number in range(4, 9)
    ]
    assert all(keeper.status(f"2.999.{number}") == "available" for number in range(4, 9))
    assert keeper.follow(30) == QUIET


def test_changes_outlive_a_restart(keeper: Keeper, orthanc: Orthanc) -> None:
    """What came meanwhile is taken by the log."""
    keeper.follow()
    keeper.begin()
    orthanc.add("2.999.4", OLD)
    keeper.follow()
    assert keeper.status("2.999.4") == "available"


def test_a_change_that_could_not_be_taken_is_not_passed_over(keeper: Keeper, orthanc: Orthanc) -> None:
    """The log is read from there again."""
    keeper.follow()
    orthanc.add("2.999.4", OLD)
    orthanc.pacs.routes[STUDIES] = hostile.status(503)
    with pytest.raises(Unavailable):
        keeper.follow(30)
    del orthanc.pacs.routes[STUDIES]
    keeper.begin()
    keeper.follow(30)
    assert keeper.status("2.999.4") == "available"


def test_a_study_that_came_and_went_is_no_fault(keeper: Keeper, orthanc: Orthanc) -> None:
    """Its entry names something that is not there."""
    keeper.follow()
    orthanc.add("2.999.4", OLD)
    orthanc.remove("2.999.4")
    assert STUDIES not in keeper.follow(30)


def test_a_recent_deletion_is_found_among_the_last_days(keeper: Keeper, orthanc: Orthanc) -> None:
    """Orthanc has a study less."""
    keeper.follow()
    keeper.rounds.load()
    keeper.status("2.999.1")
    orthanc.remove("2.999.1")
    keeper.follow(30)
    assert keeper.status("2.999.1") == "entered-in-error"
    assert keeper.follow(30) == QUIET


def test_an_old_deletion_is_searched_for_everywhere_but_not_all_the_time(
    keeper: Keeper, orthanc: Orthanc
) -> None:
    """The first at once; the next when a while has gone, although other studies came and went meanwhile."""
    orthanc.add("2.999.4", OLD)
    keeper.follow()
    keeper.rounds.load()
    keeper.status("2.999.3")
    orthanc.remove("2.999.3")
    keeper.follow(30)
    assert keeper.status("2.999.3") == "entered-in-error"
    orthanc.remove("2.999.4")
    keeper.follow(1)
    orthanc.add("2.999.5", days_ago(0))
    keeper.follow(0.5)
    assert (keeper.status("2.999.4"), keeper.status("2.999.5")) == ("available", "available")
    keeper.follow(SEARCHED_SECONDS)
    assert keeper.status("2.999.4") == "entered-in-error"
    assert keeper.follow(30) == QUIET


@pytest.mark.parametrize("fails", [False, True])
def test_a_log_that_has_begun_anew_is_no_log(keeper: Keeper, orthanc: Orthanc, fails: bool) -> None:
    """Its numbers mean nothing: everything is compared once, and again where that failed."""
    keeper.follow()
    keeper.rounds.load()
    keeper.status("2.999.3")
    orthanc.log.clear()
    orthanc.remove("2.999.3")
    orthanc.tell("2.999.1")
    if fails:
        orthanc.pacs.routes[STUDIES] = hostile.status(503)
        with pytest.raises(Unavailable):
            keeper.follow(ANYWAY_SECONDS + 1)
        keeper.rounds.note_failure(Unavailable("away"))
        del orthanc.pacs.routes[STUDIES]
        keeper.begin()
    keeper.follow(ANYWAY_SECONDS + 1)
    assert keeper.status("2.999.3") == "entered-in-error"
    assert keeper.rounds.state.changes == 1


def test_growth_without_a_word_is_looked_for(keeper: Keeper, orthanc: Orthanc) -> None:
    """Orthanc forgets changes when it is stopped; it counts all the same."""
    keeper.follow()
    keeper.rounds.load()
    orthanc.pacs.holdings.add(hostile.study("2.999.9", days_ago(0)))
    assert STUDIES in keeper.follow(30)
    assert keeper.status("2.999.9") == "available"


def test_an_archive_that_is_no_orthanc_is_listed(keeper: Keeper, pacs: HostileArchive) -> None:
    """It is asked once what it is."""
    pacs.holdings.add(hostile.study("2.999.1", days_ago(1)))
    assert keeper.follow()[0] == "/system"
    assert [keeper.follow(30), keeper.follow(30)] == [[STUDIES], [STUDIES]]


def test_an_orthanc_that_was_away_is_found_later(keeper: Keeper, orthanc: Orthanc) -> None:
    """What answered nothing at first is asked again."""
    system, orthanc.pacs.routes["/system"] = orthanc.pacs.routes["/system"], hostile.status(503)
    orthanc.pacs.routes[STUDIES] = hostile.status(503)
    with pytest.raises(Unavailable):
        keeper.follow()
    orthanc.pacs.routes["/system"] = system
    del orthanc.pacs.routes[STUDIES]
    keeper.follow(600)
    keeper.rounds.load()
    assert keeper.follow(30) == QUIET


# what operators see and want


def test_a_round_is_kept_with_what_it_came_to(keeper: Keeper, pacs: HostileArchive) -> None:
    """Those of the last days and of the first load together; nothing is noted while nothing is due."""
    pacs.holdings.add(hostile.study("2.999.1", days_ago(1)))
    pacs.holdings.add(hostile.study("2.999.2", OLD))
    keeper.step()
    first = read_state(keeper.world.store, pacs.url).last
    assert (first.at > 0, first.changed, first.failed) == (True, 2, 0)
    keeper.world.clock.move(60)
    keeper.step(10)
    assert read_state(keeper.world.store, pacs.url).last == first
    keeper.step(20)
    later = read_state(keeper.world.store, pacs.url).last
    assert (later.at > first.at, later.listed, later.changed) == (True, 1, 0)


def test_a_woken_poller_does_not_wait(keeper: Keeper, pacs: HostileArchive) -> None:
    """A round begins at once, be it that the archive has failed and is to be left alone."""
    keeper.step()
    assert keeper.poller.waits == 30
    keeper.poller.wake()
    assert keeper.poller.waits == 0
    pacs.asked.clear()
    keeper.step()
    assert [one.path for one in pacs.asked] == [STUDIES]


def test_an_archive_on_demand_is_asked_when_woken(keeper: Keeper, pacs: HostileArchive) -> None:
    """Never by itself, neither for the first load nor after a failure; once woken it is loaded completely."""
    pacs.holdings.add(hostile.study("2.999.2", OLD))
    keeper.begin(poll_seconds=0)
    assert keeper.poller.step() == float("inf")
    assert (pacs.asked, keeper.poller.waits) == ([], None)
    pacs.routes[STUDIES] = hostile.html()
    keeper.poller.wake()
    assert keeper.poller.step() == float("inf")
    assert keeper.rounds.state.error is not None
    del pacs.routes[STUDIES]
    keeper.clock.now += 3600
    assert keeper.poller.step() == float("inf")
    assert keeper.rounds.state.error is not None
    keeper.poller.wake()
    assert keeper.poller.step() == float("inf")
    assert (keeper.rounds.state.loaded, keeper.rounds.state.error) == (True, None)


def test_the_thread_hears_that_it_is_woken(keeper: Keeper, pacs: HostileArchive) -> None:
    """A round within moments, not at the end of an hour's pause; and it ends when it is told to."""
    keeper.begin(poll_seconds=3600, clock=time.monotonic)
    keeper.poller.start()
    deadline = time.monotonic() + 20
    while not keeper.rounds.state.last.at and time.monotonic() < deadline:
        time.sleep(0.02)
    while keeper.poller.under_way and time.monotonic() < deadline:
        time.sleep(0.02)
    pacs.asked.clear()
    keeper.poller.wake()
    while not pacs.asked and time.monotonic() < deadline:
        time.sleep(0.02)
    assert pacs.asked
    keeper.poller.stop(10)
    assert not keeper.poller._thread.is_alive()
