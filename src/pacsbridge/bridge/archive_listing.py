"""Which studies an archive has in a stretch of time: whole, whatever its habits in paging are.

A page that comes back full is split by days, so that studies which arrive meanwhile move nothing; a day is
read on by offset, or by times of day where the archive pays no heed to offsets. What an archive does is
learned once, and kept.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pacsbridge.kernel.windows import EVERYTHING, Window
from pacsbridge.remote.qido import Archive, Rows

Row = Mapping[str, Any]

STUDY_UID = "0020000D"
_STUDY_DATE = "00080020"

_ROUND = frozenset((10, 12, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000, 10000))
"""Numbers at which servers stop without a word."""


@dataclass(slots=True)
class Habits:
    """What has been learned about an archive. `cap`: it never returns more rows than that."""

    cap: int = 0
    no_caps: list[int] = field(default_factory=list)
    ignores_offset: bool = False
    ignores_dates: bool = False
    no_lists: bool = False

    def may_have_more(self, rows: Rows, page: int) -> bool:
        """Whether there may be more rows behind these."""
        number = len(rows.rows) + rows.dropped
        full = number >= page or (self.cap and number >= self.cap)
        return bool(rows.more or full or (number in _ROUND and number not in self.no_caps))


class Listing:
    """The records of studies in windows, page by page; `cut` are the windows that could not be had whole."""

    def __init__(self, archive: Archive, page: int, habits: Habits, today: Callable[[], date]) -> None:
        self._archive = archive
        self._page = page
        self._habits = habits
        self._today = today
        self.cut: list[Window] = []

    def pages(self, window: Window) -> Iterator[Sequence[Row]]:
        """The records; some perhaps twice. Raises Unavailable, BadAnswer."""
        waiting = [EVERYTHING if self._habits.ignores_dates else window]
        while waiting:
            one = waiting.pop()
            rows = self._ask(one, 0)
            yield rows.rows
            if self._is_elsewhere(one, rows.rows):
                self._habits.ignores_dates = True
                one, waiting = EVERYTHING, []
            if not self._habits.may_have_more(rows, self._page):
                continue
            if parts := one.by_days(self._today()):
                waiting.extend(reversed(parts))
            else:
                yield from self._further(one, rows)

    def _ask(self, window: Window, offset: int) -> Rows:
        return self._archive.studies(window.match(), limit=self._page, offset=offset)

    def _further(self, window: Window, first: Rows) -> Iterator[Sequence[Row]]:
        """What is behind the first page of a window that has no shorter days."""
        if self._habits.ignores_offset:
            yield from self._by_times(window)
            return
        begun, last, offset = uids(first.rows), first, len(first.rows) + first.dropped
        while self._habits.may_have_more(last, self._page):
            rows = self._ask(window, offset)
            self._learn(rows, offset)
            if rows.rows and uids(rows.rows) <= begun | uids(last.rows):
                self._habits.ignores_offset = True
                yield from self._by_times(window)
                return
            yield rows.rows
            last, offset = rows, offset + len(rows.rows) + rows.dropped

    def _learn(self, rows: Rows, offset: int) -> None:
        """Whether an archive stops at the number of rows that its first page had."""
        habits = self._habits
        if offset >= self._page or habits.cap:
            return
        if rows.rows:
            habits.cap = offset
        elif offset not in habits.no_caps:
            habits.no_caps.append(offset)

    def _by_times(self, window: Window) -> Iterator[Sequence[Row]]:
        parts = window.by_times()
        if not parts:
            self.cut.append(window)
        for part in parts:
            rows = self._ask(part, 0)
            yield rows.rows
            if self._habits.may_have_more(rows, self._page):
                yield from self._by_times(part)

    def _is_elsewhere(self, window: Window, rows: Sequence[Row]) -> bool:
        """Whether the archive pays no heed to dates."""
        dates = (study_date(row) for row in rows)
        return any(day is not None and not window.covers(day) for day in dates)


def uids(rows: Sequence[Row]) -> set[str]:
    """The Study Instance UIDs of records; those without one are left out."""
    return {uid for row in rows if (uid := first_text(row, STUDY_UID))}


def study_date(row: Row) -> str | None:
    """The Study Date of a record as YYYYMMDD, None where it is none."""
    text = (first_text(row, _STUDY_DATE) or "").replace(".", "")
    return text if len(text) == 8 and text.isascii() and text.isdigit() else None


def first_text(row: Row, tag: str) -> str | None:
    """The first value of an element where it is a text."""
    element = row.get(tag)
    values = element.get("Value") if isinstance(element, Mapping) else None
    value = values[0] if isinstance(values, list) and values else None
    return value if isinstance(value, str) else None
