"""What the index says is there, page by page: for those who compare it with what is there."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, select

from pacsbridge.kernel.titles import RETENTION_EXPIRED
from pacsbridge.store import listing, publishing, schema, search_rows
from pacsbridge.store.engine import Database
from pacsbridge.store.records import Listing

PAGE = 1_000
"""Instances that are looked at together."""

STUDIES = 10
"""Studies that are looked at together: one may have tens of thousands of instances."""

_UNUSABLE = ("index", "damaged")
"""The kinds of dead letters about what is stored and could not be indexed."""


class Indexed(NamedTuple):
    """An instance as the index has it."""

    uid: str
    location: str
    size: int
    sha256: bytes


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


class Inventory:
    """Questions about all rows; every method raises Unavailable when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def instances(self) -> Iterator[Sequence[Indexed]]:
        """Every instance, a page at a time; those that arrive meanwhile may be among them."""
        c = schema.instance.c
        query = select(c.pk, c.uid, c.location, c.size, c.sha256)
        for rows in self._pages(query, c.pk, PAGE):
            yield [_indexed(row) for row in rows]

    def named(self, uids: Sequence[str]) -> Mapping[str, Indexed]:
        """The instances of some SOP Instance UIDs that are indexed."""
        c = schema.instance.c
        query = select(c.uid, c.location, c.size, c.sha256).where(c.uid.in_(uids))
        with self._database.read() as connection:
            return {row.uid: _indexed(row) for row in connection.execute(query)}

    def unusable(self, keys: Sequence[str]) -> set[str]:
        """Those of some UIDs and locations that are on record as stored and not to be indexed."""
        c = schema.dead_letter.c
        query = select(c.key).where(c.key.in_(keys), c.kind.in_(_UNUSABLE))
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

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
    return Indexed(row.uid, row.location, row.size, bytes(row.sha256))
