"""Dates and times → FHIR date and dateTime."""

import re
from datetime import timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.kernel import dates

BERLIN = ZoneInfo("Europe/Berlin")
ZONES: st.SearchStrategy[tzinfo | None] = st.one_of(
    st.none(),
    st.sampled_from([BERLIN, ZoneInfo("Asia/Kathmandu"), ZoneInfo("Pacific/Kiritimati"), timezone.min]),
)
DATE = re.compile(r"(?!0000)[0-9]{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?)?")
TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?")
OFFSET = re.compile(r"[+-](0[0-9]|1[0-3]):[0-5][0-9]|\+14:00")
DATE_TIME = re.compile(rf"{DATE.pattern}|[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T{TIME.pattern}({OFFSET.pattern})")
DIGITS = st.text("0123456789.:+- ", max_size=28)


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("20200131", "2020-01-31"), ("2020.01.31", "2020-01-31"), ("2020-01-31", "2020-01-31"),
        ("202001", "2020-01"), ("2020", "2020"), ("20200100", "2020-01"), ("20200000", "2020"),
        (" 20200131 ", "2020-01-31"), ("20200229", "2020-02-29"), ("20190229", None), ("20201301", None),
        ("20200015", None), ("00000000", None), ("2020.0131", None), ("202001011", None), ("", None),
        ("20200101-20200131", None), ("٢٠٢٠٠١٠١", None),
    ],
)  # fmt: skip
def test_da(text: str, date: str | None) -> None:
    """A DA with its legacy and partial forms; unknown parts drop, impossible dates are none."""
    assert dates.da(text) == date


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("101530", "10:15:30"), ("101530.5", "10:15:30.5"), ("101530.123456", "10:15:30.123456"),
        ("101530.1234567", "10:15:30.123456"), ("1015", "10:15:00"), ("10", "10:00:00"),
        ("10:15:30", "10:15:30"), ("235960", "23:59:59"), ("235960.9", "23:59:59.9"), ("101530 ", "10:15:30"),
        ("240000", None), ("24:00:00", None), ("106000", None), ("101561", None), ("1", None), ("noon", None),
    ],
)  # fmt: skip
def test_tm(text: str, time: str | None) -> None:
    """A TM with its legacy and partial forms, padded; a leap second reads 59, and no day has a 24th hour."""
    assert dates.tm(text) == time


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("+0100", "+01:00"), ("-0530", "-05:30"), ("+1400", "+14:00"), ("-1200", "-12:00"),
        ("+0000", "+00:00"), ("-0000", "+00:00"), ("+01:00", "+01:00"), ("+1401", None), ("-1201", None),
        ("+0160", None), ("0100", None), ("Z", None), ("", None),
    ],
)  # fmt: skip
def test_utc_offset(text: str, offset: str | None) -> None:
    """An offset from UTC within the range of PS3.3 C.12.1.1.8."""
    assert dates.utc_offset(text) == offset


@pytest.mark.parametrize(
    ("text", "offset", "zone", "expected"),
    [
        ("20200131101530.5+0100", "+05:00", None, "2020-01-31T10:15:30.5+01:00"),
        ("20200131101530", "+05:00", BERLIN, "2020-01-31T10:15:30+05:00"),
        ("20200731101530", None, BERLIN, "2020-07-31T10:15:30+02:00"),
        ("20200131101530", None, None, "2020-01-31"),
        ("2020013110", None, BERLIN, "2020-01-31T10:00:00+01:00"),
        ("20200131", None, BERLIN, "2020-01-31"),
        ("202001+0100", None, None, "2020-01"),
        ("2020", "+01:00", None, "2020"),
        ("20200131101530+9900", None, BERLIN, "2020-01-31T10:15:30+01:00"),
        ("20200131990000", "+01:00", None, "2020-01-31"),
        ("yesterday", "+01:00", BERLIN, None),
    ],
)  # fmt: skip
def test_dt(text: str, offset: str | None, zone: tzinfo | None, expected: str | None) -> None:
    """A DT: its own offset, then the header's, then the zone; without any the date alone."""
    assert dates.dt(text, offset, zone) == expected


def test_a_zone_of_odd_seconds_is_rounded_to_minutes() -> None:
    """Local mean time before the zones had seconds in its offset, and FHIR has none."""
    assert dates.date_time("1880-01-01", "10:00:00", None, BERLIN) == "1880-01-01T10:00:00+00:53"


def test_a_zone_beyond_the_range_of_offsets_leaves_the_date() -> None:
    """An offset that DICOM and FHIR do not know is none."""
    far = timezone(timedelta(hours=20))
    assert dates.date_time("2020-01-01", "10:00:00", None, far) == "2020-01-01"


@given(st.one_of(st.text(), DIGITS), st.one_of(st.text(), DIGITS), st.one_of(st.text(), DIGITS), ZONES)
def test_every_date_time_is_legal(date: str, time: str, offset: str, zone: tzinfo | None) -> None:
    """Any three texts in any zone give a legal dateTime or none."""
    day, clock, known = dates.da(date), dates.tm(time), dates.utc_offset(offset)
    assert day is None or DATE.fullmatch(day)
    assert clock is None or TIME.fullmatch(clock)
    assert known is None or OFFSET.fullmatch(known)
    assert day is None or DATE_TIME.fullmatch(dates.date_time(day, clock, known, zone))


@given(st.one_of(st.text(), DIGITS), ZONES)
def test_dt_is_total(text: str, zone: tzinfo | None) -> None:
    """Any text in any zone gives a legal dateTime or none."""
    found = dates.dt(text, None, zone)
    assert found is None or DATE_TIME.fullmatch(found)


@given(st.dates(), st.times(), ZONES)
def test_every_moment_of_the_calendar_is_read(day: object, time: object, zone: tzinfo | None) -> None:
    """From the first year to the last, in every zone, the wall clock is kept."""
    text = str(day).replace("-", ""), str(time)[:8]
    found = dates.date_time(dates.da(text[0]) or "", dates.tm(text[1]), None, zone)
    assert found.startswith(f"{day}T{text[1]}" if zone and "T" in found else str(day))
