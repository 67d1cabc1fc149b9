"""The audit log to a repository, record by record, from the position that it has reached.

The log itself is the outbox: a position for each destination stands beside it and moves on once the
destination has taken what is before it. While that is away nothing moves, and nothing is lost.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from pacsbridge import metrics
from pacsbridge.errors import reason
from pacsbridge.store.audit import AuditLog, Record

log = structlog.get_logger("pacsbridge.audit")

BATCH = 200
_LOOK_SECONDS = 5.0
"""How often it is looked for what other processes have recorded."""

_LEASE = 600_000_000
"""Microseconds for which a process that forwards is taken to be at it."""

_FIRST_SECONDS, _LONGEST_SECONDS = 0.5, 60.0
"""Between two tries at a destination that is away."""


class Sink(Protocol):
    """Somewhere that records are sent to."""

    def send(self, records: Sequence[Record]) -> None:
        """Send records in their order; once it returns they are there. Raises PacsbridgeError."""

    def try_out(self) -> str:
        """Reach it without sending anything that it would keep; what to say of it. Raises PacsbridgeError."""

    def close(self) -> None:
        """Close the connection."""


class Forwarder:
    """One destination and the thread that feeds it.

    `service` is what it is called in metrics; `owner` tells processes apart that share the log.
    """

    def __init__(
        self,
        log_: AuditLog,
        destination: str,
        service: str,
        sink: Sink,
        owner: str = "",
        wait: Callable[[float], float] = lambda seconds: random.uniform(seconds / 2, seconds),  # noqa: S311
    ) -> None:
        self._log = log_
        self._destination = destination
        self._service = service
        self._sink = sink
        self._owner = owner
        self._jitter = wait
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._position = 0
        self._fault = ""
        self._thread = threading.Thread(target=self._run, name="audit-forward", daemon=True)

    def start(self) -> None:
        """Begin where it was; a destination that is new begins with what comes. Raises Unavailable."""
        self._position = self._log.reached(self._destination)
        self._thread.start()

    def stop(self, timeout: float = 10) -> None:
        """Send no more; the rest is sent after the next start."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._sink.close()

    def look(self) -> None:
        """There is something new."""
        self._wake.set()

    def _run(self) -> None:
        seconds = _FIRST_SECONDS
        while not self._stopping.is_set():
            try:
                sent = self._turn()
                seconds, self._fault = _FIRST_SECONDS, ""
            except Exception as exc:
                self._complain(reason(exc))
                self._stopping.wait(self._jitter(seconds))
                seconds = min(seconds * 2, _LONGEST_SECONDS)
                continue
            if not sent:
                self._wake.wait(_LOOK_SECONDS)
                self._wake.clear()

    def _complain(self, why: str) -> None:
        """Once for each reason, however often it is tried."""
        if why != self._fault:
            log.warning("audit_not_forwarded", type=self._service, reason=why)
        self._fault = why

    def _turn(self) -> bool:
        """Send what is next; whether there was anything. Raises PacsbridgeError."""
        records = self._log.following(self._position, BATCH)
        metrics.AUDIT_UNSENT.labels(self._service).set(self._log.last() - self._position)
        if not (records and self._claimed(records[0].number - 1)):
            return False
        self._sink.send(records)
        self._position = records[-1].number
        self._log.reach(self._destination, self._position)
        metrics.AUDIT_UNSENT.labels(self._service).set(max(0, self._log.last() - self._position))
        return True

    def _claimed(self, position: int) -> bool:
        """Whether it is for us to go on from there; another process may have gone on meanwhile."""
        now = time.time_ns() // 1000
        found = self._log.claim(self._destination, self._owner, now, now + _LEASE)
        if found is None:
            self._position = self._log.reached(self._destination)
            return False
        self._position = found
        return found == position
