"""The thread that keeps up with one archive: recent studies again and again, the first load in between."""

import threading
import time
from collections.abc import Callable
from datetime import date

import structlog

from pacsbridge import metrics
from pacsbridge.bridge.archive_changes import Changes
from pacsbridge.bridge.archive_rounds import Rounds, Stopped
from pacsbridge.errors import PacsbridgeError, Unavailable

log = structlog.get_logger("pacsbridge.bridge")

_LONGEST = 600.0
"""Seconds until an archive that fails is tried again, at most, unless it asks for more."""


class Poller:
    """Rounds with one archive, every `poll_seconds`; `clock` is monotonic, in seconds."""

    def __init__(
        self,
        name: str,
        rounds: Rounds,
        changes: Changes,
        poll_seconds: float,
        stopping: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._rounds = rounds
        self._changes = changes
        self._poll_seconds = poll_seconds
        self._stopping = stopping
        self._clock = clock
        self._due = clock()
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name=f"archive {name}", daemon=True)

    def start(self) -> None:
        """Begin to poll."""
        self._thread.start()

    def stop(self, timeout: float = 30) -> None:
        """End; what is under way is given up, and done again by the next round."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def step(self) -> float:
        """What is due now; returns for how many seconds nothing will be. Raises Stopped."""
        try:
            self._rest()
        except Stopped:
            raise
        except PacsbridgeError as exc:
            return self._failed(exc, getattr(exc, "retry_after", None))
        except Exception as exc:
            log.exception("archive_round_failed", source=self._name)
            return self._failed(exc, None)
        if self._failures:
            log.info("archive_back", source=self._name)
        self._failures = 0
        metrics.ARCHIVE_UP.labels(self._name).set(1)
        return max(0.0, self._due - self._clock())

    def _rest(self) -> None:
        if self._clock() >= self._due:
            self._changes.follow(self._rounds)
            self._due = self._clock() + self._poll_seconds
        if not self._rounds.state.loaded:
            self._rounds.load(lambda: self._clock() >= self._due)
            self._tell_load()

    def _tell_load(self) -> None:
        """How far the first load is."""
        state = self._rounds.state
        metrics.ARCHIVE_LOADED.labels(self._name).set(state.loaded)
        if state.frontier_day is not None:
            days = (state.frontier_day - date(1970, 1, 1)).days
            metrics.ARCHIVE_FRONTIER.labels(self._name).set(days * 86_400)
        elif state.loaded:
            log.info("archive_loaded", source=self._name)

    def _failed(self, fault: Exception, retry_after: float | None) -> float:
        self._failures += 1
        metrics.ARCHIVE_UP.labels(self._name).set(0)
        pause = min(_LONGEST, self._poll_seconds * 2 ** min(self._failures - 1, 10))
        self._due = self._clock() + max(pause, retry_after or 0.0)
        if self._failures == 1:
            log.warning("archive_away", source=self._name, reason=str(fault) if _is_ours(fault) else None)
        try:
            self._rounds.note_failure(fault)
        except Unavailable as exc:
            log.warning("archive_failure_not_recorded", source=self._name, reason=str(exc))
        return max(0.0, self._due - self._clock())

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._stopping.wait(self.step())
            except Stopped:
                return


def _is_ours(fault: Exception) -> bool:
    return isinstance(fault, PacsbridgeError)
