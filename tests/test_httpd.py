"""The HTTP server round the applications: what it says to whom it does not understand."""

import socket
from collections.abc import Iterator

import pytest
import requests
from aiohttp import web

from pacsbridge.httpd import HttpServer

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


@pytest.mark.parametrize(
    ("path", "status"), [("/", 200), ("/fhirx", 404), ("/fhir/x", 404), (f"/{'a' * 15_000}", 404)]
)
def test_every_answer_is_signed(server: HttpServer, path: str, status: int) -> None:
    """The name of the product alone; URLs may be long."""
    response = requests.get(f"http://127.0.0.1:{server.port}{path}", timeout=10)
    assert (response.status_code, response.headers["Server"]) == (status, "pacsbridge")
