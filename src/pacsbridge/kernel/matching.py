"""Attribute matching of PS3.4 C.2.2.2: what a value of a query means, and whether a record satisfies it.

    single value   the same text; of a person name without regard to case, accents and empty components
    list of UIDs   one of them (QIDO-RS takes lists of other values likewise)
    wildcard       `*` any run of characters, `?` any one, in texts; `*` alone is universal everywhere
    range          `low-high`, `low-`, `-high` of dates, times and date-times, each as wide as its precision
    sequence       one item satisfies all its keys
    universal      an empty value: no condition at all

Values of a record are texts; dates and times become numbers that compare as they do.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pacsbridge.errors import NotUnderstood
from pacsbridge.kernel import dates
from pacsbridge.kernel.query_keys import Record

WILDCARD_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
NUMBER_VRS = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "UL", "US"})
RANGE_VRS = frozenset({"DA", "DT", "TM"})

DAY = 86_400_000_000
"""Microseconds: a time of day is a number below."""

_MOST_WILDCARDS = 16
"""Asterisks in one value: more say nothing more, and cost a database much."""

_SECOND = 1_000_000
_TIME = re.compile(r"([0-9]{2})(?::?([0-9]{2})(?::?([0-9]{2})(?:\.([0-9]{1,6}))?)?)?")
_DATE_TIME = re.compile(
    r"([0-9]{4})(?:([0-9]{2})(?:([0-9]{2})"
    r"(?:([0-9]{2}(?:[0-9]{2}(?:[0-9]{2}(?:\.[0-9]{1,6})?)?)?))?)?)?([+-][0-9]{4})?"
)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_ACCENTS = re.compile("[\u0300-\u036f]")

Span = tuple[int, int]
"""The first and the last number that a text covers, both inclusive."""


# texts


@lru_cache(maxsize=4096)
def folded(text: str) -> str:
    """A person name as names are compared: without case and accents; groups without empty ends.

    Marks of other scripts stay: Japanese voiced sounds are letters of their own.
    """
    plain = _ACCENTS.sub("", _decomposed(_decomposed(text)))  # twice: a letter may show itself by the first
    groups = (" ".join(group.split()) for group in plain.split("="))
    return "=".join(re.sub(r"\s*\^\s*", "^", group).rstrip("^ ") for group in groups).rstrip("=")


def _decomposed(text: str) -> str:
    return unicodedata.normalize("NFKD", text.casefold())


def groups(text: str) -> Sequence[str]:
    """What a name can be found by: the whole, and each of its component groups (PS3.5 6.2.1)."""
    whole = folded(text)
    return (whole, *whole.split("=")) if "=" in whole else (whole,)


@lru_cache(maxsize=256)
def pattern(text: str) -> re.Pattern[str]:
    """A value with wildcards as a regular expression of the whole text, which takes no more than one pass.

    Each part between two `*` is taken where it first fits, for good: that never spoils what comes behind.
    """
    first, *others = (_literal(part) for part in re.split(r"\*+", text))
    if not others:
        return re.compile(first, re.DOTALL)
    middle = "".join(f"(?>.*?{part})" for part in others[:-1])
    return re.compile(f"{first}{middle}.*{others[-1]}", re.DOTALL)


def _literal(text: str) -> str:
    return ".".join(map(re.escape, text.split("?")))


def has_wildcards(text: str) -> bool:
    """Whether a text of a VR that takes them has any."""
    return "*" in text or "?" in text


# dates and times


def day_span(text: str) -> Span | None:
    """The days, YYYYMMDD as a number, that a DA covers; one with less than a day covers a month or a year."""
    day = dates.da(text)
    if day is None:
        return None
    digits = day.replace("-", "")
    return int(digits.ljust(8, "0")), int(digits.ljust(8, "9"))


def time_span(text: str) -> Span | None:
    """The microseconds of a day that a TM covers."""
    match = _TIME.fullmatch(text)
    if match is None or dates.tm(text) is None:
        return None
    hour, minute, second, fraction = match.groups()
    low = (int(hour) * 3600 + int(minute or 0) * 60 + min(int(second or 0), 59)) * _SECOND
    low += int((fraction or "").ljust(6, "0"))
    width = _widths(minute, second, fraction)
    return low, low + width - 1


def _widths(minute: str | None, second: str | None, fraction: str | None) -> int:
    if minute is None:
        return 3600 * _SECOND
    if second is None:
        return 60 * _SECOND
    return _SECOND if fraction is None else int(10 ** (6 - len(fraction)))


def date_time_span(text: str) -> Span | None:
    """The moments that a DT covers, as a number of day and time; an offset from UTC is not looked at."""
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        return None
    year, month, day, time, _offset = match.groups()
    days, times = day_span(year + (month or "") + (day or "")), time_span(time) if time else (0, DAY - 1)
    if days is None or times is None:
        return None
    return days[0] * DAY + times[0], days[1] * DAY + times[1]


SPANS: Mapping[str, Callable[[str], Span | None]] = {
    "DA": day_span,
    "TM": time_span,
    "DT": date_time_span,
}
"""VR → what a text of it covers."""


# conditions


@dataclass(frozen=True, slots=True)
class OneOf:
    """The texts that are the same as one of these."""

    texts: frozenset[str]

    def holds(self, values: Sequence[Any]) -> bool:
        """Whether one of the values satisfies it."""
        return not self.texts.isdisjoint(values)


@dataclass(frozen=True, slots=True)
class Like:
    """The texts that a value with wildcards describes."""

    text: str

    def holds(self, values: Sequence[Any]) -> bool:
        """Whether one of the values satisfies it."""
        match = pattern(self.text).fullmatch
        return any(match(value) for value in values)


@dataclass(frozen=True, slots=True)
class Named:
    """The person names of which the whole or a group is as a folded value says, wildcards in it.

    Components that lack at the end are there, and empty (PS3.5 6.2.1): `smith^*` is SMITH too.
    """

    text: str

    @property
    def forms(self) -> Sequence[str]:
        """The value, and what it says of names without the components that it leaves open."""
        return (
            (self.text, re.sub(r"(?:\^\*?)+$", "", self.text)) if self.text.endswith("^*") else (self.text,)
        )

    def holds(self, values: Sequence[Any]) -> bool:
        """Whether one of the values satisfies it."""
        matches = [pattern(form).fullmatch for form in self.forms]
        return any(match(group) for value in values for group in groups(value) for match in matches)


@dataclass(frozen=True, slots=True)
class NamedAlike:
    """The person names with words that begin with each of these, in any order: fuzzy matching."""

    words: tuple[str, ...]

    def holds(self, values: Sequence[Any]) -> bool:
        """Whether one of the values satisfies it."""
        return any(self._fits(re.split(r"[\^= ]+", folded(value))) for value in values)

    def _fits(self, words: Sequence[str]) -> bool:
        return all(any(word.startswith(sought) for word in words) for sought in self.words)


@dataclass(frozen=True, slots=True)
class Number:
    """The numbers that are equal to one of these."""

    numbers: frozenset[float]

    def holds(self, values: Sequence[Any]) -> bool:
        """Whether one of the values satisfies it."""
        return any(_number(value) in self.numbers for value in values)


@dataclass(frozen=True, slots=True)
class Between:
    """The dates or times that begin in one of some ranges, both ends included; other texts do not."""

    vr: str
    ranges: tuple[Span, ...]

    def holds(self, values: Sequence[Any]) -> bool:
        """Whether one of the values satisfies it."""
        spans = [span for value in values if (span := SPANS[self.vr](value))]
        return any(low <= span[0] <= high for span in spans for low, high in self.ranges)


@dataclass(frozen=True, slots=True)
class Item:
    """The sequences of which one item satisfies conditions on its own attributes."""

    conditions: "Conditions"

    def holds(self, values: Sequence[Any]) -> bool:
        """Whether one of the items satisfies it."""
        return any(satisfies(item, self.conditions) for item in values)


Condition = OneOf | Like | Named | NamedAlike | Number | Between | Item

Conditions = Mapping[str, Condition]
"""Tag → what its values have to satisfy."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A date and a time that together lie in a range: combined date-time matching (PS3.4 C.2.2.2.5)."""

    date: str
    time: str
    low: int
    high: int

    def holds(self, record: Record) -> bool:
        """Whether a record satisfies it; a time that lacks may be any of the day."""
        days, times = _first_span("DA", record.get(self.date)), _first_span("TM", record.get(self.time))
        if days is None:
            return False
        start = days[0] * DAY
        first, last = (times[0], times[0]) if times else (0, DAY - 1)
        return self.low <= start + last and start + first <= self.high


