"""The connections of the HTTP port: how many there may be, and how long each may keep others waiting.

aiohttp waits without an end for the head of a request, and for who does not read. `_waiter`,
`_reading_paused`, `_connections` and `_server` are private names of its: tests hold each of them.
"""

import asyncio
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import EMPTY_PAYLOAD, StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_runner import BaseSite

from pacsbridge import metrics
from pacsbridge.logs import Seldom
from pacsbridge.tls.failures import Failures
from pacsbridge.tls.greeting import Greetings

log = structlog.get_logger("pacsbridge.http")

SERVER = "pacsbridge"
"""The header Server: what runs underneath is nobody's business."""

BACKLOG = 512

SHUTDOWN_SECONDS = 10

_LINGERING_SECONDS = 5
"""How long a body that nobody wants may go on, so that its sender gets to read the answer."""

_LINE_BYTES = 16 << 10
"""The longest request line and header field."""

_LOOKS = 4
"""How often a client is looked at while it may take nothing."""

_ACKNOWLEDGED = slice(120, 128)
"""Where Linux (since 4.1) tells in its `tcp_info` how many bytes the other side has acknowledged."""


@dataclass(frozen=True, slots=True)
class Patience:
    """What connections may cost.

    `connections` at a time; once that is reached, bodies that come by fewer `bytes_per_second` make room.
    Seconds: `head` from the first byte of a request's head to its last, and for a TLS handshake; `idle`
    before the first request and between two; `stall` while nothing is taken.
    """

    connections: int = 500
    bytes_per_second: int = 8192
    head: float = 15.0
    idle: float = 15.0
    stall: float = 60.0


class _Alarm:
    """Calls `action` once, so many seconds after `set`, unless it is stopped before."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, action: Callable[[], None]) -> None:
        self._loop, self._seconds, self._action = loop, seconds, action
        self._timer: asyncio.TimerHandle | None = None

    def set(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._action)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def taken(transport: asyncio.WriteTransport) -> int:
    """A number that grows whenever the other side takes something of what it is sent.

    Where the system does not tell what has been acknowledged, it is what still has to be sent, negative.
    Raises OSError once the connection is closed.
    """
    if sys.platform == "linux":
        info = transport.get_extra_info("socket").getsockopt(
            socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED.stop
        )
        if len(info) == _ACKNOWLEDGED.stop:
            return int.from_bytes(info[_ACKNOWLEDGED], sys.byteorder)
    return -transport.get_write_buffer_size()


class Taking:
    """Calls `stalled` once a client has taken nothing for so many seconds; a little is enough to live on."""

    def __init__(self, seconds: float, stalled: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds, self._stalled = seconds, stalled
        self._transport: asyncio.WriteTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._taken = self._looks = 0

    def start(self, transport: asyncio.WriteTransport) -> None:
        """From now on something is there to be taken."""
        self._transport, self._looks = transport, 0
        self._note()
        self._wait()

    def stop(self) -> None:
        """No more."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        self._timer = self._loop.call_later(self._seconds / _LOOKS, self._look)

    def _note(self) -> bool:
        """Whether something has been taken since the last time."""
        before = self._taken
        if self._transport is not None:
            with suppress(OSError):
                self._taken = taken(self._transport)
        return self._taken != before

    def _look(self) -> None:
        self._looks = 0 if self._note() else self._looks + 1
        if self._looks < _LOOKS:
            self._wait()
        else:
            self.stop()
            metrics.HTTP_DROPPED.labels("slow reader").inc()
            self._stalled()


class Connection(RequestHandler):
    """A connection with deadlines, whose answers to what is no proper request quote nothing of it."""

    def __init__(self, manager: "Connections", **settings: Any) -> None:
        super().__init__(manager, **settings)
        self._head = _Alarm(self._loop, manager.patience.head, self._drop_late)
        self._taking = Taking(manager.patience.stall, self._drop_stalled)
        self._seldom = manager.seldom
        self._body: StreamReader = EMPTY_PAYLOAD
        self.begun = 0.0
        """When the head of the last request had come, by the clock of the loop; 0 before the first."""

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for a request, of which a part may have come, or has not got round to that yet."""
        if self.transport is None:
            return False
        waiter = self._waiter
        return not self.begun if waiter is None else not waiter.done()

    def begin(self, body: StreamReader) -> None:
        """The head of a request is complete; its body comes from now on."""
        self._body, self.begun = body, self._loop.time()
        self._head.stop()

    @property
    def is_due(self) -> bool:
        """Whether a request has come that will be looked at in a moment."""
        waiter = self._waiter
        return self.transport is not None and waiter is not None and waiter.done()

    def crawls(self, bytes_per_second: int) -> bool:
        """Whether a body is awaited of which less has come than is due in a second, and not because of us."""
        body, seconds = self._body, self._loop.time() - self.begun + 1
        behind = body.total_bytes < bytes_per_second * seconds
        return behind and not body.is_eof() and not self._reading_paused

    def data_received(self, data: bytes) -> None:
        """What has come; a head that is begun has to be complete in time (RFC 9110 15.5.9)."""
        super().data_received(data)
        if self.is_waiting:
            self._head.set()
        else:
            self._head.stop()

    def pause_writing(self) -> None:
        """The client takes less than it is sent: it has to take something all the same."""
        super().pause_writing()
        if self.transport is not None:
            self._taking.start(self.transport)

    def resume_writing(self) -> None:
        """It goes on."""
        self._taking.stop()
        super().resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Nothing is waited for any more."""
        self._head.stop()
        self._taking.stop()
        self._end_body()
        super().connection_lost(exc)

    def drop(self, reason: str, status: HTTPStatus | None = None) -> None:
        """Close, after an answer where one is of use."""
        metrics.HTTP_DROPPED.labels(reason).inc()
        self._end_body()
        if status is not None and self.transport is not None:
            self.transport.write(_answer(status))
        self.force_close()

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Faults are logged; that a client leaves in the middle, or speaks no proper HTTP, is none."""
        if not isinstance(kw.get("exc_info"), ConnectionError | HttpProcessingError):
            super().log_exception(*args, **kw)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The status in words; the connection ends. What is no proper request is counted, and told seldom."""
        if isinstance(exc, HttpProcessingError):
            self._garbled(request.remote or "", type(exc).__name__)
        response = super().handle_error(request, status, exc, HTTPStatus(status).phrase)
        response.headers["Server"] = SERVER
        return response

    def _garbled(self, address: str, error: str) -> None:
        metrics.HTTP_DROPPED.labels("malformed").inc()
        more = self._seldom.turn((address, error))
        if more is not None:
            log.warning("no proper request", address=address, error=error, skipped=more)

    def _end_body(self) -> None:
        """Nothing more will come: who reads it, now or later, gets to know."""
        if not self._body.is_eof():
            self._body.set_exception(ConnectionResetError())
        self._body = EMPTY_PAYLOAD

    def _drop_late(self) -> None:
        self.drop("slow head", HTTPStatus.REQUEST_TIMEOUT)

    def _drop_stalled(self) -> None:
        if self.transport is not None:
            self.transport.abort()
        self.force_close()


