"""Studies that an archive could not give: put on record one by one, unless it is the archive that fails."""

from collections.abc import Callable

import structlog

from pacsbridge import metrics
from pacsbridge.bridge.archive_records import Record
from pacsbridge.bridge.sources import Source
from pacsbridge.errors import BadAnswer
from pacsbridge.store.records import DeadLetter
from pacsbridge.store.store import ARCHIVE, Store

log = structlog.get_logger("pacsbridge.bridge")

PARKED_AFTER = 5
"""How often a study is tried before it is left alone until its record changes."""

FRUITLESS = 10
"""How often a round may have no study at all; then they are passed over: it may be theirs all the same."""


class Failures:
    """Those of one round. `one_went_well`: the archive is all right, so it is the studies that are not."""

    def __init__(self, store: Store, source: Source, clock: Callable[[], int]) -> None:
        self._store = store
        self._source = source
        self._clock = clock
        self._waiting: list[tuple[Record, str]] = []
        self.one_went_well = False

    def note(self, one: Record, why: str) -> None:
        """A study failed; any thread may call this."""
        self._waiting.append((one, why))

    def settle(self, fruitless: int = 0) -> int:
        """Put on record what has failed; returns how many studies that is.

        Raises BadAnswer where several failed and none went well, unless that has been so too often: then it
        is none of theirs, and they are due again in the next round.
        """
        failed, self._waiting = self._waiting, []
        if len(failed) > 1 and not self.one_went_well and fruitless < FRUITLESS:
            raise BadAnswer(f"no study could be had: {failed[0][1]}")
        for one, why in failed:
            self._record(one, why)
        return len(failed)

    def bury(self, key: str, why: str) -> int:
        """Put on record what is wrong with an archive's answers; returns how often it has been."""
        return self._store.bury(DeadLetter(ARCHIVE, key, why, self._source.uri), self._clock())

    def _record(self, one: Record, why: str) -> None:
        metrics.ARCHIVE_STUDIES.labels(self._source.name, "failed").inc()
        log.warning("study_not_fetched", uid=one.uid, source=self._source.name, reason=why)
        digest = one.digest if self.bury(one.uid, why) >= PARKED_AFTER else None
        self._store.park_report(self._source.uri, one.uid, digest, one.date, self._clock())
