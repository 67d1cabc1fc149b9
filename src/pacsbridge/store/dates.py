"""Dates as conditions: how two ranges stand to each other, and where an index finds such rows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pacsbridge.kernel.query import Clause, DateValue
from pacsbridge.store.schema import NEVER, WIDE
from pacsbridge.store.sql import Sql, every, sql

_MILLISECOND = 1000
"""How much time the moment of a version covers."""

_WIDEST = 367 * 86_400_000_000
"""Microseconds that a date covers at most: a year."""


class Bounds(NamedTuple):
    """The moments between which the low end of all rows lies that satisfy date clauses, both exclusive."""

    above: int
    below: int


def columns(value: DateValue) -> tuple[str, str]:
    """The low and the high end that a value is compared with: wall clocks have columns of their own."""
    return ("local_low", "local_high") if value.local else ("low", "high")


def updated(alias: str, value: DateValue) -> Sql:
    """Whether the moment of a resource's version stands to a value as its prefix says."""
    return stands(alias, "updated", f"updated + {_MILLISECOND}", value)


def stands(alias: str, low: str, high: str, value: DateValue) -> Sql:
    """Whether a range of columns stands to the value's as its prefix says, both half open."""
    text, marks = _PREFIXES[value.prefix]
    ends = {"low": value.low, "high": value.high}
    return sql(
        text.format(low=f"{alias}.{low}", high=f"{alias}.{high}"), *(ends[mark] for mark in marks.split())
    )


_PREFIXES: Mapping[str, tuple[str, str]] = {
    "eq": ("({low} >= ? AND {high} <= ?)", "low high"),
    "ne": ("({low} < ? OR {high} > ?)", "low high"),
    "gt": ("{high} > ?", "high"),
    "lt": ("{low} < ?", "low"),
    "ge": ("({high} > ? OR {low} >= ?)", "high low"),
    "le": ("({low} < ? OR {high} <= ?)", "low high"),
    "sa": ("{low} >= ?", "high"),
    "eb": ("{high} <= ?", "low"),
    "ap": ("({low} < ? AND {high} > ?)", "high low"),
}
"""Prefix → the condition, and which ends of the value its marks stand for."""


_ALWAYS = Bounds(NEVER, -NEVER)


def _bounds(clauses: Iterable[Clause], width: int) -> Bounds:
    """Between what the low ends lie that satisfy all clauses, for ranges of at most a width."""
    found = [_hull(clause, width) for clause in clauses]
    return Bounds(max(b.above for b in found), min(b.below for b in found))


def _hull(clause: Clause, width: int) -> Bounds:
    found = [_bounds_of(value, width) for value in _values(clause)]
    return Bounds(min(b.above for b in found), max(b.below for b in found))


def _bounds_of(value: DateValue, width: int) -> Bounds:
    above, below = _BOUNDS[value.prefix]
    ends = {"low": value.low - 1, "low-width": value.low - width - 1, "high-width": value.high - width - 1}
    aboves = {**ends, "both": min(value.low, value.high - width) - 1, "high": value.high - 1}
    belows = {"low": value.low, "high": value.high}
    return Bounds(aboves.get(above, _ALWAYS.above), belows.get(below, _ALWAYS.below))


_BOUNDS: Mapping[str, tuple[str, str]] = {
    "eq": ("low", "high"),
    "ne": ("", ""),
    "gt": ("high-width", ""),
    "lt": ("", "low"),
    "ge": ("both", ""),
    "le": ("", "high"),
    "sa": ("high", ""),
    "eb": ("", "low"),
    "ap": ("low-width", "high"),
}
"""Prefix → what the low end of a row that satisfies it is above, and below, by the ends of the value."""


def of_one_clock(clauses: Iterable[Clause]) -> Sequence[Clause]:
    """The date clauses that are about the same columns as the first of them."""
    clocks = [(clause, {columns(value) for value in _values(clause)}) for clause in clauses]
    plain = [(clause, found) for clause, found in clocks if len(found) == 1]
    return [clause for clause, found in plain if found == plain[0][1]]


def _values(clause: Clause) -> Sequence[Any]:
    return clause.values


def date_arms(clauses: Sequence[Clause]) -> tuple[str, Sequence[Sql]]:
    """The column whose index finds what satisfies date clauses of one clock, and its conditions on `r`.

    Dates of a day or less are near where they are looked for; the few that cover more have their own index.
    """
    low, high = columns(_values(clauses[0])[0])
    wide = sql(f"r.{high} - r.{low} > {WIDE}")
    narrow = _between(low, _bounds(clauses, WIDE))
    return low, (narrow, every((_between(low, _bounds(clauses, _WIDEST)), wide)))


def between_updates(clauses: Sequence[Clause]) -> Sql:
    """The condition on `r.updated` by which an index finds what satisfies clauses about it."""
    return _between("updated", _bounds(clauses, _MILLISECOND))


def _between(column: str, limits: Bounds) -> Sql:
    return sql(f"r.{column} > ? AND r.{column} < ?", limits.above, limits.below)
