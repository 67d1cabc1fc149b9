"""Publishing: new versions of resources, and what makes them searchable; each is written once a revision."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

import orjson
from sqlalchemy import Connection, Row, Table, delete, func, select, update

from pacsbridge.kernel.query import ReferenceRow, Span, StringRow, TokenRow
from pacsbridge.kernel.query import Row as SearchRow
from pacsbridge.kernel.search_parameters import Indexed, indexed
from pacsbridge.store import schema, texts
from pacsbridge.store.conditions import parameter_key
from pacsbridge.store.records import Draft, moment
from pacsbridge.store.upsert import upsert

_TABLES: Mapping[type, Table] = {
    TokenRow: schema.token,
    ReferenceRow: schema.reference,
    StringRow: schema.string,
}

_COLUMNS: Mapping[type, tuple[str, ...]] = {
    TokenRow: ("param", "system", "value"),
    ReferenceRow: ("param", "type", "target"),
    StringRow: ("param", "value"),
}

_NO_SPAN = dict.fromkeys(Span._fields, schema.NEVER)

_TICK = 1000
"""The least time between two transactions: a client that asks for what is newer misses nothing."""


@dataclass(frozen=True, slots=True)
class _Known:
    """The row of a resource as it stands."""

    pk: int
    version: int
    digest: bytes
    study: int | None


@dataclass(frozen=True, slots=True)
class _Next:
    """A version to be written; `before` is the number of the one it replaces, 0 when it is the first."""

    pk: int
    draft: Draft
    digest: bytes
    before: int
    updated: int
    index: Indexed | None

    @property
    def span(self) -> Mapping[str, int]:
        """The columns of the date that it is searched by."""
        return span_of(self.index)

    def row(self) -> dict[str, Any]:
        """The resource's row."""
        return {
            "pk": self.pk,
            "type": self.draft.type,
            "id": self.draft.id,
            "version": self.before + 1,
            "updated": self.updated,
            "deleted": self.draft.content is None,
            "digest": self.digest,
            "study": self.draft.study,
            **self.span,
        }

    def version(self) -> dict[str, Any]:
        """The version's row."""
        return {
            "resource": self.pk,
            "version": self.before + 1,
            "updated": self.updated,
            "deleted": self.draft.content is None,
            "body": self._written(self.draft.content),
            "type": self.draft.type,
            "low": self.span["low"],
            "local_low": self.span["local_low"],
        }

    def summary(self) -> dict[str, Any] | None:
        """The row of its summary."""
        body = self._written(self.index and self.index.summary)
        return None if body is None else {"resource": self.pk, "body": body}

    def _written(self, content: Mapping[str, Any] | None) -> bytes | None:
        return None if content is None else body_of(content, self.before + 1, moment(self.updated))


def span_of(index: Indexed | None) -> Mapping[str, int]:
    """The columns of the date that a resource is searched by."""
    return index.span._asdict() if index and index.span else _NO_SPAN


def publish(connection: Connection, drafts: Iterable[Draft], now: int) -> int:
    """Write new versions of those drafts whose content is not what is published; returns how many.

    Of several drafts of one resource the last counts. Versions of later calls are at least `_TICK` later.
    """
    latest = {(draft.type, draft.id): draft for draft in drafts}
    known = _known(connection, latest.values())
    versions = _versions(connection, latest, known, now)
    if not versions:
        return 0
    changed = [one for one in versions if one.before]
    _compress(connection, changed)
    _unlist(connection, [one.pk for one in changed])
    upsert(connection, schema.resource, [one.row() for one in versions], key=("pk",))
    connection.execute(schema.version.insert(), [one.version() for one in versions])
    _list(connection, [(one.pk, one.draft.type, one.index) for one in versions if one.index])
    _insert(connection, schema.summary, [row for one in versions if (row := one.summary())])
    return len(versions)


def _unlist(connection: Connection, pks: Sequence[int]) -> None:
    """Take resources out of every index."""
    for table in (*schema.SEARCH_TABLES, schema.summary) if pks else ():
        connection.execute(delete(table).where(table.c.resource.in_(pks)))


def _known(connection: Connection, drafts: Iterable[Draft]) -> dict[tuple[str, str], _Known]:
    c = schema.resource.c
    ids: dict[str, list[str]] = {}
    for draft in drafts:
        ids.setdefault(draft.type, []).append(draft.id)
    found: dict[tuple[str, str], _Known] = {}
    for type_, named in ids.items():
        query = select(c.id, c.pk, c.version, c.digest, c.study).where(c.type == type_, c.id.in_(named))
        for id_, pk, version, digest, study in connection.execute(query):
            found[type_, id_] = _Known(pk, version, bytes(digest), study)
    return found


def _versions(
    connection: Connection,
    drafts: Mapping[tuple[str, str], Draft],
    known: Mapping[tuple[str, str], _Known],
    now: int,
) -> list[_Next]:
    last = connection.execute(select(func.max(schema.resource.c.pk))).scalar() or 0
    updated = _moment(connection, now)
    versions: list[_Next] = []
    for name, draft in drafts.items():
        digest = _digest(draft.content)
        before = known.get(name)
        if (before is None and draft.content is not None) or (before is not None and before.digest != digest):
            last += before is None
            pk, number = (last, 0) if before is None else (before.pk, before.version)
            index = None if draft.content is None else indexed(draft.content)
            versions.append(_Next(pk, draft, digest, number, updated, index))
        elif before is not None and before.study != draft.study:
            _relink(connection, before.pk, draft.study)
    return versions


