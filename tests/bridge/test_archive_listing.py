"""Listing an archive whole: windows, offsets, times of day, silent caps, deafness, and no endless loop."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from tests.remote import hostile
from tests.remote.hostile import HostileArchive

from pacsbridge.bridge.archive_listing import Habits, Listing, first_text, study_date, study_time, uids
from pacsbridge.errors import BadAnswer, Unavailable, WrongKind
from pacsbridge.kernel.windows import EVERYTHING, Window
from pacsbridge.remote.qido import Archive

TODAY = date(2026, 3, 10)
WEEK = Window(TODAY - timedelta(days=7))
STUDIES = "/dicom-web/studies"


class Lister:
    """Lists an archive, and remembers its habits."""

    def __init__(self, archive: Archive, pacs: HostileArchive) -> None:
        self._archive = archive
        self._pacs = pacs
        self.habits = Habits()
        self.cut: list[Window] = []

    def __call__(self, window: Window = WEEK, page: int = 30) -> set[str]:
        """The studies of a window."""
        self._pacs.asked.clear()
        listing = Listing(self._archive, page, self.habits, lambda: TODAY)
        found = {uid for rows in listing.pages(window) for uid in uids(rows)}
        self.cut = listing.cut
        return found

    @property
    def asked(self) -> int:
        """How often the archive was asked by the last listing."""
        return len(self._pacs.asked)


@pytest.fixture
def listed(asked: Archive, pacs: HostileArchive) -> Lister:
    """Lists the archive."""
    return Lister(asked, pacs)


def fill(
    pacs: HostileArchive, number: int, *, days: int = 7, time: Callable[[int], str] | None = None
) -> set[str]:
    """So many studies on the last days; their UIDs."""
    spread = time or (lambda one: f"{one * 7 % 24:02}{one * 13 % 60:02}{one % 60:02}")
    for one in range(number):
        day = TODAY - timedelta(days=one % days)
        pacs.holdings.studies.append(hostile.study(f"1.2.{one}", f"{day:%Y%m%d}", spread(one)))
    return {f"1.2.{one}" for one in range(number)}


def options(pacs: HostileArchive, **given: Any) -> None:
    """Give the archive habits."""
    for name, value in given.items():
        setattr(pacs.options, name, value)


HABITS: list[dict[str, Any]] = [
    {},
    {"warns": False},
    {"page_cap": 10},
    {"page_cap": 10, "warns": False},
    {"page_cap": 12, "warns": False},
    {"page_cap": 17},
    {"page_cap": 25, "warns": False},
    {"ignores_limit": True},
    {"ignores_limit": True, "ignores_offset": True},
    {"ignores_offset": True},
    {"ignores_offset": True, "warns": False},
    {"ignores_offset": True, "page_cap": 10, "warns": False},
    {"ignores_dates": True},
    {"ignores_dates": True, "page_cap": 10, "warns": False},
    {"refuses_includefield": True},
    {"empty_status": 200},
]


@pytest.mark.parametrize("days", [1, 7])
@pytest.mark.parametrize("habits", HABITS, ids=str)
def test_all_is_listed(pacs: HostileArchive, listed: Lister, habits: dict[str, Any], days: int) -> None:
    """Whatever the archive's habits in paging are, and again once they are known; nothing is cut."""
    options(pacs, **habits)
    there = fill(pacs, 100, days=days)
    assert listed() == there
    assert (listed(), listed.cut) == (there, [])


