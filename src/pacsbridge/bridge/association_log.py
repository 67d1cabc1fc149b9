"""Who is and was connected, and who was turned away: the latest of each, and each caller's sums."""

import threading
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

ENDED = 100
"""Associations that are remembered after their end."""

CALLERS = 500
"""AE titles that are remembered: callers may call themselves anything."""

REFUSALS = 50
"""Callers that were turned away, and why, that are remembered."""


class Association(NamedTuple):
    """One association: who called from where, since when (microseconds since 1970), and what it brought.

    `stored` and `refused` count C-STORE requests. `ended` and `outcome` are set once it is over.
    """

    calling_ae: str
    called_ae: str
    address: str
    since: int
    stored: int
    refused: int
    size: int
    ended: int | None = None
    outcome: str = ""


class Refusal(NamedTuple):
    """A caller that was turned away: who it said that it is, whom it called, from where, when, and why.

    `times`: how often since the process began, the latest `at` (microseconds since 1970).
    """

    calling_ae: str
    called_ae: str
    address: str
    reason: str
    at: int
    times: int = 1


@dataclass(slots=True)
class Caller:
    """All associations of one AE title since the process began; `last` is when the latest ended."""

    associations: int = 0
    stored: int = 0
    refused: int = 0
    last: int = 0
    address: str = ""


class Associations(NamedTuple):
    """Those that are there now, the latest that ended, the sums of each caller by its AE title, refusals."""

    now: Sequence[Association] = ()
    ended: Sequence[Association] = ()
    callers: Mapping[str, Caller] = MappingProxyType({})
    refusals: Sequence[Refusal] = ()


class AssociationLog:
    """Remembers associations that have ended; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended: deque[Association] = deque(maxlen=ENDED)
        self._callers: OrderedDict[str, Caller] = OrderedDict()
        self._refusals: OrderedDict[tuple[str, str, str, str], Refusal] = OrderedDict()

    def note(self, one: Association) -> None:
        """An association has ended."""
        with self._lock:
            self._ended.appendleft(one)
            caller = self._callers.pop(one.calling_ae, None) or Caller()
            self._callers[one.calling_ae] = Caller(
                caller.associations + 1,
                caller.stored + one.stored,
                caller.refused + one.refused,
                one.ended or 0,
                one.address,
            )
            if len(self._callers) > CALLERS:
                self._callers.popitem(last=False)

    def turn_away(self, one: Refusal) -> None:
        """A caller has been turned away; the same again counts up."""
        key = one[:4]
        with self._lock:
            before = self._refusals.pop(key, None)
            self._refusals[key] = one._replace(times=one.times + (before.times if before else 0))
            if len(self._refusals) > REFUSALS:
                self._refusals.popitem(last=False)

    def with_living(self, living: Sequence[Association]) -> Associations:
        """All there is to tell, the latest first."""
        with self._lock:
            ended, callers = list(self._ended), dict(self._callers)
            refusals = list(self._refusals.values())[::-1]
        return Associations(sorted(living, key=lambda one: one.since, reverse=True), ended, callers, refusals)
