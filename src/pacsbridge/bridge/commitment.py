"""Storage commitment: whether instances are safe here is looked at once, and told until it is heard.

    request   durable in the store → return: the caller may say success
    report    wait for the index → look at every byte → the requestor's own association while it is open,
              else a new one, again and again with growing pauses; after a day a dead letter

Several threads take requests, so that a requestor who is away delays few others.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import structlog

from pacsbridge.bridge.intake import Intake
from pacsbridge.errors import Absent, Gone, PacsbridgeError, Unavailable, reason
from pacsbridge.kernel.identity import source_uri
from pacsbridge.store.commitments import Kept, Order
from pacsbridge.store.records import DeadLetter
from pacsbridge.store.store import Store

log = structlog.get_logger("pacsbridge.bridge")

PROCESSING_FAILURE, NO_SUCH_INSTANCE, CLASS_INSTANCE_CONFLICT, RESOURCE_LIMITATION = (
    0x0110,
    0x0112,
    0x0119,
    0x0213,
)
"""Failure Reasons (0008,1197) of PS3.3 C.14: damaged, not here, of another class, cannot be read now."""

LETTER = "commitment"
"""The kind of dead letters about outcomes that could not be told."""

_SECOND = 1_000_000
_INDEX_LOOK_SECONDS = 0.2
_ACCEPTED = frozenset({0x0000, 0x0001, 0x0107, 0x0116, *range(0xB000, 0xC000)})
"""Statuses that say success, perhaps with a warning (PS3.7 C)."""

_PASSING = frozenset({PROCESSING_FAILURE, RESOURCE_LIMITATION})
"""Failures after which the same report may be taken later."""


class Reference(NamedTuple):
    """One instance, as a requestor names it."""

    sop_class_uid: str
    sop_uid: str


@dataclass(frozen=True, slots=True)
class Request:
    """What one application entity asks for, under a transaction of its own."""

    calling_ae: str
    transaction_uid: str
    references: Sequence[Reference]


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome: what is safe here, and what is not, with the reason of each."""

    transaction_uid: str
    committed: Sequence[Reference]
    failed: Sequence[tuple[Reference, int]]


class Line(Protocol):
    """The association that a request came on."""

    def report(self, report: Report, seconds: float) -> int | None:
        """The status with which the requestor answers; None if the association ends, or nothing comes."""


Send = Callable[[str, Report], int]
"""Reports to an AE title on a new association; the status with which it answers.

Raises Absent where no address of that title is known, Unavailable.
"""


@dataclass(frozen=True, slots=True)
class Patience:
    """Times in seconds."""

    hold: float = 0.5
    """From the request to its report: who releases at once is not reported to in between."""
    answer: float = 30.0
    """For the answer on the requestor's own association."""
    index: float = 30.0
    """For the index to take what is durable already."""
    pauses: tuple[float, ...] = (5, 30, 120, 600, 1800, 3600)
    """Between attempts; the last one again and again."""
    give_up: float = 86_400
    """From the request to its dead letter."""
    lease: float = 1800
    """After which a request is taken to be abandoned by its worker."""
    rest: float = 60.0
    """Between looks at what other processes may have left."""
    workers: int = 4


