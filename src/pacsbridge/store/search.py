"""A Query as SQL: one page of the resources that match, how many there are, and those that go with them.

A page goes on from a position in the order, not from a number of entries, so that pages neither skip nor
repeat while studies arrive. Row numbers never change; moments may, so that behind the first page
they are taken as they were when it was read: `version` still has them.
"""

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from pacsbridge.kernel.cursors import Cursor, Order
from pacsbridge.kernel.elements import needs_whole
from pacsbridge.kernel.query import STUDY_ORDERS, Clause, Include, Query
from pacsbridge.store.conditions import living, parameter_key, probe
from pacsbridge.store.planning import Counts, Plan, Planner
from pacsbridge.store.records import Found, Page
from pacsbridge.store.shelf import Shelf
from pacsbridge.store.sources import Source
from pacsbridge.store.sql import Ask, Sql, among, beyond, every, joined, ordered, sql

MOST_INCLUDED = 1_000
"""How many resources go with a page at most."""

_CHANGING = frozenset(("updated", "low", "local_low"))
"""Fields of an order that a later version may change."""

_UNIQUE = ("pk", "study")
"""Fields of an order that are never the same twice."""

_WAS = {"updated": "v.updated", "low": "v.low", "local_low": "v.local_low"}

_OF_KEYS = frozenset((*STUDY_ORDERS, "study"))

_FETCH = 500
"""How many resources a statement fetches."""


_PREPARED_BYTES = 4_000
"""What a statement and the like take beside what was sent, about."""

Name = tuple[int, int, bool]
"""Row number, version, and whether it is the whole: a version never changes."""

Bodies = Shelf[Name, Found]


class _Arm(NamedTuple):
    """A source with the expressions of its order, and the clauses that are to be probed."""

    source: Source
    keys: Sequence[str]
    clauses: Sequence[Clause]


class _Prepared(NamedTuple):
    """How a page is found: the plan, a statement for each arm, and which of its keys descend."""

    plan: Plan
    statements: Sequence[Sql]
    directions: Sequence[bool]


def search(ask: Ask, query: Query, counts: Counts, shelf: Bodies) -> Page:
    """One page; its total only where the query asks for it."""
    ready = _prepared(ask, query, counts)
    chosen = ready.plan
    if query.only_counts:
        return Page((), total=_count(ask, query, chosen))
    moment = _moment(ask, query, chosen.order)
    found, more = _page(ask, query, ready)
    whole = needs_whole(query.type, query.form, query.elements)
    entries = _resources(ask, shelf, [(row[-2], row[-1]) for row in found], whole=whole)
    included = _included(ask, query, shelf, [row[-2] for row in found])
    return Page(
        entries,
        total=_count(ask, query, chosen) if query.counted else None,
        next=_cursor(chosen.order, found[-1:], moment, _goes_on(query, more)),
        previous=_cursor(chosen.order, found[:1], moment, _goes_back(query, more), back=True),
        included=included[:MOST_INCLUDED],
        cut=len(included) > MOST_INCLUDED,
    )


# pages


def _prepared(ask: Ask, query: Query, counts: Counts) -> _Prepared:
    """Made once for a while: a search is mostly asked again."""
    known: _Prepared | None = counts.get(query)
    if known is None:
        plan = Planner(ask, counts).plan(query)
        back = query.after is not None and query.after.back
        directions = [descends != back for _field, descends in _complete(plan.order)]
        statements = [_select(query, arm, directions) for arm in _arms(query, plan)]
        known = _Prepared(plan, statements, directions)
        if plan.lasting:
            counts.put(query, _PREPARED_BYTES + 10 * query.length, known)
    return known


def _page(ask: Ask, query: Query, ready: _Prepared) -> tuple[Sequence[tuple[Any, ...]], bool]:
    """The keys of each entry, behind them row number and version; and whether there are more behind them."""
    found = [ask(statement) for statement in ready.statements]
    rows = found[0] if len(found) == 1 else _merged(found, ready.directions)
    page = rows[: query.count]
    return page[::-1] if query.after is not None and query.after.back else page, len(rows) > query.count


def _complete(order: Order) -> Order:
    """The order with something last that is never the same twice, the row number where it has nothing."""
    return order if order[-1][0] in _UNIQUE else (*order, ("pk", order[0][1]))


