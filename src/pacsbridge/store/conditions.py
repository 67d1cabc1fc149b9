"""A clause as a condition on the resource of an alias: looks at a few rows by their keys."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pacsbridge.kernel.query import Clause, Kind
from pacsbridge.store.dates import columns, stands, updated
from pacsbridge.store.schema import NEVER
from pacsbridge.store.sql import Sql, among, bracketed, either, every, negated, sql
from pacsbridge.store.texts import LONGEST, indexed, prefix


def parameter_key(type_: str, param: str) -> str:
    """How a search row names its parameter: codes repeat between resource types."""
    return f"{type_}.{param}"


def probe(type_: str, clause: Clause, alias: str) -> Sql:
    """Whether the resource of a type under an alias satisfies a clause."""
    condition = _PROBES[clause.kind](parameter_key(type_, clause.param), clause.values, alias)
    return negated(condition) if clause.negated else condition


def living(type_: str, alias: str) -> Sql:
    """Whether the resource under an alias is of a type, and has not been deleted."""
    return sql(f"{alias}.type = ? AND NOT {alias}.deleted", type_)


def _token_probe(param: str, values: Sequence[Any], alias: str) -> Sql:
    return _row(alias, "search_token", param, either(token(value) for value in values))


def _reference_probe(param: str, values: Sequence[Any], alias: str) -> Sql:
    return _row(alias, "search_reference", param, either(reference(value) for value in values))


def _string_probe(param: str, values: Sequence[Any], alias: str) -> Sql:
    return _row(alias, "search_string", param, either(string(value) for value in values))


def _row(alias: str, table: str, param: str, condition: Sql) -> Sql:
    """Whether a resource has a row of its own that satisfies a condition."""
    head = sql(f"EXISTS (SELECT 1 FROM {table} t WHERE t.resource = {alias}.pk AND t.param = ? AND", param)
    return head + condition + sql(")")


def _date_probe(_param: str, values: Sequence[Any], alias: str) -> Sql:
    return either(
        sql(f"{alias}.low > ?", NEVER) + sql("AND") + stands(alias, *columns(value), value)
        for value in values
    )


def _update_probe(_param: str, values: Sequence[Any], alias: str) -> Sql:
    return either(updated(alias, value) for value in values)


def _id_probe(_param: str, values: Sequence[Any], alias: str) -> Sql:
    return among(f"{alias}.id", (value.value for value in values))


def _held_probe(_param: str, values: Sequence[Any], alias: str) -> Sql:
    """A SOP Instance UID: its rows are those of the facts, not repeated for each version of a study."""
    return either(
        sql(f"EXISTS (SELECT 1 FROM {table} i WHERE i.study = {alias}.study AND") + held(values) + sql(")")
        for table in INSTANCES
    )


INSTANCES = ("instance", "reported_instance")
"""The tables that name the study of an instance: pushed ones, and those that archives say they have."""


def held(values: Sequence[Any]) -> Sql:
    """Whether an instance `i` is one of those named; UIDs stand under no system."""
    return among("i.uid", (value.value for value in values if not value.system))


def _present_probe(param: str, _values: Sequence[Any], alias: str) -> Sql:
    missing = f"{param}:missing"
    return sql(
        f"NOT EXISTS (SELECT 1 FROM search_token t WHERE t.resource = {alias}.pk AND t.param = ?)", missing
    )


def _chain_probe(param: str, values: Sequence[Any], alias: str) -> Sql:
    return either(_named(param, value, alias) for value in values)


def _named(param: str, value: Any, alias: str) -> Sql:
    """Whether a reference of the resource names one that satisfies the chained clause."""
    head = sql(
        "EXISTS (SELECT 1 FROM search_reference f CROSS JOIN resource p"
        f" WHERE f.resource = {alias}.pk AND f.param = ? AND f.type = ? AND p.id = f.target AND",
        param,
        value.type,
    )
    return head + every((living(value.type, "p"), probe(value.type, value.clause, "p"))) + sql(")")


_PROBES: Mapping[Kind, Callable[[str, Sequence[Any], str], Sql]] = {
    Kind.TOKEN: _token_probe,
    Kind.REFERENCE: _reference_probe,
    Kind.STRING: _string_probe,
    Kind.DATE: _date_probe,
    Kind.UPDATED: _update_probe,
    Kind.ID: _id_probe,
    Kind.HELD: _held_probe,
    Kind.PRESENT: _present_probe,
    Kind.CHAIN: _chain_probe,
}


# rows, under the alias t


def token(value: Any) -> Sql:
    """Whether a row is the token; the index of systems has no entry of an empty one."""
    conditions = []
    if value.value is not None:
        conditions.append(sql("t.value = ?", indexed(value.value)))
    if value.system is not None:
        conditions.append(sql("t.system = ?", indexed(value.system)))
    if value.value is None:
        conditions.append(sql("t.system != ''"))
    return bracketed(every(conditions))


def reference(value: Any) -> Sql:
    """Whether a row is the reference."""
    conditions = [sql("t.target = ?", indexed(value.target))]
    if value.type is not None:
        conditions.append(sql("t.type = ?", value.type))
    return bracketed(every(conditions))


def string(value: Any) -> Sql:
    """Whether a row begins with the text, so stands before the next one that does not; or holds it."""
    text = prefix(value.text)
    if value.anywhere:
        return sql("t.value LIKE ? ESCAPE '!'", f"%{_literal(value.text)}%")
    return sql("t.value >= ? AND t.value < ?", text, _after(text))


def _literal(text: str) -> str:
    """A text without wildcards of LIKE."""
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")


def _after(text: str) -> str:
    """The first text, by code points, that no longer begins with this one."""
    plain = text.rstrip(_LAST)
    if not plain:
        return _BEYOND
    last = ord(plain[-1]) + 1
    return plain[:-1] + chr(0xE000 if 0xD800 <= last < 0xE000 else last)


_LAST = "\U0010ffff"
_BEYOND = _LAST * (LONGEST + 1)
"""Behind every text that is kept."""
