"""More is asked than can be answered: long waits end in 503, and who has a thread gives it up to others."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from pacsbridge.errors import Unavailable
from pacsbridge.kernel.query import Query
from pacsbridge.store.records import Page
from pacsbridge.store.sql import PATIENT, Patience
from pacsbridge.store.store import Store
from pacsbridge.turns import Turn, Turns

from .conftest import Server

THREADS = 2
"""Of the server of these tests."""


class Busy:
    """Stands for archives that answer once they may."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Event()

    def __call__(self, _query: Query) -> None:
        self.begun.release()
        assert self.go_on.wait(60)


@pytest.fixture
def busy() -> Busy:
    """Archives that are slow."""
    return Busy()


@pytest.fixture
def server(store: Store, busy: Busy) -> Iterator[Server]:
    """A server whose requests wait for a tenth of a second."""
    running = Server(store, asking=busy, turn_seconds=0.1)
    yield running
    busy.go_on.set()
    running.close()


def test_who_waits_too_long_is_told_so(server: Server, busy: Busy) -> None:
    """503 with Retry-After, at once; what has begun is finished, and then all is well."""
    with ThreadPoolExecutor(THREADS) as clients:
        slow = [clients.submit(server, "/ImagingStudy?patient=nobody") for _ in range(THREADS)]
        for _one in slow:
            assert busy.begun.acquire(timeout=60)
        answer = server("/ImagingStudy?_total=accurate")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        busy.go_on.set()
        assert [one.result().status_code for one in slow] == [200, 200]
    [issue] = answer.json()["issue"]
    assert issue["code"] == "transient" and "more is asked" in issue["diagnostics"]
    assert server("/ImagingStudy?_total=accurate").status_code == 200


def test_who_has_had_a_thread_long_enough_gives_it_up() -> None:
    """Not before others wait, nor before its time is over."""
    seen: list[bool] = []

    async def ask(executor: ThreadPoolExecutor) -> str:
        turns, alone = Turns(executor, 1, 1), asyncio.Event()
        loop = asyncio.get_running_loop()

        def slow(turn: Turn) -> None:
            seen.append(turn.patience.yields())
            time.sleep(1.1)
            seen.append(turn.patience.yields())
            loop.call_soon_threadsafe(alone.set)
            end = time.monotonic() + 60
            while not turn.patience.yields() and time.monotonic() < end:
                time.sleep(0.001)
            seen.append(time.monotonic() < end)

        first = asyncio.create_task(turns.take(slow))
        await alone.wait()
        second = await turns.take(lambda turn: str(turn.patience.yields()))
        await first
        return second

    with ThreadPoolExecutor(1) as executor:
        assert asyncio.run(ask(executor)) == "False"
    assert seen == [False, False, True]


def test_so_many_turns_at_once() -> None:
    """No more begin, however many threads there are, until one has ended or waits for others."""
    begun, go_on = threading.Semaphore(0), threading.Event()

    def slow(_turn: Turn) -> bool:
        begun.release()
        return go_on.wait(60)

    def leaving(turn: Turn) -> bool:
        turn.leave()
        turn.leave()  # once is enough
        return slow(turn)

    async def ask(executor: ThreadPoolExecutor) -> list[bool]:
        turns = Turns(executor, 1, 2)
        tasks = list[asyncio.Task[bool]]()
        for work in (slow, leaving, leaving, slow):
            tasks.append(asyncio.create_task(turns.take(work)))
            await asyncio.to_thread(begun.acquire, timeout=60)
        with pytest.raises(Unavailable):
            await turns.take(slow)
        go_on.set()
        return [*await asyncio.gather(*tasks), await turns.take(slow)]

    with ThreadPoolExecutor(8) as executor:
        assert asyncio.run(ask(executor)) == [True] * 5


def test_who_has_given_up_waits_no_more() -> None:
    """A thread is not given up to those who have been told, or have left."""

    async def ask(executor: ThreadPoolExecutor) -> bool:
        turns, go_on = Turns(executor, 0.05, 1), threading.Event()

        def slow(turn: Turn) -> bool:
            assert go_on.wait(60)
            return turn.patience.yields()

        first = asyncio.create_task(turns.take(slow))
        told, left = (asyncio.create_task(turns.take(lambda _turn: None)) for _ in range(2))
        with pytest.raises(Unavailable):
            await told
        left.cancel()
        await asyncio.wait([left])
        go_on.set()
        return await first

    with ThreadPoolExecutor(1) as executor:
        assert not asyncio.run(ask(executor))


def test_a_batch_gives_up_its_thread(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many searches it has: all of them share one turn."""
    patiences: list[Patience] = []
    found = Store.search

    def search(self: Store, query: Query, patience: Patience = PATIENT) -> Page:
        patiences.append(patience)
        return found(self, query, patience)

    monkeypatch.setattr(Store, "search", search)
    entry = {"request": {"method": "GET", "url": "Patient?_total=accurate&name=x"}}
    with closing(Server(store)) as server:
        answer = server("/", "POST", json={"resourceType": "Bundle", "type": "batch", "entry": [entry] * 3})
    assert answer.status_code == 200
    assert len(patiences) == 3 and len({id(one.yields) for one in patiences}) == 1
    assert patiences[0].yields is not PATIENT.yields
