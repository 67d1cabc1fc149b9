"""Values as pages say them: moments, numbers, sizes, codes."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

_UNITS = ("bytes", "KB", "MB", "GB", "TB")


def number(value: int) -> str:
    """A count with its thousands apart, by a narrow space that does not break."""
    return f"{value:,}".replace(",", "\u202f")


def size(value: float) -> str:
    """A number of bytes in the unit that says it with few digits."""
    for unit in _UNITS:
        if value < 1000 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "bytes" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


def moment(value: int | str | datetime) -> Markup:
    """A moment (microseconds since 1970, or ISO 8601 with a zone) to the second, in UTC."""
    found = _moment(value).astimezone(UTC)
    text = found.strftime("%Y-%m-%d %H:%M:%S")
    return Markup('<time datetime="{}">{} UTC</time>').format(found.isoformat(timespec="milliseconds"), text)


def _moment(value: int | str | datetime) -> datetime:
    if isinstance(value, int):
        return datetime.fromtimestamp(value / 1_000_000, UTC)
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def started(value: str) -> str:
    """A FHIR dateTime as people read it: as exact as it is, its zone behind it."""
    day, _, clock = value.partition("T")
    if not clock:
        return day
    time, zone = clock[:8], clock[8:].lstrip(".0123456789")
    return f"{day} {time[:5]}" + (f" {zone}" if zone not in ("", "Z") else " UTC" if zone else "")


def uid(value: str) -> Markup:
    """A UID that may break behind its dots."""
    return Markup("<wbr>").join(f"{part}" for part in _behind_dots(value))


def _behind_dots(value: str) -> list[str]:
    *parts, last = value.split(".")
    return [*(f"{part}." for part in parts), last]


def codes(value: Any) -> str:
    """Codings one after the other, by their codes."""
    return ", ".join(dict.fromkeys(one.get("code") or one.get("display", "") for one in value or ()))


def plain(value: str) -> str:
    """A value that is kept as JSON, as people read it: its texts, in their order."""
    try:
        return ", ".join(_texts(json.loads(value)))
    except ValueError:
        return value


def _texts(value: Any) -> Iterator[str]:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in parts:
        yield from _texts(part)
    if not isinstance(value, dict | list):
        yield value if isinstance(value, str) else json.dumps(value)


FILTERS: Mapping[str, Callable[..., Any]] = {
    "number": number,
    "size": size,
    "moment": moment,
    "started": started,
    "uid": uid,
    "codes": codes,
    "plain": plain,
}
"""What templates may say of a value."""
