"""Sockets: acknowledgements, keep-alive, TLS, and descriptors beyond 1024."""

import os
import resource
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme
from pydicom.data import get_testdata_file
from pynetdicom import AE, Association
from pynetdicom._globals import MODE_ACCEPTOR

from pacsbridge.dimse import transport
from pacsbridge.dimse.settings import DimseSettings, Limits


def soon() -> float:
    """A deadline that a good test never meets."""
    return time.monotonic() + 10


@pytest.fixture
def pair() -> Iterator[tuple[transport.Connection, socket.socket]]:
    """An opened connection and its peer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        client, _ = server.accept()
    association = Association(AE(), MODE_ACCEPTOR)
    connection = transport.Connection(association, client, DimseSettings(limits=Limits(send=0.2)))
    connection.open()
    yield connection, peer
    connection.dispose()
    peer.close()


def test_every_read_asks_for_quick_acknowledgement_again(
    pair: tuple[transport.Connection, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel forgets TCP_QUICKACK by itself, so as many reads as there are, as many times it is set."""
    asked: list[socket.socket] = []
    original = transport.acknowledge

    def acknowledge(sock: socket.socket) -> None:
        asked.append(sock)
        original(sock)

    monkeypatch.setattr(transport, "acknowledge", acknowledge)
    connection, peer = pair
    for _ in range(5):
        peer.sendall(b"x")
        assert connection.read(memoryview(bytearray(10)), soon()) == 1
    assert len(asked) == 5


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="this system has no TCP_QUICKACK")
def test_quick_acknowledgement_is_on_after_a_read(pair: tuple[transport.Connection, socket.socket]) -> None:
    """After a read the socket acknowledges at once, though the kernel's own mode was switched off before."""
    connection, peer = pair
    sock = connection.socket
    assert sock is not None
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
    peer.sendall(b"x")
    connection.read(memoryview(bytearray(10)), soon())
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK) == 1


def test_options_of_an_open_connection(pair: tuple[transport.Connection, socket.socket]) -> None:
    """Answers are not delayed, and a peer that vanished is noticed."""
    sock = pair[0].socket
    assert sock is not None
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000


def test_a_read_can_be_woken_and_has_a_deadline(pair: tuple[transport.Connection, socket.socket]) -> None:
    """Both end a read with nothing; being woken does so once."""
    connection, _ = pair
    connection.wake()
    assert connection.read(memoryview(bytearray(10)), soon()) == 0
    assert connection.read(memoryview(bytearray(10)), 0) == 0


def test_a_peer_that_does_not_read_is_a_closed_connection(
    pair: tuple[transport.Connection, socket.socket],
) -> None:
    """Sending has a deadline, after which the state machine hears of the end."""
    connection, _ = pair
    connection.event_queue.queue.clear()
    connection.send(bytes(50 << 20))
    assert connection.event_queue.get_nowait() == "Evt17"


def test_waking_after_the_end_is_harmless() -> None:
    """A descriptor number that has been reused is not written to."""
    waker = transport.Waker()
    number = waker.fileno()
    waker.close()
    waker.set()
    waker.clear()
    assert waker.fileno() == -1 != number


def test_descriptors_beyond_1024(serve: Callable[..., Any], wire: Any) -> None:
    """`select` cannot wait for them, we can."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1200:
        pytest.skip("fewer than 1200 descriptors allowed: ulimit -n")
    house = serve()
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    blockers = [os.open(os.devnull, os.O_RDONLY) for _ in range(1050)]
    try:
        with house.dial().associate() as peer:
            assert peer.socket.fileno() > 1024
            assert peer.send(wire.store()).status() == 0
    finally:
        for blocker in blockers:
            os.close(blocker)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_sender_with_nagles_algorithm_is_not_slowed_down(house: Any, wire: Any) -> None:
    """Fifty requests in two writes each finish in the time that five delayed acknowledgements would take."""
    with house.dial().associate() as peer:
        peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        peer.socket.settimeout(0.2)
        for number in range(50):
            peer.send(wire.data(1, 3, wire.command(1, number + 1)))
            peer.send(wire.data(1, 2, b"data"))
            assert peer.status() == 0


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority of this run."""
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    """The server's side."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def test_tls_is_spoken(serve: Callable[..., Any], tls: ssl.SSLContext, authority: trustme.CA) -> None:
    """With a context given, instances larger than a TLS record arrive."""
    house = serve(tls=tls)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    entity = AE()
    entity.add_requested_context("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1")
    association = entity.associate("127.0.0.1", house.port, tls_args=(context, "127.0.0.1"))
    assert association.send_c_store(str(get_testdata_file("CT_small.dcm"))).Status == 0
    association.release()
    assert len(house.shelf.taken[0].dataset) > 38_000
