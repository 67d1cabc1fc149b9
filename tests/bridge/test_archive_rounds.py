"""Rounds over weeks: what is owed and asked again, what a round costs, what becomes of a bad study."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

import pytest
from tests.remote import hostile
from tests.remote.hostile import HostileArchive

from pacsbridge.bridge.archive_failures import FRUITLESS, PARKED_AFTER
from pacsbridge.bridge.archive_rounds import Rounds
from pacsbridge.bridge.archive_rules import ArchiveRules, Tally
from pacsbridge.bridge.archive_state import DONE, ArchiveState, read_state, write_state
from pacsbridge.bridge.sources import Source
from pacsbridge.errors import BadAnswer, Unavailable
from pacsbridge.remote.qido import Archive

TODAY = date(2023, 11, 14)
"""The day of the world's clock."""

OLD = "20150601"
URI = "https://pacs.example/dicom-web"
STUDIES = "/dicom-web/studies"

Make = Callable[..., Rounds]


@pytest.fixture
def make(either: Any, asked: Archive) -> Make:
    """Makes rounds by rules, as each process does; on both engines."""

    def rounds(
        told: Callable[[Tally, ArchiveState], None] = lambda _tally, _state: None, **rules: Any
    ) -> Rounds:
        source, given = Source(URI, "main"), ArchiveRules(**{"page": 30, **rules})
        return Rounds(either.store, asked, source, given, either.clock, told=told)

    return rounds


@pytest.fixture
def letters(either: Any) -> Callable[[], list[tuple[str, int]]]:
    """Key and attempts of the archive's dead letters."""
    return lambda: sorted((one.key, one.attempts) for one in either.letters("archive"))


def days_ago(days: int) -> str:
    """A day before the world's as DICOM writes it."""
    return f"{TODAY - timedelta(days=days):%Y%m%d}"


def fill(pacs: HostileArchive, number: int, day: str | None = None) -> list[str]:
    """So many studies more, on one day or over the last ones; their UIDs."""
    begun = len(pacs.holdings.studies)
    uids = [f"2.999.{begun + one}" for one in range(number)]
    for one, uid in enumerate(uids):
        pacs.holdings.add(hostile.study(uid, day or days_ago(one % 7), f"{one * 7 % 24:02}{one % 60:02}00"))
    return uids


def below(uid: str) -> str:
    """Where the instances of one study are asked for."""
    return f"{STUDIES}/{uid}/instances"


def published(world: Any, uids: Sequence[str]) -> dict[str, int]:
    """The instances of studies as they are published."""
    world.publisher.publish_all()
    return {uid: world.published(uid)["numberOfInstances"] for uid in uids}


def paths(pacs: HostileArchive) -> list[str]:
    """What was asked for since the last time."""
    found = [one.path for one in pacs.asked]
    pacs.asked.clear()
    return found


# what a round costs


