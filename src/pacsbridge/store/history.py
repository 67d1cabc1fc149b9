"""The versions of a resource, of a type or of everything, the newest first (FHIR R4 http, "history").

Later versions come before all others, so that a page never changes once it has been read.
"""

from collections.abc import Iterable
from typing import Any

from pacsbridge.kernel.cursors import Cursor, Order
from pacsbridge.kernel.histories import Past
from pacsbridge.store.conditions import parameter_key
from pacsbridge.store.documents import VERSION, as_document
from pacsbridge.store.records import Versions
from pacsbridge.store.sql import Ask, Sql, every, sql

_ORDER: Order = (("updated", True), ("resource", True), ("version", True))


def history(ask: Ask, past: Past) -> Versions:
    """One page of versions, deletions among them; of one resource with their total."""
    tables, conditions = _of_resource(past) if past.id is not None else _of_type(past)
    where = every((*conditions, *_conditions(past)))
    query = sql(f"SELECT {VERSION}, b.resource {tables}") + where
    order = "ORDER BY b.updated DESC, b.resource DESC, b.version DESC LIMIT ?"
    rows = list(ask(query + _beyond(past.after) + sql(order, past.count + 1)))
    page = rows[: past.count]
    more = len(rows) > past.count > 0
    return Versions(
        [as_document(row[:-1]) for row in page],
        total=_total(ask, tables, where) if past.id is not None or past.count == 0 else None,
        next=_cursor(page[-1]) if more else None,
    )


def _of_resource(past: Past) -> tuple[str, Iterable[Sql]]:
    named = sql("r.type = ? AND r.id = ? AND b.resource = r.pk", past.type, past.id)
    return "FROM resource r CROSS JOIN version b WHERE", [named]


def _of_type(past: Past) -> tuple[str, Iterable[Sql]]:
    typed = [] if past.type is None else [sql("b.type = ?", past.type)]
    return "FROM version b CROSS JOIN resource r WHERE", [sql("r.pk = b.resource"), *typed]


def _conditions(past: Past) -> Iterable[Sql]:
    if past.patient is not None and past.id is None:
        yield _of_patient(past.patient.target)
    if past.since is not None:
        yield sql("b.updated >= ?", past.since)
    if past.at is not None:
        first, end = past.at
        yield sql("b.updated < ?", end)
        yield sql(
            "NOT EXISTS (SELECT 1 FROM version n WHERE n.resource = b.resource AND n.version = b.version + 1"
            " AND n.updated <= ?)",
            first,
        )


def _of_patient(target: str) -> Sql:
    """Studies that name the patient, the patient, and what belongs to nobody: few, so that these lead."""
    return sql(
        "b.resource IN (SELECT f.resource FROM search_reference f WHERE f.param = ? AND f.target = ?"
        " UNION ALL SELECT o.pk FROM resource o WHERE o.type = 'Patient' AND o.id = ?"
        " UNION ALL SELECT o.pk FROM resource o WHERE o.type NOT IN ('Patient', 'ImagingStudy'))",
        parameter_key("ImagingStudy", "patient"),
        target,
        target,
    )


def _beyond(after: Cursor | None) -> Sql:
    if after is None:
        return sql("")
    updated, resource, version = after.keys
    return sql(
        "AND b.updated <= ? AND (b.updated < ? OR b.resource < ? OR (b.resource = ? AND b.version < ?))",
        *(updated, updated, resource, resource, version),
    )


def _cursor(row: tuple[Any, ...]) -> Cursor:
    _type, _id, version, updated, _deleted, _body, resource = row
    return Cursor(_ORDER, (updated, resource, version), 0)


def _total(ask: Ask, tables: str, where: Sql) -> int:
    [[count]] = ask(sql(f"SELECT count(*) {tables}") + where)
    return int(count)
