"""Retrieval: which instances are asked for, and the data set of each, byte for byte as it is stored.

What is held comes from the packs in pieces; what only an archive holds may follow it (`Further`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pacsbridge.blobs.packs import Packs
from pacsbridge.errors import TooLarge
from pacsbridge.kernel.model import Level
from pacsbridge.store.records import Held
from pacsbridge.store.store import Store

MOST = 100_000
"""Instances of one retrieval."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for: the keys of a level and of those above it; only the last one may be a list.

    `patient_id` is None where the information model begins with the study.
    """

    level: Level
    patient_id: str | None = None
    studies: Sequence[str] = ()
    series: Sequence[str] = ()
    instances: Sequence[str] = ()


Pieces = Callable[[int], Iterator[bytes]]
"""A data set in pieces of so many bytes, the last one perhaps shorter. Raises Absent, Unavailable."""


class Instance(NamedTuple):
    """One instance that can be sent: what it is, and its data set of `size` bytes."""

    sop_class_uid: str
    sop_uid: str
    transfer_syntax_uid: str
    size: int
    pieces: Pieces


class Match(NamedTuple):
    """An instance that is asked for, before its bytes are looked at. `open` raises Absent, Unavailable."""

    sop_class_uid: str
    sop_uid: str
    transfer_syntax_uid: str
    open: Callable[[], Instance]


class Further(NamedTuple):
    """Instances that others hold: how many there should be, and those that come; the rest cannot be had.

    Each is good until the next one is asked for; None while one is coming.
    """

    uids: Sequence[str]
    instances: Iterator[Instance | None]


Ask = Callable[[Wanted, Sequence[str]], Further]
"""What others have of it besides the SOP Instance UIDs that are held."""


class Retrieval:
    """Finds what is asked for; `ask` is for what only archives hold."""

    def __init__(self, store: Store, packs: Packs, ask: Ask | None = None) -> None:
        self._store = store
        self._packs = packs
        self._ask = ask

    def syntaxes(self, sop_classes: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """The transfer syntaxes in which instances of these classes are held. Raises Unavailable."""
        return self._store.holdings.transfer_syntaxes(sop_classes)

    def matches(self, wanted: Wanted) -> Iterator[Match | None]:
        """What is held of it; None after each question to the store. Raises TooLarge, Unavailable."""
        count = 0
        for held in _HELD[wanted.level](self._store, wanted):
            count += len(held)
            if count > MOST:
                raise TooLarge(f"more than {MOST} instances")
            yield from (self._match(one) for one in held)
            yield None

    def further(self, wanted: Wanted, held: Sequence[str]) -> Further:
        """What only others hold of it. Raises Unavailable."""
        return self._ask(wanted, held) if self._ask else Further((), iter(()))

    def _match(self, held: Held) -> Match:
        return Match(held.sop_class_uid, held.sop_uid, held.transfer_syntax_uid, lambda: self._open(held))

    def _open(self, held: Held) -> Instance:
        blob = self._packs.open(held.location, held.sha256)
        start = blob.prelude_size
        return Instance(
            held.sop_class_uid,
            held.sop_uid,
            held.transfer_syntax_uid,
            blob.length - start,
            lambda size: blob.chunks(size, start),
        )


Batches = Iterator[Sequence[Held]]


def _studies(store: Store, wanted: Wanted) -> Batches:
    return (store.held(uid) for uid in studies(store, wanted))


def _series(store: Store, wanted: Wanted) -> Batches:
    return (store.held(study, uid) for study in studies(store, wanted) for uid in wanted.series)


def _instances(store: Store, wanted: Wanted) -> Batches:
    """One by its UID; of many, those among the whole series."""
    uids = set(wanted.instances)
    only = wanted.instances[0] if len(uids) == 1 else None
    for study in studies(store, wanted):
        for series in wanted.series:
            yield [one for one in store.held(study, series, only) if one.sop_uid in uids]


_HELD: Mapping[Level, Callable[[Store, Wanted], Batches]] = {
    Level.PATIENT: _studies,
    Level.STUDY: _studies,
    Level.SERIES: _series,
    Level.INSTANCE: _instances,
}


def studies(store: Store, wanted: Wanted) -> Iterator[str]:
    """The studies asked for: all of a patient, or those named that are no other patient's."""
    if wanted.level is Level.PATIENT:
        yield from store.holdings.studies_of_patient(wanted.patient_id or "")
    for uid in wanted.studies:
        if wanted.patient_id is None or store.holdings.patient_id(uid) == wanted.patient_id:
            yield uid