def _first_span(vr: str, values: Sequence[str] | None) -> Span | None:
    return SPANS[vr](values[0]) if values else None


def satisfies(record: Record, conditions: Conditions) -> bool:
    """Whether a record satisfies all conditions; what it lacks satisfies none."""
    for tag, condition in conditions.items():
        values = record.get(tag)
        if not values or not condition.holds(values):
            return False
    return True


# from values of a query


def condition(name: str, vr: str, values: Sequence[str], *, fuzzy: bool = False) -> Condition | None:
    """What the values of a key ask for; None for universal matching.

    Several values are alternatives. Raises NotUnderstood, naming the key, for what is no value of its VR.
    """
    sought = [value for value in values if value]
    if not sought or any(set(value) == {"*"} for value in sought):
        return None
    if any("\0" in value for value in sought):
        raise NotUnderstood(f"{name}: a NUL within a value", name)
    make = _MAKERS.get(vr, _texts)
    return make(name, vr, sought, fuzzy)


def _texts(name: str, vr: str, values: Sequence[str], _fuzzy: bool) -> Condition:
    if vr not in WILDCARD_VRS or not any(map(has_wildcards, values)):
        return OneOf(frozenset(values))
    if len(values) > 1:
        raise NotUnderstood(f"{name}: wildcards in one of several values", name)
    return Like(_bounded(name, values[0]))


