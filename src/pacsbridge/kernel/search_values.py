r"""What stands behind the `=` of a search: FHIR R4 text to values, strictly.

Alternatives are separated by commas, the parts of a token by bars; both, and `$` and `\`, are escaped by a
backslash (FHIR R4 search, "escaping search parameters"). Everything malformed is NotUnderstood.

Dates are ranges as wide as their precision. A date with a zone is a range of instants. One without a zone
means the wall clock of the place where the study was made: it is compared with the resource's own wall
clock, whatever its offset is. A resource's date that has no zone, compared with instants, is read as UTC.
"""

import re
import unicodedata
from calendar import monthrange
from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

from pacsbridge.errors import NotUnderstood
from pacsbridge.kernel.query import DateValue, ReferenceValue, StringValue, TokenValue

PREFIXES = frozenset(("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"))

_ESCAPABLE = frozenset(",|$\\")
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_RELATIVE = re.compile(r"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9\-.]{1,64})")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+")
_MOMENT = re.compile(
    r"(?P<year>[0-9]{4})(?:-(?P<month>[0-9]{2})(?:-(?P<day>[0-9]{2})"
    r"(?:T(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]{1,12}))?)?"
    r"(?P<zone>Z|[+\- ][0-9]{2}:[0-9]{2})?)?)?)?"
)

_NO_APOSTROPHES = dict.fromkeys(map(ord, "'`\u00b4\u02b9\u02bb\u02bc\u02c8\u2018\u2019\u201b\u2032"))

_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_DAY = 86_400 * _SECOND
_EPOCH = date(1970, 1, 1).toordinal()


class Range(NamedTuple):
    """Microseconds since 1970, `high` exclusive; `offset` is what its zone is ahead of UTC, None: no zone.

    Where a text is more precise than that, `inner` is what lies within it, and may be empty.
    """

    low: int
    high: int
    offset: int | None
    inner: tuple[int, int]


def legal(text: str) -> bool:
    """Whether a FHIR string, and each database, can hold the text."""
    return _ILLEGAL.search(text) is None


def split(text: str, separator: str) -> list[str]:
    """The parts between unescaped separators, their escapes untouched."""
    parts, start, at = [], 0, 0
    while at < len(text):
        if text[at] == separator:
            parts.append(text[start:at])
            start = at + 1
        at += 2 if text[at] == "\\" else 1
    parts.append(text[start:])
    return parts


def unescaped(text: str) -> str:
    """The text that an escaped text stands for. NotUnderstood for a backslash before anything else."""
    if "\\" not in text:
        return text
    plain, at = [], 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
            if text[at : at + 1] not in _ESCAPABLE:
                raise NotUnderstood(r"a backslash may only stand before , | $ or \ ")
        plain.append(text[at])
        at += 1
    return "".join(plain)


def alternatives(text: str) -> list[str]:
    """The values of which one must match, still escaped. NotUnderstood when one is empty."""
    parts = split(text, ",")
    if not all(parts):
        raise NotUnderstood("a value is empty")
    return parts


def token(text: str) -> TokenValue:
    """`code`, `system|code`, `system|` or `|code`."""
    parts = [unescaped(part) for part in split(text, "|")]
    match parts:
        case [value]:
            return TokenValue(None, value)
        case [system, ""] if system:
            return TokenValue(system, None)
        case [system, value] if value:
            return TokenValue(system, value)
    raise NotUnderstood("a token is written code, system|code, system| or |code")


def of_type(text: str) -> TokenValue:
    """`system|code|value` of the modifier of-type, as the row that it looks for."""
    parts = [unescaped(part) for part in split(text, "|")]
    if len(parts) != 3 or not all(parts):
        raise NotUnderstood("of-type is written system|code|value")
    return TokenValue(parts[0], f"{parts[1]}|{parts[2]}")


def uri(text: str) -> TokenValue:
    """A whole URI, equal or not."""
    return TokenValue(None, unescaped(text))


def logical_id(text: str) -> TokenValue:
    """A resource id; one that FHIR does not allow cannot exist."""
    if _ID.fullmatch(text) is None:
        raise NotUnderstood("an id is 1 to 64 letters, digits, dots and hyphens")
    return TokenValue(None, text)


def reference(text: str, base_url: str, targets: Sequence[str]) -> ReferenceValue:
    """An id, `Type/id` or an absolute URL; one below `base_url` is a resource of this server."""
    plain = unescaped(text)
    local = plain.removeprefix(base_url.rstrip("/") + "/")
    if relative := _RELATIVE.fullmatch(local):
        return ReferenceValue(_target(relative[1], targets), relative[2])
    if _ID.fullmatch(plain):
        return ReferenceValue(targets[0] if len(targets) == 1 else None, plain)
    if _ABSOLUTE.fullmatch(plain):
        return ReferenceValue(None, plain)
    raise NotUnderstood("a reference is written id, Type/id or as an absolute URL")