@pytest.mark.parametrize("number", [*range(14), 24, 25, 26, 29, 30, 31, 49, 50, 51, 60])
@pytest.mark.parametrize("cap", [None, 10, 12, 20, 25])
def test_no_number_of_studies_hides_one(
    pacs: HostileArchive, listed: Lister, number: int, cap: int | None
) -> None:
    """Around caps and pages: exactly as many as there are, however many there were before."""
    options(pacs, page_cap=cap, warns=False)
    for fewer in (number // 2, number):
        pacs.holdings.studies.clear()
        there = fill(pacs, fewer)
        assert listed() == there


def test_a_study_more_than_a_cap_that_was_just_met(pacs: HostileArchive, listed: Lister) -> None:
    """Ten of ten and nothing behind: that says nothing about the eleventh."""
    options(pacs, page_cap=10, warns=False)
    there = fill(pacs, 10)
    assert listed() == there
    pacs.holdings.studies.clear()
    there = fill(pacs, 11)
    assert listed() == there
    assert listed.habits.cap == 10


@pytest.mark.parametrize("number", [0, 1, 9, 11, 29])
def test_less_than_a_page_costs_one_question(pacs: HostileArchive, listed: Lister, number: int) -> None:
    """A window, a request."""
    there = fill(pacs, number)
    assert (listed(), listed.asked) == (there, 1)


def test_a_round_number_costs_a_question_until_more_was_seen(pacs: HostileArchive, listed: Lister) -> None:
    """Ten rows may be a cap; once the archive has given eleven at a time they are none."""
    fill(pacs, 10)
    assert (len(listed()), listed.asked) == (10, 2)
    assert (len(listed()), listed.asked) == (10, 2)
    fill(pacs, 11)
    assert (len(listed()), listed.asked) == (11, 1)
    del pacs.holdings.studies[10:]
    assert (len(listed()), listed.asked) == (10, 1)


def test_a_cap_that_was_none_is_forgotten(pacs: HostileArchive, listed: Lister) -> None:
    """A study that came between two questions looked like one."""
    listed.habits.cap = 10
    fill(pacs, 15)
    listed()
    assert listed.habits.cap == 0


def test_a_full_page_is_split_by_days(pacs: HostileArchive, listed: Lister) -> None:
    """No offset is used as long as there are days, so that what arrives meanwhile moves nothing."""
    fill(pacs, 60)
    listed()
    assert {one.params["offset"] for one in pacs.asked} == {"0"}
    assert len({one.params["StudyDate"] for one in pacs.asked}) == listed.asked > 3


def test_a_day_is_read_on_by_offset(pacs: HostileArchive, listed: Lister) -> None:
    """Until a page is not full."""
    there = fill(pacs, 75, days=1)
    assert listed(Window(TODAY, TODAY)) == there
    assert [one.params["offset"] for one in pacs.asked] == ["0", "30", "60"]


def test_times_are_asked_for_only_where_offsets_are_ignored(pacs: HostileArchive, listed: Lister) -> None:
    """That is learned once."""
    options(pacs, ignores_offset=True, warns=False)
    fill(pacs, 75, days=1)
    listed(Window(TODAY, TODAY))
    assert listed.habits.ignores_offset
    assert "StudyTime" not in pacs.asked[1].params
    listed(Window(TODAY, TODAY))
    assert "StudyTime" in pacs.asked[1].params


def test_what_cannot_be_had_whole_is_cut(pacs: HostileArchive, listed: Lister) -> None:
    """Too many studies in one minute: that minute is named, and the others are had."""
    options(pacs, ignores_offset=True, warns=False)
    fill(pacs, 40, days=1, time=lambda _one: "120000")
    pacs.holdings.studies.append(hostile.study("1.2.900", f"{TODAY:%Y%m%d}", "110000"))
    assert "1.2.900" in listed(Window(TODAY, TODAY))
    assert listed.cut
    assert all(one.covers_time(12 * 3600) and one.end - one.begin < 120 for one in listed.cut)


@pytest.mark.parametrize("window", [EVERYTHING, Window(None, TODAY)], ids=str)
def test_without_a_beginning_nothing_is_split(pacs: HostileArchive, listed: Lister, window: Window) -> None:
    """By offset it is had, and else cut."""
    there = fill(pacs, 75)
    assert (listed(window), listed.cut) == (there, [])
    options(pacs, ignores_offset=True)
    assert len(listed(window)) == 30
    assert listed.cut == [window]


def test_an_archive_that_is_deaf_to_times_is_not_asked_for_every_minute(
    pacs: HostileArchive, listed: Lister
) -> None:
    """Neither offsets nor times: the day is cut after a few questions."""
    fill(pacs, 40, days=1)
    rows = pacs.holdings.studies[:30]
    pacs.routes[STUDIES] = lambda exchange: exchange.json(rows)
    assert len(listed(Window(TODAY, TODAY))) == 30
    assert listed.cut == [Window(TODAY, TODAY)]
    assert listed.asked < 6


def test_dates_that_are_ignored_are_noticed(pacs: HostileArchive, listed: Lister) -> None:
    """Mostly studies of other days: everything is listed once, and from then on at once."""
    options(pacs, ignores_dates=True)
    there = fill(pacs, 7) | {f"1.2.80{one}" for one in range(8)}
    pacs.holdings.studies += [hostile.study(f"1.2.80{one}", "19990101") for one in range(8)]
    assert listed() == there
    assert listed.habits.ignores_dates
    assert (listed(), listed.asked) == (there, 1)
    assert "StudyDate" not in pacs.asked[0].params


def test_a_stray_study_is_not_taken_for_deafness(pacs: HostileArchive, listed: Lister) -> None:
    """One row of another day among many, as archives give whose index is off: windows stay windows."""
    there = fill(pacs, 20) | {"1.2.800"}
    stray = hostile.study("1.2.800", "19990101")
    pacs.routes[STUDIES] = lambda exchange: exchange.json([*pacs.found(exchange.asked), stray])
    assert listed() == there
    assert not listed.habits.ignores_dates


def test_studies_without_a_date_prove_nothing(pacs: HostileArchive, listed: Lister) -> None:
    """Nor do dates that are none."""
    rows = [hostile.study("1.2.1", ""), hostile.study("1.2.2", "20269999x"), hostile.study("1.2.3", "2026")]
    pacs.routes[STUDIES] = lambda exchange: exchange.json(rows)
    assert listed() == {"1.2.1", "1.2.2", "1.2.3"}
    assert not listed.habits.ignores_dates


def test_an_archive_that_always_has_more_is_no_endless_loop(pacs: HostileArchive, listed: Lister) -> None:
    """It says so of empty pages, too."""
    there = fill(pacs, 5)
    pacs.routes[STUDIES] = lambda exchange: exchange.json(
        [row for row in pacs.found(exchange.asked) if exchange.asked.params["offset"] == "0"],
        Warning="299 x: There are 7 additional results that can be requested",
    )
    assert listed() == there
    assert listed.asked < 40


@pytest.mark.parametrize(
    "row",
    [None, hostile.study(""), {}, {"00100020": hostile.value("LO", "P1")}],
    ids=["null", "blank", "empty", "other"],
)
def test_pages_of_rubbish_end(pacs: HostileArchive, listed: Lister, row: Any) -> None:
    """A full page without any UID, again and again: no loop, and no study."""
    pacs.routes[STUDIES] = lambda exchange: exchange.json(
        [row] * 30 if exchange.asked.params["offset"] < "90" else []
    )
    assert listed(Window(TODAY, TODAY)) == set()
    assert listed.asked < 30


def test_a_list_that_moves_is_not_taken_for_deafness(pacs: HostileArchive, listed: Lister) -> None:
    """A study that comes between two pages moves the others: the last one is seen twice."""
    fill(pacs, 30, days=1)

    def moving(exchange: hostile.Exchange) -> None:
        exchange.search()
        if exchange.asked.params["offset"] == "0":
            pacs.holdings.studies.insert(0, hostile.study("1.2.700", f"{TODAY:%Y%m%d}"))

    pacs.routes[STUDIES] = moving
    listed(Window(TODAY, TODAY))
    assert not listed.habits.ignores_offset


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (hostile.status(503), Unavailable),
        (hostile.html(), BadAnswer),
        (hostile.truncated(), BadAnswer),
        (hostile.status(404), BadAnswer),
    ],
)
def test_a_fault_on_any_page_is_raised(
    pacs: HostileArchive, listed: Lister, fault: hostile.Fault, error: type[Exception]
) -> None:
    """Nobody takes a part for the whole."""
    fill(pacs, 75, days=1)
    pacs.faults.extend([hostile.fine(), fault])
    with pytest.raises(error):
        listed(Window(TODAY, TODAY))


