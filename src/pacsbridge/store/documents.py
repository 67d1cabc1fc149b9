"""Published versions: written once a revision, served as they were written."""

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

import orjson
from sqlalchemy import Connection, Table, delete, select, update

from pacsbridge.kernel.query import DateRow, ReferenceRow, StringRow, TokenRow
from pacsbridge.store import schema
from pacsbridge.store.records import Document, Draft, Version, moment

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


def publish(connection: Connection, draft: Draft, now: int, search_rows: Rows) -> bool:
    """Write a new version of `draft`, unless its content is what is published already."""
    digest = sha256(orjson.dumps(draft.content, option=orjson.OPT_SORT_KEYS)).digest()
    c = schema.resource.c
    known = connection.execute(
        select(c.pk, c.version, c.updated, c.digest, c.study).where(c.type == draft.type, c.id == draft.id)
    ).first()
    if known is None:
        return draft.content is not None and _first(connection, draft, now, digest, search_rows)
    if known.study != draft.study:
        connection.execute(update(schema.resource).where(c.pk == known.pk).values(study=draft.study))
    if bytes(known.digest) == digest:
        return False
    _next(connection, draft, known, max(now, known.updated), digest, search_rows)
    return True


def _first(connection: Connection, draft: Draft, now: int, digest: bytes, search_rows: Rows) -> bool:
    values = {
        "type": draft.type,
        "id": draft.id,
        "version": 1,
        "updated": now,
        "deleted": False,
        "digest": digest,
        "study": draft.study,
    }
    pk = connection.execute(schema.resource.insert().returning(schema.resource.c.pk), values).scalar_one()
    _write_version(connection, pk, draft, 1, now)
    _write_rows(connection, pk, draft, search_rows)
    return True


def _next(
    connection: Connection, draft: Draft, known: Any, now: int, digest: bytes, search_rows: Rows
) -> None:
    _compress(connection, known.pk, known.version)
    number = known.version + 1
    connection.execute(
        update(schema.resource)
        .where(schema.resource.c.pk == known.pk)
        .values(version=number, updated=now, deleted=draft.content is None, digest=digest)
    )
    _write_version(connection, known.pk, draft, number, now)
    for table in schema.SEARCH_TABLES:
        connection.execute(delete(table).where(table.c.resource == known.pk))
    _write_rows(connection, known.pk, draft, search_rows)


def _write_version(connection: Connection, pk: int, draft: Draft, number: int, now: int) -> None:
    body = None if draft.content is None else body_of(draft.content, number, moment(now))
    connection.execute(
        schema.version.insert(),
        {"resource": pk, "version": number, "updated": now, "deleted": body is None, "body": body},
    )


def body_of(content: Mapping[str, Any], number: int, updated: datetime) -> bytes:
    """The complete JSON of a version: `content` with meta.versionId and meta.lastUpdated (an instant)."""
    meta = {"versionId": str(number), "lastUpdated": instant(updated), **content.get("meta", {})}
    head = {"resourceType": content["resourceType"], "id": content["id"], "meta": meta}
    return orjson.dumps(head | {k: v for k, v in content.items() if k not in head})


def instant(updated: datetime) -> str:
    """A FHIR instant in UTC with milliseconds."""
    return updated.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _write_rows(connection: Connection, pk: int, draft: Draft, search_rows: Rows) -> None:
    if draft.content is None:
        return
    rows: dict[type, set[tuple[Any, ...]]] = {}
    for row in search_rows(draft.content):
        rows.setdefault(type(row), set()).add(row)
    for kind, found in rows.items():
        columns = _COLUMNS[kind]
        values = [{"resource": pk, **dict(zip(columns, row, strict=True))} for row in sorted(found)]
        for value in values:
            value["param"] = parameter_key(draft.type, value["param"])
        connection.execute(_TABLES[kind].insert(), values)


def parameter_key(type_: str, param: str) -> str:
    """How a search row names its parameter: codes repeat between resource types."""
    return f"{type_}.{param}"


def _compress(connection: Connection, pk: int, number: int) -> None:
    """A version that is history is kept compressed."""
    c = schema.version.c
    here = (c.resource == pk) & (c.version == number)
    body = connection.execute(select(c.body).where(here)).scalar()
    if body is not None:
        connection.execute(update(schema.version).where(here).values(body=zlib.compress(bytes(body), 6)))


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
