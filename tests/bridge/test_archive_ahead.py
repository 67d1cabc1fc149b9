"""Windows and pages listed ahead: in their order, a few at a time, bounded, and given up at once."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from itertools import count, pairwise
from typing import Any, cast

import pytest

from pacsbridge.bridge.archive_ahead import LISTINGS, Ahead, PagesAhead
from pacsbridge.bridge.archive_listing import Listing, Row
from pacsbridge.errors import BadAnswer
from pacsbridge.kernel.windows import FIRST, Window
from pacsbridge.remote.qido import Archive, Pairs, Rows

TODAY = date(2026, 3, 10)
PATIENCE = 20.0

Pages = Callable[[Window], Iterator[Sequence[Row]]]


class Lister:
    """Stands for listings: gives what `pages` gives, and remembers the windows that it was asked for."""

    def __init__(self, pages: Pages) -> None:
        self.pages_of = pages
        self.asked: list[Window] = []

    def __call__(self) -> Listing:
        """A listing of its own."""
        return cast(Listing, self)

    def pages(self, window: Window) -> Iterator[Sequence[Row]]:
        """As a listing has it."""
        self.asked.append(window)
        yield from self.pages_of(window)


def told(number: int) -> Sequence[Row]:
    """A page that can be told from others."""
    return [{"number": number}]


def until(true: Callable[[], bool]) -> None:
    """Wait for it."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_windows_come_in_their_order_without_gaps() -> None:
    """However the listings end, windows are given newest first, each with its own pages, to the very end."""
    lister = Lister(lambda window: iter([told((window.last or TODAY).toordinal())]))
    frontier: date | None = TODAY
    given: list[Window] = []
    with Ahead(lister) as ahead:
        while frontier is not None and (one := ahead.window_before(frontier, 9000)) is not None:
            assert [page[0]["number"] for page in one.pages] == [(one.window.last or TODAY).toordinal()]
            given.append(one.window)
            frontier = one.window.first
        assert frontier is None
    assert all(newer.first is not None for newer in given[:-1])
    for newer, older in pairwise(given):
        assert newer.first is not None and older.last is not None
        assert (newer.first - older.last).days == 1
    assert given[-1].first is None and set(lister.asked) == set(given)


def test_the_next_window_is_listed_while_one_is_taken() -> None:
    """So many windows are under way as there may be, and no more."""
    lister = Lister(lambda _window: iter([told(0)]))
    with Ahead(lister) as ahead:
        assert ahead.window_before(TODAY, 7) is not None
        until(lambda: len(lister.asked) == LISTINGS)
        assert ahead.window_before(TODAY, 7) is not None
        until(lambda: len(lister.asked) == LISTINGS + 1)


def test_a_fault_is_raised_where_the_pages_are_taken() -> None:
    """What came before it is given; the fault comes in the place of the page that could not be had."""

    def pages(_window: Window) -> Iterator[Sequence[Row]]:
        yield told(1)
        raise BadAnswer("no more of it")

    with Ahead(Lister(pages)) as ahead:
        one = ahead.window_before(TODAY, 7)
        assert one is not None
        assert next(one.pages) == told(1)
        with pytest.raises(BadAnswer, match="no more of it"):
            next(one.pages)


def test_pages_wait_to_be_taken() -> None:
    """A window without end is not read into memory, and is given up when nobody wants it any more."""
    made: list[int] = []

    def pages(_window: Window) -> Iterator[Sequence[Row]]:
        for number in count():
            made.append(number)
            yield told(number)

    with Ahead(Lister(pages)) as ahead:
        one = ahead.window_before(FIRST, 1)
        assert one is not None
        assert [next(one.pages) for _ in range(5)] == [told(number) for number in range(5)]
        time.sleep(0.2)
        assert len(made) < 20 * LISTINGS
    assert not [each.name for each in threading.enumerate() if each.name.startswith("listing")]


def test_leaving_by_a_fault_waits_for_no_page() -> None:
    """Whoever leaves in the middle leaves no thread behind, whether or not pages were taken."""

    def leave(exc: Any) -> None:
        with Ahead(Lister(lambda _window: (told(number) for number in count()))) as ahead:
            assert ahead.window_before(TODAY, 7) is not None
            raise exc

    with pytest.raises(BadAnswer):
        leave(BadAnswer("elsewhere"))
    assert not [each.name for each in threading.enumerate() if each.name.startswith("listing")]


class Paged:
    """Stands for an archive with so many studies, whose pages come `together` at a time, or never."""

    def __init__(self, studies: int, together: int = 1) -> None:
        self._studies = studies
        self._barrier = threading.Barrier(together)
        self.asked: list[int] = []

    def studies(self, match: Pairs, *, limit: int, offset: int = 0) -> Rows:
        """As an archive has it."""
        assert match == [("ModalitiesInStudy", "CT")]
        self.asked.append(offset)
        self._barrier.wait(PATIENCE)
        return Rows(
            [{"number": one} for one in range(offset, min(self._studies, offset + limit))], more=False
        )


def numbers(archive: Paged, expected: int, depth: int) -> list[int]:
    """All studies, taken page by page until one is not full."""
    found: list[int] = []
    with PagesAhead(cast(Archive, archive), expected, depth) as ahead:
        while len(found) % 10 == 0:
            rows = ahead.studies([("ModalitiesInStudy", "CT")], limit=10, offset=len(found)).rows
            found += [row["number"] for row in rows]
            if not rows:
                break
    return found


def test_pages_of_a_list_whose_length_is_known_come_together() -> None:
    """Three at a time here, in their order; none is asked for twice, and none behind the end."""
    archive = Paged(55, together=3)
    assert numbers(archive, 55, 3) == list(range(55))
    assert sorted(archive.asked) == [0, 10, 20, 30, 40, 50]


@pytest.mark.parametrize("expected", [-1, 0, 30, 31, 500])
def test_a_list_of_another_length_is_whole(expected: int) -> None:
    """A guess costs questions at most."""
    assert numbers(Paged(55), expected, 4) == list(range(55))


def test_an_archive_that_stops_short_is_asked_page_by_page() -> None:
    """What was guessed from a page's length is of no use where pages are shorter."""
    archive = Paged(5)
    with PagesAhead(cast(Archive, archive), 1000, 2) as ahead:
        for offset in (0, 5, 7, 9):
            ahead.studies([("ModalitiesInStudy", "CT")], limit=10, offset=offset)
    assert sorted(one for one in archive.asked if one != 10) == [0, 5, 7, 9]