def test_a_day_that_cannot_be_listed_is_gone_round(pacs: HostileArchive, listed: Lister) -> None:
    """Whatever breaks at one of its studies: the other days are had, and that one is named."""
    there = fill(pacs, 7)
    bad = f"{TODAY - timedelta(days=3):%Y%m%d}"

    def answer(exchange: hostile.Exchange) -> None:
        rows = pacs.found(exchange.asked)
        broken = any(hostile.text(row, hostile.STUDY_DATE) == bad for row in rows)
        (hostile.truncated() if broken else hostile.Exchange.search)(exchange)

    pacs.routes[STUDIES] = answer
    assert listed() == there - {"1.2.3"}
    assert listed.cut == [Window(TODAY - timedelta(days=3), TODAY - timedelta(days=3))]


def test_a_page_for_people_is_no_days_fault(pacs: HostileArchive, listed: Lister) -> None:
    """It would be the same for each of them: one question, and the listing is over."""
    fill(pacs, 7)
    pacs.routes[STUDIES] = hostile.html()
    with pytest.raises(WrongKind, match=r"^not JSON: text/html$"):
        listed()
    assert listed.asked == 1


@pytest.mark.parametrize(
    ("text", "day"),
    [("20260102", "20260102"), ("2026.01.02", "20260102"), ("202601", None), ("", None), (7, None)],
)
def test_the_date_of_a_row(text: Any, day: str | None) -> None:
    """As eight digits, also of the old form."""
    assert study_date({"00080020": hostile.value("DA", text)}) == day


@pytest.mark.parametrize(
    ("text", "second"),
    [("010203", 3723), ("010203.5", 3723), ("0102", 3720), ("01", 3600), ("1", None), ("noon", None)],
)
def test_the_time_of_a_row(text: str, second: int | None) -> None:
    """In seconds of the day."""
    assert study_time({"00080030": hostile.value("TM", text)}) == second


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"0020000D": {"vr": "UI", "Value": ["1.2"]}}, "1.2"),
        ({"0020000d": {"vr": "UI", "Value": ["1.2"]}}, "1.2"),
        ({"StudyInstanceUID": {"vr": "UI", "Value": ["1.2\0"]}}, "1.2"),
        ({"0020000D": {"vr": "UI", "Value": "1.2"}}, "1.2"),
        ({"0020000D": {"vr": "UI", "Value": []}}, None),
        ({"0020000D": {"vr": "UI", "Value": [None, "1.2"]}}, None),
        ({"0020000D": {"vr": "UI", "Value": [5]}}, None),
        ({"0020000D": {"vr": "UI"}}, None),
        ({"0020000D": "1.2"}, None),
        ({}, None),
    ],
)
def test_the_first_text_of_an_element(row: dict[str, Any], text: str | None) -> None:
    """By tag or keyword, as the readers of rows take them; nothing else raises."""
    assert first_text(row, "0020000D") == text
