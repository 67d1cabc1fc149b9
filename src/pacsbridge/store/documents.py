"""Published versions as they are read: their bytes, their numbers and moments, their history."""

import zlib
from collections.abc import Sequence
from typing import Any

from pacsbridge.store.records import Document, Version
from pacsbridge.store.sql import Ask, Sql

VERSION = "r.type, r.id, b.version, b.updated, b.deleted, b.body"
"""What `as_document` reads: the resource `r` and a version `b` of it."""

_SUMMARY = "r.type, r.id, r.version, r.updated, r.deleted, b.body"
"""The same of the current version, `b` being its summary."""


def as_document(fields: Sequence[Any]) -> Document:
    """Type, id, version, updated, deleted and body, as a statement found them."""
    type_, id_, version, updated, deleted, body = fields
    return Document(type_, id_, version, updated, bool(deleted), _plain(body))


def _plain(body: bytes | memoryview | None) -> bytes | None:
    """What is history is kept compressed."""
    if body is None:
        return None
    data = bytes(body)
    return data if data.startswith(b"{") else zlib.decompress(data)


_NAMED = "r.type = ? AND r.id = ?"

_KNOWN = f"SELECT version, updated, deleted FROM resource r WHERE {_NAMED}"

_CURRENT = (
    f"SELECT {VERSION} FROM resource r CROSS JOIN version b"
    f" WHERE {_NAMED} AND b.resource = r.pk AND b.version = r.version"
)

_NUMBERED = (
    f"SELECT {VERSION} FROM resource r CROSS JOIN version b"
    f" WHERE {_NAMED} AND b.resource = r.pk AND b.version = ?"
)

_SHORT = f"SELECT {_SUMMARY} FROM resource r LEFT JOIN summary b ON b.resource = r.pk WHERE {_NAMED}"


def version(ask: Ask, type_: str, id_: str) -> Version | None:
    """The current version's number and time, without its body."""
    rows = ask(Sql(_KNOWN, (type_, id_)))
    return Version(*rows[0]) if rows else None


def document(ask: Ask, type_: str, id_: str, number: int | None = None) -> Document | None:
    """The current version of a resource, or its version `number`."""
    current = number is None
    rows = ask(Sql(_CURRENT, (type_, id_)) if current else Sql(_NUMBERED, (type_, id_, number)))
    return as_document(rows[0]) if rows else None


def summary(ask: Ask, type_: str, id_: str) -> Document | None:
    """The current version of a resource, with its summary for a body."""
    rows = ask(Sql(_SHORT, (type_, id_)))
    return as_document(rows[0]) if rows else None
