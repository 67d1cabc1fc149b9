"""Dates and times of a record in the time zone that a query is in (PS3.4 C.2.2.2.5).

Timezone Offset From UTC is no matching key: in a query it says in which zone its dates and times are, and
those of the answers. A record that does not say its own zone is left as it is, and so says none.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from pacsbridge.errors import NotUnderstood
from pacsbridge.kernel import dates
from pacsbridge.kernel.query_keys import TAGS, Record

ZONE = TAGS["TimezoneOffsetFromUTC"]


def pairs(*names: str) -> Sequence[tuple[str, str]]:
    """The tags of the dates and the times of some names."""
    return tuple((TAGS[f"{name}Date"], TAGS[f"{name}Time"]) for name in names)


MOMENTS = pairs("Study", "Series", "Content", "Acquisition", "PerformedProcedureStepStart")
"""Dates and times that together are a moment in the zone of their instance."""

_TIME = re.compile(r"([0-9]{2})(?::?([0-9]{2}))?(.*)")


def offset_of(name: str, text: str) -> int:
    """The minutes that a zone is ahead of UTC. Raises NotUnderstood, naming the key."""
    minutes = dates.offset_minutes(text)
    if minutes is None:
        raise NotUnderstood(f"{name}: not an offset from UTC, such as +0100", name)
    return minutes


def in_zone(record: Record, offset: int) -> Record:
    """A record as it reads so many minutes ahead of UTC; the same one where its own zone is unknown."""
    own = dates.offset_minutes(str(record.get(ZONE, [""])[0]))
    if own is None:
        return record
    shift = timedelta(minutes=offset - own)
    moved = dict(record)
    for day, time in MOMENTS:
        if (moment := _moved(record.get(day), record.get(time), shift)) is not None:
            moved[day], moved[time] = [moment[0]], [moment[1]]
    moved[ZONE] = [dates.offset_text(offset).replace(":", "")]
    return moved


def _moved(days: list[str] | None, times: list[str] | None, shift: timedelta) -> tuple[str, str] | None:
    """A date and a time some minutes later, in digits; None where they are no moment."""
    day = dates.da(days[0]) if days else None
    time = _TIME.fullmatch(times[0]) if times and dates.tm(times[0]) else None
    if day is None or time is None:
        return None
    hour, minute, rest = time.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{hour}:{minute or '00'}") + shift
    except (OverflowError, ValueError):  # the ends of the calendar; a month or a year
        return None
    exact = minute or moment.minute
    digits = f"{moment.year:04}{moment:%m%d}"
    return digits, f"{moment:%H%M}{rest.replace(':', '')}" if exact else f"{moment:%H}"


def widened(low: int, high: int) -> tuple[int, int]:
    """A span of days, YYYYMMDD as numbers, with the days beside it, where another zone may have them."""
    return _beside(low, -1), _beside(high, 1)


def _beside(day: int, days: int) -> int:
    try:
        moved = datetime.strptime(f"{day:08}", "%Y%m%d") + timedelta(days=days)  # noqa: DTZ007
    except (OverflowError, ValueError):  # an open end, or a month or a year for a day
        return day + 100 * days
    return moved.year * 10_000 + moved.month * 100 + moved.day
