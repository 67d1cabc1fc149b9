"""Lists that are asked for ahead: windows while studies of one before are fetched, pages of one long list."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import date
from queue import Full, Queue
from threading import Event
from types import TracebackType
from typing import NamedTuple

from pacsbridge.bridge.archive_listing import Listing, Row, count
from pacsbridge.kernel.windows import Window, before
from pacsbridge.remote.qido import Archive, Pairs, Rows

LISTINGS = 2
"""Windows that are asked for at the same time."""

_PAGES = 2
"""Pages of a window that wait to be taken; a window of an archive that ignores dates may have thousands."""

_LOOK_SECONDS = 0.05

_Page = Sequence[Row]


class Listed(NamedTuple):
    """A window, its listing, and the pages as they come; behind the last one `listing.cut` is complete."""

    window: Window
    listing: Listing
    pages: Iterator[_Page]


class Ahead:
    """Lists the windows before a day, the newest first. A context: leaving it gives up the rest.

    `listing` makes a listing; it is used in threads of its own, one at a time each.
    """

    def __init__(self, listing: Callable[[], Listing]) -> None:
        self._listing = listing
        self._pool = ThreadPoolExecutor(LISTINGS, "listing")
        self._under_way: deque[Listed] = deque()
        self._closing = Event()

    def __enter__(self) -> "Ahead":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def window_before(self, frontier: date, days: int) -> Listed | None:
        """The window before a day, which is where the last one given began; None behind the end.

        Windows that are not under way yet are made `days` long.
        """
        while len(self._under_way) < LISTINGS:
            start = self._under_way[-1].window.first if self._under_way else frontier
            window = None if start is None else before(start, days)
            if window is None:
                break
            self._under_way.append(self._begin(window))
        return self._under_way.popleft() if self._under_way else None

    def _begin(self, window: Window) -> Listed:
        listing, queue = self._listing(), Queue[_Page | BaseException | None](_PAGES)
        self._pool.submit(self._list, listing, window, queue)
        return Listed(window, listing, _taken(queue))

    def _list(self, listing: Listing, window: Window, queue: "Queue[_Page | BaseException | None]") -> None:
        """Fill the queue: pages, then None or what the listing failed with."""
        try:
            for page in listing.pages(window):
                self._hand_over(page, queue)
                if self._closing.is_set():
                    return
        except BaseException as exc:  # it is raised where the pages are taken
            self._hand_over(exc, queue)
        else:
            self._hand_over(None, queue)

    def _hand_over(
        self, what: _Page | BaseException | None, queue: "Queue[_Page | BaseException | None]"
    ) -> None:
        """Wait for room, but not for somebody who has left."""
        while not self._closing.is_set():
            with suppress(Full):
                queue.put(what, timeout=_LOOK_SECONDS)
                return


def _taken(queue: "Queue[_Page | BaseException | None]") -> Iterator[_Page]:
    while (what := queue.get()) is not None:
        if isinstance(what, BaseException):
            raise what
        yield what


class PagesAhead:
    """An archive's list of about `expected` studies, of which `depth` pages are asked for at a time.

    They are taken in their order. The first that is not full ends the guessing, as does the expected number,
    and with -1 there is none. A context: leaving it gives up the rest.
    """

    def __init__(self, archive: Archive, expected: int, depth: int) -> None:
        self._archive = archive
        self._expected = expected
        self._depth = depth
        self._pool = ThreadPoolExecutor(depth, "pages")
        self._asked: dict[int, Future[Rows]] = {}

    def __enter__(self) -> "PagesAhead":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def studies(self, match: Pairs, *, limit: int, offset: int = 0) -> Rows:
        """A page of the list, as `Archive.studies`; always of the same list and length."""
        for ahead in range(offset, min(self._expected + 1, offset + self._depth * limit), limit):
            if ahead not in self._asked:
                self._asked[ahead] = self._pool.submit(
                    self._archive.studies, match, limit=limit, offset=ahead
                )
        asked = self._asked.pop(offset, None)
        rows = self._archive.studies(match, limit=limit, offset=offset) if asked is None else asked.result()
        if count(rows) != limit:
            self._expected = -1
        return rows
