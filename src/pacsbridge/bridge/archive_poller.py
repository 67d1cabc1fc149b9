"""The thread that keeps up with one archive: recent studies again and again, the first load in between."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date

import structlog

from pacsbridge import metrics
from pacsbridge.bridge.archive_changes import Changes
from pacsbridge.bridge.archive_measuring import measured, so_far
from pacsbridge.bridge.archive_rounds import Rounds, Stopped
from pacsbridge.bridge.archive_state import ArchiveState
from pacsbridge.errors import PacsbridgeError, Unavailable

log = structlog.get_logger("pacsbridge.bridge")

_LONGEST = 600.0
"""Seconds until an archive that fails is tried again, at most, unless it asks for more."""


class Poller:
    """Rounds with one archive, every `poll_seconds`, 0: when woken; `clock` is monotonic, in seconds."""

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
        self._woken = threading.Event()
        self._clock = clock
        self._due = clock() if poll_seconds else math.inf
        self._failures = 0
        self._load: tuple[float, int] | None = None
        self.under_way = False
        self._thread = threading.Thread(target=self._run, name=f"archive {name}", daemon=True)

    def start(self) -> None:
        """Begin to poll."""
        self._thread.start()

    def stop(self, timeout: float = 30) -> None:
        """End; what is under way is given up, and done again by the next round."""
        self._stopping.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def wake(self) -> None:
        """Begin a round now, unless one is under way; the first load goes on behind it. For any thread."""
        self._due = self._clock()
        self._woken.set()

    @property
    def waits(self) -> float | None:
        """Seconds until the next round; None for a round that is under way, or that nobody has asked for."""
        left = self._due - self._clock()
        return None if self.under_way or math.isinf(left) else max(0.0, left)

    @property
    def state(self) -> ArchiveState:
        """What is kept of the archive."""
        return self._rounds.state

    @property
    def load_rate(self) -> float | None:
        """Studies a second that the first load has taken; None where there is none, or nothing came yet."""
        if self._load is None or self._rounds.state.loaded:
            return None
        began, before = self._load
        taken, seconds = so_far(self._rounds).changed - before, self._clock() - began
        return taken / seconds if taken and seconds else None

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
        due = self._clock() >= self._due
        loading = not self._rounds.state.loaded and (due or self._poll_seconds > 0)
        if not (due or loading):
            return
        with self._at_work(), measured(self._rounds):
            if due:
                self._changes.follow(self._rounds)
                self._due = self._clock() + (self._poll_seconds or math.inf)
            if loading:
                self._load = self._load or (self._clock(), so_far(self._rounds).changed)
                self._rounds.load(lambda: self._clock() >= self._due)
                self._tell_load()

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        self.under_way = True
        try:
            yield
        finally:
            self.under_way = False

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
        self._due = self._clock() + (max(pause, retry_after or 0.0) if self._poll_seconds else math.inf)
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
                self._woken.wait(min(self.step(), threading.TIMEOUT_MAX))
            except Stopped:
                return
            self._woken.clear()


def _is_ours(fault: Exception) -> bool:
    return isinstance(fault, PacsbridgeError)
