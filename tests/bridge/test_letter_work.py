"""Many dead letters tried again while the bridge runs."""

import threading
import time
from typing import Any

import pytest

from pacsbridge.bridge.letter_work import LetterWork, Progress
from pacsbridge.errors import Unavailable
from pacsbridge.store.overview import Wanted
from pacsbridge.store.records import DeadLetter

ARCHIVE = "https://a.example/dicom-web"


def work(world: Any) -> LetterWork:
    """What tries letters again."""
    return LetterWork(world.store, world.intake, world.clock)


def bury(world: Any, kind: str, number: int) -> None:
    """One dead letter."""
    world.store.bury(DeadLetter(kind, f"2.999.{number}", "why", ARCHIVE), world.clock())


def order(letters: LetterWork, world: Any, kind: str | None = None) -> bool:
    """Have all of a kind tried again that are on record now."""
    return letters.retry_all(Wanted(kind), world.store.overview.last_letter())


def settled(letters: LetterWork) -> Progress:
    """The order, once it has come to its end."""
    deadline = time.monotonic() + 30
    while letters.progress is not None and letters.progress.running:
        assert time.monotonic() < deadline, letters.progress
        time.sleep(0.02)
    assert letters.progress is not None
    return letters.progress


def test_all_of_a_kind_are_tried(either: Any) -> None:
    """In several transactions; those of other kinds stay, and what only the sender can repeat is counted."""
    for number in range(1200):
        bury(either, "archive", number)
    bury(either, "refused", 1)
    letters = work(either)
    assert order(letters, either, "archive")
    done = settled(letters)
    assert (done.total, done.done, done.left, done.fault) == (1200, 1200, 0, None)
    assert [letter.kind for letter in either.store.dead_letters()] == ["refused"]
    assert order(letters, either, "refused")
    assert (settled(letters).done, settled(letters).left) == (0, 1)
    letters.stop()


def test_one_order_at_a_time(either: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one is under way another is refused, and done later all the same."""
    bury(either, "archive", 1)
    go_on = threading.Event()
    forget = either.store.forget_reports

    def slowly(uids: Any) -> int:
        go_on.wait(30)
        return int(forget(uids))

    monkeypatch.setattr(either.store, "forget_reports", slowly)
    letters = work(either)
    assert order(letters, either, "archive")
    assert not order(letters, either, "archive")
    go_on.set()
    settled(letters)
    assert order(letters, either, "archive")
    letters.stop()


def test_a_store_that_goes_away_ends_the_order(either: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason; the letters stay on record."""
    bury(either, "archive", 1)

    def away(_uids: Any) -> int:
        raise Unavailable("the database is away")

    monkeypatch.setattr(either.store, "forget_reports", away)
    letters = work(either)
    order(letters, either)
    assert (settled(letters).fault, len(either.store.dead_letters())) == ("the database is away", 1)
    letters.stop()


def test_one_letter_by_its_number(either: Any) -> None:
    """It is tried at once; a number that nothing has is told."""
    bury(either, "archive", 1)
    [filed] = either.store.overview.letters()
    letters = work(either)
    outcome = letters.retry_one(filed.pk)
    assert outcome is not None
    assert (outcome.waiting, letters.retry_one(filed.pk)) == (1, None)
