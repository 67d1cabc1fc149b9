"""Windows: what they ask for, how they are split, and that no day is ever passed over."""

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.kernel.windows import EVERYTHING, FIRST, GROWTH, Window, before, length_for, lookback

TODAY = date(2026, 3, 1)
DAY = timedelta(days=1)

DATES = st.dates(date(1, 1, 3), date(9999, 12, 30))
CLOSED = st.tuples(DATES, DATES).map(lambda pair: Window(min(pair), max(pair)))


@pytest.mark.parametrize(
    ("window", "keys"),
    [
        (EVERYTHING, {}),
        (Window(TODAY), {"StudyDate": "20260301-"}),
        (Window(None, TODAY), {"StudyDate": "-20260301"}),
        (Window(date(2026, 2, 1), TODAY), {"StudyDate": "20260201-20260301"}),
        (Window(TODAY, TODAY), {"StudyDate": "20260301"}),
        (Window(date(895, 1, 2), date(895, 1, 3)), {"StudyDate": "08950102-08950103"}),
        (Window(TODAY, TODAY, 0, 43_199), {"StudyDate": "20260301", "StudyTime": "000000-115959.999999"}),
        (Window(TODAY, TODAY, 43_200), {"StudyDate": "20260301", "StudyTime": "120000-235959.999999"}),
        (Window(TODAY, TODAY, 3_661, 3_720), {"StudyDate": "20260301", "StudyTime": "010101-010200.999999"}),
    ],
    ids=str,
)
def test_the_keys_are_those_of_range_matching(window: Window, keys: dict[str, str]) -> None:
    """Open ends, single days and parts of days as PS3.4 C.2.2.2.5 writes them."""
    assert dict(window.match()) == keys


@pytest.mark.parametrize(("text", "inside"), [("20260131", False), ("20260201", True), ("20260301", True)])
def test_a_window_knows_its_days(text: str, inside: bool) -> None:
    """Both ends belong to it; an open end has all behind it."""
    assert Window(date(2026, 2, 1), TODAY).covers(text) is inside
    assert Window(date(2026, 2, 1)).covers(text) is inside
    assert Window(None, date(2026, 1, 31)).covers(text) is not inside
    assert EVERYTHING.covers(text)


@given(CLOSED)
def test_days_are_halved(window: Window) -> None:
    """Two parts, the newer first, without a gap or an overlap; a day has none."""
    parts = window.by_days(TODAY)
    if window.first == window.last:
        assert parts == ()
        return
    newer, older = parts
    assert (older.first, newer.last) == (window.first, window.last)
    assert older.last is not None
    assert newer.first == older.last + DAY
    assert older.first is not None
    assert older.first <= older.last


@given(DATES)
def test_an_open_end_is_cut_off_at_today(first: date) -> None:
    """What lies in the future goes apart, and is not split again; nor is what has no beginning."""
    parts = Window(first).by_days(TODAY)
    assert parts == ((Window(TODAY + DAY), Window(first, TODAY)) if first <= TODAY else ())
    assert Window(None, first).by_days(TODAY) == ()


def test_a_day_is_halved_down_to_a_minute() -> None:
    """The parts of the parts cover the day's seconds once, each a minute at least and two at most."""
    waiting, least = [Window(TODAY, TODAY)], []
    while waiting:
        window = waiting.pop()
        parts = window.by_times()
        waiting.extend(parts)
        if not parts:
            least.append(window)
    least.sort(key=lambda one: one.begin)
    assert (least[0].begin, least[-1].end) == (0, 86_399)
    assert all(after.begin == one.end + 1 for one, after in pairwise(least))
    assert all(60 <= one.end - one.begin + 1 < 120 for one in least)


@pytest.mark.parametrize(
    "window", [EVERYTHING, Window(TODAY), Window(None, TODAY), Window(TODAY - DAY, TODAY)]
)
def test_only_days_have_times(window: Window) -> None:
    """Anything longer is not split by them."""
    assert window.by_times() == ()


def test_an_instant_between_two_parts_is_asked_for() -> None:
    """12:59:59.5 lies behind 12:59:59 where times are compared as texts, and belongs to one part alone."""
    ranges = [dict(one.match())["StudyTime"].split("-") for one in Window(TODAY, TODAY).by_times()]
    assert [begin <= "115959.5" <= end for begin, end in ranges] == [False, True]
    part = Window(TODAY, TODAY, 43_200, 46_799)
    inside = [part.covers_time(second) for second in (43_199, 43_200, 46_799, 46_800)]
    assert inside == [False, True, True, False]


@given(st.dates(date(1990, 1, 1), date(2100, 1, 1)), st.integers(0, 3650), st.integers(1, 10_000))
def test_lookback_covers_the_last_days(today: date, days: int, length: int) -> None:
    """Each day once, from the first to an open end, in windows of at most so many days."""
    windows = lookback(today, days, length)
    assert windows[0].last is None
    assert windows[-1].first == today - timedelta(days=days)
    closed = [windows[0]._replace(last=today), *windows[1:]]
    assert_contiguous(closed)
    assert all((one.last - one.first).days < length for one in closed if one.last and one.first)


@given(
    st.dates(date(1, 1, 1), date(9999, 12, 31)),
    st.lists(st.integers(1, 3660), min_size=1, max_size=5),
)
def test_windows_before_a_frontier_cover_every_day(frontier: date, lengths: list[int]) -> None:
    """However long they are: each day before it once, down to one without a beginning."""
    windows: list[Window] = []
    place, number = frontier, 0
    while (window := before(place, lengths[number % len(lengths)])) is not None:
        windows.append(window)
        if window.first is None:
            break
        place, number = window.first, number + 1
        lengths = [max(length, 300) for length in lengths]  # the first may be short: the rest need not be
    if not windows:
        assert frontier <= date(1, 1, 2)
        return
    assert windows[0].last == frontier - DAY
    assert windows[-1].first is None
    assert_contiguous(windows)


def assert_contiguous(windows: Sequence[Window]) -> None:
    """Each window ends on the day before the one that came before it."""
    for newer, older in pairwise(windows):
        assert newer.first is not None
        assert older.last == newer.first - DAY


def test_beyond_the_first_images_is_one_window() -> None:
    """Nobody asks year by year for the Middle Ages."""
    assert before(FIRST, 1) == Window(None, FIRST - DAY)
    assert before(FIRST + 3 * DAY, 1) == Window(FIRST + 2 * DAY, FIRST + 2 * DAY)
    assert before(date(1, 1, 2), 1) is None


@given(st.integers(1, 5000), st.integers(0, 10**6), st.integers(1, 10_000))
def test_lengths_stay_in_bounds(days: int, studies: int, page: int) -> None:
    """A day at least, a century and so many times the last at most; more studies never make it longer."""
    length = length_for(days, studies, page)
    assert 1 <= length <= min(GROWTH * days, 36_600)
    assert length_for(days, studies + 1, page) <= length


def test_lengths_aim_at_half_a_page() -> None:
    """Studies that come evenly fill a page to somewhat more than half."""
    assert length_for(10, 500, 500) == 6
    assert length_for(10, 100, 500) == 30
    assert length_for(10, 10, 500) == 40
    assert length_for(1, 10_000, 500) == 1
