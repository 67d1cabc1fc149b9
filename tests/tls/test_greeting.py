"""The HTTP port's handshakes: those that fail are known, the others lose nothing."""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from aiohttp import web
from certificate_site import Site

from pacsbridge.connections import Patience
from pacsbridge.httpd import Front, HttpServer
from pacsbridge.tls import contexts
from pacsbridge.tls.certificates import Identity, Place
from pacsbridge.tls.contexts import Files
from pacsbridge.tls.failures import Failures

SECONDS = 30
REQUEST = b"GET /health/live HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"


@pytest.fixture
def failures() -> Failures:
    """Of the port, with what it tells kept under `told`."""
    return Failures("http")


@pytest.fixture
def server(site: Site, failures: Failures) -> Iterator[HttpServer]:
    """One that speaks TLS and has little patience."""
    own = site.issue("own")
    identity = Identity(Place("fhir.tls.certificate", own.certificate), Place("fhir.tls.key", own.key))
    front = Front(tls=contexts.server(Files(identity)), patience=Patience(head=2), strangers=failures)
    made = HttpServer("127.0.0.1", 0, {"/app": web.Application()}, {}, front)
    made.start()
    yield made
    made.stop()


def answer(site: Site, port: int, request: bytes, version: ssl.TLSVersion) -> bytes:
    """All that is answered to bytes that are sent right behind the handshake, in one piece with its end."""
    context = ssl.create_default_context(cafile=site.ca)
    context.minimum_version = context.maximum_version = version
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    end = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with socket.create_connection(("127.0.0.1", port), SECONDS) as plain:
        while True:
            try:
                end.do_handshake()
                break
            except ssl.SSLWantReadError:
                plain.sendall(outgoing.read())
                incoming.write(plain.recv(65536))
        end.write(request)
        plain.sendall(outgoing.read())
        return _until_the_end(plain, end, incoming)


def _until_the_end(plain: socket.socket, end: ssl.SSLObject, incoming: ssl.MemoryBIO) -> bytes:
    """What is decrypted up to the other side's close_notify."""
    found = b""
    while True:
        try:
            piece = end.read(65536)
        except ssl.SSLWantReadError:
            incoming.write(plain.recv(65536))
        else:
            if not piece:
                return found
            found += piece


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_what_comes_with_the_handshake_is_answered(
    site: Site, server: HttpServer, version: ssl.TLSVersion
) -> None:
    """TLS 1.3 lets a client send its request in one piece with the end of its handshake."""
    assert answer(site, server.port, REQUEST, version).startswith(b"HTTP/1.1 200 OK")


def test_failures_are_told(server: HttpServer, failures: Failures, wait_until: Callable[..., None]) -> None:
    """Plain HTTP and silence are known by their address; the next caller is answered."""
    told: list[tuple[str, str, int]] = []
    failures.tell = lambda *said: told.append(said)
    with socket.create_connection(("127.0.0.1", server.port), SECONDS) as plain:
        plain.sendall(REQUEST)
        wait_until(lambda: told, SECONDS)
    assert told == [("127.0.0.1", "no TLS", 0)]


def test_silence_ends(site: Site, server: HttpServer) -> None:
    """Who does not shake hands is left, and others are answered meanwhile."""
    with socket.create_connection(("127.0.0.1", server.port), SECONDS) as silent:
        assert answer(site, server.port, REQUEST, ssl.TLSVersion.TLSv1_3).startswith(b"HTTP/1.1 200")
        assert silent.recv(1) == b""


def test_a_crowd_of_silent_callers_pushes_out_its_own(site: Site) -> None:
    """No more handshakes are under way than connections may be: the oldest goes, a good caller gets in."""
    own = site.issue("own")
    identity = Identity(Place("fhir.tls.certificate", own.certificate), Place("fhir.tls.key", own.key))
    front = Front(tls=contexts.server(Files(identity)), patience=Patience(connections=3, head=600))
    made = HttpServer("127.0.0.1", 0, {}, {}, front)
    made.start()
    with ExitStack() as stack:
        stack.callback(made.stop)
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", made.port), SECONDS)) for _ in range(5)
        ]
        assert answer(site, made.port, REQUEST, ssl.TLSVersion.TLSv1_3).startswith(b"HTTP/1.1 200")
        assert [one.recv(1) for one in silent[:3]] == [b"", b"", b""]


def test_a_server_ends_with_handshakes_under_way(site: Site) -> None:
    """Nobody waits for those who never say hello."""
    own = site.issue("own")
    identity = Identity(Place("fhir.tls.certificate", own.certificate), Place("fhir.tls.key", own.key))
    front = Front(tls=contexts.server(Files(identity)), patience=Patience(head=600))
    made = HttpServer("127.0.0.1", 0, {}, {}, front)
    made.start()
    with socket.create_connection(("127.0.0.1", made.port), SECONDS) as silent:
        answer(site, made.port, REQUEST, ssl.TLSVersion.TLSv1_3)
        made.stop()
        silent.settimeout(SECONDS)
        assert silent.recv(1) == b""
