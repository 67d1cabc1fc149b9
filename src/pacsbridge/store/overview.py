"""What operators look at: how much arrives, what archives owe, dead letters page by page."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, delete, func, literal, or_, select

from pacsbridge.store import schema
from pacsbridge.store.engine import Database
from pacsbridge.store.records import DeadLetter

_GROUPS = 100


class Arrived(NamedTuple):
    """One source in one hour (since 1970): pushed instances, and studies told by an archive."""

    hour: int
    source: str
    instances: int
    studies: int


class Backlog(NamedTuple):
    """Studies of an archive: those that are known, to be asked for again, left alone until they change."""

    known: int
    owed: int
    parked: int


class Origin(NamedTuple):
    """Who pushed instances of a study: how many that are held, when the first and the last came."""

    source: str
    instances: int
    first: int
    last: int


class Filed(NamedTuple):
    """A dead letter with its number."""

    pk: int
    letter: DeadLetter


class LetterGroup(NamedTuple):
    """Dead letters of one kind and reason."""

    kind: str
    reason: str
    letters: int


class Wanted(NamedTuple):
    """Which dead letters are meant: of one kind, for one reason, from one source; None: any."""

    kind: str | None = None
    reason: str | None = None
    source: str | None = None


ALL = Wanted()


class Place(NamedTuple):
    """Where a page of dead letters ends: the time of its last one, and its number."""

    last: int
    pk: int


class Overview:
    """Questions about the whole of one database; raises as `Store` does. Moments are microseconds since 1970.

    Each is answered from an index, or from what is small.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def arrivals(self, since: int) -> Sequence[Arrived]:
        """What has come since an hour (since 1970), that one included; hours of nothing are left out."""
        c = schema.arrival.c
        query = select(c.hour, c.source, c.instances, c.studies).where(c.hour >= since)
        with self._database.read() as connection:
            return [Arrived(*row) for row in connection.execute(query.order_by(c.hour, c.source))]

    def backlog(self, source: str) -> Backlog:
        """How an archive's studies stand."""
        c = schema.report.c
        conditions = (
            c.body.is_not(None),
            c.digest.is_(None),
            and_(c.body.is_(None), c.digest.is_not(None)),
        )
        with self._database.read() as connection:
            return Backlog(
                *(_count(connection, and_(c.source == source, c.gone.is_(None), one)) for one in conditions)
            )

    def origins(self, study_uid: str) -> Sequence[Origin]:
        """Where the instances of a study that are held came from, the first to send first."""
        i, s = schema.instance.c, schema.study.c
        counted = (func.count(), func.min(i.received), func.max(i.received))
        joined = schema.study.join(schema.instance, i.study == s.pk)
        query = select(i.source, *counted).select_from(joined).where(s.uid == study_uid).group_by(i.source)
        with self._database.read() as connection:
            return [Origin(*row) for row in connection.execute(query.order_by(func.min(i.received)))]

    def letters(self, wanted: Wanted = ALL, after: Place | None = None, limit: int = 50) -> Sequence[Filed]:
        """One page of dead letters, the latest first, behind a place."""
        c = schema.dead_letter.c
        query = _filed().where(_meant(wanted)).order_by(c.last.desc(), c.pk.desc()).limit(limit)
        if after is not None:
            query = query.where(or_(c.last < after.last, and_(c.last == after.last, c.pk < after.pk)))
        with self._database.read() as connection:
            return [_of_row(row) for row in connection.execute(query)]

    def letters_by_number(
        self, wanted: Wanted, after: int, last: int | None = None, limit: int = 500
    ) -> Sequence[Filed]:
        """Some dead letters in the order of their numbers, behind one and up to another."""
        c = schema.dead_letter.c
        query = _filed().where(_meant(wanted), c.pk > after).order_by(c.pk).limit(limit)
        if last is not None:
            query = query.where(c.pk <= last)
        with self._database.read() as connection:
            return [_of_row(row) for row in connection.execute(query)]

    def letter(self, pk: int) -> Filed | None:
        """The dead letter of a number."""
        with self._database.read() as connection:
            row = connection.execute(_filed().where(schema.dead_letter.c.pk == pk)).first()
        return None if row is None else _of_row(row)

    def count_letters(self, wanted: Wanted = ALL, up_to: int | None = None) -> int:
        """How many dead letters there are, all or up to a number."""
        query = select(func.count()).select_from(schema.dead_letter).where(_meant(wanted))
        if up_to is not None:
            query = query.where(schema.dead_letter.c.pk <= up_to)
        with self._database.read() as connection:
            return connection.execute(query).scalar() or 0

    def last_letter(self) -> int:
        """The highest number of a dead letter; 0 without any."""
        with self._database.read() as connection:
            return connection.execute(select(func.max(schema.dead_letter.c.pk))).scalar() or 0

    def letter_groups(self) -> Sequence[LetterGroup]:
        """The kinds and reasons of dead letters, those with the most first; at most 100."""
        c = schema.dead_letter.c
        number = func.count()
        query = select(c.kind, c.reason, number).group_by(c.kind, c.reason)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(number.desc(), c.kind, c.reason).limit(_GROUPS))
            return [LetterGroup(*row) for row in rows]

    def discard_one(self, pk: int) -> bool:
        """Delete one dead letter by its number; whether it was there."""
        with self._database.write() as connection:
            gone = connection.execute(delete(schema.dead_letter).where(schema.dead_letter.c.pk == pk))
            return gone.rowcount > 0

    def discard(self, wanted: Wanted, up_to: int) -> int:
        """Delete the dead letters that are meant, up to a number; returns how many those were."""
        c = schema.dead_letter.c
        with self._database.write() as connection:
            gone = connection.execute(delete(schema.dead_letter).where(_meant(wanted), c.pk <= up_to))
            return gone.rowcount


def _count(connection: Connection, condition: ColumnElement[bool]) -> int:
    return connection.execute(select(func.count()).select_from(schema.report).where(condition)).scalar() or 0


def _meant(wanted: Wanted) -> ColumnElement[bool]:
    columns = schema.dead_letter.c
    named = [columns[name] == value for name, value in wanted._asdict().items() if value is not None]
    return and_(literal(value=True), *named)


def _filed() -> Any:
    c = schema.dead_letter.c
    return select(c.pk, c.kind, c.key, c.reason, c.source, c.location, c.attempts, c.first, c.last)


def _of_row(row: Any) -> Filed:
    pk, kind, key, reason, *rest = row
    return Filed(pk, DeadLetter(kind, key, reason, *rest))
