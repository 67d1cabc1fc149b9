"""Dead letters tried again: each kind by what can be done about it here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pacsbridge.bridge.intake import Intake
from pacsbridge.store.records import DeadLetter
from pacsbridge.store.store import ARCHIVE, Store


@dataclass(slots=True)
class Retried:
    """How many were tried again, or will be at an archive's next round; what only its sender can repeat."""

    retried: int = 0
    waiting: int = 0
    left: list[DeadLetter] = field(default_factory=list)


def retry_letters(
    store: Store, intake: Intake, letters: Sequence[DeadLetter], clock: Callable[[], int]
) -> Retried:
    """Try again; what fails again is on record again. Raises Unavailable."""
    outcome = Retried()
    for letter in letters:
        _RETRIES.get(letter.kind, _leave)(store, intake, letter, clock(), outcome)
    return outcome


def _of_archive(store: Store, _intake: Intake, letter: DeadLetter, _now: int, outcome: Retried) -> None:
    """Its archive is asked again for the study."""
    store.forget_report(letter.key)
    store.discard_letters([letter])
    outcome.waiting += 1


def _of_publisher(store: Store, _intake: Intake, letter: DeadLetter, now: int, outcome: Retried) -> None:
    """The study is due."""
    store.discard_letters([letter])
    store.hasten(now, [letter.key])
    outcome.retried += 1


def _of_packs(store: Store, intake: Intake, letter: DeadLetter, now: int, outcome: Retried) -> None:
    """The stored bytes are read again."""
    if letter.location is None:
        _leave(store, intake, letter, now, outcome)
        return
    store.discard_letters([letter])
    intake.read_again([letter.location])
    outcome.retried += 1


def _leave(_store: Store, _intake: Intake, letter: DeadLetter, _now: int, outcome: Retried) -> None:
    outcome.left.append(letter)


_RETRIES: Mapping[str, Callable[[Store, Intake, DeadLetter, int, Retried], None]] = {
    ARCHIVE: _of_archive,
    "publish": _of_publisher,
    "index": _of_packs,
    "damaged": _of_packs,
}
