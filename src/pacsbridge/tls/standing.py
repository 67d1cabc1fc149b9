"""How certificates and revocation lists in files stand: until when they are good, and what is wrong."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pacsbridge.tls.certificates import ListPlace, Place, certificates
from pacsbridge.tls.revocation import RevocationList, revocations

_NOTICE = timedelta(days=30)
"""How long before its end a certificate is warned about."""

_LIST_NOTICE = timedelta(days=7)
"""The same of a revocation list; a fifth of its time where that is less."""

_REFUSED = "all certificates of that authority are refused until there is one"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a file stands: when the first of its certificates or lists ends (UTC), and what there is to say.

    `fault`: why none can be used now, of authorities and of lists; why ours cannot. Empty where nothing is
    wrong.
    """

    until: datetime
    fault: str
    warning: str


class _Span(NamedTuple):
    """From when to when something is good."""

    since: datetime
    until: datetime

    def lapse(self, now: datetime) -> str:
        """Why it is not good now; "" where it is."""
        if now > self.until:
            return f"expired on {_day(self.until)}"
        if now < self.since:
            return f"is not valid before {_day(self.since)}"
        return ""


def standing(place: Place, now: datetime) -> Standing:
    """How the file's certificates or lists stand. Raises Misconfigured."""
    return _of_lists(place, now) if isinstance(place, ListPlace) else _of_certificates(place, now)


def check_in_force(place: Place) -> None:
    """Whether it can be used today. Raises Misconfigured."""
    if fault := standing(place, datetime.now(UTC)).fault:
        raise place.fault(fault)


def _of_certificates(place: Place, now: datetime) -> Standing:
    found = [_Span(one.not_valid_before_utc, one.not_valid_after_utc) for one in certificates(place)]
    fault = _fault(found if place.trusted else found[:1], now)
    warning = "" if fault else _ending(found, now, "certificates", lambda _span: _NOTICE)
    return Standing(_first(found).until, fault, warning)


def _of_lists(place: ListPlace, now: datetime) -> Standing:
    """Of each authority the list counts that OpenSSL takes: of those in force the newest."""
    read = revocations(place)
    found = [
        max(lists, key=lambda span: (not span.lapse(now), span.since)) for lists in _by_issuer(read.counting)
    ]
    if fault := _fault(found, now):
        return Standing(_first(found).until, f"{fault}: {_REFUSED}", "")
    warnings = (
        _ending(found, now, "lists", lambda span: min(_LIST_NOTICE, (span.until - span.since) / 5)),
        *(f"has no list of {name}: {_REFUSED}" for name in read.without),
    )
    return Standing(_first(found).until, "", "; it ".join(filter(None, warnings)))


def _by_issuer(lists: Iterable[RevocationList]) -> Iterable[list[_Span]]:
    found: dict[str, list[_Span]] = {}
    for one in lists:
        found.setdefault(one.issuer, []).append(_Span(one.since, one.until))
    return found.values()


def _fault(deciding: Sequence[_Span], now: datetime) -> str:
    """Why none of them is good; "" where one is."""
    if any(not one.lapse(now) for one in deciding):
        return ""
    return max(deciding, key=lambda one: one.until).lapse(now)


def _first(found: Sequence[_Span]) -> _Span:
    """The one that ends first."""
    return min(found, key=lambda one: one.until)


def _ending(found: Sequence[_Span], now: datetime, things: str, notice: Callable[[_Span], timedelta]) -> str:
    first = _first(found)
    which = "expires" if len(found) == 1 else f"has {len(found)} {things}, of which one expires"
    if now > first.until:
        return f"{which.replace('expires', 'has expired')} on {_day(first.until)}"
    if first.until - now < notice(first):
        return f"{which} on {_day(first.until)}, in {_rest(first.until - now)}"
    return ""


def _rest(rest: timedelta) -> str:
    return f"{rest.days} days" if rest.days > 1 else f"{rest // timedelta(hours=1)} hours"


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
