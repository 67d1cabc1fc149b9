"""Dates and times of a record in another time zone, with Python's datetime as the oracle."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.errors import NotUnderstood
from pacsbridge.kernel.query_keys import TAGS, Record
from pacsbridge.kernel.zones import in_zone, offset_of, widened

DAY, TIME, ZONE = (TAGS[name] for name in ("StudyDate", "StudyTime", "TimezoneOffsetFromUTC"))
OFFSETS = st.integers(-12 * 60, 14 * 60)


def written(minutes: int) -> str:
    """An offset as DICOM writes it."""
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}{abs(minutes) % 60:02}"


def digits(moment: datetime) -> str:
    """A DA."""
    return moment.date().isoformat().replace("-", "")


def record(day: str, time: str, zone: str = "+0000") -> Record:
    """A study's record."""
    return {tag: [text] for tag, text in ((DAY, day), (TIME, time), (ZONE, zone)) if text}


@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)), OFFSETS, OFFSETS)  # noqa: DTZ001
def test_moments_stay_what_they_are(moment: datetime, own: int, asked: int) -> None:
    """The same moment in both zones, to the microsecond, a day earlier or later where need be."""
    here = timezone(timedelta(minutes=own))
    there = moment.replace(tzinfo=here).astimezone(timezone(timedelta(minutes=asked)))
    moved = in_zone(record(digits(moment), f"{moment:%H%M%S.%f}", written(own)), asked)
    assert moved == record(digits(there), f"{there:%H%M%S.%f}", written(asked))


@pytest.mark.parametrize(
    ("day", "time", "asked", "expected"),
    [
        ("20200101", "00", 60, ("20200101", "01")),
        ("20200101", "00", -90, ("20191231", "2230")),
        ("20200101", "2330", 60, ("20200102", "0030")),
        ("2020.01.01", "23:30:59", 60, ("20200102", "003059")),
        ("20200101", "235960", 60, ("20200102", "005960")),
        ("20200101", "", 60, ("20200101", "")),
        ("", "1015", 60, ("", "1015")),
        ("2020", "1015", 60, ("2020", "1015")),
        ("20200101", "25", 60, ("20200101", "25")),
        ("99991231", "2330", 60, ("99991231", "2330")),
    ],
)
def test_as_exactly_as_it_is_known(day: str, time: str, asked: int, expected: tuple[str, str]) -> None:
    """Hours stay hours; what is no moment stays as it stands."""
    assert in_zone(record(day, time), asked) == record(*expected, zone=written(asked))


@pytest.mark.parametrize("zone", ["", "Z", "+2500", "CET"])
def test_an_unknown_zone_is_not_guessed(zone: str) -> None:
    """A record without a zone, or with none that there is, is as before."""
    plain = record("20200101", "1015", zone)
    assert in_zone(plain, 60) == plain


@pytest.mark.parametrize("text", ["Z", "+1500", "0100", "+01", "+0100\\+0200", "*"])
def test_what_is_no_zone_is_refused(text: str) -> None:
    """The key is named."""
    with pytest.raises(NotUnderstood, match="TimezoneOffsetFromUTC"):
        offset_of("TimezoneOffsetFromUTC", text)


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31)), OFFSETS, OFFSETS)  # noqa: DTZ001
def test_a_widened_span_holds_every_zone(moment: datetime, own: int, asked: int) -> None:
    """The stored day of whatever stands on a day in the zone of the query."""
    [day] = in_zone(record(digits(moment), f"{moment:%H%M}", written(own)), asked)[DAY]
    low, high = widened(int(day), int(day))
    assert low <= int(digits(moment)) <= high


def test_open_and_imprecise_spans_are_widened() -> None:
    """Spans whose ends are no days of the calendar too."""
    assert widened(0, 99_999_999)[0] <= 0 and widened(0, 99_999_999)[1] >= 99_999_999
    low, high = widened(20200200, 20200299)
    assert low <= 20200131 and high >= 20200301
    assert widened(10101, 99991231) == (10001, 99991331)
