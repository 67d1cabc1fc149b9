"""The indexer on its own: order of positions, a store that is away, an end in the middle."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from pacsbridge.bridge import indexer as module
from pacsbridge.bridge.indexer import Indexer, Pending
from pacsbridge.errors import Unavailable
from pacsbridge.kernel.model import Facts
from pacsbridge.store.records import Arrival, DeadLetter, Standing


class Recorder:
    """A store that is away or broken at will, and remembers what it was given."""

    def __init__(self, *faults: Exception | None) -> None:
        self.faults = list(faults)
        self.batches: list[tuple[list[str], dict[str, int]]] = []

    def put(self, arrivals: Sequence[Arrival], checkpoints: Mapping[str, int], now: int) -> int:
        """Raise the next fault, or remember."""
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault
        self.batches.append(([one.facts.instance["uid"] for one in arrivals], dict(checkpoints)))
        return len(arrivals)

    def bury(self, letter: DeadLetter, now: int) -> None:
        """Away as well, as long as there are faults."""
        self.put([], {}, now)


def pending(number: int) -> Pending:
    """Instance `number`, whose record ends at ten times that."""
    facts = Facts({}, {"uid": "1"}, {"uid": "1.1"}, {"uid": str(number)})
    return Pending(Arrival(facts, "s", 0, "1.2", "l", 1, b"%d" % number), "00000001", 10 * number)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No patience, small batches."""
    monkeypatch.setattr(module, "_RETRY_SECONDS", (0.01,))
    monkeypatch.setattr(module, "BATCH", 2)


def make(store: Recorder) -> Indexer:
    """An indexer that does not wait for more."""
    return Indexer(store, lambda: 0, linger=0)  # type: ignore[arg-type]


def test_away_and_back(wait_until: Callable[..., None]) -> None:
    """Nothing is let in meanwhile, the reason can be asked for, the backlog is kept and goes in in order."""
    away: Exception = Unavailable("gone fishing")
    store = Recorder(*[away] * 30)
    indexer = make(store)
    indexer.add([pending(n) for n in range(1, 6)])
    indexer.start()
    wait_until(indexer.fault)
    with pytest.raises(Unavailable, match="gone fishing"):
        indexer.admit(timeout=0)
    assert indexer.drain(10)
    indexer.admit(timeout=0)
    assert [uid for uids, _ in store.batches for uid in uids] == list("12345")
    assert [positions for _, positions in store.batches] == [{"00000001": n} for n in (20, 40, 50)]
    indexer.stop()


def test_end_while_the_store_is_away_leaves_no_gap() -> None:
    """A batch that was given up is followed by none: its position would claim what was never indexed."""
    store = Recorder(Unavailable("away"))
    indexer = make(store)
    indexer.add([pending(n) for n in range(1, 6)])
    indexer._stopping.set()
    indexer.start()
    indexer._thread.join(10)
    assert store.batches == []
    assert not indexer.is_idle()


def test_store_that_takes_no_dead_letter_is_a_fault(wait_until: Callable[..., None]) -> None:
    """The thread lives on, and the fault can be seen; once the store is mended, nothing is missing."""
    store = Recorder(*[ValueError("x")] * 9)
    indexer = make(store)
    indexer.add([pending(1)])
    indexer.start()
    wait_until(lambda: store.batches)
    assert indexer.drain(10)
    assert [uid for uids, _ in store.batches for uid in uids] == ["1"]
    assert indexer.fault() is None
    indexer.stop()


def test_waiting_digest_is_known_until_indexed() -> None:
    """What waits is recognised when it is sent again."""
    indexer = make(Recorder())
    indexer.add([pending(1)])
    assert indexer.waiting("1") == Standing(b"1", "s")
    indexer.start()
    assert indexer.drain(10)
    indexer.stop()
    assert indexer.waiting("1") is None


def test_record_to_pass_over() -> None:
    """A record that cannot be used moves the position, in its turn."""
    store = Recorder()
    indexer = make(store)
    indexer.add([pending(1), Pending(None, "00000001", 25)])
    indexer.start()
    assert indexer.drain(10)
    indexer.stop()
    assert store.batches == [(["1"], {"00000001": 25})]


def test_faults_name_no_data(wait_until: Callable[..., Any]) -> None:
    """The text of a stranger's exception may quote a patient: only its type is told."""
    store = Recorder(*[ValueError("Canary^Patient")] * 40)
    indexer = make(store)
    indexer.add([pending(1)])
    indexer.start()
    wait_until(indexer.fault)
    assert indexer.fault() == "internal fault: ValueError"
    indexer.stop(0)
