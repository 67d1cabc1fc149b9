"""Pages while everything changes: what was there throughout is neither skipped nor repeated, either way."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest

from pacsbridge.kernel.query import Query
from pacsbridge.kernel.query_parsing import SearchSettings, parse
from pacsbridge.store import planning
from pacsbridge.store.records import Draft, Page
from pacsbridge.store.store import Store

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND
SETTINGS = SearchSettings("http://fhir.example/fhir")
STUDIES = range(10, 24)

Pairs = Sequence[tuple[str, str]]


def study(number: int, **content: Any) -> Draft:
    """A study, begun on a day that does not follow its number; some have no date, others no day."""
    started = {0: {}, 1: {"started": "2024"}, 2: {"started": "2024-02-02T08:00:00+01:00"}}.get(
        number % 7, {"started": f"2024-02-{number * 5 % 23 + 1:02}T{number % 5:02}:00:00Z"}
    )
    body = {
        "resourceType": "ImagingStudy",
        "id": f"s{number}",
        "status": "available",
        "subject": {"reference": f"Patient/p{number % 2}"},
        "series": [{"uid": "1", "modality": {"code": "MR" if number % 5 == 0 else "CT"}}],
        **started,
        **content,
    }
    return Draft("ImagingStudy", f"s{number}", body)


def asked(*pairs: tuple[str, str], count: int = 2) -> Query:
    """A search of studies."""
    return parse("ImagingStudy", [*pairs, ("_count", str(count))], SETTINGS, strict=True)


def ids(page: Page) -> list[str]:
    """The ids of a page."""
    return [entry.id for entry in page.entries]


ORDERS: Sequence[Pairs] = [
    (),
    (("_sort", "started"),),
    (("_sort", "-started"),),
    (("_sort", "_lastUpdated"),),
    (("_sort", "-_lastUpdated"),),
    (("_sort", "_id"),),
    (("_sort", "-_id"),),
    (("_sort", "-started,_lastUpdated"),),
    (("_sort", "_lastUpdated,-_id"),),
]

CLAUSES: Sequence[Pairs] = [
    (),
    (("status", "available"),),
    (("status:not", "cancelled"),),
    (("modality", "CT,MR"),),
    (("modality:not", "MR"),),
    (("started", "ge2024-02-01"),),
    (("started", "ge2024-01-01T00:00:00Z"),),
    (("_lastUpdated", "gt2020"),),
    (("patient", "p0,p1"), ("modality", "CT")),
    (("encounter:missing", "true"),),
    (("series:missing", "false"),),
]


@pytest.fixture(params=[0, planning.FEW], ids=["common", "few"])
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Whether clauses count as common, so that an index is walked, or as rare, so that they are listed."""
    monkeypatch.setattr(planning, "FEW", request.param)
    return int(request.param)