class Commitments:
    """Takes requests from any thread; `clock` gives microseconds since 1970."""

    def __init__(
        self,
        store: Store,
        intake: Intake,
        send: Send,
        clock: Callable[[], int],
        patience: Patience | None = None,
    ) -> None:
        self._store = store
        self._intake = intake
        self._send = send
        self._clock = clock
        self._patience = patience or Patience()
        self._lines: dict[tuple[str, str], tuple[int, Line]] = {}
        self._keeping = threading.Lock()
        self._news = 0
        self._change = threading.Condition()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name="commitment", daemon=True)
            for _ in range(self._patience.workers)
        ]

    def start(self) -> None:
        """Begin to report, with what an earlier process left first. Raises Unavailable."""
        self._store.commitments.hasten(self._clock())
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float = 30) -> None:
        """End; what has not been told is told after the next start."""
        self._stopping.set()
        with self._change:
            self._change.notify_all()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))

    def request(self, request: Request, line: Line) -> None:
        """Keep a request; once this returns it survives a crash. Raises Unavailable, NotUnderstood."""
        key = (request.calling_ae, request.transaction_uid)
        now = self._clock()
        due = now + int(self._patience.hold * _SECOND)
        with self._keeping:
            pk = self._store.commitments.put(*key, request.references, now, due)
            self._lines[key] = (pk, line)
        with self._change:
            self._news += 1
            self._change.notify_all()

    def _run(self) -> None:
        while not self._stopping.is_set():
            seen = self._news
            try:
                pause = self._step()
            except PacsbridgeError as exc:
                log.warning("commitments_wait", reason=str(exc))
                pause = self._patience.pauses[0]
            except Exception:
                log.exception("commitments_failed")
                pause = self._patience.pauses[0]
            if pause:
                self._rest(seen, pause)

    def _rest(self, seen: int, seconds: float) -> None:
        """Until there is another request, at most for so long."""
        with self._change:
            self._change.wait_for(lambda: self._news != seen or self._stopping.is_set(), seconds)

    def _step(self) -> float:
        """Work on the request that is due; returns for how many seconds there is nothing more to do."""
        now, due = self._clock(), self._store.commitments.next_due()
        if due is None or due > now:
            left = self._patience.rest if due is None else (due - now) / _SECOND
            return min(left, self._patience.rest)
        order = self._store.commitments.claim(now, now + int(self._patience.lease * _SECOND))
        if order is not None:
            self._attend(order)
        return 0

    def _attend(self, order: Order) -> None:
        try:
            self._tell(order, self._judged(order))
        except Absent as exc:
            self._give_up(order, str(exc))
        except Exception as exc:
            self._later(order, reason(exc))

    def _judged(self, order: Order) -> Report:
        """The outcome; what has been found once is not looked at again."""
        references = [Reference(*pair) for pair in order.pairs]
        failures = order.failures
        if failures is None:
            failures = self._failures(references)
            self._store.commitments.judge(order.pk, failures)
        committed = [one for place, one in enumerate(references) if place not in failures]
        failed = [(references[place], why) for place, why in sorted(failures.items())]
        return Report(order.transaction_uid, committed, failed)

    def _failures(self, references: Sequence[Reference]) -> Mapping[int, int]:
        """Place → reason of every instance that is not safe here. Raises Unavailable."""
        kept = self._indexed([one.sop_uid for one in references])
        intact: dict[Kept, int | None] = {}
        failures: dict[int, int] = {}
        for place, one in enumerate(references):
            why = _misnamed(one, kept.get(one.sop_uid))
            if why is None:
                found = kept[one.sop_uid]
                if found not in intact:
                    intact[found] = self._damage(found)
                why = intact[found]
            if why is not None:
                failures[place] = why
        return failures

    def _indexed(self, uids: Sequence[str]) -> Mapping[str, Kept]:
        """What the index has of them, once none waits for it. Raises Unavailable."""
        indexer, deadline = self._intake.indexer, time.monotonic() + self._patience.index
        while any(indexer.waiting(uid) for uid in uids):
            if self._stopping.is_set() or time.monotonic() > deadline:
                raise Unavailable("instances wait for the index")
            indexer.drain(_INDEX_LOOK_SECONDS)
        return self._store.commitments.kept(uids)

    def _damage(self, kept: Kept) -> int | None:
        """Why the stored bytes are not what was received; None when they are. Raises Unavailable."""
        if self._stopping.is_set():
            raise Unavailable("shutting down")
        try:
            return (
                None if self._intake.packs.open(kept.location, kept.sha256).verify() else PROCESSING_FAILURE
            )
        except Gone:
            return NO_SUCH_INSTANCE
        except Absent:
            return PROCESSING_FAILURE
        except Unavailable:
            return RESOURCE_LIMITATION

    def _tell(self, order: Order, report: Report) -> None:
        """Report on the requestor's association, or else on a new one. Raises Absent, Unavailable."""
        line = self._line(order)
        status = line.report(report, self._patience.answer) if line else None
        if status is None or status not in _ACCEPTED:
            status = self._sent(order, report, status)
        if status in _ACCEPTED:
            self._store.commitments.finish(order.pk)
            log.info(
                "commitment_reported",
                calling_ae=order.calling_ae,
                uid=order.transaction_uid,
                instances=len(order.pairs),
                failed=len(report.failed),
            )
        elif status in _PASSING:
            raise Unavailable(f"the requestor answers 0x{status:04X}")
        else:
            self._give_up(order, f"the requestor answers 0x{status:04X}")

    def _line(self, order: Order) -> Line | None:
        """The association that an order came on, once; another request may have replaced it."""
        key = (order.calling_ae, order.transaction_uid)
        with self._keeping:
            pk, line = self._lines.get(key, (None, None))
            if pk != order.pk:
                return None
            del self._lines[key]
            return line

    def _sent(self, order: Order, report: Report, said: int | None) -> int:
        """The answer on a new association; `said` is that on the requestor's own. Raises as `Send` does."""
        try:
            return self._send(order.calling_ae, report)
        except Absent as exc:
            if said is None:
                raise
            raise Absent(f"the requestor answers 0x{said:04X}, and {exc}") from exc

    def _later(self, order: Order, why: str) -> None:
        """Another attempt after a pause, unless the time is up."""
        now, end = self._clock(), order.requested + int(self._patience.give_up * _SECOND)
        if now >= end:
            self._give_up(order, why)
            return
        pauses = self._patience.pauses
        pause = pauses[min(order.attempts, len(pauses) - 1)]
        until = min(now + int(pause * _SECOND), end)
        self._store.commitments.postpone(order.pk, order.attempts + 1, until)
        log.warning(
            "commitment_not_reported",
            calling_ae=order.calling_ae,
            uid=order.transaction_uid,
            attempt=order.attempts + 1,
            seconds=pause,
            reason=why,
        )

    def _give_up(self, order: Order, why: str) -> None:
        letter = DeadLetter(
            LETTER, order.transaction_uid, why, source_uri(order.calling_ae), attempts=order.attempts + 1
        )
        self._store.commitments.give_up(order.pk, letter, self._clock())
        log.error("commitment_given_up", calling_ae=order.calling_ae, uid=order.transaction_uid, reason=why)


def _misnamed(reference: Reference, kept: Kept | None) -> int | None:
    if kept is None:
        return NO_SUCH_INSTANCE
    return None if kept.sop_class_uid == reference.sop_class_uid else CLASS_INSTANCE_CONFLICT