def _arms(query: Query, chosen: Plan) -> Sequence[_Arm]:
    """The sources with their keys; behind the first page, those that have changed since as they were then."""
    fields = [field for field, _descends in _complete(chosen.order)]
    if query.after is None or not _CHANGING.intersection(fields):
        return [_arm(source, fields, chosen.clauses) for source in chosen.sources]
    moment = query.after.moment
    unchanged = [_narrowed(source, sql("r.updated <= ?", moment)) for source in chosen.sources]
    return [
        *(_arm(source, fields, chosen.clauses) for source in unchanged),
        _Arm(
            _changed_since(query.type, moment),
            [_WAS.get(field, f"r.{field}") for field in fields],
            query.clauses,
        ),
    ]


def _arm(source: Source, fields: Iterable[str], clauses: Sequence[Clause]) -> _Arm:
    return _Arm(source, [_key(source, field) for field in fields], clauses)


def _key(source: Source, field: str) -> str:
    """A field of the resource, or of its study's keys; the source's, where it has an index in that order."""
    if field in _OF_KEYS:
        return f"k.{field}"
    return source.column if field == "pk" else f"r.{field}"


def _narrowed(source: Source, condition: Sql) -> Source:
    return Source(source.tables, every((source.where, condition)), source.column)


def _changed_since(type_: str, moment: int) -> Source:
    """Resources with newer versions than a moment, beside the version that they had then.

    They are few, and found by their moments: `c` has no other conditions that an index could be chosen for.
    """
    where = sql(
        "c.type = ? AND c.updated > ? AND v.resource = c.pk AND v.version = (SELECT max(w.version)"
        " FROM version w WHERE w.resource = c.pk AND w.updated <= ?)",
        type_,
        moment,
        moment,
    )
    return Source(sql("resource c CROSS JOIN version v"), where, "c.pk")


def _select(query: Query, arm: _Arm, directions: Sequence[bool]) -> Sql:
    """One arm of a page: its keys, behind them row number and version."""
    keys = ", ".join(f"{key} AS k{place}" for place, key in enumerate(arm.keys))
    behind = [] if query.after is None else [beyond(arm.keys, directions, query.after.keys)]
    select = sql(f"SELECT {keys}, r.pk, r.version") + _from(arm.source)
    select += every((_where(arm.source), *_conditions(query.type, arm.clauses), *behind))
    return select + sql(f"ORDER BY {ordered(arm.keys, directions)} LIMIT ?", query.count + 1)


def _from(source: Source) -> Sql:
    """The source leads, whatever a database thinks of it: resources are looked up by number."""
    if not source.tables.text:
        return sql("FROM resource r WHERE")
    return sql("FROM") + source.tables + sql("CROSS JOIN resource r WHERE")


def _where(source: Source) -> Sql:
    if not source.tables.text:
        return source.where
    return every((source.where, sql(f"r.pk = {source.column}")))


def _conditions(type_: str, clauses: Iterable[Clause]) -> Iterable[Sql]:
    yield living(type_, "r")
    for clause in clauses:
        yield probe(type_, clause, "r")


def _merged(
    arms: Iterable[Iterable[tuple[Any, ...]]], directions: Sequence[bool]
) -> Sequence[tuple[Any, ...]]:
    """The rows of several arms in the order of all, each resource once."""
    rows = list({row[-2]: row for arm in arms for row in arm}.values())
    for place in reversed(range(len(directions))):
        rows.sort(key=itemgetter(place), reverse=directions[place])
    return rows


def _moment(ask: Ask, query: Query, order: Order) -> int:
    """That of the newest version, when the first page is read; 0 where no later version changes the order."""
    if query.after is not None:
        return query.after.moment
    if not _CHANGING.intersection(field for field, _descends in order):
        return 0
    [[moment]] = ask(sql("SELECT max(updated) FROM resource WHERE type = ?", query.type))
    return int(moment or 0)


def _goes_on(query: Query, more: bool) -> bool:
    return more or (query.after is not None and query.after.back)


def _goes_back(query: Query, more: bool) -> bool:
    return query.after is not None and (more or not query.after.back)


