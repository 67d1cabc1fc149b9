"""Many dead letters tried again while the bridge runs: in a thread of its own, telling how far it is."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from pacsbridge.bridge.intake import Intake
from pacsbridge.bridge.letters import Retried, retry_letters
from pacsbridge.errors import reason
from pacsbridge.store.conflicts import ASIDE
from pacsbridge.store.overview import Wanted
from pacsbridge.store.store import Store

log = structlog.get_logger("pacsbridge.bridge")

_STEP = 5_000
"""Letters that are looked at in one go: stored bytes of one pack are read once for all of them."""


@dataclass(slots=True)
class Progress:
    """How far the letters `wanted` are: so many of `total` are `done`.

    `left` only their senders can repeat, or they are conflicts: tried again where that kind alone is wanted.
    `fault` says why it ended early.
    """

    wanted: Wanted
    total: int
    done: int = 0
    left: int = 0
    running: bool = True
    fault: str | None = None


class LetterWork:
    """Tries dead letters again, one order at a time; any thread may call it."""

    def __init__(self, store: Store, intake: Intake, clock: Callable[[], int]) -> None:
        self._store = store
        self._intake = intake
        self._clock = clock
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.progress: Progress | None = None

    def retry_one(self, pk: int) -> Retried | None:
        """Try one letter again, by its number; None where there is none. Raises Unavailable."""
        found = self._store.overview.letter(pk)
        if found is None:
            return None
        return retry_letters(self._store, self._intake, [found.letter], self._clock)

    def retry_all(self, wanted: Wanted, last: int) -> bool:
        """Begin to try again all that are meant, up to a number; False while another order is under way."""
        with self._lock:
            if self._stopping.is_set() or (self.progress is not None and self.progress.running):
                return False
            progress = Progress(wanted, self._store.overview.count_letters(wanted, last))
            self.progress = progress
            self._thread = threading.Thread(
                target=self._run, args=(progress, last), name="letters", daemon=True
            )
            self._thread.start()
        return True

    def stop(self, timeout: float = 30) -> None:
        """End; what has not been tried stays on record."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self, progress: Progress, last: int) -> None:
        try:
            self._retry(progress, last)
        except Exception as exc:
            progress.fault = reason(exc)
            log.warning("letters_not_retried", reason=progress.fault)
        finally:
            progress.running = False

    def _retry(self, progress: Progress, last: int) -> None:
        after = 0
        while not self._stopping.is_set():
            filed = self._store.overview.letters_by_number(progress.wanted, after, last, _STEP)
            if not filed:
                return
            outcome = retry_letters(
                self._store,
                self._intake,
                [one.letter for one in filed],
                self._clock,
                conflicts=progress.wanted.kind == ASIDE,
            )
            progress.done += len(filed) - len(outcome.left)
            progress.left += len(outcome.left)
            after = filed[-1].pk
