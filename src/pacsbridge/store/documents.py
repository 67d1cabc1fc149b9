"""Published versions: written once a revision, served as they were written."""

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

import orjson
from sqlalchemy import Connection, Table, delete, func, select, update

from pacsbridge.kernel.query import DateRow, ReferenceRow, StringRow, TokenRow
from pacsbridge.store import schema
from pacsbridge.store.records import Document, Draft, Version, moment
from pacsbridge.store.texts import indexed
from pacsbridge.store.upsert import upsert

Rows = Callable[[Mapping[str, Any]], Iterable[tuple[Any, ...]]]
"""What makes a resource searchable: the search rows of its content."""

_TABLES: Mapping[type, Table] = {
    TokenRow: schema.token,
    ReferenceRow: schema.reference,
    DateRow: schema.date,
    StringRow: schema.string,
}

_COLUMNS: Mapping[type, tuple[str, ...]] = {
    TokenRow: ("param", "system", "value"),
    ReferenceRow: ("param", "type", "target"),
    DateRow: ("param", "low", "high"),
    StringRow: ("param", "value"),
}


@dataclass(frozen=True, slots=True)
class _Known:
    """The row of a resource as it stands."""

    pk: int
    version: int
    updated: int
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
        }

    def version(self) -> dict[str, Any]:
        """The version's row."""
        content = self.draft.content
        body = None if content is None else body_of(content, self.before + 1, moment(self.updated))
        return {
            "resource": self.pk,
            "version": self.before + 1,
            "updated": self.updated,
            "deleted": body is None,
            "body": body,
        }


def publish(connection: Connection, drafts: Iterable[Draft], now: int, search_rows: Rows) -> int:
    """Write new versions of those drafts whose content is not what is published; returns how many.

    Of several drafts of one resource the last counts.
    """
    latest = {(draft.type, draft.id): draft for draft in drafts}
    known = _known(connection, latest.values())
    versions = _versions(connection, latest, known, now)
    if not versions:
        return 0
    changed = [one for one in versions if one.before]
    _compress(connection, changed)
    for table in schema.SEARCH_TABLES if changed else ():
        connection.execute(delete(table).where(table.c.resource.in_([one.pk for one in changed])))
    upsert(connection, schema.resource, [one.row() for one in versions], key=("pk",))
    connection.execute(schema.version.insert(), [one.version() for one in versions])
    _write_rows(connection, versions, search_rows)
    return len(versions)


def _known(connection: Connection, drafts: Iterable[Draft]) -> dict[tuple[str, str], _Known]:
    c = schema.resource.c
    ids: dict[str, list[str]] = {}
    for draft in drafts:
        ids.setdefault(draft.type, []).append(draft.id)
    found: dict[tuple[str, str], _Known] = {}
    for type_, named in ids.items():
        query = select(c.id, c.pk, c.version, c.updated, c.digest, c.study).where(
            c.type == type_, c.id.in_(named)
        )
        for id_, pk, version, updated, digest, study in connection.execute(query):
            found[type_, id_] = _Known(pk, version, updated, bytes(digest), study)
    return found


def _versions(
    connection: Connection,
    drafts: Mapping[tuple[str, str], Draft],
    known: Mapping[tuple[str, str], _Known],
    now: int,
) -> list[_Next]:
    last = connection.execute(select(func.max(schema.resource.c.pk))).scalar() or 0
    versions: list[_Next] = []
    for name, draft in drafts.items():
        digest = _digest(draft.content)
        before = known.get(name)
        if before is None and draft.content is not None:
            last += 1
            versions.append(_Next(last, draft, digest, 0, now))
        elif before is not None and before.digest != digest:
            versions.append(_Next(before.pk, draft, digest, before.version, max(now, before.updated)))
        elif before is not None and before.study != draft.study:
            _relink(connection, before.pk, draft.study)
    return versions


def _digest(content: Mapping[str, Any] | None) -> bytes:
    """What tells versions apart: the content without its meta; who sent it last changes nothing in it."""
    plain = content and {name: value for name, value in content.items() if name != "meta"}
    return sha256(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)).digest()


def _relink(connection: Connection, pk: int, study: int | None) -> None:
    """The facts have been rebuilt: the study's row has another number."""
    connection.execute(update(schema.resource).where(schema.resource.c.pk == pk).values(study=study))


def _write_rows(connection: Connection, versions: Iterable[_Next], search_rows: Rows) -> None:
    values: dict[type, list[dict[str, Any]]] = {kind: [] for kind in _TABLES}
    for one in versions:
        rows = () if one.draft.content is None else set(search_rows(one.draft.content))
        for row in rows:
            bounded = (indexed(part) if isinstance(part, str) else part for part in row)
            value = dict(zip(_COLUMNS[type(row)], bounded, strict=True))
            value |= {"resource": one.pk, "param": parameter_key(one.draft.type, value["param"])}
            values[type(row)].append(value)
    for kind, found in values.items():
        if found:
            connection.execute(_TABLES[kind].insert(), found)


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


def parameter_key(type_: str, param: str) -> str:
    """How a search row names its parameter: codes repeat between resource types."""
    return f"{type_}.{param}"


def _plain(body: bytes | memoryview | None) -> bytes | None:
    if body is None:
        return None
    data = bytes(body)
    return data if data.startswith(b"{") else zlib.decompress(data)


def version(connection: Connection, type_: str, id_: str) -> Version | None:
    """The current version's number and time, without its body."""
    c = schema.resource.c
    row = connection.execute(
        select(c.version, c.updated, c.deleted).where(c.type == type_, c.id == id_)
    ).first()
    return None if row is None else Version(row.version, moment(row.updated), row.deleted)


def document(connection: Connection, type_: str, id_: str, number: int | None = None) -> Document | None:
    """The current version of a resource, or its version `number`."""
    r, v = schema.resource.c, schema.version.c
    query = (
        select(r.type, r.id, v.version, v.updated, v.deleted, v.body)
        .join_from(schema.resource, schema.version, v.resource == r.pk)
        .where(r.type == type_, r.id == id_, v.version == (r.version if number is None else number))
    )
    row = connection.execute(query).first()
    return None if row is None else as_document(row)


def as_document(row: Any) -> Document:
    """A row of type, id, version, updated, deleted, body."""
    return Document(row.type, row.id, row.version, moment(row.updated), row.deleted, _plain(row.body))


def bodies(connection: Connection, pks: Sequence[int]) -> dict[int, Document]:
    """The current versions of the resources with these row numbers."""
    r, v = schema.resource.c, schema.version.c
    query = (
        select(r.pk, r.type, r.id, v.version, v.updated, v.deleted, v.body)
        .join_from(schema.resource, schema.version, (v.resource == r.pk) & (v.version == r.version))
        .where(r.pk.in_(pks))
    )
    return {row.pk: as_document(row) for row in connection.execute(query)}
