"""Where the resources that satisfy a clause are listed: rows with `resource`, to start a search from.

An ordered source lists each resource once and in the order of its number: an index does that for a token and
for a reference. `rows` lists them as they come, perhaps more than once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pacsbridge.kernel.query import Clause, Kind
from pacsbridge.store.conditions import (
    INSTANCES,
    held,
    living,
    parameter_key,
    probe,
    reference,
    string,
    token,
)
from pacsbridge.store.dates import between_updates, date_arms
from pacsbridge.store.sql import Sql, among, every, joined, sql


class Source(NamedTuple):
    """What stands behind FROM, the condition on it, and the column that names the resource.

    `exact`: it lists each resource that satisfies the clause, once, and nothing else.
    """

    tables: Sql
    where: Sql
    column: str
    exact: bool = False


def ordered_sources(type_: str, clause: Clause) -> Sequence[Source]:
    """One for each value of a clause about tokens or references; empty for others."""
    if clause.negated or clause.kind not in _ORDERED:
        return ()
    table, condition, others = _ORDERED[clause.kind]
    param = parameter_key(type_, clause.param)
    values: Sequence[Any] = clause.values
    return [_listed(table, param, condition(value), others(value)) for value in values]


def _listed(table: str, param: str, condition: Sql, other: str) -> Source:
    """The rows of one value; of several that a resource has only the first."""
    where = every((sql("t.param = ?", param), condition))
    if other:
        same = {"system": "value", "type": "target", "value": "system"}[other]
        again = (
            f"AND NOT EXISTS (SELECT 1 FROM {table} e WHERE e.resource = t.resource AND e.param = t.param"
            f" AND e.{same} = t.{same} AND e.{other} < t.{other})"
        )
        where += sql(again)
    return Source(sql(f"{table} t"), where, "t.resource", exact=True)


def _other_tokens(value: Any) -> str:
    if value.system is None:
        return "system"
    return "value" if value.value is None else ""


def _other_references(value: Any) -> str:
    return "type" if value.type is None else ""


_ORDERED: Mapping[Kind, tuple[str, Callable[[Any], Sql], Callable[[Any], str]]] = {
    Kind.TOKEN: ("search_token", token, _other_tokens),
    Kind.REFERENCE: ("search_reference", reference, _other_references),
}
"""Kind → table, condition of a value, and the column in which several rows of one resource may differ."""


def as_set(rows_: Sql) -> Source:
    """Rows as a source that lists each resource once."""
    tables = Sql(f"(SELECT DISTINCT s.resource FROM ({rows_.text}) AS s) AS d", rows_.values)
    return Source(tables, sql("TRUE"), "d.resource")


STUDIES = Source(sql("study_key k CROSS JOIN resource n"), sql("n.study = k.study"), "n.pk")
"""Published studies along the index of one of `STUDY_ORDERS`."""


def with_keys(source: Source) -> Source:
    """A source of studies, with the row beside each that has its `STUDY_ORDERS`."""
    tables = source.tables + sql("CROSS JOIN resource n CROSS JOIN study_key k")
    where = every((source.where, sql(f"n.pk = {source.column} AND k.study = n.study")))
    return Source(tables, where, source.column)


def rows(type_: str, clause: Clause) -> Sql | None:
    """A statement of rows with `resource`, repeats not excluded; None where only probing tells.

    Of a negated clause: the rows that it excludes.
    """
    param = parameter_key(type_, clause.param)
    return _ROWS[clause.kind](type_, param, clause.values)


def _token_rows(_type: str, param: str, values: Sequence[Any]) -> Sql:
    return _union(_select("search_token", param, token(value)) for value in values)


def _reference_rows(_type: str, param: str, values: Sequence[Any]) -> Sql:
    return _union(_select("search_reference", param, reference(value)) for value in values)


def _string_rows(_type: str, param: str, values: Sequence[Any]) -> Sql:
    return _union(_select("search_string", param, string(value)) for value in values)


def _select(table: str, param: str, condition: Sql) -> Sql:
    return sql(f"SELECT t.resource FROM {table} t WHERE t.param = ? AND", param) + condition


def _union(selects: Iterable[Sql]) -> Sql:
    return joined(" UNION ALL ", selects)


def _id_rows(type_: str, _param: str, values: Sequence[Any]) -> Sql:
    return _of_type(type_) + among("r.id", (value.value for value in values))


def _held_rows(_type: str, _param: str, values: Sequence[Any]) -> Sql:
    head = "SELECT r.pk AS resource FROM {} i CROSS JOIN resource r WHERE r.study = i.study AND"
    return _union(sql(head.format(table)) + held(values) for table in INSTANCES)


def _date_rows(type_: str, _param: str, values: Sequence[Any]) -> Sql:
    clauses = [Clause("", Kind.DATE, (value,)) for value in values]
    return _union(
        _of_type(type_) + every((within, probe(type_, clause, "r")))
        for clause in clauses
        for within in date_arms([clause])[1]
    )


def _update_rows(type_: str, _param: str, values: Sequence[Any]) -> Sql:
    clause = Clause("", Kind.UPDATED, tuple(values))
    return _of_type(type_) + every((between_updates([clause]), probe(type_, clause, "r")))


def _of_type(type_: str) -> Sql:
    return sql("SELECT r.pk AS resource FROM resource r WHERE r.type = ? AND", type_)


def _present_rows(_type: str, param: str, values: Sequence[Any]) -> Sql | None:
    table = _TABLES.get(values[0].rows)
    return None if table is None else sql(f"SELECT t.resource FROM {table} t WHERE t.param = ?", param)


_TABLES: Mapping[Kind | None, str] = {
    Kind.TOKEN: "search_token",
    Kind.REFERENCE: "search_reference",
    Kind.STRING: "search_string",
}


def _chain_rows(_type: str, param: str, values: Sequence[Any]) -> Sql:
    return _union(_namers(param, value) for value in values)


def _namers(param: str, value: Any) -> Sql:
    """Those whose references name what satisfies the chained clause."""
    named = None if value.clause.negated else rows(value.type, value.clause)
    living_ = living(value.type, "p")
    if named is None:
        target = every((living_, probe(value.type, value.clause, "p")))
        tables = sql("SELECT f.resource FROM resource p CROSS JOIN search_reference f WHERE")
    else:
        target = every((sql("p.pk = q.resource"), living_))
        tables = sql("SELECT f.resource FROM (") + named
        tables += sql(") AS q CROSS JOIN resource p CROSS JOIN search_reference f WHERE")
    return tables + every((target, sql("f.param = ? AND f.target = p.id AND f.type = ?", param, value.type)))


_ROWS: Mapping[Kind, Callable[[str, str, Sequence[Any]], Sql | None]] = {
    Kind.TOKEN: _token_rows,
    Kind.REFERENCE: _reference_rows,
    Kind.STRING: _string_rows,
    Kind.DATE: _date_rows,
    Kind.UPDATED: _update_rows,
    Kind.ID: _id_rows,
    Kind.HELD: _held_rows,
    Kind.PRESENT: _present_rows,
    Kind.CHAIN: _chain_rows,
}
