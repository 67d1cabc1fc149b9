"""Durable instances into the index, batch by batch, in the order of the packs.

One thread takes whatever waits and commits it in one transaction together with the positions that it
reaches. While the database is away it tries again and again, and nothing more is let in; an instance that
alone makes a batch fail becomes a dead letter, and its neighbours go on.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from pacsbridge import metrics
from pacsbridge.errors import Unavailable, reason
from pacsbridge.kernel.conflicts import Ruling
from pacsbridge.store.records import Arrival, DeadLetter, Standing
from pacsbridge.store.store import Store

log = structlog.get_logger("pacsbridge.bridge")

BATCH = 500
"""Instances a transaction at most."""

LINGER_SECONDS = 0.3
"""How long a batch may gather: a transaction costs several times what an instance adds to it."""

BACKLOG = 4_000
"""Instances that may wait for the index before new ones have to wait too."""

_RETRY_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class Pending:
    """An instance that is durable and not yet indexed; its record ends at `end` of `pack`.

    Without an arrival it is a record that cannot be used, and the position only has to get past it.
    """

    arrival: Arrival | None
    pack: str
    end: int


class Indexer:
    """A queue in pack order and the thread that empties it."""

    def __init__(self, store: Store, clock: Callable[[], int], *, linger: float = LINGER_SECONDS) -> None:
        self._store = store
        self._clock = clock
        self._linger = linger
        self._waiting: deque[Pending] = deque()
        self._named: dict[str, Standing] = {}
        self._change = threading.Condition()
        self._stopping = threading.Event()
        self._busy = 0
        self._failed: str | None = None
        self._thread = threading.Thread(target=self._run, name="indexer", daemon=True)

    def start(self) -> None:
        """Begin to index."""
        self._thread.start()

    def stop(self, timeout: float = 30) -> None:
        """Index what waits, then end; what remains is read again from the packs at the next start."""
        self._stopping.set()
        with self._change:
            self._change.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def admit(self, timeout: float = 10) -> None:
        """Wait until there is room for another instance. Raises Unavailable when there is none in time."""
        if len(self._waiting) < BACKLOG and self._failed is None:
            return
        with self._change:
            if self._failed is not None:
                raise Unavailable(self._failed)
            if not self._change.wait_for(lambda: len(self._waiting) < BACKLOG, timeout):
                raise Unavailable("the index cannot keep up")

    def add(self, pending: Sequence[Pending]) -> None:
        """Queue durable instances, in pack order."""
        with self._change:
            self._waiting.extend(pending)
            for one in pending:
                if one.arrival is not None and one.arrival.ruling is not Ruling.REFUSED:
                    self._named[one.arrival.facts.instance["uid"]] = _standing(one.arrival)
            self._change.notify_all()
        metrics.INDEX_BACKLOG.set(len(self._waiting))

    def fault(self) -> str | None:
        """Why nothing is indexed; None when all is well."""
        return self._failed

    def waiting(self, sop_uid: str) -> Standing | None:
        """The latest instance that waits under this SOP Instance UID, unless it was refused."""
        return self._named.get(sop_uid)

    def is_idle(self) -> bool:
        """Whether everything that was queued is indexed."""
        with self._change:
            return not self._waiting and not self._busy

    def drain(self, timeout: float = 60) -> bool:
        """Wait until everything that was queued is indexed."""
        with self._change:
            return self._change.wait_for(lambda: not self._waiting and not self._busy, timeout)

    def _run(self) -> None:
        """Batches in order; none is begun before the one before it is done, or positions would pass it by."""
        while batch := self._take():
            if not self._index(batch):
                return
            with self._change:
                self._busy = 0
                self._change.notify_all()

    def _take(self) -> Sequence[Pending]:
        """The next batch; empty only when the queue is and the indexer is to stop."""
        with self._change:
            self._change.wait_for(lambda: self._waiting or self._stopping.is_set())
        if len(self._waiting) < BATCH:
            self._stopping.wait(self._linger)
        with self._change:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            self._busy = len(batch)
            return batch

    def _index(self, batch: Sequence[Pending]) -> bool:
        """Index a batch, however long it takes; False when the end of the program comes first."""
        attempt = 0
        while not self._tried(batch):
            if self._stopping.wait(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)]):
                return False
            attempt += 1
        self._forget(batch)
        return True

    def _tried(self, batch: Sequence[Pending]) -> bool:
        """Index the batch; False when the database is away, or so broken that it takes no dead letter."""
        try:
            self._put_somehow(batch)
        except Unavailable as exc:
            self._fail(str(exc))
            return False
        except Exception as exc:
            self._fail(reason(exc))
            return False
        self._fail(None)
        return True

    def _put_somehow(self, batch: Sequence[Pending]) -> None:
        """All at once, or else one by one."""
        try:
            self._put(batch)
        except Unavailable:
            raise
        except Exception as exc:
            log.warning("batch_refused", instances=len(batch), error=type(exc).__name__)
            for one in batch:
                self._put_alone(one)

    def _put(self, batch: Sequence[Pending]) -> None:
        checkpoints = {one.pack: one.end for one in batch}
        arrivals = [one.arrival for one in batch if one.arrival is not None]
        changed = self._store.put(arrivals, checkpoints, self._clock())
        metrics.INSTANCES_INDEXED.inc(changed)

    def _put_alone(self, one: Pending) -> None:
        try:
            self._put([one])
        except Unavailable:
            raise
        except Exception as exc:
            if one.arrival is None:
                raise
            self._bury(one.arrival, reason(exc))
            self._put([Pending(None, one.pack, one.end)])

    def _bury(self, arrival: Arrival, why: str) -> None:
        uid = arrival.facts.instance["uid"]
        log.error("instance_not_indexed", uid=uid, reason=why)
        letter = DeadLetter("index", uid, why, arrival.source, arrival.location)
        self._store.bury(letter, self._clock())

    def _fail(self, why: str | None) -> None:
        if why != self._failed:
            log.warning("index_away", reason=why) if why else log.info("index_back")
        self._failed = why

    def _forget(self, batch: Sequence[Pending]) -> None:
        for arrival in (one.arrival for one in batch if one.arrival is not None):
            uid = arrival.facts.instance["uid"]
            if self._named.get(uid) == _standing(arrival):
                self._named.pop(uid, None)
        metrics.INDEX_BACKLOG.set(len(self._waiting))


def _standing(arrival: Arrival) -> Standing:
    return Standing(arrival.sha256, arrival.source, arrival.received)
