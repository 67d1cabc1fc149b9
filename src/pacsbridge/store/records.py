"""What goes into the store and what comes out of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from pacsbridge.kernel.audit import Who
from pacsbridge.kernel.conflicts import Ruling
from pacsbridge.kernel.cursors import Cursor
from pacsbridge.kernel.model import Facts
from pacsbridge.kernel.reports import Report
from pacsbridge.kernel.study_records import StudyRecord

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
    `received` is in microseconds since 1970. `sender`: who sent it, as long as that is known. `ruling`: what
    has been decided of it already.
    """

    facts: Facts
    source: str
    received: int
    transfer_syntax: str
    location: str
    size: int
    sha256: bytes
    sender: Who | None = None
    ruling: Ruling = Ruling.NONE


class Standing(NamedTuple):
    """What is held under a SOP Instance UID: the SHA-256 of its data set, and the source that it is from.

    `received` is in microseconds since 1970.
    """

    sha256: bytes
    source: str
    received: int = 0


class Reported(NamedTuple):
    """What an archive says about one study; `digest` is that of its record, None for it to be asked again.

    `date` is the Study Date as YYYYMMDD, by which the archive is asked.
    """

    uid: str
    digest: bytes | None
    date: str | None
    report: Report


class KnownReport(NamedTuple):
    """What is kept of an archive's word on a study: `usable` unless its facts could not be had."""

    digest: bytes | None
    fetched: int
    gone: str | None
    usable: bool


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
class Listing:
    """What queries answer of a study, by its row number; without a record: nothing any more."""

    study: int
    record: StudyRecord | None


class Version(NamedTuple):
    """The current version of a resource: its number and when it was published, in microseconds since 1970."""

    version: int
    published: int
    deleted: bool

    @property
    def updated(self) -> datetime:
        """When it was published (UTC)."""
        return moment(self.published)


class Document(NamedTuple):
    """A published version: `body` is the complete JSON; None for a deletion. `published` is as in Version."""

    type: str
    id: str
    version: int
    published: int
    deleted: bool
    body: bytes | None

    @property
    def updated(self) -> datetime:
        """When it was published (UTC)."""
        return moment(self.published)


class Found(NamedTuple):
    """A resource that a search found: the JSON of its current version, or of its summary."""

    type: str
    id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a search: `next` and `previous` go on from it, None at either end.

    `included` are resources that go with the entries; `cut`: there were more of them than a page may have.
    """

    entries: Sequence[Found]
    total: int | None = None
    next: Cursor | None = None
    previous: Cursor | None = None
    included: Sequence[Found] = ()
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Versions:
    """One page of a history; `next` goes on from it."""

    entries: Sequence[Document]
    total: int | None = None
    next: Cursor | None = None


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
