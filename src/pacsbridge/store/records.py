"""What goes into the store and what comes out of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pacsbridge.kernel.model import Facts

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """An aware datetime as microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment(microseconds: int) -> datetime:
    """Microseconds since 1970 as an aware datetime in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One stored instance on its way into the index.

    `location` names its bytes in the packs, `size` counts them; `sha256` is that of the encoded data set
    (without file meta), so that the same data set sent by another application is recognised as the same.
    `received` is in microseconds since 1970.
    """

    facts: Facts
    source: str
    received: int
    transfer_syntax: str
    location: str
    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Held:
    """One instance that the bridge holds: where its Part 10 bytes are and how many."""

    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    location: str
    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Due:
    """A study whose revision is to be published; `instances` says how much work it is."""

    pk: int
    uid: str
    revision: int
    instances: int


@dataclass(frozen=True, slots=True)
class Draft:
    """A resource to be published; without content: a deletion. `study` is the row of the study it shows."""

    type: str
    id: str
    content: dict[str, Any] | None
    study: int | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """The current version of a resource: its number and when it was published (UTC)."""

    version: int
    updated: datetime
    deleted: bool


@dataclass(frozen=True, slots=True)
class Document:
    """A published version: `body` is the complete JSON; None for a deletion."""

    type: str
    id: str
    version: int
    updated: datetime
    deleted: bool
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a search: `next` is the row number to go on behind, None on the last page."""

    entries: Sequence[Document]
    next: int | None
    total: int | None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Something that could not be taken or sent on, and why."""

    kind: str
    key: str
    reason: str
    source: str
    location: str | None = None
    attempts: int = 1
    first: int = 0
    last: int = 0

    def as_dict(self) -> dict[str, object]:
        """For people and programs, times as text."""
        times = {"first": moment(self.first).isoformat(), "last": moment(self.last).isoformat()}
        return {name: times.get(name, getattr(self, name)) for name in self.__slots__}
