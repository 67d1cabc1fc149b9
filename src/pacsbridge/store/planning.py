"""How a search is gone about: in which order, and from where it starts.

The databases would choose by statistics that they may lack, and start from what half of all studies have in
common. So it is chosen here, by counting, up to a limit, what each clause lists:

    few resources satisfy one clause     they are listed, the other clauses probed, and the page sorted
    all clauses are common               an index is walked in the order of the result, and each resource
                                         probed; where no order is asked for, in that of a clause's index

Either way the work is that of a page, not of the result.
"""

import math
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from pacsbridge.kernel.cursors import Order
from pacsbridge.kernel.query import STUDY_ORDERS, Clause, Kind, Query, TokenValue
from pacsbridge.store import dates
from pacsbridge.store.conditions import parameter_key, probe
from pacsbridge.store.shelf import Shelf
from pacsbridge.store.sources import STUDIES, Source, as_set, ordered_sources, rows, with_keys
from pacsbridge.store.sql import Ask, Sql, sql

FEW = 2_000
"""How many resources a page may be sorted from."""

VALUES = 64
"""How many values a parameter may have for the others than one to be looked up."""

NEWEST: Order = (("pk", True),)
"""The order where none is asked for and no clause has a better one: as resources came, the newest first."""


class Plan(NamedTuple):
    """The order, the sources that together list the result, and the clauses that are still to be probed.

    A source may list what doesn't satisfy them, and several of them the same resource. Not `lasting`: it
    follows from what is there now, and may miss what comes later.
    """

    order: Order
    sources: Sequence[Source]
    clauses: Sequence[Clause]
    lasting: bool = True


_SAMPLE = 500
"""How many of the newest resources are looked at to see how common something is."""

_COUNT_SECONDS = 60
_COUNT_BYTES = 16 << 20

T = TypeVar("T")


class _Driver(NamedTuple):
    """A clause to start from, what it lists, and how many rows that is, `FEW` at most."""

    clause: Clause
    rows: Sql
    listed: int


