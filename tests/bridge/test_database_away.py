"""PostgreSQL stops in the middle and comes back: nothing hangs, nothing is lost (T-DB)."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from own_postgresql import Server, own_server

from pacsbridge.errors import PacsbridgeError, Unavailable


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Started once for this module."""
    with own_server() as made:
        yield made


@pytest.mark.timeout(120)
def test_restarts_while_senders_push(
    make_world: Callable[..., Any], dicom: Any, server: Server, wait_until: Callable[..., None]
) -> None:
    """While it is away instances get Unavailable; what was acknowledged is indexed once it is back."""
    world = make_world(server.url).start()
    world.publisher.start()
    taken: list[str] = []
    refused: list[str] = []
    stop = threading.Event()

    def send(series: int) -> None:
        number = 0
        while not stop.wait(0.005):
            number += 1
            try:
                world.adopt(dicom.instance(number, series=series))
                taken.append(f"2.999.1.{series}.{number}")
            except Unavailable as exc:
                refused.append(str(exc))

    threads = [threading.Thread(target=send, args=(series,)) for series in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for _round in range(2):
        before = len(taken)
        wait_until(lambda before=before: len(taken) > before + 30)
        server.stop()
        missed = len(refused)
        wait_until(lambda missed=missed: len(refused) > missed + 3)
        server.start()
    before = len(taken)
    wait_until(lambda: len(taken) > before + 30)
    stop.set()
    for thread in threads:
        thread.join(20)
    world.index()
    assert world.held() == sorted(taken)
    world.publisher.publish_all()
    assert world.published()["numberOfInstances"] == len(taken)
    assert all("Canary" not in reason for reason in refused)
    pool = world.store._database.engine.pool
    wait_until(lambda: pool.checkedout() == 0)  # the publisher goes on looking for work


@pytest.mark.timeout(60)
def test_frozen_server_hangs_nobody(make_world: Callable[..., Any], dicom: Any, server: Server) -> None:
    """A server that answers nothing any more is away within ten seconds, and is used again afterwards."""
    world = make_world(server.url).start()
    world.adopt(dicom.instance(1, study="2.999.8"))
    world.index()
    server.freeze()
    try:
        found: list[Exception] = []

        def adopt() -> None:
            try:
                world.adopt(dicom.instance(2, study="2.999.8"))
            except PacsbridgeError as exc:
                found.append(exc)

        thread = threading.Thread(target=adopt, daemon=True)
        thread.start()
        thread.join(10)
        assert [type(exc) for exc in found] == [Unavailable]
    finally:
        server.thaw()
    world.adopt(dicom.instance(2, study="2.999.8"))
    world.index()
    assert len(world.held("2.999.8")) == 2
