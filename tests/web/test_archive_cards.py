"""An archive's standing in words."""

from dataclasses import replace
from typing import get_args

import pytest

from pacsbridge.bridge.archive_standing import ArchiveStanding, Load, Reach, load, reach
from pacsbridge.bridge.archive_state import DONE, ArchiveState, LastRound
from pacsbridge.store.overview import Backlog
from pacsbridge.web.archive_cards import REACHES, Card, card, duration

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND

STANDING = ArchiveStanding(
    "main", "http://pacs.example/dicom-web", 30, "reachable", 12.4, ArchiveState(), Backlog(1234, 0, 0), None
)


def facts(found: Card) -> dict[str, str]:
    """What is said of an archive, by its name."""
    return {fact.name: wide(fact.words) for fact in found.facts}


def wide(text: str) -> str:
    """A text with spaces of one width."""
    return text.replace("\u202f", " ")


def test_every_reach_has_words() -> None:
    """None is shown that nobody has thought of."""
    assert set(REACHES) == set(get_args(Reach))


@pytest.mark.parametrize(
    ("state", "under_way", "left_alone", "expected"),
    [
        (ArchiveState(), False, False, "new"),
        (ArchiveState(), True, False, "asked"),
        (ArchiveState(last_round=NOW), False, False, "reachable"),
        (ArchiveState(last_round=NOW, error="away"), False, False, "failing"),
        (ArchiveState(last_round=NOW, error="away"), False, True, "left alone"),
        (ArchiveState(error="away"), True, True, "asked"),
    ],
)
def test_how_an_archive_is_reached(
    state: ArchiveState, under_way: bool, left_alone: bool, expected: Reach
) -> None:
    """What goes on counts before what was, and an open circuit before the failure that opened it."""
    assert reach(state, under_way=under_way, left_alone=left_alone) == expected


@pytest.mark.parametrize(
    ("state", "known", "rate", "expected"),
    [
        (ArchiveState(), 0, None, None),
        (ArchiveState(frontier=DONE, counted=10), 10, 1.0, None),
        (ArchiveState(frontier="2024-01-01"), 10, 1.0, Load(None, None)),
        (ArchiveState(frontier="2024-01-01", counted=40), 10, None, Load(0.25, None)),
        (ArchiveState(frontier="2024-01-01", counted=40), 10, 2.0, Load(0.25, 15.0)),
        (ArchiveState(frontier="2024-01-01", counted=5), 10, 2.0, Load(1.0, 0.0)),
    ],
)
def test_how_far_a_first_load_is(
    state: ArchiveState, known: int, rate: float | None, expected: Load | None
) -> None:
    """A share where the archive tells how much it has, the time left once anything has come."""
    assert load(state, known, rate) == expected


def test_a_card_tells_the_last_round() -> None:
    """When it was, how long it took, what it came to, and up to when the archive has been followed."""
    state = ArchiveState(
        last_round=NOW, last=LastRound(NOW - SECOND, 1.25, 1200, 3, 2, 1), changes=4711, frontier=DONE
    )
    told = card(replace(STANDING, state=state), NOW)
    assert facts(told)["Last round"] == "took 1.2 s: 1 200 listed, 3 new or changed, 2 gone, 1 failed"
    assert (facts(told)["Followed until"], facts(told)["First load"]) == ("change 4 711", "complete")
    assert [fact.moment for fact in told.facts if fact.name == "Next round"] == [NOW + 12 * SECOND]


def test_a_card_tells_what_is_owed() -> None:
    """With a way to the dead letters; without a backlog there is none."""
    owing = card(replace(STANDING, backlog=Backlog(7, 2, 1)), NOW)
    assert facts(owing)["Backlog"] == "2 to be asked for again, 1 left alone until they change"
    assert [fact.name for fact in owing.facts if fact.letters] == ["Backlog"]
    assert facts(card(STANDING, NOW))["Backlog"] == "none"


def test_a_card_of_an_archive_on_demand() -> None:
    """No next round is promised."""
    assert facts(card(replace(STANDING, waits=None), NOW))["Next round"] == "on demand"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (59, "59 s"),
        (90, "2 min"),
        (7300, "2 h"),
        (500_000, "5 days"),
    ],
)
def test_lengths_of_time(seconds: float, expected: str) -> None:
    """In the unit in which people think of them."""
    assert wide(duration(seconds)) == expected
