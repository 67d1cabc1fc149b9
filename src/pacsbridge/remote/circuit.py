"""When an archive that fails is asked again: seldom, and by one request at a time.

closed      all is well, or has failed too seldom to matter
open        nobody asks until a moment, which moves further away each time
half-open   the moment has come: one request may try. It closes the circuit, or opens it anew
"""

import random as randomness
import threading
from collections.abc import Callable
from typing import Literal

from pacsbridge.errors import Unavailable

LONGEST_RETRY_AFTER = 3600.0
"""Seconds: as long as this a server may put us off."""

PROBE_SECONDS = 30.0
"""Once the pauses have grown to this, none is shorter."""

_DOUBLINGS = 32

State = Literal["closed", "open", "half-open"]


class Circuit:
    """The state of one archive; threads may share it.

    It opens after so many failures in a row, or at once when the archive says when to come back.
    Pauses double from `first` to `longest`, each between its half and its whole.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        random: Callable[[], float] = randomness.random,
        *,
        failures: int = 3,
        first: float = 1.0,
        longest: float = 300.0,
    ) -> None:
        self._clock = clock
        self._random = random
        self._failures = failures
        self._first = first
        self._longest = longest
        self._lock = threading.Lock()
        self._failed = 0
        self._openings = 0
        self._until: float | None = None
        self._probing = False
        self._why = ""

    @property
    def state(self) -> State:
        """Whether requests go through: all, none, or one."""
        with self._lock:
            if self._until is None:
                return "closed"
            return "half-open" if self._probing or self._clock() >= self._until else "open"

    @property
    def until(self) -> float | None:
        """The moment of the clock when the next request may try; None while the circuit is closed."""
        with self._lock:
            return self._until

    @property
    def left(self) -> float | None:
        """Seconds until the next request may try; None while the circuit is closed."""
        with self._lock:
            return None if self._until is None else max(0.0, self._until - self._clock())

    def hurry(self) -> None:
        """Let the next request try, whenever it comes."""
        with self._lock:
            if self._until is not None:
                self._until = min(self._until, self._clock())

    def check(self) -> bool:
        """Ask to be let through; True for the one that tries. Raises Unavailable for all who have to wait.

        Whoever is let through tells how it went by `succeeded` or `failed`.
        """
        with self._lock:
            if self._until is None:
                return False
            left = self._until - self._clock()
            if left > 0:
                raise Unavailable(f"it has failed lately{self._why} and is left alone", left)
            if self._probing:
                raise Unavailable(f"it has failed lately{self._why} and is being tried", self._first)
            self._probing = True
            return True

    def succeeded(self) -> None:
        """The archive has answered."""
        with self._lock:
            self._failed = self._openings = 0
            self._until = None
            self._probing = False

    def failed(self, retry_after: float | None = None, why: str = "") -> None:
        """The archive has not answered as it should, for that reason, and may have said when to come back."""
        asked = min(max(retry_after or 0.0, 0.0), LONGEST_RETRY_AFTER)
        with self._lock:
            self._failed += 1
            self._why = f" ({why})" if why else ""
            if self._until is not None and not self._probing:
                # A request from before the circuit opened: it tells nothing new, unless it names a time.
                self._until = max(self._until, self._clock() + asked)
            elif self._probing or asked or self._failed >= self._failures:
                self._until = self._clock() + max(asked, self._pause())
                self._probing = False

    def _pause(self) -> float:
        """The next pause."""
        whole = min(self._first * 2.0 ** min(self._openings, _DOUBLINGS), self._longest)
        self._openings += 1
        floor = PROBE_SECONDS if whole >= PROBE_SECONDS else 0.0
        return max(whole * (0.5 + 0.5 * self._random()), floor)
