"""Published versions as they are read: their bytes, their numbers and moments, their history."""

import zlib
from collections.abc import Sequence
from typing import Any

from pacsbridge.store.records import Document, Version
from pacsbridge.store.sql import Ask, every, sql

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


def version(ask: Ask, type_: str, id_: str) -> Version | None:
    """The current version's number and time, without its body."""
    rows = ask(sql("SELECT version, updated, deleted FROM resource WHERE type = ? AND id = ?", type_, id_))
    return None if not rows else Version(*rows[0])


def document(ask: Ask, type_: str, id_: str, number: int | None = None) -> Document | None:
    """The current version of a resource, or its version `number`."""
    chosen = sql("b.version = r.version") if number is None else sql("b.version = ?", number)
    named = sql("r.type = ? AND r.id = ? AND b.resource = r.pk", type_, id_)
    rows = ask(sql(f"SELECT {VERSION} FROM resource r CROSS JOIN version b WHERE") + every((named, chosen)))
    return None if not rows else as_document(rows[0])


def summary(ask: Ask, type_: str, id_: str) -> Document | None:
    """The current version of a resource, with its summary for a body."""
    head = sql(f"SELECT {_SUMMARY} FROM resource r LEFT JOIN summary b ON b.resource = r.pk WHERE")
    rows = ask(head + sql("r.type = ? AND r.id = ?", type_, id_))
    return None if not rows else as_document(rows[0])