def _cursor(
    order: Order, end: Sequence[tuple[Any, ...]], moment: int, there: bool, *, back: bool = False
) -> Cursor | None:
    """The position of an entry at the end of a page, where there is anything beyond."""
    if not (there and end):
        return None
    return Cursor(order, tuple(end[0][:-2]), moment, back)


# totals


def _count(ask: Ask, query: Query, chosen: Plan) -> int:
    if len(chosen.sources) == 1 and not chosen.clauses and chosen.sources[0].exact:
        [source] = chosen.sources
        counted = sql("SELECT count(*) FROM") + source.tables + sql("WHERE") + source.where
    else:
        counted = sql("SELECT count(*) FROM (") + joined(" UNION ", _listing(query, chosen)) + sql(") AS n")
    [[count]] = ask(counted)
    return int(count)


def _listing(query: Query, chosen: Plan) -> Iterable[Sql]:
    for source in chosen.sources:
        select = sql(f"SELECT {source.column} AS pk") + _from(source)
        yield select + every((_where(source), *_conditions(query.type, chosen.clauses)))


# resources


def _resources(
    ask: Ask, shelf: Bodies, versions: Sequence[tuple[int, int]], *, whole: bool = True
) -> Sequence[Found]:
    """The current versions, or their summaries, of resources by their row numbers and versions, in order."""
    names = [(pk, version, whole) for pk, version in versions]
    kept = shelf.all(names)
    if None not in kept:
        return kept  # type: ignore[return-value] # mypy does not see it
    known = dict(zip(names, kept, strict=True))
    lacking = [name for name, found in known.items() if found is None]
    for start in range(0, len(lacking), _FETCH):
        for name, found in _fetched(ask, lacking[start : start + _FETCH], whole=whole):
            shelf.put(name, found, len(found.body))
            known[name] = found
    return [one for name in names if (one := known[name]) is not None]


def _fetched(ask: Ask, names: Sequence[Name], *, whole: bool) -> Iterable[tuple[Name, Found]]:
    table, version = ("version", " AND b.version = r.version") if whole else ("summary", "")
    head = (
        "SELECT r.pk, r.version, r.type, r.id, b.body"
        f" FROM resource r CROSS JOIN {table} b WHERE b.resource = r.pk{version} AND"
    )
    for pk, number, type_, id_, body in ask(sql(head) + among("r.pk", (name[0] for name in names))):
        yield (pk, number, whole), Found(type_, id_, body)


def _included(ask: Ask, query: Query, shelf: Bodies, pks: Sequence[int]) -> Sequence[Found]:
    """What matches refer to and what refers to them, matches aside; one more than goes with a page."""
    if not pks or not (query.include or query.revinclude):
        return ()
    queries = [
        *(_named(link, pks) for link in query.include),
        *(_naming(link, pks) for link in query.revinclude),
    ]
    found = dict.fromkeys((pk, version) for asked in queries for pk, version in ask(asked))
    matches = set(pks)
    others = [(pk, version) for pk, version in found if pk not in matches]
    return _resources(ask, shelf, others[: MOST_INCLUDED + 1])


def _named(link: Include, pks: Sequence[int]) -> Sql:
    """Resources that references of the matches name."""
    types = sql("TRUE") if link.target is None else sql("f.type = ?", link.target)
    head = sql(
        "SELECT DISTINCT p.pk, p.version FROM search_reference f CROSS JOIN resource p"
        " WHERE p.type = f.type AND p.id = f.target AND NOT p.deleted AND f.param = ? AND",
        parameter_key(link.source, link.param),
    )
    return head + every((types, among("f.resource", pks))) + sql("LIMIT ?", MOST_INCLUDED + 1)


def _naming(link: Include, pks: Sequence[int]) -> Sql:
    """Resources whose references name a match."""
    head = sql(
        "SELECT DISTINCT n.pk, n.version FROM resource r CROSS JOIN search_reference f CROSS JOIN resource n"
        " WHERE n.pk = f.resource AND f.param = ? AND f.target = r.id AND f.type = r.type AND",
        parameter_key(link.source, link.param),
    )
    return head + among("r.pk", pks) + sql("ORDER BY n.pk DESC LIMIT ?", MOST_INCLUDED + 1)
