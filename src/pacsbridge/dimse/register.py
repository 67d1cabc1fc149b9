"""What all connections of one listener share: settings, the ways out, and the count of who is there."""

import threading
import time
from collections.abc import Callable
from typing import Protocol

import structlog

from pacsbridge import metrics
from pacsbridge.bridge.association_log import Association, AssociationLog, Associations, Refusal
from pacsbridge.dimse.account import wall
from pacsbridge.dimse.peers import Directory
from pacsbridge.dimse.receive import Caller, Outlet
from pacsbridge.dimse.settings import DimseSettings
from pacsbridge.dimse.watch import Watch
from pacsbridge.logs import Seldom

log = structlog.get_logger("pacsbridge.dimse")


class Member(Protocol):
    """A connection's thread, as far as the register knows it."""

    def retire(self) -> None:
        """Ends the connection once its request in progress has been answered."""

    def sever(self) -> None:
        """Ends the connection now."""

    def wake(self) -> None:
        """Has the thread look for what there is to send."""

    def join(self, timeout: float | None = None) -> None:
        """Waits for its end."""

    def is_alive(self) -> bool:
        """Whether it still runs."""

    def account(self) -> Association | None:
        """Its association as it stands; None before there is one."""


def _never_low() -> bool:
    """Nobody has said what there is room on."""
    return False


class Register:
    """The connections of one listener: those that have an association, and those that have not (yet)."""

    def __init__(
        self,
        settings: DimseSettings,
        directory: Directory,
        outlet: Outlet,
    ) -> None:
        self.settings = settings
        self.directory = directory
        self.outlet = outlet
        self.watch = Watch()
        self.is_low: Callable[[], bool] = _never_low
        self._lock = threading.Lock()
        self._members: set[Member] = set()
        self._waiting: dict[Member, None] = {}
        self._associated: set[Member] = set()
        self._ended = AssociationLog()
        self._seldom = Seldom()
        self.closing = False

    def enter(self, member: Member) -> None:
        """A connection has been accepted; if too many wait for an association, the oldest of them has to go.

        An honest caller waits for milliseconds, so those who never speak push out each other, and not him.
        """
        with self._lock:
            self._members.add(member)
            self._waiting[member] = None
            crowded = len(self._waiting) > self.settings.limits.waiting
            oldest = next(iter(self._waiting))
            if crowded:
                del self._waiting[oldest]
        if crowded:
            metrics.DIMSE_REJECTED.labels("too many connections").inc()
            oldest.sever()

    def associate(self, member: Member) -> bool:
        """Takes one of the `max_associations` places; False when there is none."""
        with self._lock:
            free = len(self._associated) < self.settings.max_associations
            if free:
                self._waiting.pop(member, None)
                self._associated.add(member)
                metrics.DIMSE_ASSOCIATIONS.inc()
        return free

    def leave(self, member: Member) -> None:
        """A connection has ended."""
        with self._lock:
            self._members.discard(member)
            self._waiting.pop(member, None)
            associated = member in self._associated
            if associated:
                self._associated.remove(member)
                metrics.DIMSE_ASSOCIATIONS.dec()
        account = member.account() if associated else None
        if account is not None:
            self._ended.note(account)

    def turn_away(self, caller: Caller, reason: str) -> None:
        """A caller has been turned away, for a reason of `admission.REFUSALS`."""
        self.watch.rejected(caller, reason)
        self._ended.turn_away(Refusal(caller.calling_ae, caller.called_ae, caller.address[0], reason, wall()))

    def broken_off(self, event: str, address: str, reason: str) -> None:
        """A connection comes to nothing by what its caller does: each is counted, and told within bounds."""
        metrics.DIMSE_REJECTED.labels(event).inc()
        more = self._seldom.turn((event, address, reason))
        if more is not None:
            log.warning(event, address=address, reason=reason, skipped=more)

    def handshake_failed(self, address: str, reason: str) -> None:
        """TLS has not come about, for one of `failures.REASONS`."""
        self._ended.turn_away(Refusal("", "", address, f"TLS: {reason}", wall()))

    def associations(self) -> Associations:
        """Who is and was associated."""
        with self._lock:
            living = list(self._associated)
        accounts = (member.account() for member in living)
        return self._ended.with_living([one for one in accounts if one is not None])

    def members(self) -> list[Member]:
        """Those that are there now."""
        with self._lock:
            return list(self._members)

    def close(self, timeout: float) -> bool:
        """Retires all, severs after `timeout` seconds who is still there; whether everyone has left."""
        self.closing = True
        for member in self.members():
            member.retire()
        if not self._joined(time.monotonic() + timeout):
            for member in self.members():
                member.sever()
        return self._joined(time.monotonic() + 1)

    def _joined(self, deadline: float) -> bool:
        for member in self.members():
            member.join(max(deadline - time.monotonic(), 0))
        return not any(member.is_alive() for member in self.members())