@pytest.mark.parametrize("number", [5, 29, 100])
def test_an_unchanged_archive_costs_a_question_a_window(
    make: Make, pacs: HostileArchive, number: int
) -> None:
    """Windows become as long as fits a page, and nothing but them is asked for."""
    fill(pacs, number)
    make().recent()
    paths(pacs)
    windows = -(-8 // make().state.recent_days)
    tally = make().recent()
    assert (tally.changed, tally.gone, tally.failed, tally.listed) == (0, 0, 0, number)
    assert paths(pacs) == [STUDIES] * windows


def test_an_archive_without_dates_costs_a_question_a_page(make: Make, pacs: HostileArchive) -> None:
    """Recent rounds, and full ones: once through its list, not once a window."""
    fill(pacs, 70)
    pacs.options.ignores_dates = True
    make().recent()
    make().recent()
    for round_ in (make().recent, make().full):
        paths(pacs)
        assert round_().changed == 0
        assert len(paths(pacs)) <= 2 * 3


@pytest.mark.parametrize("load", ["load", "recent", "full"])
def test_each_study_is_fetched_once(make: Make, pacs: HostileArchive, load: str) -> None:
    """A full page that is split brings the same studies again: they are not asked for again."""
    fill(pacs, 100)
    pacs.options.refuses_uid_lists = True
    tally = getattr(make(), load)()
    asked = [path for path in paths(pacs) if path.endswith("/instances") and path != "/dicom-web/instances"]
    assert len(asked) == len(set(asked)) == 100
    assert (tally.listed, tally.changed) == (100, 100)


def test_ignored_deletions_cost_nothing(make: Make, pacs: HostileArchive) -> None:
    """Nobody asks for what is gone when that is not to be known."""
    fill(pacs, 5)
    make(on_delete="ignore").recent()
    pacs.holdings.studies.pop()
    paths(pacs)
    make(on_delete="ignore").recent()
    assert paths(pacs) == [STUDIES]


# what is owed


def test_a_study_that_fails_in_the_first_load_is_asked_for_again(
    make: Make, pacs: HostileArchive, either: Any, letters: Any
) -> None:
    """By its UID, as no window of the last days has it; when it succeeds its dead letter is gone."""
    uids = fill(pacs, 3, OLD)
    pacs.options.refuses_uid_lists = True
    pacs.routes[below(uids[1])] = hostile.truncated()
    rounds = make()
    assert (rounds.load().changed, rounds.state.frontier) == (2, DONE)
    assert letters() == [(uids[1], 1)]
    pacs.routes.clear()
    assert make().recent().changed == 1
    assert letters() == []
    assert published(either, uids) == dict.fromkeys(uids, 4)
    paths(pacs)
    make().recent()
    assert paths(pacs) == [STUDIES]


@pytest.mark.parametrize("day", [OLD, days_ago(1)], ids=["old", "recent"])
def test_a_bad_study_is_parked_and_retried(
    make: Make, pacs: HostileArchive, either: Any, letters: Any, day: str
) -> None:
    """Five tries; then it is left alone, until somebody wants it retried, whatever its date."""
    uids = fill(pacs, 2, day)
    pacs.options.refuses_uid_lists = True
    pacs.routes[below(uids[0])] = hostile.html()
    make().load()
    for attempt in range(2, PARKED_AFTER + 1):
        assert make().recent().failed == 1
        assert letters() == [(uids[0], attempt)]
    paths(pacs)
    assert make().recent().failed == 0
    assert below(uids[0]) not in paths(pacs)
    pacs.routes.clear()
    assert make().recent().changed == 0
    either.store.forget_reports([uids[0]])
    assert make().recent().changed == 1
    assert (letters(), published(either, uids)) == ([], dict.fromkeys(uids, 4))


def test_a_parked_study_is_asked_for_when_its_record_changes(
    make: Make, pacs: HostileArchive, letters: Any
) -> None:
    """Somebody has mended it."""
    uids = fill(pacs, 2, days_ago(1))
    pacs.options.refuses_uid_lists = True
    pacs.routes[below(uids[0])] = hostile.truncated()
    for _round in range(PARKED_AFTER):
        make().recent()
    pacs.routes.clear()
    pacs.holdings.studies[0]["00081030"] = hostile.value("LO", "mended")
    assert make().recent().changed == 1
    assert letters() == []


@pytest.mark.parametrize("rule", ["entered-in-error", "ignore"])
def test_an_owed_study_that_is_gone_is_owed_no_more(make: Make, pacs: HostileArchive, rule: str) -> None:
    """The archive says by an empty answer that it has it no more; whatever that means."""
    uids = fill(pacs, 2, OLD)
    pacs.options.refuses_uid_lists = True
    pacs.routes[below(uids[0])] = hostile.html()
    make().load()
    del pacs.holdings.studies[0]
    make(on_delete=rule).recent()
    paths(pacs)
    make(on_delete=rule).recent()
    assert paths(pacs) == [STUDIES]


def test_bad_studies_alone_do_not_stop_the_first_load(
    make: Make, pacs: HostileArchive, letters: Any, either: Any
) -> None:
    """Two on a day of their own look like a fault of the archive; after a while they are passed."""
    bad, good = fill(pacs, 2, days_ago(100)), fill(pacs, 3, OLD)
    pacs.options.refuses_uid_lists = True
    for uid in bad:
        pacs.routes[below(uid)] = hostile.html()
    for _round in range(FRUITLESS):
        with pytest.raises(BadAnswer, match="no study could be had"):
            make().load()
        make().recent()
    assert letters() == []
    rounds = make()
    rounds.load()
    assert rounds.state.loaded
    assert letters() == [(uid, 1) for uid in bad]
    assert published(either, good) == dict.fromkeys(good, 4)


# what is bad


@pytest.mark.parametrize("level", ["instance", "series"])
def test_a_study_without_one_row_that_can_be_used(
    make: Make, pacs: HostileArchive, letters: Any, level: str
) -> None:
    """Rows without UIDs are no study: it is on record, and tried again."""
    uids = fill(pacs, 3)
    pacs.options.refuses_uid_lists = True
    rows = below(uids[1]) if level == "instance" else f"{STUDIES}/{uids[1]}/series"
    pacs.routes[rows] = hostile.changed(hostile.without_uids)
    assert (make(level=level).recent().changed, letters()) == (2, [(uids[1], 1)])


def test_a_study_that_counts_instances_and_gives_none(make: Make, pacs: HostileArchive, either: Any) -> None:
    """Its record is not the whole truth: it is not published without any."""
    uids = fill(pacs, 3)
    pacs.holdings.instances = [
        row for row in pacs.holdings.instances if hostile.text(row, "0020000D") != uids[0]
    ]
    assert make().recent().changed == 2
    [letter] = either.letters("archive")
    assert (letter.key, letter.reason) == (uids[0], "the archive counts instances and gives none")


def test_bad_records_are_told_once_a_page(make: Make, pacs: HostileArchive, letters: Any) -> None:
    """A thousand rows without UIDs are not a thousand transactions."""
    fill(pacs, 19)
    pacs.routes[STUDIES] = hostile.changed(hostile.without_uids)
    assert make().recent().failed == 19
    assert letters() == [("main", 1)]


# what is gone


@pytest.mark.parametrize("answer", [[None], ["x"], [{}]], ids=str)
def test_only_an_empty_answer_denies(make: Make, pacs: HostileArchive, answer: list[Any]) -> None:
    """Rubbish in answer to the question for one study is not the end of it."""
    uids = fill(pacs, 3)
    make().recent()
    del pacs.holdings.studies[0]

    def odd(exchange: hostile.Exchange) -> None:
        named = exchange.asked.params.get("StudyInstanceUID")
        exchange.json(answer) if named == uids[0] else exchange.search()

    pacs.routes[STUDIES] = odd
    assert make().recent().gone == 0
    pacs.routes.clear()
    assert make().recent().gone == 1


@pytest.mark.parametrize("round_", ["recent", "full"])
def test_a_study_that_moves_to_another_day_is_not_gone(
    make: Make, pacs: HostileArchive, either: Any, round_: str
) -> None:
    """Its date was corrected: it is asked for by its UID, and taken."""
    uids = fill(pacs, 3)
    make().recent()
    pacs.holdings.studies[0]["00080020"] = hostile.value("DA", OLD)
    tally = getattr(make(), round_)()
    assert (tally.changed, tally.gone) == (1, 0)
    either.publisher.publish_all()
    assert either.published(uids[0])["started"].startswith("2015-06-01")


def test_old_deletions_are_found_by_a_full_round(make: Make, pacs: HostileArchive, either: Any) -> None:
    """Since a day, or of all days; recent rounds look at the last days alone."""
    uids = [*fill(pacs, 2, days_ago(50)), *fill(pacs, 2, OLD)]
    make().load()
    either.publisher.publish_all()
    del pacs.holdings.studies[2], pacs.holdings.studies[0]
    assert make().recent().gone == 0
    assert make().full(TODAY - timedelta(days=49)).gone == 0
    assert make().full(TODAY - timedelta(days=50)).gone == 1
    assert make().full().gone == 1
    either.publisher.publish_all()
    status = [either.published(uid)["status"] for uid in uids]
    assert status == ["entered-in-error", "available", "entered-in-error", "available"]


def test_a_full_round_is_a_first_load(make: Make, pacs: HostileArchive) -> None:
    """It takes everything, those without a date too; then there is nothing to load."""
    fill(pacs, 3, OLD)
    fill(pacs, 1, "")
    pacs.holdings.studies[-1]["00080020"] = {"vr": "DA"}
    rounds = make()
    assert (rounds.full().changed, rounds.state.frontier) == (4, DONE)
    assert make().load().listed == 0


def test_named_studies_are_taken_or_gone(make: Make, pacs: HostileArchive, either: Any) -> None:
    """Whatever their dates, each by itself."""
    uids = fill(pacs, 4, OLD)
    assert make().named(uids[:3]).changed == 3
    del pacs.holdings.studies[0]
    tally = make().named([*uids, "2.999.404"])
    assert (tally.changed, tally.gone) == (1, 1)
    either.publisher.publish_all()
    assert [either.published(uid)["status"] for uid in uids] == ["entered-in-error", *["available"] * 3]


# what fails, and goes on


@pytest.mark.parametrize("after", [0, 1, 3, 6, 9])
@pytest.mark.parametrize(
    "fault",
    [hostile.status(429), hostile.status(503), hostile.reset(), hostile.short()],
    ids=["429", "503", "reset", "short"],
)
def test_nothing_is_lost_by_a_round_that_fails(
    make: Make, pacs: HostileArchive, either: Any, asked: Archive, fault: hostile.Fault, after: int
) -> None:
    """Wherever it fails, in a list or among instances: the next ones come to the same end."""
    uids = [*fill(pacs, 20), *fill(pacs, 50, OLD), *fill(pacs, 5, days_ago(300))]
    pacs.options.refuses_uid_lists = True
    pacs.faults.extend([hostile.fine()] * after + [fault])
    with pytest.raises(Unavailable):
        make().usual()
    asked.client.circuit.succeeded()
    rounds = make()
    rounds.usual()
    assert rounds.state.loaded
    assert published(either, uids) == dict.fromkeys(uids, 4)
    assert either.letters("archive") == []


def test_a_load_pauses_when_it_is_told_to(make: Make, pacs: HostileArchive) -> None:
    """After a window, one at least; it goes on behind it."""
    fill(pacs, 3, OLD)
    windows = iter([False, True])
    rounds = make()
    rounds.load(lambda: True)
    assert rounds.state.frontier_day == TODAY
    rounds.load(lambda: next(windows))
    reached = rounds.state.frontier_day
    assert reached is not None
    assert reached < TODAY
    assert make().state.frontier_day == reached
    again = make()
    again.load()
    assert again.state.loaded


def test_progress_is_told(make: Make, pacs: HostileArchive) -> None:
    """After each group, with what there is so far."""
    fill(pacs, 20)
    heard: list[int] = []
    make(lambda tally, _state: heard.append(tally.changed)).recent()
    assert heard == sorted(heard)
    assert heard[-1] == 20


def test_what_a_command_does(make: Make, pacs: HostileArchive) -> None:
    """The last days and the first load, counted together; later the last days alone."""
    fill(pacs, 5)
    fill(pacs, 5, OLD)
    tally = make().usual()
    assert (tally.changed, tally.failed) == (10, 0)
    paths(pacs)
    assert make().usual().changed == 0
    assert paths(pacs) == [STUDIES]


# what is kept


def test_the_state_is_kept(either: Any) -> None:
    """All of it, with the habits."""
    state = ArchiveState(frontier="2020-02-03", days=7, changes=12, lost=1, error="why")
    state.habits.cap, state.habits.ignores_offset = 100, True
    write_state(either.store, URI, state)
    assert read_state(either.store, URI) == state
    assert read_state(either.store, "https://other.example") == ArchiveState()


@pytest.mark.parametrize(
    "text",
    ["", "x", "5", "[]", '{"frontier": ', '{"unknown": 1}', '{"habits": null}', '{"frontier": "soon"}'],
)
def test_a_state_that_cannot_be_read_is_a_beginning(either: Any, text: str) -> None:
    """An older version's, or half of one."""
    either.store.remember(f"archive:{URI}", text)
    assert read_state(either.store, URI) == ArchiveState()
