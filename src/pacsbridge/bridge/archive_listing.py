"""Which studies an archive has in a stretch of time: whole, whatever its habits in paging are.

A page that comes back full is split by days, so that studies which arrive meanwhile move nothing; a day is
read on by offset, or by times of day where the archive pays no heed to offsets. What an archive does is
learned once, and kept.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any, Protocol

from pacsbridge.errors import BadAnswer, WrongKind
from pacsbridge.kernel.attributes import BY_TAG
from pacsbridge.kernel.windows import EVERYTHING, Window
from pacsbridge.remote.qido import Pairs, Rows

Row = Mapping[str, Any]

STUDY_UID = "0020000D"
_STUDY_DATE = "00080020"
_STUDY_TIME = "00080030"

MOST_FAULTS = 16
"""Bad answers in a row that may be about single days: as many as it takes to get from ten years to one."""

ROUND = frozenset((10, 12, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000, 10000))
"""Numbers at which servers stop without a word."""


@dataclass(slots=True)
class Habits:
    """What has been learned about an archive.

    `most` is the largest number of rows that it has ever given at once; `cap` the number at which it was seen
    to stop, 0 for none. `no_lists`: it does not take lists of UIDs.
    """

    cap: int = 0
    most: int = 0
    ignores_offset: bool = False
    ignores_dates: bool = False
    no_lists: bool = False

    def note(self, number: int) -> None:
        """So many rows came at once: nothing below is a cap."""
        self.most = max(self.most, number)
        if number > self.cap:
            self.cap = 0

    def may_have_more(self, rows: Rows, page: int) -> bool:
        """Whether there may be more rows behind these; more than a page are those of a deaf archive."""
        number = count(rows)
        return number > 0 and (rows.more or number in (page, self.cap) or self.is_round(number))

    def is_round(self, number: int) -> bool:
        """Whether it may be a cap that nobody has told of."""
        return number in ROUND and number >= self.most


class Lists(Protocol):
    """Who lists studies: an archive, or somebody in front of it."""

    def studies(self, match: Pairs, *, limit: int, offset: int = 0) -> Rows:
        """A page of the studies that match."""


class Listing:
    """The records of studies in windows, page by page; `cut` are the windows that could not be had whole."""

    def __init__(self, archive: Lists, page: int, habits: Habits, today: Callable[[], date]) -> None:
        self._archive = archive
        self._page = page
        self._habits = habits
        self._today = today
        self.cut: list[Window] = []
        self._faults = 0
        self._fault: BadAnswer | None = None
        self._one_went_well = False

    def pages(self, window: Window) -> Iterator[Sequence[Row]]:
        """The records; some perhaps twice. Raises Unavailable, BadAnswer."""
        if not self._habits.ignores_dates:
            yield from self._by_days(window)
        if self._habits.ignores_dates:
            yield from self._by_days(EVERYTHING)
        if self._fault is not None and not self._one_went_well:
            raise self._fault

    def _ask(self, window: Window, offset: int = 0) -> Rows:
        rows = self._archive.studies(window.match(), limit=self._page, offset=offset)
        self._habits.note(count(rows))
        return rows

    def _by_days(self, window: Window) -> Iterator[Sequence[Row]]:
        """A window, and where that is too much its parts; ends where dates turn out to be ignored."""
        rows = self._answer(window)
        if isinstance(rows, BadAnswer):
            yield from self._around(rows, window)
            return
        yield rows.rows
        if self._is_elsewhere(window, rows.rows):
            self._habits.ignores_dates = True
        elif self._has_more(window, rows):
            yield from self._learning(rows, self._behind(window, rows))

    def _answer(self, window: Window) -> Rows | BadAnswer:
        """The rows of a window, or why it has none. Raises WrongKind, Unavailable: those are no window's."""
        try:
            rows = self._ask(window)
        except WrongKind:
            raise
        except BadAnswer as exc:
            self._faults, self._fault = self._faults + 1, exc
            return exc
        self._faults, self._one_went_well = 0, True
        return rows

    def _around(self, fault: BadAnswer, window: Window) -> Iterator[Sequence[Row]]:
        """The parts of a window that an archive fails at, for what they have; a day is cut.

        Raises the fault where too many came in a row: then it is no day's, but the archive's.
        """
        if self._faults > MOST_FAULTS:
            raise fault
        parts = window.by_days(self._today())
        if not parts:
            self.cut.append(window)
        for part in parts:
            yield from self._by_days(part)

    def _has_more(self, window: Window, rows: Rows) -> bool:
        if not self._habits.may_have_more(rows, self._page):
            return False
        number = count(rows)
        told = rows.more or number in (self._page, self._habits.cap)
        return told or self._habits.ignores_offset or count(self._ask(window, number)) > 0

    def _behind(self, window: Window, rows: Rows) -> Iterator[Sequence[Row]]:
        parts = window.by_days(self._today())
        for part in parts:
            if not self._habits.ignores_dates:
                yield from self._by_days(part)
        if not parts:
            yield from self._further(window, rows)

    def _learning(self, first: Rows, behind: Iterator[Sequence[Row]]) -> Iterator[Sequence[Row]]:
        """What is behind a first page; where there is anything, the archive stops at so many rows."""
        known, number, more = uids(first.rows), count(first), False
        for page in behind:
            more = more or not uids(page) <= known
            yield page
        if more and number < self._page and number >= self._habits.most:
            self._habits.cap = number

    def _further(self, window: Window, first: Rows) -> Iterator[Sequence[Row]]:
        """What is behind the first page of a window that has no shorter days."""
        last, offset, begun = first, count(first), uids(first.rows)
        before = begun
        while not self._habits.ignores_offset and self._habits.may_have_more(last, self._page):
            rows = self._ask(window, offset)
            here = uids(rows.rows)
            if not here:
                self._habits.ignores_offset = bool(rows.rows) and rows.rows == last.rows
            else:
                self._habits.ignores_offset = self._repeats(rows, here, begun, before)
            yield rows.rows
            last, before, offset = rows, here, offset + count(rows)
        if self._habits.ignores_offset:
            yield from self._by_times(window)

    def _repeats(self, rows: Rows, here: set[str], begun: set[str], before: set[str]) -> bool:
        """Whether a page is an earlier one again; what is left of a list that has moved is not."""
        return here == begun or (here <= begun | before and self._habits.may_have_more(rows, self._page))

    def _by_times(self, window: Window) -> Iterator[Sequence[Row]]:
        parts = [(part, self._ask(part)) for part in window.by_times()]
        yield from (rows.rows for _part, rows in parts)
        if not parts or _is_deaf_to_times(parts):
            self.cut.append(window)
            return
        for part, rows in parts:
            if self._habits.may_have_more(rows, self._page):
                yield from self._by_times(part)

    def _is_elsewhere(self, window: Window, rows: Sequence[Row]) -> bool:
        """Whether the archive pays no heed to dates: a few studies of other days prove nothing."""
        within = [window.covers(day) for row in rows if (day := study_date(row)) is not None]
        return 2 * sum(within) < len(within)


