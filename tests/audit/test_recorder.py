"""The recorder: nobody waits for it, what cannot be recorded is told, and on record as soon as it can be."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pacsbridge.audit.completion import Completion
from pacsbridge.audit.recorder import Recorder
from pacsbridge.errors import Unavailable
from pacsbridge.kernel.audit import Event, Who
from pacsbridge.kernel.publication import Publication
from pacsbridge.store.audit import AuditLog
from pacsbridge.store.records import Draft
from pacsbridge.store.store import Store

READ = Event("read", who=Who("10.0.0.5"), resource="Patient/p1")
DAY = 86_400_000_000


class Failing(AuditLog):
    """A log that can be away, and holds writers up."""

    away = False
    gate: threading.Event | None = None

    def append(self, events: Sequence[Event], now: int) -> int:
        """As AuditLog.append."""
        if self.gate is not None:
            self.gate.wait(10)
        if self.away:
            raise Unavailable("the log is away")
        return super().append(events, now)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Failing]:
    """An empty log."""
    made = Failing("sqlite", tmp_path)
    made.migrate()
    yield made
    made.close()


Make = Callable[..., Recorder]


@pytest.fixture
def recorder(log: Failing) -> Iterator[Make]:
    """Starts recorders over the log and ends them."""
    started: list[Recorder] = []

    def make(**options: object) -> Recorder:
        started.append(Recorder(log, lambda: 100 * DAY, linger=0.01, **options))  # type: ignore[arg-type]
        started[-1].start()
        return started[-1]

    yield make
    for one in started:
        one.stop()


def kinds(log: AuditLog) -> list[str]:
    """What is on record, in order."""
    return [record.event.kind for record in log.following(0, 10_000)]


def test_events_are_recorded_in_order(log: Failing, recorder: Make, wait_until: Callable[..., None]) -> None:
    """All of them, whoever brings them; the rest when it stops."""
    running = recorder()
    for number in range(500):
        running.record(replace(READ, request_id=str(number)))
    wait_until(lambda: log.last() == 500)
    running.record(READ)
    running.stop()
    assert [record.event.request_id for record in log.following(0, 500)] == [str(n) for n in range(500)]
    assert log.last() == 501
    assert running.fault() is None


def test_a_log_that_is_away_holds_nobody_up(
    log: Failing, recorder: Make, wait_until: Callable[..., None]
) -> None:
    """Events wait; the fault is told, and gone once they are recorded."""
    log.away = True
    running = recorder()
    for _ in range(10):
        running.record(READ)
    wait_until(lambda: running.fault() == "the log is away")
    log.away = False
    wait_until(lambda: log.last() == 10)
    wait_until(lambda: running.fault() is None)


def test_what_is_lost_is_on_record(log: Failing, recorder: Make, wait_until: Callable[..., None]) -> None:
    """Beyond the limit events are lost: that is told at once, and their number is on record later."""
    log.gate = threading.Event()
    running = recorder(most=5)
    running.record(READ)
    for _ in range(20):
        running.record(READ)
    assert running.fault() is not None and "lost" in running.fault()  # type: ignore[operator]
    log.gate.set()
    wait_until(lambda: "lost" in kinds(log))
    kept = log.following(0, 100)
    lost = sum(int(one.event.details["events"]) for one in kept if one.event.kind == "lost")
    assert lost + kinds(log).count("read") == 21
    wait_until(lambda: running.fault() is None)


def test_one_that_cannot_be_written_leaves_a_mark(
    log: Failing, recorder: Make, wait_until: Callable[..., None]
) -> None:
    """Its neighbours are recorded as they are."""
    running = recorder()
    unfit = Event("read", instances=2**70)
    for event in (READ, unfit, READ):
        running.record(event)
    wait_until(lambda: log.last() == 3)
    first, mark, last = (record.event for record in log.following(0, 10))
    assert (first, last) == (READ, READ)
    assert (mark.outcome, mark.reason) == ("8", "could not be written: TypeError")


def test_old_records_are_removed(log: Failing, recorder: Make, wait_until: Callable[..., None]) -> None:
    """Those beyond `keep_days`, once there is anything to record."""
    log.append([READ, READ], DAY)
    recorder(keep_days=30).record(READ)
    wait_until(lambda: kinds(log) == ["read", "log-pruned"])
    assert log.broken() is None


def test_what_the_store_knows_is_added(tmp_path: Path) -> None:
    """The resource of a study, and its patient; nothing to what was refused, or is not known."""
    store = Store("sqlite", tmp_path)
    store.migrate()
    study = {"resourceType": "ImagingStudy", "id": "1.2.3", "subject": {"reference": "Patient/p1"}}
    store.publish([Draft("ImagingStudy", "1.2.3", study, None)], 1)
    complete = Completion(store, Publication(id_key=b"k"))
    found = complete(Event("wado", study="1.2.3"))
    assert (found.resource, found.patient) == ("ImagingStudy/1.2.3", "Patient/p1")
    assert complete(Event("wado", study="1.2.4")).patient == ""
    assert complete(Event("read", "8", resource="ImagingStudy/1.2.3")).patient == ""
    assert complete(Event("read", resource="Endpoint/e1")) == Event("read", resource="Endpoint/e1")
    store.close()