def _moment(connection: Connection, now: int) -> int:
    """When these versions are published: now, but later than all others."""
    latest = connection.execute(select(func.max(schema.version.c.updated))).scalar()
    return now if latest is None else max(now, latest + _TICK)


def _digest(content: Mapping[str, Any] | None) -> bytes:
    """What tells versions apart: the content without its meta; who sent it last changes nothing in it."""
    plain = content and {name: value for name, value in content.items() if name != "meta"}
    return sha256(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)).digest()


def _relink(connection: Connection, pk: int, study: int | None) -> None:
    """The facts have been rebuilt: the study's row has another number."""
    connection.execute(update(schema.resource).where(schema.resource.c.pk == pk).values(study=study))


def _list(connection: Connection, found: Iterable[tuple[int, str, Indexed]]) -> None:
    """Write the search rows of resources: row number, type and index of each."""
    values: dict[type, list[dict[str, Any]]] = {kind: [] for kind in _TABLES}
    for pk, type_, index in found:
        for row in index.rows:
            values[type(row)].append({"resource": pk, **search_row(type_, row)})
    for kind, rows in values.items():
        _insert(connection, _TABLES[kind], rows)


def search_row(type_: str, row: SearchRow) -> dict[str, str]:
    """A row of the index of a resource of some type, as it stands in its table but for the resource."""
    bounded = (texts.indexed(part) for part in row)
    value = dict(zip(_COLUMNS[type(row)], bounded, strict=True))
    return value | {"param": parameter_key(type_, value["param"])}


def search_table(row: SearchRow) -> Table:
    """The table in which a row of an index stands."""
    return _TABLES[type(row)]


def _insert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        connection.execute(table.insert(), rows)


def _compress(connection: Connection, versions: Iterable[_Next]) -> None:
    """A version that is history is kept compressed."""
    c = schema.version.c
    for one in versions:
        here = (c.resource == one.pk) & (c.version == one.before)
        body = connection.execute(select(c.body).where(here)).scalar()
        if body is not None:
            connection.execute(update(schema.version).where(here).values(body=zlib.compress(bytes(body), 6)))


def body_of(content: Mapping[str, Any], number: int, updated: datetime) -> bytes:
    """The complete JSON of a version: `content` with meta.versionId and meta.lastUpdated (an instant)."""
    meta = {"versionId": str(number), "lastUpdated": instant(updated), **content.get("meta", {})}
    head = {"resourceType": content["resourceType"], "id": content["id"], "meta": meta}
    return orjson.dumps(head | {k: v for k, v in content.items() if k not in head})


def instant(updated: datetime) -> str:
    """A FHIR instant in UTC with milliseconds."""
    return updated.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def refresh(connection: Connection, after: int, limit: int) -> int | None:
    """Index the next resources behind a row number again; returns the last one's, None when none is left.

    One that is deleted, or cannot be read, is not to be found any more.
    """
    rows = current(connection, after, limit)
    if not rows:
        return None
    _unlist(connection, [row.pk for row in rows])
    found = [(row, index) for row in rows if (index := index_of(row.body)) is not None]
    _list(connection, [(row.pk, row.type, index) for row, index in found])
    summaries = [{"resource": row.pk, "body": orjson.dumps(index.summary)} for row, index in found]
    _insert(connection, schema.summary, summaries)
    indexes = {row.pk: index for row, index in found}
    for row in rows:
        _respan(connection, row, span_of(indexes.get(row.pk)))
    return int(rows[-1].pk)


def index_of(body: bytes | None) -> Indexed | None:
    """The index of a resource as it is kept; None of one that is deleted, or no JSON."""
    try:
        return None if body is None else indexed(orjson.loads(body))
    except orjson.JSONDecodeError:
        return None


def current(connection: Connection, after: int, limit: int) -> Sequence[Row[Any]]:
    """The next resources behind a row number, each with its current version; a deleted one has no body."""
    r, v = schema.resource.c, schema.version.c
    query = (
        select(schema.resource, v.body, v.low.label("own_low"), v.local_low.label("own_local_low"))
        .join_from(schema.resource, schema.version, (v.resource == r.pk) & (v.version == r.version))
        .where(r.pk > after)
        .order_by(r.pk)
        .limit(limit)
    )
    return connection.execute(query).all()


def _respan(connection: Connection, row: Row[Any], span: Mapping[str, int]) -> None:
    """Write the date that a resource and its current version are searched by."""
    r, v = schema.resource.c, schema.version.c
    connection.execute(update(schema.resource).where(r.pk == row.pk).values(**span))
    own = {name: span[name] for name in ("low", "local_low")}
    here = (v.resource == row.pk) & (v.version == row.version)
    connection.execute(update(schema.version).where(here).values(**own))