def _target(type_: str, targets: Sequence[str]) -> str:
    if type_ not in targets:
        raise NotUnderstood(f"the reference is to {' or '.join(targets)}")
    return type_


def missing(text: str) -> bool:
    """The value of the modifier missing."""
    if text not in ("true", "false"):
        raise NotUnderstood("missing is true or false")
    return text == "true"


def normalised(text: str) -> str:
    """How strings are compared: without case, accents and punctuation (FHIR R4 search, "string").

    O'Neil is ONEIL; other punctuation parts words, as white space does.
    """
    plain = unicodedata.normalize("NFKD", text.translate(_NO_APOSTROPHES).casefold())
    return " ".join("".join(map(_compared, plain)).split())


def _compared(character: str) -> str:
    """What is left of one decomposed character."""
    if unicodedata.combining(character) or character == "'":
        return ""
    return " " if unicodedata.category(character).startswith("P") else character


def string(text: str) -> StringValue:
    """The beginning of a text."""
    plain = normalised(unescaped(text))
    if not plain:
        raise NotUnderstood("a text is empty")
    return StringValue(plain)


def inside(text: str) -> StringValue:
    """A part of a text, for the modifier contains."""
    return StringValue(string(text).text, anywhere=True)


def exact(text: str) -> TokenValue:
    """A whole text as it is written, for the modifier exact."""
    return TokenValue("", unescaped(text))


def moment(text: str) -> DateValue:
    """A date with an optional prefix. `ap` reaches as far again as the date is long, on both sides."""
    prefix, rest = (text[:2], text[2:]) if text[:2] in PREFIXES else ("eq", text)
    low, high, offset, inner = period(rest)
    if prefix == "ap":
        low, high = low - (high - low), high + (high - low)
    elif prefix not in ("sa", "eb"):
        low, high = inner
    return DateValue(prefix, low, high, local=offset is None)


def period(text: str) -> Range:
    """A FHIR date, dateTime or instant, minutes without seconds too, as the range that it covers.

    A blank before the offset is a plus sign that a client forgot to encode. A leap second is the second
    before it. NotUnderstood for dates that are not in the calendar.
    """
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise NotUnderstood(
            "a date is written YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm[:ss[.fff]][zone]"
        )
    try:
        low, high = _days(found) if found["hour"] is None else _clock(found)
    except ValueError as exc:
        raise NotUnderstood("there is no such date") from exc
    offset = _offset(found["zone"])
    low, high = low - (offset or 0), high - (offset or 0)
    return Range(low, high, offset, _inner(low, high, (found["fraction"] or "")[6:]))


def _inner(low: int, high: int, rest: str) -> tuple[int, int]:
    """The whole microseconds within a range whose seconds have further digits."""
    if not rest:
        return low, high
    return low + (int(rest) > 0), low + (int(rest) + 1) // 10 ** len(rest)


def _days(found: re.Match[str]) -> tuple[int, int]:
    year = int(found["year"])
    first_month, last_month = (int(found["month"]),) * 2 if found["month"] else (1, 12)
    first_day = int(found["day"] or 1)
    last_day = first_day if found["day"] else _last_day(year, last_month)
    first, last = date(year, first_month, first_day), date(year, last_month, last_day)
    return (first.toordinal() - _EPOCH) * _DAY, (last.toordinal() + 1 - _EPOCH) * _DAY


def _last_day(year: int, month: int) -> int:
    return monthrange(year, month)[1]


def _clock(found: re.Match[str]) -> tuple[int, int]:
    midnight, _ = _days(found)
    hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"] or 0)
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError
    fraction = (found["fraction"] or "")[:6]
    within = timedelta(hours=hour, minutes=minute, seconds=min(second, 59)) // timedelta(microseconds=1)
    low = midnight + within + int(fraction.ljust(6, "0"))
    return low, low + _width(found["second"], fraction)


def _width(second: str | None, fraction: str) -> int:
    return _MINUTE if second is None else int(_SECOND // 10 ** len(fraction))


def _offset(zone: str | None) -> int | None:
    if zone in (None, "Z"):
        return None if zone is None else 0
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if minutes > 59 or hours * 60 + minutes > 14 * 60:
        raise NotUnderstood("a zone is at most 14 hours off")
    return (-1 if zone[0] == "-" else 1) * (hours * 60 + minutes) * _MINUTE
