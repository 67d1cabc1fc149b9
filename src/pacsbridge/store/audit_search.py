"""A Query of AuditEvents as SQL: one page, newest first.

Records are numbered in the order of their moments, so that every order that can be asked for is that of both.
A page starts from the clause that lists the fewest records, where one lists few; else it walks the log.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pacsbridge.kernel.cursors import Cursor, Order
from pacsbridge.kernel.query import Clause, Kind, Query, ReferenceValue
from pacsbridge.kernel.terminology import DICOM_UID
from pacsbridge.store.conditions import string, token
from pacsbridge.store.sql import Ask, Sql, among, beyond, bracketed, either, every, negated, ordered, sql
from pacsbridge.store.texts import indexed

_FEW = 2_000
"""How many records a clause may list for a page to start from it."""

_MILLISECOND = 1000
_KEYS = ("r.at", "r.seq")
_MOST_ID = 18


class Listed(NamedTuple):
    """Rows of number, moment and content; the rest as in `Page`."""

    rows: Sequence[tuple[int, int, bytes]]
    total: int | None
    next: Cursor | None
    previous: Cursor | None


def search(ask: Ask, query: Query) -> Listed:
    """One page; its total only where the query asks for it."""
    where = every((_source(ask, query), *map(probe, query.clauses)))
    total = _count(ask, where) if query.counted or query.only_counts else None
    if query.only_counts:
        return Listed((), total, None, None)
    descends = query.sort[0][1] if query.sort else True
    back = query.after is not None and query.after.back
    rows = list(ask(_select(query, where, newest=descends != back)))
    page, more = rows[: query.count], len(rows) > query.count
    shown = [(seq, at, bytes(content)) for seq, at, content in (page[::-1] if back else page)]
    further, earlier = more or back, query.after is not None and (more or not back)
    return Listed(
        shown,
        total,
        next=_cursor(descends, shown[-1]) if shown and further else None,
        previous=_cursor(descends, shown[0], back=True) if shown and earlier else None,
    )


def _cursor(descends: bool, row: tuple[int, int, bytes], *, back: bool = False) -> Cursor:
    order: Order = (("updated", descends), ("pk", descends))
    return Cursor(order, (row[1], row[0]), 0, back)


def _select(query: Query, where: Sql, *, newest: bool) -> Sql:
    directions = (newest, newest)
    behind = [] if query.after is None else [beyond(_KEYS, directions, query.after.keys)]
    select = sql("SELECT r.seq, r.at, r.content FROM audit_event r WHERE") + every((where, *behind))
    return select + sql(f"ORDER BY {ordered(_KEYS, directions)} LIMIT ?", query.count + 1)


def _count(ask: Ask, where: Sql) -> int:
    [[count]] = ask(sql("SELECT count(*) FROM audit_event r WHERE") + where)
    return int(count)


def _source(ask: Ask, query: Query) -> Sql:
    """The records that a rare clause lists; all, where none is rare."""
    listings = [
        _listing(clause) for clause in query.clauses if clause.kind in _LISTING and not clause.negated
    ]
    counted = [(_few(ask, listed), place) for place, listed in enumerate(listings)]
    least, place = min(counted, default=(_FEW, 0))
    if least >= _FEW:
        return sql("r.seq > 0")
    return sql("r.seq IN (") + listings[place] + sql(")")


_LISTING = frozenset((Kind.TOKEN, Kind.REFERENCE, Kind.STRING))


def _listing(clause: Clause) -> Sql:
    return sql("SELECT r.seq FROM audit_event r WHERE") + probe(clause)


def _few(ask: Ask, listed: Sql) -> int:
    [[count]] = ask(sql("SELECT count(*) FROM (") + listed + sql("LIMIT ?) AS c", _FEW))
    return int(count)


def probe(clause: Clause) -> Sql:
    """Whether the record `r` satisfies a clause."""
    condition = (_OWN.get(clause.param) or _PROBES[clause.kind])(clause)
    return negated(condition) if clause.negated else condition


def _of_facet(clause: Clause) -> Sql:
    """What records share stands in the rows of their facets."""
    condition = either(_TERMS[clause.kind](value) for value in clause.values)
    head = "r.facet IN (SELECT t.facet FROM audit_term t WHERE t.param = ? AND"
    return sql(head, clause.param) + condition + sql(")")


def _reference(value: Any) -> Sql:
    conditions = [sql("t.value = ?", indexed(value.target))]
    if value.type is not None:
        conditions.append(sql("t.system = ?", value.type))
    return bracketed(every(conditions))


_TERMS: Mapping[Kind, Callable[[Any], Sql]] = {
    Kind.TOKEN: token,
    Kind.REFERENCE: _reference,
    Kind.STRING: string,
}
"""Kind of a clause → the condition that a value is on the row `t`."""


def _patient(clause: Clause) -> Sql:
    """A reference to the one patient; whoever asks for one that is there, whatever it is, gets that too."""
    if clause.kind is Kind.PRESENT:
        return sql("r.patient <> ''")
    return either(_is_patient(value) for value in clause.values)


def _is_patient(value: Any) -> Sql:
    if value.type not in (None, "Patient") or not value.target:
        return sql("FALSE")
    return sql("(r.patient <> '' AND r.patient = ?)", indexed(value.target))


def _entity(clause: Clause) -> Sql:
    """A reference to the patient or to another resource."""
    if clause.kind is Kind.PRESENT:
        return negated(_ABSENT)
    return either(_is_entity(value) for value in clause.values)


_ABSENT = sql("(r.patient = '' AND r.entity = '' AND r.study = '')")
_RESOURCES = ("AuditEvent", "Endpoint", "ImagingStudy")


def _is_entity(value: Any) -> Sql:
    reference: ReferenceValue = value
    types = _RESOURCES if reference.type is None else [reference.type]
    named = [indexed(f"{type_}/{reference.target}") for type_ in types]
    return either((every((sql("r.entity <> ''"), among("r.entity", named))), _is_patient(value)))


def _study(clause: Clause) -> Sql:
    """A Study Instance UID; others' identifiers are not among what is searched."""
    values: Sequence[Any] = clause.values
    uids = [
        indexed((value.value or "").removeprefix("urn:oid:"))
        for value in values
        if value.system in (None, DICOM_UID)
    ]
    return bracketed(every((sql("r.study <> ''"), among("r.study", uids))))


