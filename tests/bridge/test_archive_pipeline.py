"""The pipeline: in order, bounded, marks after what came before, and an end by any fault."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from pacsbridge.bridge.archive_pipeline import TOGETHER, Pipeline

DEADLINE = 10.0


def test_order_is_kept_whoever_is_first() -> None:
    """The first group comes last, and is stored first; marks come after what was submitted before."""
    last = threading.Event()
    done: list[int] = []
    stored: list[int | str] = []

    def fetch(group: int) -> int:
        if group == 0:
            assert last.wait(DEADLINE)
        done.append(group)
        if group == 2:
            last.set()
        return group

    pipeline: Pipeline[int, int] = Pipeline(fetch, stored.extend, 2)
    with pipeline:
        pipeline.submit([0, 1, 2])
        pipeline.then(lambda: stored.append("mark"))
        pipeline.submit([3])
    assert stored == [0, 1, 2, "mark", 3]
    assert done.index(0) > done.index(1)


def test_marks_wait_for_nothing_that_comes_later() -> None:
    """One without anything before it is called at once."""
    called: list[str] = []
    with Pipeline[int, int](lambda group: group, lambda _group: None, 1) as pipeline:
        pipeline.then(lambda: called.append("first"))
        assert called == ["first"]


@pytest.mark.parametrize("connections", [1, 3])
def test_no_more_than_a_few_are_under_way(connections: int) -> None:
    """Whoever submits waits once so many are fetched and not stored, for an archive is larger than memory."""
    lock, fetched, stored, most = threading.Lock(), 0, 0, 0

    def fetch(group: int) -> int:
        nonlocal fetched
        with lock:
            fetched += 1
        return group

    def store(groups: Sequence[int]) -> None:
        nonlocal stored, most
        with lock:
            most = max(most, fetched - stored)
            stored += len(groups)

    with Pipeline(fetch, store, connections) as pipeline:
        pipeline.submit(range(200))
    assert (fetched, stored) == (200, 200)
    assert most <= connections + 2 * TOGETHER + 1


def test_as_many_are_fetched_at_a_time_as_there_are_connections() -> None:
    """No fewer: each waits for all the others."""
    together = threading.Barrier(3)
    stored: list[int] = []

    def fetch(group: int) -> int:
        together.wait(DEADLINE)
        return group

    with Pipeline(fetch, stored.extend, 3) as pipeline:
        pipeline.submit(range(6))
    assert stored == list(range(6))


def test_storing_is_for_one_thread() -> None:
    """The one that submits: it owns the transaction."""
    names: set[int] = set()
    with Pipeline[int, int](lambda one: one, lambda _some: names.add(threading.get_ident()), 4) as pipeline:
        pipeline.submit(range(20))
    assert names == {threading.get_ident()}


def test_a_few_are_stored_together() -> None:
    """A transaction for each would cost most of the time; marks are not crossed."""
    stored: list[int | str] = []
    with Pipeline[int, int](lambda one: one, lambda some: stored.append(len(some)), 2) as pipeline:
        pipeline.submit(range(TOGETHER + 1))
        pipeline.then(lambda: stored.append("mark"))
        pipeline.submit(range(2))
    assert stored == [TOGETHER, 1, "mark", 2]


class Fault(Exception):
    """Whatever goes wrong."""


def raising(*_given: Any) -> Any:
    """Go wrong."""
    raise Fault


@pytest.mark.parametrize("where", ["fetch", "store", "mark", "body"])
def test_a_fault_gives_up_the_rest(where: str) -> None:
    """It comes out of the pipeline; what was before it is stored, nothing behind it, no mark is made."""
    stored: list[Any] = []

    def fetch(group: int) -> int:
        return raising() if where == "fetch" and group == 3 else group

    def store(groups: Sequence[int]) -> None:
        (raising if where == "store" else stored.extend)(groups)

    def run() -> None:
        with Pipeline(fetch, store, 1) as pipeline:
            pipeline.submit([0, 1, 2, 3])
            pipeline.finish()
            pipeline.then(raising if where == "mark" else lambda: stored.append("mark"))
            if where == "body":
                raising()
            pipeline.submit(range(4, 20))

    with pytest.raises(Fault):
        run()
    expected: dict[str, list[Any]] = {"body": [0, 1, 2, 3, "mark"], "mark": [0, 1, 2, 3], "fetch": [0, 1, 2]}
    assert stored == expected.get(where, [])


def test_what_waits_is_not_fetched_after_a_fault() -> None:
    """Threads end with what they have begun."""
    fetched: list[int] = []

    def fetch(group: int) -> int:
        fetched.append(group)
        raise Fault

    with pytest.raises(Fault), Pipeline(fetch, lambda _group: None, 1) as pipeline:
        pipeline.submit(range(100))
    assert len(fetched) <= 1 + 3 * TOGETHER
