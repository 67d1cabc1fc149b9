"""A legitimate user during an attack: C-ECHO and a FHIR read, over and over, each timed."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import requests
from pushing import echo
from running_bridge import Bridge

LIMIT = 1.0
"""Seconds within which nearly all answers have to come, on a machine with nothing else to do."""

GENEROUS = 5 * LIMIT
"""The same where other things are done as well, which is everywhere but at night."""


class Patience:
    """The seconds of all bystanders of a run who are given none of their own."""

    seconds = GENEROUS


class Bystander(threading.Thread):
    """Asks until it is told to stop; `failures` and `seconds` are what it met."""

    def __init__(self, *asked: Callable[[], None]) -> None:
        super().__init__(name="bystander")
        self._asked = asked
        self._over = threading.Event()
        self.seconds: list[float] = []
        self.failures: list[str] = []

    def run(self) -> None:
        """Each question in turn."""
        while not self._over.is_set():
            for ask in self._asked:
                start = time.monotonic()
                try:
                    ask()
                except Exception as exc:
                    self.failures.append(f"{type(exc).__name__}: {exc}")
                self.seconds.append(time.monotonic() - start)
            self._over.wait(0.05)

    def finish(self) -> None:
        """Ask no more."""
        self._over.set()
        self.join()

    def quantile(self, share: float) -> float:
        """The seconds within which this share of the answers came."""
        return sorted(self.seconds)[min(int(share * len(self.seconds)), len(self.seconds) - 1)]


def echoes(bridge: Bridge) -> Callable[[], None]:
    """A C-ECHO on an association of its own."""

    def ask() -> None:
        assert echo(bridge.dimse_port, tls=bridge.dimse_tls) == 0

    return ask


def reads(bridge: Bridge, path: str = "ImagingStudy?_count=1") -> Callable[[], None]:
    """A FHIR read on a connection of its own."""

    def ask() -> None:
        answer = requests.get(f"{bridge.fhir}/{path}", timeout=30)
        assert answer.status_code == 200, answer.status_code

    return ask


@contextmanager
def bystander(
    bridge: Bridge, *asked: Callable[[], None], limit: float | None = None, share: float = 0.99
) -> Iterator[Bystander]:
    """Somebody who works meanwhile: none of the questions fails, and p99 stays under `limit` seconds.

    Without a limit it is `Patience`, which is generous by day; the figures are printed.
    """
    limit = Patience.seconds if limit is None else limit
    somebody = Bystander(*(asked or (echoes(bridge), reads(bridge))))
    somebody.start()
    try:
        yield somebody
    finally:
        somebody.finish()
    print(
        f"bystander: {len(somebody.seconds)} questions, median {somebody.quantile(0.5):.3f} s, "
        f"p99 {somebody.quantile(0.99):.3f} s"
    )
    assert not somebody.failures, somebody.failures[:3]
    assert somebody.quantile(share) < limit, f"p99 {somebody.quantile(share):.2f} s"