def _answer(status: HTTPStatus) -> bytes:
    """A whole response without a request."""
    text = f"{status.value}: {status.phrase}"
    lines = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(text)}",
        "Connection: close",
        f"Server: {SERVER}",
    )
    return "\r\n".join((*lines, "", text)).encode()


class Connections(web.Server):
    """All connections. One more than may be takes the place of another one that keeps us waiting.

    That is the oldest that waits for a request, else the request that was begun first of those whose bodies
    crawl, else one that has not been begun. Where all are busy the newcomer is answered 503.
    """

    patience = Patience()

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.seldom = Seldom()

    def __call__(self) -> RequestHandler:
        """A new one, as it is accepted."""
        return Connection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Let it in, and another one go where that is one too many."""
        full = len(self._connections) >= self.patience.connections
        found = self._in_the_way() if full else None
        super().connection_made(handler, transport)
        if found is not None:
            found.drop("replaced", None if found.is_waiting else HTTPStatus.REQUEST_TIMEOUT)
        elif full and isinstance(handler, Connection):  # its task begins before it is told of its end
            self._loop.call_soon(handler.drop, "too many", HTTPStatus.SERVICE_UNAVAILABLE)

    def _in_the_way(self) -> Connection | None:
        rate = self.patience.bytes_per_second
        waiting = next((one for one in self._all() if one.is_waiting), None)
        if waiting is not None:
            return waiting
        crawling = min(
            (one for one in self._all() if one.crawls(rate)), key=lambda one: one.begun, default=None
        )
        return crawling or next((one for one in self._all() if one.is_due), None)

    def _all(self) -> Iterator[Connection]:
        return (one for one in self._connections if isinstance(one, Connection))


def _telling(factory: Callable[..., web.BaseRequest]) -> Callable[..., web.BaseRequest]:
    """Makes requests as `factory` does, and tells their connection of it."""

    def make(message: Any, body: StreamReader, connection: Connection, *rest: Any) -> web.BaseRequest:
        connection.begin(body)
        return factory(message, body, connection, *rest)

    return make


class Runner(web.AppRunner):
    """Serves an application with patience.

    Bodies are handed over as they were sent: the applications refuse codings that they don't take.
    """

    def __init__(
        self, app: web.Application, patience: Patience, shutdown_seconds: float = SHUTDOWN_SECONDS
    ) -> None:
        super().__init__(
            app,
            access_log=None,
            shutdown_timeout=shutdown_seconds,
            max_line_size=_LINE_BYTES,
            max_field_size=_LINE_BYTES,
            auto_decompress=False,
            keepalive_timeout=patience.idle,
            lingering_time=_LINGERING_SECONDS,
        )
        self.patience = patience

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        connections = Connections(
            made.request_handler, request_factory=_telling(made.request_factory), **self._kwargs
        )
        connections.patience = self.patience
        return connections


class Site(web.TCPSite):
    """An address that is listened on, by TLS or not; `strangers` hears of handshakes that fail."""

    def __init__(
        self,
        runner: Runner,
        host: str,
        port: int,
        tls: ssl.SSLContext | None = None,
        strangers: Failures | None = None,
    ) -> None:
        super().__init__(runner, host, port, backlog=BACKLOG, ssl_context=tls)
        self._patience = runner.patience
        self._strangers = strangers or Failures("http")
        self._greetings: Greetings | None = None

    async def start(self) -> None:
        """Listen. Raises OSError."""
        await BaseSite.start(self)
        factory, tls = self._runner.server, self._ssl_context
        assert factory is not None  # noqa: S101 (for the type checker)
        if tls is not None:
            patience = self._patience
            self._greetings = Greetings(factory, tls, patience.head, patience.connections, self._strangers)
        self._server = await asyncio.get_running_loop().create_server(
            self._greetings or factory, self._host, self._port, backlog=self._backlog
        )

    async def stop(self) -> None:
        """Listen no more; handshakes under way come to nothing."""
        if self._greetings is not None:
            self._greetings.close()
        await super().stop()