def _is_deaf_to_times(parts: Sequence[tuple[Window, Rows]]) -> bool:
    """Whether an archive gives studies of other times, or the same ones for both parts of a day."""
    answers = [rows.rows for _part, rows in parts]
    times = ((part, study_time(row)) for part, rows in parts for row in rows.rows)
    elsewhere = any(time is not None and not part.covers_time(time) for part, time in times)
    return elsewhere or (bool(answers[0]) and answers[0] == answers[1])


def count(rows: Rows) -> int:
    """How many rows an archive gave, those that cannot be used among them."""
    return len(rows.rows) + rows.dropped


def uids(rows: Sequence[Row]) -> set[str]:
    """The Study Instance UIDs of records; those without one are left out."""
    return {uid for row in rows if (uid := first_text(row, STUDY_UID))}


def study_date(row: Row) -> str | None:
    """The Study Date of a record as YYYYMMDD, None where it is none."""
    text = (first_text(row, _STUDY_DATE) or "").replace(".", "")
    return text if len(text) == 8 and text.isascii() and text.isdigit() else None


def study_time(row: Row) -> int | None:
    """The Study Time of a record in seconds of the day, None where it is none."""
    text = (first_text(row, _STUDY_TIME) or "").partition(".")[0]
    if len(text) not in (2, 4, 6) or not (text.isascii() and text.isdigit()):
        return None
    padded = text.ljust(6, "0")
    return int(padded[:2]) * 3600 + int(padded[2:4]) * 60 + int(padded[4:])


def element(row: Row, tag: str) -> Any:
    """An element of a row, by its tag or by its keyword; None where it lacks."""
    found = row.get(tag)
    return found if found is not None else next((row[name] for name in names(tag) if name in row), None)


@cache
def names(tag: str) -> tuple[str, ...]:
    """The names that an element may have in a row: its tag in either case, its keyword."""
    return tag, tag.lower(), BY_TAG[int(tag, 16)].keyword


def first_text(row: Row, tag: str) -> str | None:
    """The first value of an element where it is a text."""
    found = element(row, tag)
    values = found.get("Value") if isinstance(found, Mapping) else None
    value = values[0] if isinstance(values, list) and values else values
    return value.strip(" \0") or None if isinstance(value, str) else None