@pytest.fixture
def filled(store: Store) -> Store:
    """A store with studies, published in several transactions, some of them corrected since."""
    for number in STUDIES:
        store.publish([study(number, description="first")], NOW + number * SECOND // 3)
    for number in (11, 18, 14):
        store.publish([study(number)], NOW + 60 * SECOND)
    return store


class Meanwhile:
    """What happens between pages: studies come, some are corrected and begin at another time, some go."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._new = iter(range(100, 120))
        self._corrected = iter((15, 22, 10, 17, 13, 20))
        self._deleted = iter((16, 12, 19))
        self.gone: set[str] = set()
        self._step = 0

    def __call__(self) -> None:
        """One more moment."""
        self._step += 1
        now = NOW + (100 + self._step) * SECOND
        self._store.publish([study(number) for number in islice(self._new, 2)], now)
        if (number := next(self._corrected, None)) is not None:
            moved = f"2024-02-{self._step * 11 % 28 + 1:02}"
            self._store.publish([study(number, started=moved, note=[{"text": str(self._step)}])], now)
        if self._step % 2 == 0 and (number := next(self._deleted, None)) is not None:
            self._store.publish([Draft("ImagingStudy", f"s{number}", None)], now)
            self.gone.add(f"s{number}")


def walk(
    store: Store, query: Query, after: Any, step: Callable[[], None], *, back: bool = False
) -> list[list[str]]:
    """The pages from a cursor on, forwards or backwards, with something happening between them."""
    pages: list[list[str]] = []
    while after is not None:
        step()
        page = store.search(replace(query, after=after))
        pages.append(ids(page))
        after = page.previous if back else page.next
        assert len(pages) < 60
    return pages


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_nothing_is_skipped_or_repeated(filled: Store, few: int, order: Pairs) -> None:
    """Whatever comes, is corrected or deleted between the pages; the order is that of the first moment."""
    queries = [asked(*clauses, *order) for clauses in CLAUSES]
    before = [ids(filled.search(replace(query, count=100))) for query in queries]
    pages = [filled.search(query) for query in queries]
    seen = [ids(page) for page in pages]
    meanwhile = Meanwhile(filled)
    while any(page.next for page in pages):
        meanwhile()
        for number, query in enumerate(queries):
            if (after := pages[number].next) is not None:
                pages[number] = filled.search(replace(query, after=after))
                seen[number] += ids(pages[number])
    for number, query in enumerate(queries):
        assert len(set(seen[number])) == len(seen[number]), query
        still = set(ids(filled.search(replace(query, count=1000))))
        stayed = [id_ for id_ in before[number] if id_ in still]
        assert [id_ for id_ in seen[number] if id_ in stayed] == stayed, query
        assert len(stayed) >= 6


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_the_way_back_is_the_way_there(filled: Store, few: int, order: Pairs) -> None:
    """Backwards the same pages come, and at either end there is nothing beyond."""
    for query in (asked(*clauses, *order) for clauses in CLAUSES):
        page = first = filled.search(query)
        pages = [ids(first)]
        while page.next is not None:
            page = filled.search(replace(query, after=page.next))
            pages.append(ids(page))
        assert all(len(found) == query.count for found in pages[:-1])
        assert [first.previous, page.next] == [None, None]
        assert walk(filled, query, page.previous, lambda: None, back=True)[::-1] == pages[:-1]
        second = filled.search(replace(query, after=first.next))
        again = filled.search(replace(query, after=second.previous))
        assert (ids(again), again.previous, again.next) == (pages[0], None, first.next)


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_the_way_back_while_everything_changes(filled: Store, few: int, order: Pairs) -> None:
    """Nothing is skipped or repeated on the way back either."""
    query = asked(("status", "available"), *order)
    before = ids(filled.search(replace(query, count=100)))
    page = filled.search(query)
    start = ids(page)
    pages = [start]
    while page.next is not None:
        page = filled.search(replace(query, after=page.next))
        pages.append(ids(page))
    back = walk(filled, query, page.previous, Meanwhile(filled), back=True)
    seen = [id_ for found in back[::-1] for id_ in found]
    after = set(ids(filled.search(replace(query, count=1000))))
    stayed = [id_ for id_ in before if id_ in after and id_ not in pages[-1]]
    assert [id_ for id_ in seen if id_ in stayed] == stayed
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_pages_of_any_size_say_the_same(filled: Store, few: int, order: Pairs) -> None:
    """From pages of one to one page of all; a total with every page where it is asked for."""
    whole = ids(filled.search(asked(*order, count=1000)))
    assert len(whole) == len(STUDIES)
    for count in (1, 3, len(whole) - 1, len(whole), len(whole) + 1):
        query = replace(asked(*order, count=count), counted=True)
        page = filled.search(query)
        seen = ids(page)
        while page.next is not None:
            page = filled.search(replace(query, after=page.next))
            assert page.total == len(whole)
            seen += ids(page)
        assert seen == whole


def test_an_empty_page_has_no_neighbours(store: Store) -> None:
    """Nothing found, nothing beyond."""
    page = store.search(asked(("_sort", "started")))
    assert (ids(page), page.next, page.previous) == ([], None, None)


@pytest.mark.parametrize("clauses", CLAUSES, ids=str)
def test_what_is_new_is_found_at_once(filled: Store, few: int, clauses: Pairs) -> None:
    """Whatever a search has counted to decide how to go about it: the next one finds what has come since."""
    query = asked(*clauses, count=1000)
    before = {*ids(filled.search(query))}
    content = {"series": [{"uid": "9", "modality": {"code": code}} for code in ("CT", "US")]}
    filled.publish([study(100, **content)], NOW + 100 * SECOND)
    us = {"series": [{"uid": "9", "modality": {"code": "US"}}]}
    filled.publish([study(101, **us)], NOW + 101 * SECOND)
    page = filled.search(replace(query, counted=True))
    new = {"s100"} if "CT" in str(clauses) else {"s100", "s101"}
    assert {*ids(page)} == before | new
    assert page.total == len(page.entries)
