"""Dead letters tried again: each kind by what can be done about it here, and nothing lost by trying."""

from dataclasses import replace
from typing import Any

import pytest

from pacsbridge.bridge.letters import Retried, retry_letters
from pacsbridge.errors import NotUnderstood
from pacsbridge.kernel.reports import Report
from pacsbridge.store.records import DeadLetter, Reported

A, B = "https://a.example/dicom-web", "https://b.example/dicom-web"


def bury(world: Any, kind: str, key: str, **more: Any) -> DeadLetter:
    """One dead letter."""
    letter = DeadLetter(kind, key, more.pop("reason", "why"), more.pop("source", "urn:x:source"), **more)
    world.store.bury(letter, world.clock())
    return letter


def retry(world: Any, *letters: DeadLetter) -> Retried:
    """Try them again."""
    return retry_letters(world.store, world.intake, letters, world.clock)


def left(world: Any) -> list[tuple[str, str]]:
    """Kind and key of what is still on record."""
    return sorted((letter.kind, letter.key) for letter in world.store.dead_letters())


@pytest.mark.parametrize("kind", ["refused", "whatever comes later"])
def test_what_only_the_sender_can_repeat_is_left(either: Any, kind: str) -> None:
    """It stays on record, and is told."""
    letter = bury(either, kind, "1.2.3")
    assert retry(either, letter) == Retried(left=[letter])
    assert left(either) == [(kind, "1.2.3")]


def test_archives_are_asked_again(either: Any) -> None:
    """All that have the study, at their next rounds."""
    report = Report({}, {"uid": "1.2"})
    either.store.put_reports(A, [Reported("1.2", b"digest", None, report)], either.clock())
    either.store.park_report(B, "1.2", b"digest", None, either.clock())
    assert [either.store.owed_reports(uri, 10) for uri in (A, B)] == [[], []]
    assert retry(either, bury(either, "archive", "1.2", source=B)) == Retried(waiting=1)
    assert [either.store.owed_reports(uri, 10) for uri in (A, B)] == [["1.2"], ["1.2"]]
    assert left(either) == []


def test_a_study_is_published_again(either: Any, dicom: Any) -> None:
    """It is due now, and no other study for its sake."""
    for uid in ("2.999.1", "2.999.2"):
        either.adopt(dicom.instance(1, study=uid))
    either.index()
    either.clock.move(10)
    for due in either.store.due(either.clock()):
        either.store.postpone(due, either.clock() + 10**9)
    assert retry(either, bury(either, "publish", "2.999.1", source="publisher")) == Retried(retried=1)
    assert [due.uid for due in either.store.due(either.clock())] == ["2.999.1"]
    assert (either.publisher.publish_due(), left(either)) == (1, [])


def location(world: Any) -> str:
    """Where the one instance that is held lies."""
    [held] = world.store.held("2.999.1")
    return str(held.location)


@pytest.mark.parametrize("kind", ["index", "damaged"])
def test_stored_bytes_are_read_again(either: Any, dicom: Any, kind: str) -> None:
    """What could not be read then can be now."""
    either.adopt(dicom.instance(1))
    either.index()
    place = location(either)
    either.store.forget_facts()
    assert either.held() == []
    letter = bury(either, kind, place, location=place)
    assert retry(either, letter) == Retried(retried=1)
    either.index()
    assert (either.held(), left(either)) == (["2.999.1.1.1"], [])


def test_what_cannot_be_read_again_is_on_record_again(
    either: Any, dicom: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its new reason."""
    either.adopt(dicom.instance(1))
    either.index()
    place = location(either)

    def unreadable(*_given: Any) -> None:
        raise NotUnderstood("still no DICOM")

    monkeypatch.setattr(either.intake, "_facts", unreadable)
    retry(either, bury(either, "index", place, location=place))
    [again] = either.store.dead_letters()
    assert (again.kind, again.key, again.reason) == ("index", place, "still no DICOM")


@pytest.mark.parametrize("kind", ["index", "damaged"])
def test_what_lies_nowhere_is_left(either: Any, kind: str) -> None:
    """A pack that is damaged as a whole has no place to read from."""
    letter = bury(either, kind, "pack-1")
    assert retry(either, letter) == Retried(left=[letter])
    assert left(either) == [(kind, "pack-1")]


def test_letters_of_all_kinds_are_tried_together(either: Any, dicom: Any) -> None:
    """Each by its own way; the counts are those of all."""
    either.adopt(dicom.instance(1))
    either.index()
    place = location(either)
    letters = [
        bury(either, "archive", "1.2"),
        bury(either, "archive", "1.3"),
        bury(either, "publish", "2.999.1"),
        bury(either, "index", place, location=place),
        bury(either, "refused", "1.5"),
    ]
    assert retry(either, *letters) == Retried(retried=2, waiting=2, left=letters[-1:])
    assert left(either) == [("refused", "1.5")]


def test_one_letter_is_discarded_alone(either: Any) -> None:
    """Others of the same key, of another kind, source or reason, stay."""
    one = bury(either, "archive", "1.2")
    others = [
        bury(either, "publish", "1.2"),
        bury(either, "archive", "1.2", source="urn:x:other"),
        bury(either, "archive", "1.2", reason="another"),
        bury(either, "archive", "1.3"),
    ]
    assert either.store.discard_letters([one]) == 1
    kept = [replace(letter, first=0, last=0) for letter in either.store.dead_letters()]
    assert sorted(kept, key=repr) == sorted(others, key=repr)
    assert either.store.discard_letters([one]) == 0
