"""Events into the audit log, behind those who make them: nobody waits, and nothing is lost in silence.

Whoever observes an event appends it to a queue. One thread takes whatever waits and commits it in one
transaction. While the log is away the queue grows up to a limit; beyond that events are lost, which is
counted, told by `fault`, and on record itself as soon as the log is back. To refuse patients' images because
they cannot be accounted for would do more harm than the gap, which everybody can see.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from pacsbridge import metrics
from pacsbridge.errors import PacsbridgeError, Unavailable, reason
from pacsbridge.kernel.audit import SERIOUS, Event

log = structlog.get_logger("pacsbridge.audit")

MOST = 50_000
"""Events that may wait."""

BATCH = 1_000
LINGER_SECONDS = 0.2
"""How many events are recorded together, and how long they gather for that."""

_PRUNE_SECONDS = 3600.0
_RETRY_SECONDS = (0.2, 1.0, 5.0)
_DAY = 86_400_000_000


class Log(Protocol):
    """Where events are kept: `store.audit.AuditLog`."""

    def append(self, events: Sequence[Event], now: int) -> int:
        """Record events."""

    def forget(self, before: int, now: int) -> int:
        """Remove old records."""


class Recorder:
    """A queue and the thread that empties it.

    `complete` adds what only the store knows, such as the patient of a study. `clock` gives microseconds
    since 1970; after `keep_days` records are removed (0: never). `recorded` hears that there is news.
    """

    def __init__(
        self,
        log_: Log,
        clock: Callable[[], int],
        *,
        complete: Callable[[Event], Event] = lambda event: event,
        keep_days: int = 0,
        recorded: Callable[[], object] = bool,
        most: int = MOST,
        linger: float = LINGER_SECONDS,
    ) -> None:
        self._log = log_
        self._clock = clock
        self._complete = complete
        self._keep = keep_days * _DAY
        self._recorded = recorded
        self._most = most
        self._linger = linger
        self._waiting: deque[Event] = deque()
        self._lost = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._fault: str | None = None
        self._prune_at = 0.0
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    def start(self) -> None:
        """Begin to record."""
        self._thread.start()

    def stop(self, timeout: float = 10) -> None:
        """Record what waits, then end; what cannot be recorded until then is lost."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        if self._waiting or self._lost:
            log.error("audit_events_lost", count=len(self._waiting) + self._lost)

    def record(self, event: Event) -> None:
        """Have an event recorded; returns at once, from any thread."""
        if len(self._waiting) >= self._most:
            self._lose(1)
            return
        self._waiting.append(event)
        if not self._wake.is_set():
            self._wake.set()

    def fault(self) -> str | None:
        """Why nothing is recorded, or that something was not; None when all is well."""
        return self._fault

    def _lose(self, count: int) -> None:
        metrics.AUDIT_EVENTS.labels("lost").inc(count)
        with self._lock:
            self._lost += count
        self._fault = "events cannot be recorded fast enough: some are lost"

    def _run(self) -> None:
        attempt = 0
        while True:
            self._wait()
            try:
                self._turn()
                attempt = 0
            except Exception as exc:
                self._fault = reason(exc)
                metrics.AUDIT_BACKLOG.set(len(self._waiting))
                log.warning("audit_waits", reason=reason(exc), backlog=len(self._waiting))
                if self._stopping.is_set():
                    return
                self._stopping.wait(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)])
                attempt += 1
                continue
            if self._stopping.is_set() and not self._waiting:
                return

    def _wait(self) -> None:
        """For something to record, and then a moment for more of it."""
        if not self._waiting and not self._lost:
            self._wake.wait(_PRUNE_SECONDS)
        if not self._stopping.is_set():
            self._stopping.wait(self._linger)
        self._wake.clear()

    def _turn(self) -> None:
        """All that waits. Raises Unavailable."""
        while self._waiting or self._lost:
            self._record(min(len(self._waiting), BATCH))
        self._prune()

    def _record(self, count: int) -> None:
        """The first of those that wait, and how many were lost before."""
        events = [self._completed(self._waiting[place]) for place in range(count)]
        lost = self._lost
        if lost:
            events.append(Event("lost", SERIOUS, details={"events": str(lost)}))
        self._append(events)
        for _event in range(count):
            self._waiting.popleft()
        with self._lock:
            self._lost -= lost
        self._fault = None
        metrics.AUDIT_EVENTS.labels("recorded").inc(len(events))
        metrics.AUDIT_BACKLOG.set(len(self._waiting))
        self._recorded()

    def _append(self, events: Sequence[Event]) -> None:
        """All of them; one that cannot be written at all leaves a mark in its place."""
        try:
            self._log.append(events, self._clock())
        except Unavailable:
            raise
        except Exception:
            log.exception("audit_event_unfit", count=len(events))
            for event in events:
                self._append_one(event)

    def _append_one(self, event: Event) -> None:
        try:
            self._log.append([event], self._clock())
        except Unavailable:
            raise
        except Exception as exc:
            mark = Event(event.kind, SERIOUS, reason=f"could not be written: {type(exc).__name__}")
            self._log.append([mark], self._clock())

    def _completed(self, event: Event) -> Event:
        try:
            return self._complete(event)
        except Exception as exc:
            known = isinstance(exc, PacsbridgeError)
            log.warning("audit_event_incomplete", reason=reason(exc) if known else type(exc).__name__)
            return event

    def _prune(self) -> None:
        """Remove what is older than is to be kept, once an hour."""
        now = self._clock()
        if not self._keep or now / 1e6 < self._prune_at:
            return
        self._prune_at = now / 1e6 + _PRUNE_SECONDS
        count = self._log.forget(now - self._keep, now)
        if count:
            log.info("audit_pruned", count=count)
