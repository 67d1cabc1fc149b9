"""Bars of what has come hour by hour, as numbers that a template draws; and the words that say the same."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

HEIGHT = 100
"""Units of the drawing from the line of nothing to the highest bar."""

BAR = 10
"""Units from one bar to the next, of which a little stays free."""

_GAP = 2
_SECONDS = 3600


class Bar(NamedTuple):
    """One hour: where its bar stands, and what it is for."""

    x: int
    y: float
    width: int
    height: float
    hour: datetime
    value: int


class Chart(NamedTuple):
    """A drawing of `width` times `HEIGHT`: bars, and the hours at which the axis is marked, evenly spaced.

    `total` is of all hours, `peak` the highest of them, None without any arrival.
    """

    width: int
    bars: Sequence[Bar]
    marks: Sequence[datetime]
    total: int
    peak: Bar | None

    @property
    def highest(self) -> int:
        """What the highest bar stands for."""
        return self.peak.value if self.peak else 0

    @property
    def hours(self) -> Sequence[Bar]:
        """The hours in which something has come, the latest first."""
        return [bar for bar in reversed(self.bars) if bar.value]


def chart(counts: Mapping[int, int], last: int, hours: int, marks: int) -> Chart:
    """The bars of `hours` hours up to `last` (since 1970), by the counts of each; with so many marks."""
    first = last - hours + 1
    highest = max((counts.get(hour, 0) for hour in range(first, last + 1)), default=0) or 1
    bars = [_bar(number, first + number, counts, highest) for number in range(hours)]
    spots = [_moment(first + number * hours // marks) for number in range(marks + 1)]
    total = sum(bar.value for bar in bars)
    return Chart(hours * BAR, bars, spots, total, max(bars, key=lambda bar: bar.value) if total else None)


def _bar(number: int, hour: int, counts: Mapping[int, int], highest: int) -> Bar:
    value = counts.get(hour, 0)
    height = round(HEIGHT * value / highest, 1)
    if value:
        height = max(height, 1.0)
    return Bar(number * BAR, round(HEIGHT - height, 1), BAR - _GAP, height, _moment(hour), value)


def _moment(hour: int) -> datetime:
    return datetime.fromtimestamp(hour * _SECONDS, UTC)
