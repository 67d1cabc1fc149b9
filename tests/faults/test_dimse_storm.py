"""T-ASSOC, T-PIPE: more DICOM callers, and more of each, than there is room for."""

import random
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest
from benchmarks.sender import command, p_data, pdu, status, uid
from bystander import bystander, reads
from pushing import SUCCESS, Association, encoded
from raw_dimse import RawPeer, Wire
from slow_clients import crowd

from .conftest import MakeSite, Site, sites

MIB = 1 << 20
MOST = 50
"""`dimse.max_associations`."""

FOR_THE_MOMENT = (3, bytes((0, 2, 3, 2)))
"""A-ASSOCIATE-RJ: transient, by the provider's presentation part, local limit exceeded (PS3.8 Table 9-21)."""


@pytest.fixture(scope="module")
def stormed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A running bridge on embedded defaults, whose baseline is known."""
    with sites(tmp_path_factory.mktemp("site")) as make:
        site = make().start()
        site.oracle.rest()
        yield site


# T-ASSOC


def attempt(port: int, due: float) -> float:
    """One who is turned away at the reading `due` of the clock; the seconds that his answer took."""
    threading.Event().wait(max(due - time.monotonic(), 0))
    start = time.monotonic()
    with RawPeer(port) as peer:
        assert peer.send(Wire.associate()).read() == FOR_THE_MOMENT
    return time.monotonic() - start


def pushes(site: Site, line: Association, numbers: range) -> Callable[[], None]:
    """A C-STORE on an association that is there already."""
    left = iter(numbers)

    def ask() -> None:
        assert site.push(line, next(left)) == SUCCESS

    return ask


@pytest.mark.timeout(300)
def test_more_associations_than_may_be(stormed: Site, numbers: Callable[..., int]) -> None:
    """T-ASSOC: the surplus over fifty is rejected for the moment, within 1 s; the fifty go on and finish."""
    site = stormed
    count, pace, port = numbers(300, 1000), numbers(300, 100), site.bridge.dimse_port
    with ExitStack() as stack:
        lines = [stack.enter_context(site.line()) for _ in range(MOST)]
        asked = (reads(site.bridge), pushes(site, lines[0], range(1_000_000, 2_000_000)))
        with bystander(site.bridge, *asked, limit=numbers(5, 1)), ThreadPoolExecutor(16) as pool:
            start = time.monotonic()
            tasks = [pool.submit(attempt, port, start + number / pace) for number in range(count)]
            seconds = sorted(task.result() for task in tasks)
        for number, line in enumerate(lines, 1):
            assert site.push(line, number) == SUCCESS
    print(
        f"{count} rejected, 99 % within {seconds[int(0.99 * count)]:.3f} s; {site.oracle.peak()} MiB at most"
    )
    assert seconds[int(0.99 * count)] < numbers(15, 1)
    assert site.oracle.peak() < 400
    site.oracle.check(settled=True)


def test_more_connections_than_may_wait(make_site: MakeSite, numbers: Callable[..., int]) -> None:
    """T-ASSOC: of those who connect and say nothing only the latest stay; who speaks is served."""
    most = numbers(30, 200)
    site = make_site(dimse=f"max_waiting = {most}\nfirst_pdu_seconds = 600\n").start()
    site.oracle.rest()
    with (
        crowd(site.bridge.dimse_port, 4 * most, b"") as sockets,
        bystander(site.bridge, limit=numbers(5, 1)),
        site.line() as line,
    ):
        site.bridge.wait(lambda: sum(map(is_open, sockets)) <= most, 60)
        for number in range(100):
            assert site.push(line, number) == SUCCESS
        assert not any(map(is_open, sockets[: 3 * most]))
    site.oracle.check(settled=True)


def is_open(one: socket.socket) -> bool:
    """Whether the other side, which has nothing to say, has not closed."""
    looks = select.poll()
    looks.register(one, select.POLLIN)
    return not looks.poll(0)


def test_connections_that_are_closed_at_once(stormed: Site, numbers: Callable[..., int]) -> None:
    """T-ASSOC: what load balancers do to see whether somebody listens leaves nothing."""
    site = stormed
    dice = random.Random(5)
    with site.oracle.bounded(50), bystander(site.bridge, limit=numbers(5, 1)):
        for _ in range(numbers(1000, 10_000)):
            peer = RawPeer(site.bridge.dimse_port)
            dice.choice((peer.reset, peer.socket.close))()
    site.oracle.check(settled=True)


# T-PIPE


def large(site: Site, number: int) -> bytes:
    """The data set of an instance of 1 MiB of study 2."""
    return encoded(number, 2, MIB, site.oracle.canary)


def test_requests_without_reading(stormed: Site, numbers: Callable[..., int]) -> None:
    """T-PIPE: instances of 1 MiB one after the other, not one answer read before the last: none is lost."""
    site = stormed
    each, lines = numbers(50, 250), [site.dial() for _ in range(4)]
    spans = [range(place * 1000 + 3_000_000, place * 1000 + 3_000_000 + each) for place in range(4)]

    def send(line: Association, span: range) -> None:
        for number in span:
            line.socket.sendall(p_data(command(number % 65_535, uid(1, number)), large(site, number)))

    with site.oracle.bounded(64), bystander(site.bridge, limit=numbers(5, 1)), ThreadPoolExecutor(4) as pool:
        start = time.monotonic()
        for task in [pool.submit(send, *both) for both in zip(lines, spans, strict=True)]:
            task.result()
        for line, span in zip(lines, spans, strict=True):
            for number in span:
                site.oracle.note(uid(1, number), large(site, number), status(pdu(line.socket)[1]))
        print(f"{4 * each} MiB after {time.monotonic() - start:.1f} s")
    assert site.oracle.statuses.keys() == {SUCCESS}
    for line in lines:
        line.release()
    site.oracle.check(settled=True)


def test_who_never_reads_is_let_go(make_site: MakeSite, numbers: Callable[..., int]) -> None:
    """T-PIPE: who asks on and on and takes no answer is closed after `dimse.send_seconds`."""
    site = make_site(dimse="send_seconds = 1\n").start()
    site.oracle.rest()
    with (
        site.oracle.bounded(64),
        bystander(site.bridge, limit=numbers(5, 1)),
        RawPeer(site.bridge.dimse_port) as deaf,
    ):
        deaf.associate()
        echoes, start = Wire.echo() * 1000, time.monotonic()
        with suppress(ConnectionError):
            while time.monotonic() < start + 60:
                deaf.send(echoes)
        print(f"let go after {time.monotonic() - start:.1f} s")
        assert time.monotonic() < start + 60
    site.oracle.check(settled=True)
