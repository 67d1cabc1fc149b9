"""Dates and times of DICOM → FHIR date and dateTime.

A FHIR dateTime with a time carries an offset. It comes from (0008,0201), else from the source's zone; where
neither is known the date stands alone. UTC and the host's zone are never assumed.
"""

import re
from datetime import date, datetime, timedelta, tzinfo
from functools import lru_cache

_DATE = re.compile(r"([0-9]{4})(?:([.-]?)([0-9]{2})(?:\2([0-9]{2}))?)?")
_TIME = re.compile(r"([0-9]{2})(?::?([0-9]{2})(?::?([0-9]{2})(?:\.([0-9]{1,6})[0-9]*)?)?)?")
_OFFSET = re.compile(r"([+-])([0-9]{2}):?([0-9]{2})")
_DATE_TIME = re.compile(r"([0-9]{4,8})([0-9]{2}[0-9:.]*)?([+-][0-9:]+)?")
_FULL_DATE = len("2020-01-31")
_FIRST_OFFSET, _LAST_OFFSET = -12 * 60, 14 * 60


@lru_cache(maxsize=4096)
def da(text: str) -> str | None:
    """A DA (PS3.5 6.2) as FHIR date: `2020-01-31`, or `2020-01` and `2020` where day or month lack or are 00.

    The legacy form `YYYY.MM.DD` is taken too. None when it is no date.
    """
    match = _DATE.fullmatch(text.strip())
    if not match:
        return None
    year, _separator, month, day = match.groups()
    known = [part for part in (year, month, day) if part and part != "00"]
    if month == "00" and day not in (None, "00"):
        return None
    return "-".join(known) if _exists(*map(int, known)) else None


def _exists(year: int, month: int = 1, day: int = 1) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=4096)
def tm(text: str) -> str | None:
    """A TM (PS3.5 6.2) as `HH:MM:SS` with its fraction, padded; a leap second reads 59. None when no time."""
    match = _TIME.fullmatch(text.strip())
    if not match:
        return None
    hour, minute, second, fraction = match.groups()
    if hour > "23" or (minute or "00") > "59" or (second or "00") > "60":
        return None
    whole = f"{hour}:{minute or '00'}:{min(second or '00', '59')}"
    return f"{whole}.{fraction}" if fraction else whole


@lru_cache(maxsize=256)
def utc_offset(text: str) -> str | None:
    """A Timezone Offset From UTC (PS3.3 C.12.1.1.8, `+0100`) as `+01:00`; None beyond -12:00 to +14:00."""
    minutes = offset_minutes(text)
    return None if minutes is None else offset_text(minutes)


def offset_minutes(text: str) -> int | None:
    """The same as minutes ahead of UTC."""
    match = _OFFSET.fullmatch(text.strip())
    if not match:
        return None
    sign, hours, minutes = match.groups()
    if minutes > "59":
        return None
    total = int(hours) * 60 + int(minutes)
    return _legal(-total if sign == "-" else total)


def _legal(minutes: int) -> int | None:
    return minutes if _FIRST_OFFSET <= minutes <= _LAST_OFFSET else None


def offset_text(minutes: int) -> str:
    """Minutes ahead of UTC as `+01:00`."""
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02}:{rest:02}"


@lru_cache(maxsize=4096)
def date_time(day: str, time: str | None, offset: str | None, zone: tzinfo | None) -> str:
    """The FHIR dateTime of a `da`, a `tm` and an offset; the date alone where one of them lacks."""
    if time is None or len(day) < _FULL_DATE:
        return day
    known = offset or (_zone_offset(day, time, zone) if zone else None)
    return f"{day}T{time}{known}" if known else day


def _zone_offset(day: str, time: str, zone: tzinfo) -> str | None:
    local = datetime.fromisoformat(f"{day}T{time[:8]}").replace(tzinfo=zone)
    try:
        offset = local.utcoffset()
    except (OverflowError, ValueError):  # zones at the ends of the calendar
        return None
    minutes = None if offset is None else _legal(round(offset / timedelta(minutes=1)))
    return None if minutes is None else offset_text(minutes)


def dt(text: str, offset: str | None = None, zone: tzinfo | None = None) -> str | None:
    """A DT (PS3.5 6.2) as FHIR dateTime; its own offset stands before `offset`. None when it is no date."""
    match = _DATE_TIME.fullmatch(text.strip())
    if not match:
        return None
    digits, time, own = match.groups()
    day = da(digits)
    if day is None:
        return None
    return date_time(day, tm(time) if time else None, (utc_offset(own) if own else None) or offset, zone)
