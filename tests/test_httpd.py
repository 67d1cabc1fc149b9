"""The HTTP server round the applications: what it says to whom it does not understand."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from threading import Event, Semaphore
from types import SimpleNamespace

import pytest
import requests
from aiohttp import web
from structlog.testing import capture_logs

from pacsbridge import connections, metrics
from pacsbridge.connections import Patience, taken
from pacsbridge.httpd import Front, HttpServer

SECRET = "Canary"


@pytest.fixture
def server() -> Iterator[HttpServer]:
    """A server with one application."""
    running = HttpServer("127.0.0.1", 0, {"/fhir": web.Application()}, {})
    running.start()
    yield running
    running.stop()


def answer(server: HttpServer, request: bytes) -> bytes:
    """What comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.mark.parametrize(
    "request_",
    [
        f"GET /{SECRET}{'a' * 20_000} HTTP/1.1\r\nHost: x\r\n\r\n",
        f"{SECRET}{{}} / HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\n{SECRET} bad\r\n\r\n",
        f"{SECRET}\r\n\r\n",
    ],
    ids=["line", "method", "header", "nonsense"],
)
def test_a_request_that_is_none(server: HttpServer, request_: str) -> None:
    """400 in short words; nothing of it is sent back, and nothing told about what runs here."""
    said = answer(server, request_.encode())
    assert said.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
    assert SECRET.encode() not in said
    assert b"aiohttp" not in said
    assert len(said) < 300


def test_who_sends_no_requests_fills_no_log(server: HttpServer, caplog: pytest.LogCaptureFixture) -> None:
    """However often: each is counted, of one address a line a minute, and none is an error of ours."""

    def dropped() -> float:
        found = metrics.REGISTRY.get_sample_value("pacsbridge_http_dropped_total", {"reason": "malformed"})
        return found or 0.0

    before = dropped()
    with capture_logs() as lines:
        for request in (
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            b"\0\1\r\n\r\n",
        ):
            for _again in range(10):
                assert b" 400 " in answer(server, request)
    assert dropped() - before == 30
    assert [(one["event"], one["log_level"], one["address"]) for one in lines] == [
        ("no proper request", "warning", "127.0.0.1")
    ] * 3
    assert [one["skipped"] for one in lines] == [0, 9, 9]
    assert not caplog.records


@pytest.mark.parametrize(
    ("path", "status"),
    [("/health/live", 200), ("/", 404), ("/fhirx", 404), ("/fhir/x", 404), (f"/{'a' * 15_000}", 404)],
)
def test_every_answer_is_signed(server: HttpServer, path: str, status: int) -> None:
    """The name of the product alone; URLs may be long."""
    response = requests.get(f"http://127.0.0.1:{server.port}{path}", timeout=10)
    assert (response.status_code, response.headers["Server"]) == (status, "pacsbridge")


@pytest.fixture
def impatient() -> Iterator[HttpServer]:
    """A server that waits a fifth of a second for a head, has three connections, and one slow application."""

    async def slow(_request: web.Request) -> web.Response:
        await asyncio.sleep(1)
        return web.Response(text="late")

    app = web.Application()
    app.router.add_get("/slow", slow)
    front = Front(patience=Patience(connections=3, head=0.2, idle=5))
    running = HttpServer("127.0.0.1", 0, {"/fhir": app}, {}, front)
    running.start()
    yield running
    running.stop()


def test_half_a_head(impatient: HttpServer) -> None:
    """408, however regularly its bytes drip; a head that comes in two pieces in time is served."""
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=10) as client:
        client.sendall(b"GET /fhir/slow HTTP/1.1\r\nHost: ")
        time.sleep(0.05)
        client.sendall(b"x\r\nConnection: close\r\n\r\n")
        assert b"".join(iter(lambda: client.recv(65536), b"")).endswith(b"late")
    said = answer(impatient, b"GET /fhir HTTP/1.1\r\nHost: ")
    assert said.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"Server: pacsbridge\r\n" in said


def test_one_connection_too_many() -> None:
    """The one that has waited longest for a request makes room; where all are busy, it is 503."""
    begun, go_on = Semaphore(0), Event()

    async def slow(_request: web.Request) -> web.Response:
        begun.release()
        await asyncio.to_thread(go_on.wait, 30)
        return web.Response(text="late")

    app = web.Application()
    app.router.add_get("/slow", slow)
    server = HttpServer("127.0.0.1", 0, {"/fhir": app}, {}, Front(patience=Patience(connections=3)))
    server.start()
    with ExitStack() as open_:
        open_.callback(server.stop)

        def dial() -> socket.socket:
            return open_.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))

        waiting = [dial() for _ in range(3)]
        for one in waiting:
            one.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert one.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        time.sleep(0.2)  # they wait for the next request
        newcomer = dial()
        assert waiting[0].recv(100) == b""
        for one in (*waiting[1:], newcomer):
            one.sendall(b"GET /fhir/slow HTTP/1.1\r\nHost: x\r\n\r\n")
            assert begun.acquire(timeout=30)
        assert dial().recv(100).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        go_on.set()
        assert newcomer.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


def test_bodies_that_crawl_make_room(caplog: pytest.LogCaptureFixture) -> None:
    """The slow body that was begun first gives way; swift ones stay, and those that we don't read."""
    begun, go_on = Semaphore(0), Event()

    async def reading(request: web.Request) -> web.Response:
        await request.content.readany()
        begun.release()
        await request.content.read()
        return web.Response(text="all of it")

    async def deaf(request: web.Request) -> web.Response:
        begun.release()
        await asyncio.to_thread(go_on.wait, 30)
        await request.content.read()
        return web.Response(text="late")

    app = web.Application()
    app.router.add_post("/read", reading)
    app.router.add_post("/deaf", deaf)
    server = HttpServer("127.0.0.1", 0, {"/fhir": app}, {}, Front(patience=Patience(connections=4)))
    server.start()
    with ExitStack() as open_:
        open_.callback(server.stop)

        def post(path: str, size: int, length: int = 2_000_000) -> socket.socket:
            client = open_.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            head = f"POST /fhir/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
            client.sendall(head.encode() + bytes(size))
            assert begun.acquire(timeout=30)
            return client

        swift, unread = post("read", 1_000_000), post("deaf", 1_000_000)
        for slow in [post("read", 10) for _ in range(2)]:
            post("deaf", 0, length=0)
            assert slow.recv(100).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        refused = open_.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
        assert refused.recv(100).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        go_on.set()
        for one in (swift, unread):
            one.sendall(bytes(1_000_000))
            assert one.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
    assert not caplog.records  # who leaves in the middle is no fault of ours


def test_what_a_client_has_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it reads counts; where the system does not tell, what is handed to the system."""

    async def grows() -> tuple[bool, bool]:
        server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
        async with server:
            _reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            before = taken(writer.transport)
            writer.write(b"x" * 1000)
            for _ in range(1000):
                if taken(writer.transport) > before:
                    break
                await asyncio.sleep(0.01)
            told = taken(writer.transport) == before + 1000
            monkeypatch.setattr(connections, "sys", SimpleNamespace(platform="other"))
            writer.write(b"x" * (64 << 20))
            untold = -(64 << 20) < taken(writer.transport) < 0
            writer.transport.abort()
            return told, untold

    assert asyncio.run(grows()) == (True, True)
