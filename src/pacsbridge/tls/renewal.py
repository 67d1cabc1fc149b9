"""Looks after certificates and lists in use: reads them anew when files change, and tells when they end.

A file is read once it has been the same for two looks, so that a certificate and its key may be replaced one
after the other. What cannot be used changes nothing: the old ones stay, the fault is logged and counted, and
an hour later it is tried again.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog

from pacsbridge import metrics
from pacsbridge.errors import Misconfigured
from pacsbridge.tls.certificates import Place
from pacsbridge.tls.contexts import Renewable
from pacsbridge.tls.standing import Standing, standing

log = structlog.get_logger("pacsbridge.tls")

_LOOK_SECONDS = 30.0
_DAY_SECONDS = 86400.0
_HOUR_SECONDS = 3600.0

_Mark = tuple[tuple[int, int, int] | None, ...]
"""Of each file what changes when it is replaced; None where it is not there."""


Tell = Callable[[str, str], object]
"""Hears what certificates were renewed for, and why they were not ("" where they were); returns at once."""


class Renewal:
    """The thread; `contexts` are renewed, the certificates and revocation lists of `places` are told of.

    `pace` measures hours and days, as time.monotonic does; `clock` says what day it is.
    """

    def __init__(
        self,
        contexts: Sequence[Renewable],
        places: Sequence[Place],
        look_seconds: float = _LOOK_SECONDS,
        pace: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.tell: Tell = lambda _use, _fault: None
        """Who hears of renewals."""
        self._contexts = tuple(contexts)
        self._places = tuple(places)
        self._look_seconds = look_seconds
        self._pace = pace
        self._clock = clock
        self._files = tuple(dict.fromkeys(_files(contexts, places)))
        self._seen = self._used = _mark(self._files)
        self._told = pace()
        self._next_end = math.inf
        self._failed = False
        self._turn = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="certificates", daemon=True)

    def start(self) -> None:
        """Tell of all certificates, and begin to look; without any there is nothing to do."""
        if self._files:
            self._tell()
            self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def renew(self) -> None:
        """Read all of them anew now, changed or not."""
        with self._turn:
            self._seen = self._used = _mark(self._files)
            faults = [(context.use, _renew(context)) for context in self._contexts]
            for use, fault in faults:
                self.tell(use, fault)
            self._failed = any(fault for _use, fault in faults)
            self._tell()

    def look(self) -> None:
        """Once: read what has changed or has failed, and tell of all when a day is over or one has ended."""
        mark = _mark(self._files)
        settled, self._seen = mark == self._seen, mark
        rested = self._pace() - self._told
        if (settled and mark != self._used) or (self._failed and rested >= _HOUR_SECONDS):
            self.renew()
        elif rested >= _DAY_SECONDS or self._clock() > self._next_end:
            self._tell()

    def _run(self) -> None:
        while not self._stopping.wait(self._look_seconds):
            self.look()

    def _tell(self) -> None:
        self._told = self._pace()
        now = datetime.fromtimestamp(self._clock(), UTC)
        ends = []
        for place in self._places:
            try:
                found = standing(place, now)
            except Misconfigured as exc:
                log.error("certificate cannot be read", reason=str(exc))
                continue
            _tell(place, found)
            ends.append(found.until.timestamp())
        self._next_end = min((end for end in ends if end >= now.timestamp()), default=math.inf)


def _renew(context: Renewable) -> str:
    """Why it cannot be; "" where it is."""
    try:
        context.renew()
    except Misconfigured as exc:
        metrics.TLS_RENEWALS.labels(context.use, "failed").inc()
        log.error("certificates not renewed", server=context.use, reason=str(exc))
        return str(exc)
    metrics.TLS_RENEWALS.labels(context.use, "renewed").inc()
    log.info("certificates read anew", server=context.use)
    return ""


def _tell(place: Place, found: Standing) -> None:
    """How the certificates of a file stand, in the metric and in a line of the log."""
    metrics.TLS_NOT_AFTER.labels(place.key, place.source).set(found.until.timestamp())
    wrong = found.fault or found.warning
    level = log.error if found.fault else log.warning if found.warning else log.info
    more = {"reason": f"{place.label}: {place.path} {wrong}"} if wrong else {}
    level("certificate", certificate=place.label, until=found.until.isoformat(), **more)


def _files(contexts: Iterable[Renewable], places: Iterable[Place]) -> Iterable[Path]:
    for context in contexts:
        own = context.files.own
        yield from (one.path for one in context.files.places)
        yield from (() if own is None else (own.key.path,))
    yield from (place.path for place in places)


def _mark(files: Iterable[Path]) -> _Mark:
    return tuple(_stat(path) for path in files)


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