def _bounded(name: str, text: str) -> str:
    if text.count("*") > _MOST_WILDCARDS:
        raise NotUnderstood(f"{name}: more than {_MOST_WILDCARDS} wildcards", name)
    return text


def _uids(name: str, _vr: str, values: Sequence[str], _fuzzy: bool) -> Condition:
    if not all(re.fullmatch(r"[0-9.]{1,64}", value, re.ASCII) for value in values):
        raise NotUnderstood(f"{name}: not a UID", name)
    return OneOf(frozenset(values))


def _names(name: str, _vr: str, values: Sequence[str], fuzzy: bool) -> Condition:
    if len(values) > 1:
        raise NotUnderstood(f"{name}: more than one value", name)
    text = folded(_bounded(name, values[0]))
    if not fuzzy:
        return Named("=".join(group or "*" for group in text.split("=")))
    words = tuple(word.strip("*?") for word in re.split(r"[\^= *]+", text))
    return NamedAlike(tuple(word for word in words if word))


def _numbers(name: str, _vr: str, values: Sequence[str], _fuzzy: bool) -> Condition:
    numbers = [_number(value) for value in values]
    if None in numbers:
        raise NotUnderstood(f"{name}: not a number", name)
    return Number(frozenset(number for number in numbers if number is not None))


def _ranges(name: str, vr: str, values: Sequence[str], _fuzzy: bool) -> Condition:
    return Between(vr, tuple(span(name, vr, value) for value in values))


_MAKERS: Mapping[str, Callable[[str, str, Sequence[str], bool], Condition]] = {
    "UI": _uids,
    "PN": _names,
    **dict.fromkeys(NUMBER_VRS, _numbers),
    **dict.fromkeys(RANGE_VRS, _ranges),
}

_LAST: Mapping[str, int] = {"DA": 99_999_999, "TM": DAY - 1, "DT": 99_999_999 * DAY + DAY - 1}


def span(name: str, vr: str, text: str) -> Span:
    """What a single date or time, or a range of them, covers (PS3.4 C.2.2.2.5). Raises NotUnderstood."""
    low, high = _ends(vr, text)
    first = SPANS[vr](low) if low else (0, 0)
    last = SPANS[vr](high) if high else (_LAST[vr], _LAST[vr])
    if first is None or last is None or not (low or high):
        raise NotUnderstood(f"{name}: not a value or range of {vr}", name)
    return first[0], last[1]


def is_range(text: str) -> bool:
    """Whether a date or time of a query is a range and no single value."""
    return "-" in text


def _ends(vr: str, text: str) -> tuple[str, str]:
    """The two ends of a range, "" for an open one; of a single value that itself twice.

    The hyphen of a DT may be that of its offset from UTC (PS3.5 6.2): four digits follow it.
    """
    text = text.strip()
    hyphen = re.search(r"-(?!(?:0[0-9]|1[0-4])[0-9]{2}(?:-|$))" if vr == "DT" else "-", text)
    if hyphen is None:
        return text, text
    return text[: hyphen.start()].strip(), text[hyphen.end() :].strip()


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None
