"""A Query as SQL: one keyset page of the resources that match.

Each clause narrows the row numbers of `resource`; the order is newest first by row number, which a later
version of a resource does not change, so that pages neither skip nor repeat while studies arrive.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, func, not_, or_, select

from pacsbridge.kernel.query import Clause, Kind, Query
from pacsbridge.store import schema
from pacsbridge.store.documents import bodies, parameter_key
from pacsbridge.store.records import Page
from pacsbridge.store.texts import indexed, prefix

_R = schema.resource.c


def search(connection: Connection, query: Query) -> Page:
    """One page; its total only where the query asks for it."""
    matching = and_(
        _R.type == query.type, not_(_R.deleted), *(_condition(query.type, c) for c in query.clauses)
    )
    total = None
    if query.total == "accurate" or query.count == 0:
        total = connection.execute(select(func.count()).select_from(schema.resource).where(matching)).scalar()
    if query.count == 0:
        return Page((), None, total)
    after = query.after.values[0] if query.after is not None else None
    keyset = matching if after is None else and_(matching, _R.pk < after)
    rows = select(_R.pk).where(keyset).order_by(_R.pk.desc()).limit(query.count + 1)
    pks = list(connection.execute(rows).scalars())
    more, pks = len(pks) > query.count, pks[: query.count]
    found = bodies(connection, pks) if pks else {}
    return Page([found[pk] for pk in pks], pks[-1] if more else None, total)


def _condition(type_: str, clause: Clause) -> ColumnElement[bool]:
    param = parameter_key(type_, clause.param)
    if clause.modifier == "missing":
        return or_(*(_missing(clause.kind, param, value) for value in clause.values))
    one = _CONDITIONS[clause.kind]
    matches = or_(*(one(param, value) for value in clause.values))
    return not_(matches) if clause.modifier == "not" else matches


def _missing(kind: Kind, param: str, value: Any) -> ColumnElement[bool]:
    table = _ROWS[kind]
    present: ColumnElement[bool] = _R.pk.in_(select(table.c.resource).where(table.c.param == param))
    return not_(present) if value.missing else present


def _by_id(_param: str, value: Any) -> ColumnElement[bool]:
    same: ColumnElement[bool] = _R.id == value.value
    return same


def _by_update(_param: str, value: Any) -> ColumnElement[bool]:
    return _stands(_R.updated, _R.updated + _MILLISECOND, value)


def _by_token(param: str, value: Any) -> ColumnElement[bool]:
    c = schema.token.c
    conditions = [c.param == param]
    if value.value is not None:
        conditions.append(c.value == indexed(value.value))
    if value.system is not None:
        conditions.append(c.system == indexed(value.system))
    return _R.pk.in_(select(c.resource).where(*conditions))


def _by_reference(param: str, value: Any) -> ColumnElement[bool]:
    c = schema.reference.c
    conditions = [c.param == param, c.target == indexed(value.target)]
    if value.type is not None:
        conditions.append(c.type == value.type)
    return _R.pk.in_(select(c.resource).where(*conditions))


def _by_date(param: str, value: Any) -> ColumnElement[bool]:
    """Wall clocks have rows of their own."""
    c = schema.date.c
    param = f"{param}:local" if value.local else param
    return _R.pk.in_(select(c.resource).where(c.param == param, _stands(c.low, c.high, value)))


def _by_string(param: str, value: Any) -> ColumnElement[bool]:
    c = schema.string.c
    return _R.pk.in_(
        select(c.resource).where(c.param == param, c.value.startswith(prefix(value.text), autoescape=True))
    )


def _by_held(_param: str, value: Any) -> ColumnElement[bool]:
    """A SOP Instance UID: its rows are those of the facts, not repeated for each version of a study."""
    i = schema.instance.c
    return _R.study.in_(select(i.study).where(i.uid == value.value))


def _stands(low: ColumnElement[int], high: ColumnElement[int], value: Any) -> ColumnElement[bool]:
    """Whether the range of a row stands to the range of the value as its prefix says."""
    return _PREFIXES[value.prefix](low, high, value.low, value.high)


def _within(low: ColumnElement[int], high: ColumnElement[int], first: int, last: int) -> ColumnElement[bool]:
    return and_(low >= first, high <= last)


_Prefix = Callable[[ColumnElement[int], ColumnElement[int], int, int], ColumnElement[bool]]

_PREFIXES: Mapping[str, _Prefix] = {
    "eq": _within,
    "ne": lambda low, high, first, last: not_(_within(low, high, first, last)),
    "gt": lambda _low, high, _first, last: high > last,
    "lt": lambda low, _high, first, _last: low < first,
    "ge": lambda low, high, first, last: or_(high > last, _within(low, high, first, last)),
    "le": lambda low, high, first, last: or_(low < first, _within(low, high, first, last)),
    "sa": lambda low, _high, _first, last: low >= last,
    "eb": lambda _low, high, first, _last: high <= first,
    "ap": lambda low, high, first, last: and_(low < last, high > first),
}
"""FHIR R4 search 3.1.1.4.5: a row's range against the value's, both half open."""

_MILLISECOND = 1000

_CONDITIONS: Mapping[Kind, Callable[[str, Any], ColumnElement[bool]]] = {
    Kind.ID: _by_id,
    Kind.UPDATED: _by_update,
    Kind.HELD: _by_held,
    Kind.TOKEN: _by_token,
    Kind.REFERENCE: _by_reference,
    Kind.DATE: _by_date,
    Kind.STRING: _by_string,
}

_ROWS: Mapping[Kind, Table] = {
    Kind.TOKEN: schema.token,
    Kind.REFERENCE: schema.reference,
    Kind.DATE: schema.date,
    Kind.STRING: schema.string,
}
