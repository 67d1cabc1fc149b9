"""Stretches of Study Date and Time by which an archive is asked: short enough for one page of answers."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

_DAY = timedelta(days=1)
_SECONDS = 86_400
_LEAST_SECONDS = 60
"""A stretch of a day that is not halved any more."""

GROWTH = 4
"""How many times as long the next stretch may be at most."""

_LONGEST = 36_600
"""Days of a stretch where studies are few: all there can be."""

FIRST = date(1895, 1, 1)
"""Before the first image there was; what is older is asked for in one go."""


class Window(NamedTuple):
    """Days from `first` to `last`, both included, None: without end; of one day perhaps a part.

    `begin` and `end` are seconds of the day, both included.
    """

    first: date | None = None
    last: date | None = None
    begin: int = 0
    end: int = _SECONDS - 1

    def match(self) -> Sequence[tuple[str, str]]:
        """The matching keys (PS3.4 C.2.2.2.5, range matching).

        A part of a day ends with the last fraction of its last second (PS3.5 6.2 TM), as an archive may
        compare times as texts: 115959.5 lies behind 115959.
        """
        if self.first is None and self.last is None:
            return ()
        days = f"{_da(self.first)}-{_da(self.last)}" if self.first != self.last else _da(self.first)
        if not self.is_part:
            return (("StudyDate", days),)
        return ("StudyDate", days), ("StudyTime", f"{_tm(self.begin)}-{_tm(self.end)}.999999")

    @property
    def is_part(self) -> bool:
        """Whether it is less than a day."""
        return (self.begin, self.end) != (0, _SECONDS - 1)

    def covers(self, study_date: str) -> bool:
        """Whether a Study Date, YYYYMMDD, lies in it."""
        return (self.first is None or study_date >= _da(self.first)) and (
            self.last is None or study_date <= _da(self.last)
        )

    def covers_time(self, second: int) -> bool:
        """Whether a second of the day lies in it."""
        return self.begin <= second <= self.end

    def by_days(self, today: date) -> Sequence["Window"]:
        """Its two parts, the newer first; empty where it is a day or has no beginning."""
        if self.first is None or self.first == self.last:
            return ()
        if self.last is None:
            return (Window(today + _DAY), Window(self.first, today)) if self.first <= today else ()
        middle = self.first + (self.last - self.first) // 2
        return Window(middle + _DAY, self.last), Window(self.first, middle)

    def by_times(self) -> Sequence["Window"]:
        """The two parts of a day, the newer first; empty where they would be too short."""
        length = self.end - self.begin + 1
        if self.first is None or self.first != self.last or length < 2 * _LEAST_SECONDS:
            return ()
        middle = self.begin + length // 2
        return self._replace(begin=middle), self._replace(end=middle - 1)


EVERYTHING = Window()


def lookback(today: date, days: int, length: int) -> Sequence[Window]:
    """The last days, the newest first, in windows of so many days; the newest has no end."""
    oldest = today - timedelta(days=days)
    found = [Window(max(oldest, today - timedelta(days=length - 1)))]
    while (first := found[-1].first) is not None and first > oldest:
        found.append(Window(max(oldest, first - length * _DAY), first - _DAY))
    return found


def before(frontier: date, days: int) -> Window | None:
    """The days before a day; beyond the first images, all that is left; None behind that."""
    if frontier <= date.min + _DAY:
        return None
    last = frontier - _DAY
    first = last - timedelta(days=days - 1) if (last - FIRST).days >= days else None
    return Window(first, last)


def length_for(days: int, studies: int, page: int) -> int:
    """How many days the next window may have, after one of `days` in which there were so many studies."""
    if not studies:
        return min(days * GROWTH, _LONGEST)
    wanted = int(days * (page * 0.6) / studies)
    return max(1, min(wanted, days * GROWTH, _LONGEST))


def _da(day: date | None) -> str:
    return "" if day is None else f"{day:%Y%m%d}".rjust(8, "0")


def _tm(second: int) -> str:
    return f"{second // 3600:02}{second // 60 % 60:02}{second % 60:02}"