class Counts:
    """What has been counted lately: it only decides how to go about a search, so it may be a little old."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: Shelf[Hashable, tuple[float, Any]] = Shelf(_COUNT_BYTES)

    def of(self, key: Hashable, size: int, count: Callable[[], T]) -> T:
        """What is known under a key of so many bytes, counted where that is too long ago."""
        found: T | None = self.get(key)
        if found is None:
            found = count()
            self.put(key, size, found)
        return found

    def get(self, key: Hashable) -> Any:
        """What is known under a key and not too old; None: nothing."""
        when, found = self._known.get(key) or (-math.inf, None)
        return found if self._clock() - when <= _COUNT_SECONDS else None

    def put(self, key: Hashable, size: int, found: object) -> None:
        """Note what has been counted, or what follows from it."""
        self._known.put(key, (self._clock(), found), size)


def _size(clause: Clause) -> int:
    """The bytes of a clause, about."""
    return sum(100 + len(repr(value)) for value in clause.values)


class Planner:
    """Plans searches; `counts` are shared by all."""

    def __init__(self, ask: Ask, counts: Counts) -> None:
        self._ask = ask
        self._counts = counts

    def plan(self, query: Query) -> Plan:
        """How to find the page that is asked for."""
        order = query.after.order if query.after else query.sort
        if (ready := _without_counting(query, order)) is not None:
            return ready
        drivers = [self._driver(query.type, clause) for clause in query.clauses]
        known = [driver for driver in drivers if driver is not None]
        best = min((d for d in known if not d.clause.negated), key=lambda d: d.listed, default=None)
        if best is not None and best.listed < FEW:
            listed = as_set(best.rows)
            return Plan(
                order or NEWEST,
                [with_keys(listed) if _is_of_studies(order) else listed],
                _others(query, best.clause),
            )
        order = order or _natural(query.clauses)
        common = [driver.clause for driver in known if driver.listed >= FEW]
        return self._by_number(query, common) if order == NEWEST else _along(query, order)

    def _driver(self, type_: str, clause: Clause) -> _Driver | None:
        listed = rows(type_, clause)
        if listed is None:
            return None
        number = self._counts.of((type_, clause), _size(clause), lambda: self._count(listed))
        return _Driver(clause, listed, number)

    def _count(self, listed: Sql) -> int:
        limited = sql("SELECT count(*) FROM (SELECT 1 FROM (") + listed + sql(") AS s LIMIT ?) AS c", FEW)
        [[count]] = self._ask(limited)
        return int(count)

    def _by_number(self, query: Query, common: Sequence[Clause]) -> Plan:
        """By row number: along what a clause lists, or what a negated clause leaves over, or everything."""
        for clause in common:
            if sources := ordered_sources(query.type, clause):
                return Plan(NEWEST, sources, _others(query, clause))
        for clause in (clause for clause in common if clause.negated and clause.kind is Kind.TOKEN):
            if self._is_rare(query.type, clause) and (others := self._left_over(query.type, clause)):
                return Plan(NEWEST, others, query.clauses, lasting=False)
        return _along(query, NEWEST)

    def _is_rare(self, type_: str, clause: Clause) -> bool:
        """Whether few of the newest resources satisfy a clause, so that walking them would take long."""
        name = "newest", type_, clause
        return self._counts.of(name, _size(clause), lambda: self._newest(type_, clause)) < _SAMPLE // 10

    def _newest(self, type_: str, clause: Clause) -> int:
        """How many of the newest resources satisfy a clause."""
        newest = sql(
            "SELECT count(*) FROM (SELECT pk FROM resource WHERE type = ? AND NOT deleted"
            " ORDER BY pk DESC LIMIT ?) AS r WHERE",
            type_,
            _SAMPLE,
        )
        [[count]] = self._ask(newest + probe(type_, clause, "r"))
        return int(count)

    def _left_over(self, type_: str, clause: Clause) -> Sequence[Source]:
        """Sources of all values but those that a negated clause names; empty where there are too many."""
        values = self._values(parameter_key(type_, clause.param))
        named = [value for value in clause.values if isinstance(value, TokenValue)]
        if len(values) > VALUES or any(value.system is not None or value.value is None for value in named):
            return ()
        excluded = {value.value for value in named}
        others = tuple(TokenValue(None, value) for value in values if value not in excluded)
        missing = Clause(f"{clause.param}:missing", Kind.TOKEN, (TokenValue(None, "true"),))
        known = ordered_sources(type_, Clause(clause.param, Kind.TOKEN, others)) if others else ()
        return [*known, *ordered_sources(type_, missing)]

    def _values(self, param: str) -> Sequence[str]:
        """The values that a parameter has, from one to the next in the index, one more than are wanted."""
        found = self._ask(
            sql(
                "WITH RECURSIVE v(value) AS (SELECT min(value) FROM search_token WHERE param = ? UNION ALL"
                " SELECT (SELECT min(value) FROM search_token WHERE param = ? AND value > v.value) FROM v"
                " WHERE v.value IS NOT NULL) SELECT value FROM v WHERE value IS NOT NULL LIMIT ?",
                param,
                param,
                VALUES + 1,
            )
        )
        return [str(value) for (value,) in found]


def _without_counting(query: Query, order: Order) -> Plan | None:
    """The plan of a search whose only clause, or having none, lists its result in the order wanted."""
    if len(query.clauses) > 1:
        return None
    natural = _natural(query.clauses)
    if not query.clauses or natural != NEWEST:
        wanted = order or natural
        return _along(query, wanted) if not query.clauses or wanted == natural else None
    sources = ordered_sources(query.type, query.clauses[0]) if order in ((), NEWEST) else ()
    return Plan(NEWEST, sources, ()) if sources else None


def _others(query: Query, clause: Clause) -> Sequence[Clause]:
    return [other for other in query.clauses if other is not clause]


def _natural(clauses: Sequence[Clause]) -> Order:
    """The order in which an index lists what satisfies a clause that is common."""
    dated = dates.of_one_clock([c for c in clauses if c.kind is Kind.DATE])
    if dated:
        return ((dates.date_arms(dated)[0], True),)
    if any(clause.kind is Kind.UPDATED for clause in clauses):
        return (("updated", True),)
    return NEWEST


def _along(query: Query, order: Order) -> Plan:
    """Along the index of an order, each resource probed."""
    if _is_of_studies(order):
        return Plan(order, [STUDIES], query.clauses)
    return Plan(order, [_of_type(within) for within in _stretches(query, order[0][0])], query.clauses)


def _is_of_studies(order: Order) -> bool:
    """Whether an order is that of what studies are found by."""
    return bool(order) and order[0][0] in STUDY_ORDERS


def _stretches(query: Query, column: str) -> Iterable[Sql]:
    """The parts of an index, by conditions on `r`, in which everything lies that satisfies the clauses."""
    dated = dates.of_one_clock([c for c in query.clauses if c.kind is Kind.DATE])
    if dated and dates.date_arms(dated)[0] == column:
        return dates.date_arms(dated)[1]
    moments = [c for c in query.clauses if c.kind is Kind.UPDATED]
    return [dates.between_updates(moments)] if moments and column == "updated" else [sql("TRUE")]


def _of_type(within: Sql) -> Source:
    """The resources of the type themselves."""
    return Source(sql(""), within, "r.pk")
