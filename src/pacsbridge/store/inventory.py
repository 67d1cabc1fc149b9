"""What the index says is there, page by page: for those who compare it with what is there."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, func, select

from pacsbridge.kernel.titles import RETENTION_EXPIRED
from pacsbridge.store import listing, publishing, reports, schema, search_rows
from pacsbridge.store.arrivals import HOUR, KEPT_HOURS
from pacsbridge.store.conflicts import ASIDE
from pacsbridge.store.engine import Database
from pacsbridge.store.records import Listing

PAGE = 1_000
"""Instances that are looked at together."""

STUDIES = 10
"""Studies that are looked at together: one may have tens of thousands of instances."""

_UNUSABLE = ("index", "damaged")
"""The kinds of dead letters about what is stored and not indexed; and what has been put aside."""


class Indexed(NamedTuple):
    """An instance as the index has it."""

    uid: str
    location: str
    size: int
    sha256: bytes
    transfer_syntax: str
    source: str
    received: int


class Shown(NamedTuple):
    """A study, and whether what is published of it is level with its facts."""

    pk: int
    uid: str
    revision: int
    settled: bool


class Body(NamedTuple):
    """A published ImagingStudy, and the row number of its study."""

    study: int | None
    id: str
    body: bytes


class Findable(NamedTuple):
    """A resource, the UID of its study where it is one, and what is wrong with how it is found, by names."""

    type: str
    id: str
    uid: str
    faults: tuple[str, ...]


class Encodings(NamedTuple):
    """Pairs of SOP class and transfer syntax: those noted for C-GET, and those of the instances."""

    noted: frozenset[tuple[str, str]]
    held: frozenset[tuple[str, str]]


class Uncounted(NamedTuple):
    """An hour since 1970 and a source, with how many instances were counted, and how many there are."""

    hour: int
    source: str
    counted: int
    there: int


_INDEXED = [schema.instance.c[name] for name in Indexed._fields]


class Inventory:
    """Questions about all rows; every method raises Unavailable when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def instances(self) -> Iterator[Sequence[Indexed]]:
        """Every instance, a page at a time; those that arrive meanwhile may be among them."""
        c = schema.instance.c
        query = select(c.pk, *_INDEXED)
        for rows in self._pages(query, c.pk, PAGE):
            yield [_indexed(row) for row in rows]

    def named(self, uids: Sequence[str]) -> Mapping[str, Indexed]:
        """The instances of some SOP Instance UIDs that are indexed."""
        c = schema.instance.c
        query = select(*_INDEXED).where(c.uid.in_(uids))
        with self._database.read() as connection:
            return {row.uid: _indexed(row) for row in connection.execute(query)}

    def encodings(self) -> Encodings:
        """How instances of each SOP class are encoded, by what is noted and by the instances themselves."""
        noted, held = schema.encoding.c, schema.instance.c
        with self._database.read() as connection:
            pairs = (
                connection.execute(select(c.sop_class, c.transfer_syntax).distinct()) for c in (noted, held)
            )
            return Encodings(*(frozenset((row[0], row[1]) for row in rows) for rows in pairs))

    def uncounted(self, now: int) -> Sequence[Uncounted]:
        """Where fewer instances are counted than are there, at `now` in microseconds since 1970.

        More is no fault: one that is sent again with other content, or read again, counts each time.
        """
        c, counts = schema.arrival.c, schema.instance.c
        first = now // HOUR - KEPT_HOURS + 1
        hour = counts.received // HOUR
        instances = (
            select(hour.label("hour"), counts.source, func.count().label("there"))
            .where(counts.received >= first * HOUR)
            .group_by(hour, counts.source)
        )
        with self._database.read() as connection:
            rows = connection.execute(select(c.hour, c.source, c.instances).where(c.hour >= first))
            counted = {(row.hour, row.source): row.instances for row in rows}
            found = connection.execute(instances).all()
        told = (
            Uncounted(row.hour, row.source, counted.get((row.hour, row.source), 0), row.there)
            for row in found
        )
        return [one for one in told if one.counted < one.there]

    def misreported(self, pks: Sequence[int]) -> set[int]:
        """Those of some studies that are found by other instances than archives tell of, by row numbers.

        An instance that an archive has in two studies is found in one of them.
        """
        with self._database.read() as connection:
            told = reports.listed(connection, pks)
            there = reports.placed(connection, pks=pks)
            lacking = told - there
            found = reports.placed(connection, uids=[one.uid for one in lacking])
        elsewhere = {(one.source, one.uid) for one in found}
        lost = {one for one in lacking if (one.source, one.uid) not in elsewhere}
        return {one.study for one in (there - told) | lost}

    def unusable(self, keys: Sequence[str]) -> set[str]:
        """Those of some UIDs and locations that are on record as stored and not to be indexed."""
        c = schema.dead_letter.c
        unusable = select(c.key).where(c.key.in_(keys), c.kind.in_(_UNUSABLE))
        aside = select(c.location).where(c.location.in_(keys), c.kind == ASIDE)  # its UID is held as well
        with self._database.read() as connection:
            return {*connection.execute(unusable).scalars(), *connection.execute(aside).scalars()}

    def expired(self, uids: Sequence[str]) -> set[str]:
        """Those of some instances whose retention has expired, by a note (DCM 113039)."""
        c = schema.rejection.c
        query = select(c.sop_uid).where(c.sop_uid.in_(uids), c.reason == RETENTION_EXPIRED)
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def studies(self) -> Iterator[Sequence[Shown]]:
        """Every study, a page at a time."""
        c = schema.study.c
        query = select(c.pk, c.uid, c.revision, c.published, c.due)
        for rows in self._pages(query, c.pk, STUDIES):
            yield [Shown(r.pk, r.uid, r.revision, r.published == r.revision and r.due is None) for r in rows]

    def revisions(self, pks: Sequence[int]) -> Mapping[int, int]:
        """The revisions that some studies have now, by row number."""
        c = schema.study.c
        with self._database.read() as connection:
            rows = connection.execute(select(c.pk, c.revision).where(c.pk.in_(pks)))
            return {row.pk: row.revision for row in rows}

    def bodies(self, pks: Sequence[int]) -> Sequence[Body]:
        """The ImagingStudy resources of some studies, as they are published; not those that are deleted."""
        r, v = schema.resource.c, schema.version.c
        query = (
            select(r.study, r.id, v.body)
            .join_from(schema.resource, schema.version, (v.resource == r.pk) & (v.version == r.version))
            .where(r.study.in_(pks), r.type == "ImagingStudy", r.deleted.is_(False))
        )
        with self._database.read() as connection:
            return [Body(row.study, row.id, bytes(row.body or b"")) for row in connection.execute(query)]

    def differing(self, listings: Sequence[Listing]) -> set[int]:
        """Those of some studies of which queries answer something else, by their row numbers."""
        with self._database.read() as connection:
            return listing.differing(connection, listings)

    def findable(self) -> Iterator[Sequence[Findable]]:
        """Every resource, a page at a time, with what of its search index is not as its content says."""
        last, study = 0, schema.study.c
        while True:
            with self._database.read() as connection:
                rows = publishing.current(connection, last, STUDIES)
                wrong = search_rows.faults(connection, rows)
                named = select(study.pk, study.uid).where(study.pk.in_([row.study for row in rows]))
                uids = {row.pk: row.uid for row in connection.execute(named)}
            if not rows:
                return
            last = rows[-1].pk
            yield [Findable(r.type, r.id, uids.get(r.study, ""), tuple(wrong.get(r.pk, ()))) for r in rows]

    def groundless(self) -> Iterator[str]:
        """The ids of ImagingStudy resources, not deleted, of which there is no study."""
        r, s = schema.resource.c, schema.study.c
        query = (
            select(r.pk, r.id, s.pk.label("study"))
            .join_from(schema.resource, schema.study, s.pk == r.study, isouter=True)
            .where(r.type == "ImagingStudy", r.deleted.is_(False))
        )
        for rows in self._pages(query, r.pk, PAGE):
            yield from (row.id for row in rows if row.study is None)

    def published(self, type_: str, ids: Sequence[str]) -> set[str]:
        """Those of some ids under which a resource of the type is published and not deleted."""
        c = schema.resource.c
        query = select(c.id).where(c.type == type_, c.id.in_(ids), c.deleted.is_(False))
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def _pages(self, query: Select[Any], pk: ColumnElement[int], limit: int) -> Iterator[Sequence[Row[Any]]]:
        """The rows of a query in the order of their numbers `pk`, so many at a time."""
        last = 0
        while True:
            with self._database.read() as connection:
                rows = connection.execute(query.where(pk > last).order_by(pk).limit(limit)).all()
            if not rows:
                return
            last = rows[-1].pk
            yield rows


def _indexed(row: Any) -> Indexed:
    values = {name: getattr(row, name) for name in Indexed._fields}
    return Indexed(**values | {"sha256": bytes(row.sha256)})
