"""Bars of arrivals: each hour at its place, as high as it should be."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.web.charts import BAR, HEIGHT, chart

LAST = 470_000


def test_bars_stand_in_the_order_of_time() -> None:
    """The last hour at the right; the highest bar fills the drawing, half as much is half as high."""
    found = chart({LAST: 50, LAST - 3: 100, LAST - 4: 1000}, LAST, 4, 2)
    assert [bar.value for bar in found.bars] == [100, 0, 0, 50]
    assert [(bar.x, bar.height) for bar in found.bars] == [(0, 100), (BAR, 0), (2 * BAR, 0), (3 * BAR, 50)]
    assert found.bars[3].y == HEIGHT / 2
    assert found.bars[3].hour == datetime.fromtimestamp(LAST * 3600, UTC)
    assert (found.total, found.highest, found.width) == (150, 100, 4 * BAR)
    assert [bar.value for bar in found.hours] == [50, 100]


@pytest.mark.parametrize(("hours", "marks"), [(24, 4), (168, 7)])
def test_marks_are_evenly_spaced(hours: int, marks: int) -> None:
    """From the first hour to the end of the last one, so that they can be laid out from edge to edge."""
    found = chart({}, LAST, hours, marks)
    steps = {after - before for before, after in zip(found.marks, found.marks[1:], strict=False)}
    assert (len(found.marks), len(steps)) == (marks + 1, 1)
    assert found.marks[-1] == datetime.fromtimestamp((LAST + 1) * 3600, UTC)


def test_nothing_at_all() -> None:
    """No bar has a height, and there is no hour to speak of."""
    found = chart({}, LAST, 24, 4)
    assert (found.total, found.peak, found.highest, list(found.hours)) == (0, None, 0, [])
    assert {bar.height for bar in found.bars} == {0}


@given(st.dictionaries(st.integers(LAST - 200, LAST + 5), st.integers(0, 10**12)))
def test_no_bar_leaves_the_drawing(counts: dict[int, int]) -> None:
    """Whatever has come, each bar stands on the line, and what has come can be seen."""
    for bar in chart(counts, LAST, 168, 7).bars:
        assert bar.y + bar.height == pytest.approx(HEIGHT, abs=0.11)
        assert 0 <= bar.y <= HEIGHT
        assert bool(bar.height) == bool(bar.value)
