"""What published resources are searched by, compared with what their content says."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, Row, Table, select

from pacsbridge.kernel.query import Span
from pacsbridge.kernel.search_parameters import Indexed
from pacsbridge.store import schema
from pacsbridge.store.publishing import index_of, search_row, search_table, span_of

Rows = set[tuple[str, frozenset[tuple[str, Any]]]]
"""Rows of the search tables of one resource: the table, and its columns but for the resource."""


def faults(connection: Connection, resources: Sequence[Row[Any]]) -> Mapping[int, Sequence[str]]:
    """Row number → search parameters, `summary` and `date` that are not as the content says, or `content`.

    `resources` are those of `publishing.current`. Names of parameters are told, never values.
    """
    pks = [one.pk for one in resources]
    rows = _rows(connection, pks)
    summaries = _summaries(connection, pks)
    found = {one.pk: list(_faults(one, rows[one.pk], summaries.get(one.pk))) for one in resources}
    return {pk: names for pk, names in found.items() if names}


def _rows(connection: Connection, pks: Sequence[int]) -> Mapping[int, Rows]:
    found: dict[int, Rows] = {pk: set() for pk in pks}
    for table in schema.SEARCH_TABLES:
        for row in connection.execute(select(table).where(table.c.resource.in_(pks))):
            found[row.resource].add(_row(table, row._mapping))
    return found


def _row(table: Table, values: Mapping[Any, Any]) -> tuple[str, frozenset[tuple[str, Any]]]:
    return table.name, frozenset((name, value) for name, value in values.items() if name != "resource")


def _summaries(connection: Connection, pks: Sequence[int]) -> Mapping[int, bytes]:
    c = schema.summary.c
    query = select(c.resource, c.body).where(c.resource.in_(pks))
    return {row.resource: bytes(row.body) for row in connection.execute(query)}


def _faults(resource: Row[Any], rows: Rows, summary: bytes | None) -> Iterator[str]:
    index = index_of(resource.body)
    if index is None and resource.body is not None:
        yield "content"
    wrong = _wanted(resource.type, index) ^ rows
    yield from sorted({dict(columns)["param"].partition(".")[2] for _table, columns in wrong})
    if _read(summary) != (index and index.summary):
        yield "summary"
    if not _is_dated(resource, span_of(index)):
        yield "date"


def _read(summary: bytes | None) -> Any:
    """What a summary says; its bytes where that is no JSON."""
    try:
        return None if summary is None else orjson.loads(summary)
    except orjson.JSONDecodeError:
        return summary


def _wanted(type_: str, index: Indexed | None) -> Rows:
    return {_row(search_table(row), search_row(type_, row)) for row in (index.rows if index else ())}


def _is_dated(resource: Row[Any], span: Mapping[str, int]) -> bool:
    """Whether the resource and its current version have the date that they are searched by."""
    there = all(getattr(resource, name) == span[name] for name in Span._fields)
    return there and (resource.own_low, resource.own_local_low) == (span["low"], span["local_low"])