def _without(condition: Sql) -> Callable[[Clause], Sql]:
    return lambda _clause: condition


_OWN: Mapping[str, Callable[[Clause], Sql]] = {
    "patient": _patient,
    "patient:missing": _without(sql("r.patient = ''")),
    "patient:identifier": _without(sql("FALSE")),
    "entity": _entity,
    "entity:missing": _without(_ABSENT),
    "entity:identifier": _study,
}
"""Names of rows that records have themselves, in columns → what reads a clause of that name."""


def _moment(clause: Clause) -> Sql:
    if clause.kind is Kind.PRESENT:
        return sql("TRUE")
    return either(_stands(value) for value in clause.values)


def _stands(value: Any) -> Sql:
    """Whether the millisecond of a record stands to a range as its prefix says (FHIR R4 search, prefixes)."""
    text, ends = _PREFIXES[value.prefix]
    bounds = {"low": value.low, "high": value.high - _MILLISECOND, "end": value.high}
    return bracketed(sql(text, *(bounds[end] for end in ends.split())))


_PREFIXES: Mapping[str, tuple[str, str]] = {
    "eq": ("r.at >= ? AND r.at <= ?", "low high"),
    "ne": ("r.at < ? OR r.at > ?", "low high"),
    "gt": ("r.at > ?", "high"),
    "lt": ("r.at < ?", "low"),
    "ge": ("r.at >= ?", "low"),
    "le": ("r.at <= ?", "high"),
    "sa": ("r.at >= ?", "end"),
    "eb": ("r.at < ?", "low"),
    "ap": ("r.at >= ? AND r.at < ?", "low end"),
}


def _id(clause: Clause) -> Sql:
    values: Sequence[Any] = clause.values
    texts = [value.value or "" for value in values]
    known = [int(one) for one in texts if one.isascii() and one.isdigit() and len(one) <= _MOST_ID]
    return among("r.seq", known)


def _present(clause: Clause) -> Sql:
    """No row of the facet says that the element is missing; what has no such rows is always there."""
    missing = f"{clause.param}:missing"
    return sql("r.facet NOT IN (SELECT t.facet FROM audit_term t WHERE t.param = ?)", missing)


_PROBES: Mapping[Kind, Callable[[Clause], Sql]] = {
    **dict.fromkeys(_TERMS, _of_facet),
    Kind.DATE: _moment,
    Kind.UPDATED: _moment,
    Kind.ID: _id,
    Kind.PRESENT: _present,
}
