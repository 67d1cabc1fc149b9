"""A search that finds nothing asks the archives at once; what they have is published before the answer."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import orjson
import structlog

from pacsbridge.bridge.archive_listing import uids
from pacsbridge.bridge.archive_rounds import Rounds
from pacsbridge.bridge.publish import Publisher
from pacsbridge.errors import reason
from pacsbridge.kernel.query import Query
from pacsbridge.kernel.questions import Question, questions
from pacsbridge.remote.qido import Archive
from pacsbridge.store.store import Store

log = structlog.get_logger("pacsbridge.bridge")

MOST = 100
"""Studies that an archive is asked for at a time."""

AGAIN_SECONDS = 10.0
"""A question that has been asked is not asked again before."""

_MOST_KNOWN = 10_000


@dataclass(frozen=True, slots=True)
class Askable:
    """One archive; `rounds` makes rounds with it for one thread."""

    name: str
    archive: Archive
    rounds: Callable[[], Rounds]


class Asking:
    """Asks all archives, for so many seconds at most; any thread may call it."""

    def __init__(
        self,
        store: Store,
        publisher: Publisher,
        archives: Sequence[Askable],
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._archives = archives
        self._seconds = seconds
        self._clock = clock
        self._asked: dict[Question, float] = {}
        self._pool = ThreadPoolExecutor(2 * max(1, len(archives)), "asking")

    def close(self) -> None:
        """Wait for nobody."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def __call__(self, query: Query) -> Sequence[str] | None:
        """What could not be asked, a text for each archive; None where there was nothing to ask."""
        wanted = [one for one in questions(query, self._patient_ids) if self._is_new(one)]
        if not wanted:
            return None
        under_way = {self._pool.submit(self._ask, one, wanted): one for one in self._archives}
        wait(under_way, self._seconds)
        faults: list[str] = []
        found: set[str] = set()
        for future, one in under_way.items():
            fault = self._outcome(future, found)
            if fault is not None:
                faults.append(f"source {one.name} could not be asked: {fault}")
        self._publisher.publish_named(sorted(found))
        return faults

    def _ask(self, one: Askable, wanted: Sequence[Question]) -> set[str]:
        rows = [row for pair in wanted for row in one.archive.studies([pair], limit=MOST).rows[:MOST]]
        if rows:
            one.rounds().found(rows)
        return uids(rows)

    def _outcome(self, future: Future[set[str]], found: set[str]) -> str | None:
        """What went wrong; None where `found` has what came."""
        if not future.done():
            future.cancel()
            return f"no answer within {self._seconds:g} s"
        fault = future.exception()
        if fault is None:
            found |= future.result()
            return None
        log.warning("archive_not_asked", reason=reason(fault))
        return reason(fault)

    def _is_new(self, question: Question) -> bool:
        now = self._clock()
        if now - self._asked.get(question, now - AGAIN_SECONDS) < AGAIN_SECONDS:
            return False
        if len(self._asked) >= _MOST_KNOWN:
            self._asked.clear()
        self._asked[question] = now
        return True

    def _patient_ids(self, id_: str) -> Sequence[str]:
        """The numbers of a Patient that is published here."""
        found = self._store.document("Patient", id_)
        if found is None or found.body is None:
            return ()
        identifiers = orjson.loads(found.body).get("identifier", ())
        return [one["value"] for one in identifiers if "value" in one]
