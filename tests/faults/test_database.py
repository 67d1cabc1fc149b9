"""T-DB: the database is away, frozen, full, locked or read-only while four senders push."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from benchmarks.sender import uid
from own_postgresql import Server, own_server
from pushing import OUT_OF_RESOURCES, SUCCESS, encoded

from .conftest import MakeSite, Site

SENDERS = 4


@dataclass(frozen=True)
class Promise:
    """Seconds within which every C-STORE is answered, and until all is well once the database is back."""

    answer: float
    recovery: float


@pytest.fixture(scope="session")
def promise(night: bool) -> Promise:
    """By day for machines that do other things as well, but less than the database is away in a test."""
    return Promise(10, 5) if night else Promise(15, 30)


class Pusher(threading.Thread):
    """Pushes small instances of one study without a pause; notes how long each answer took."""

    def __init__(self, site: Site, study: int) -> None:
        super().__init__(name=f"pusher{study}")
        self._site, self._study = site, study
        self._over = threading.Event()
        self.answers: list[tuple[float, float, int]] = []
        self.fault: Exception | None = None

    def run(self) -> None:
        """One association, until `finish`."""
        try:
            line = self._site.dial()
            number = self._study * 1_000_000
            while not self._over.wait(0.01):
                number += 1
                start = time.monotonic()
                data = encoded(number, self._study, 1000, self._site.oracle.canary)
                status = line.store(uid(1, number), data)
                self.answers.append((start, time.monotonic(), status))
            line.release()
        except Exception as exc:
            self.fault = exc

    def finish(self) -> None:
        """Push no more."""
        self._over.set()
        self.join()


@contextmanager
def pressed(site: Site, promise: Promise) -> Iterator[list[Pusher]]:
    """Four senders push meanwhile; none is hung up on or waits too long, each answer is 0x0000 or 0xA700."""
    pushers = [Pusher(site, number) for number in range(1, SENDERS + 1)]
    for pusher in pushers:
        pusher.start()
    try:
        site.bridge.wait(lambda: all(len(pusher.answers) > 5 for pusher in pushers))
        yield pushers
    finally:
        for pusher in pushers:
            pusher.finish()
    assert [pusher.fault for pusher in pushers if pusher.fault] == []
    answers = [answer for pusher in pushers for answer in pusher.answers]
    assert {status for _start, _end, status in answers} <= {SUCCESS, OUT_OF_RESOURCES}
    slowest = max(end - start for start, end, _status in answers)
    print(f"{len(answers)} answers, the slowest after {slowest:.1f} s")
    assert slowest < promise.answer


def recovered(pushers: list[Pusher], since: float) -> bool:
    """Whether each sender has had an instance taken that it sent after this moment."""
    return all(
        any(start > since and status == SUCCESS for start, _end, status in pusher.answers[-50:])
        for pusher in pushers
    )


def comes_back(site: Site, pushers: list[Pusher], promise: Promise) -> None:
    """The senders are served again."""
    since = time.monotonic()
    site.bridge.wait(lambda: recovered(pushers, since), promise.recovery)
    print(f"served again after {time.monotonic() - since:.1f} s")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A PostgreSQL of this module."""
    with own_server() as made:
        yield made


@pytest.fixture
def on_server(make_site: MakeSite, server: Server) -> Site:
    """A running bridge on that server, whose database is empty."""
    import psycopg

    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return make_site(url=server.url).start()


@pytest.mark.timeout(180)
def test_server_that_restarts(
    on_server: Site, server: Server, promise: Promise, numbers: Callable[..., int]
) -> None:
    """T-DB: PostgreSQL crashes and comes back, again and again; nothing that was acknowledged is lost."""
    with pressed(on_server, promise) as pushers:
        for _ in range(numbers(2, 30)):
            server.stop()
            time.sleep(1)
            server.start()
            comes_back(on_server, pushers, promise)
            time.sleep(numbers(0, 8))
    assert on_server.oracle.statuses[OUT_OF_RESOURCES] > 0
    on_server.oracle.check()


@pytest.mark.timeout(180)
def test_server_that_freezes(
    on_server: Site, server: Server, promise: Promise, numbers: Callable[..., int]
) -> None:
    """T-DB: PostgreSQL is stopped in its tracks (SIGSTOP); senders get 0xA700 and don't hang."""
    with pressed(on_server, promise) as pushers:
        server.freeze()
        try:
            time.sleep(numbers(16, 45))
        finally:
            server.thaw()
        comes_back(on_server, pushers, promise)
    assert on_server.oracle.statuses[OUT_OF_RESOURCES] > 0
    on_server.oracle.check()


@pytest.mark.timeout(180)
def test_server_without_free_connections(on_server: Site, server: Server, promise: Promise) -> None:
    """T-DB: others take every connection that PostgreSQL has; once they go, all is well again."""
    import psycopg

    with pressed(on_server, promise) as pushers:
        with ExitStack() as others:
            with suppress(psycopg.OperationalError):
                while True:
                    others.enter_context(psycopg.connect(server.url))
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(server.url)
            time.sleep(2)
        comes_back(on_server, pushers, promise)
    on_server.oracle.check()


@pytest.mark.timeout(180)
def test_server_that_turns_read_only(on_server: Site, server: Server, promise: Promise) -> None:
    """T-DB: a failover that leaves a server which takes no writes; what was acknowledged is indexed later."""
    import psycopg

    def turn(way: str) -> None:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {way}")
            connection.execute("SELECT pg_reload_conf()")

    with pressed(on_server, promise) as pushers:
        turn("on")
        try:
            time.sleep(3)
            assert on_server.bridge.get("ImagingStudy").status_code == 200
        finally:
            turn("off")
        comes_back(on_server, pushers, promise)
    on_server.oracle.check()


@pytest.mark.timeout(180)
def test_embedded_database_that_is_locked(site: Site, promise: Promise, numbers: Callable[..., int]) -> None:
    """T-DB: another process holds SQLite's write lock; reads go on, and the index catches up afterwards."""
    path = site.bridge.data_dir / "index.sqlite"
    with pressed(site, promise) as pushers:
        holder: Any = sqlite3.connect(path, isolation_level=None, timeout=30)
        holder.execute("BEGIN EXCLUSIVE")
        try:
            time.sleep(numbers(16, 30))
            assert site.bridge.get("metadata").status_code == 200
            assert site.bridge.get("ImagingStudy").status_code == 200
        finally:
            holder.execute("ROLLBACK")
            holder.close()
        comes_back(site, pushers, promise)
    site.oracle.check()
