"""More is asked than can be answered: who has waited too long for a thread is told so."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pacsbridge.kernel.query import Query
from pacsbridge.store.store import Store

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
