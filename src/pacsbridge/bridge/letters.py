"""Dead letters tried again: each kind by what can be done about it here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pacsbridge.bridge.intake import Intake
from pacsbridge.errors import Absent, Refused
from pacsbridge.store.conflicts import ASIDE
from pacsbridge.store.records import DeadLetter
from pacsbridge.store.store import ARCHIVE, Store

_GROUP = 500
"""Letters of one transaction."""


@dataclass(slots=True)
class Retried:
    """How many were tried again, or will be at an archive's next round; what is left as it is."""

    retried: int = 0
    waiting: int = 0
    left: list[DeadLetter] = field(default_factory=list)

    def __iadd__(self, other: "Retried") -> "Retried":
        """Those as well."""
        self.retried += other.retried
        self.waiting += other.waiting
        self.left += other.left
        return self


def can_be_retried(letter: DeadLetter) -> bool:
    """Whether anything can be done about it here."""
    return letter.kind in _RETRIES and (letter.kind not in _STORED or letter.location is not None)


def why_left(letter: DeadLetter) -> str:
    """Why a letter is left as it is when all are tried again."""
    if can_be_retried(letter):
        return "which content stands is for you to say, by its own key"
    return "only its sender can repeat it"


def retry_letters(
    store: Store,
    intake: Intake,
    letters: Sequence[DeadLetter],
    clock: Callable[[], int],
    *,
    conflicts: bool = True,
) -> Retried:
    """Try again; what fails again is on record again. Raises Unavailable.

    `conflicts`: what was put aside takes the place of what is held, too.
    """
    kinds = [kind for kind in _RETRIES if conflicts or kind != ASIDE]
    outcome = Retried(
        left=[letter for letter in letters if letter.kind not in kinds or not can_be_retried(letter)]
    )
    for kind in kinds:
        meant = [letter for letter in letters if letter.kind == kind and can_be_retried(letter)]
        if meant:
            outcome += _RETRIES[kind](store, intake, meant, clock())
    return outcome


def _of_archives(store: Store, _intake: Intake, letters: Sequence[DeadLetter], _now: int) -> Retried:
    """The archives are asked again for the studies."""
    for group in _groups(letters):
        store.forget_reports([letter.key for letter in group])
        store.discard_letters(group)
    return Retried(waiting=len(letters))


def _of_publisher(store: Store, _intake: Intake, letters: Sequence[DeadLetter], now: int) -> Retried:
    """The studies are due."""
    for group in _groups(letters):
        store.discard_letters(group)
        store.hasten(now, [letter.key for letter in group])
    return Retried(retried=len(letters))


def _of_packs(store: Store, intake: Intake, letters: Sequence[DeadLetter], _now: int) -> Retried:
    """The stored bytes are read again."""
    for group in _groups(letters):
        store.discard_letters(group)
    intake.read_again([letter.location for letter in letters if letter.location is not None])
    return Retried(retried=len(letters))


def _of_conflicts(store: Store, intake: Intake, letters: Sequence[DeadLetter], _now: int) -> Retried:
    """What was put aside takes the place of what is held; without its own bytes, whole, it is left."""
    outcome = Retried()
    for letter in letters:
        try:
            intake.choose(letter.location or "", letter.source, letter.key)
        except (Absent, Refused):
            outcome.left.append(letter)
        else:
            store.discard_letters([letter])
            outcome.retried += 1
    return outcome


def _groups(letters: Sequence[DeadLetter]) -> Iterator[Sequence[DeadLetter]]:
    return (letters[start : start + _GROUP] for start in range(0, len(letters), _GROUP))


_RETRIES: Mapping[str, Callable[[Store, Intake, Sequence[DeadLetter], int], Retried]] = {
    ARCHIVE: _of_archives,
    "publish": _of_publisher,
    "index": _of_packs,
    "damaged": _of_packs,
    ASIDE: _of_conflicts,
}
"""Kind → what is done about it."""

_STORED = frozenset({"index", "damaged", ASIDE})
"""Kinds of which the bytes must lie somewhere."""
