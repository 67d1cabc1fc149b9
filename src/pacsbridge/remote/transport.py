"""One request, one answer: within its time, its length, and from nowhere else.

This uses requests below its sessions, because those look for proxies, certificates and passwords in the
environment, keep cookies, and read the body of a redirect to its end, however long it is.
"""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict

from pacsbridge.errors import BadAnswer, PacsbridgeError, Unavailable
from pacsbridge.remote.addresses import guarded
from pacsbridge.remote.outcomes import Answer, network_fault
from pacsbridge.remote.settings import ArchiveSettings
from pacsbridge.remote.watch import Watch, watched

_CHUNK = 16 * 1024
"""Bytes read at once. What comes compressed may be a thousand times as long."""

_PIECE = 256 * 1024
"""Bytes of a body that comes in pieces: each has the time of one silence."""

T = TypeVar("T")

_CODINGS = frozenset({"", "identity", "gzip", "x-gzip"})
"""Content codings that are understood; a pile of several is not."""


class Stream:
    """An answer whose body comes in pieces, for one thread at a time. `close` gives its connection back."""

    def __init__(
        self,
        response: requests.Response,
        connection: socket.socket | None,
        settings: ArchiveSettings,
        release: Callable[[], object],
    ) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._response = response
        self._connection = connection
        self._settings = settings
        self._release: Callable[[], object] | None = release

    def read(self) -> bytes:
        """The next bytes, up to 256 KiB; empty at the end. Raises Unavailable, when too little comes too."""
        with Watch(self._settings.silence_seconds) as watch:
            if self._connection is not None:
                watch.on(self._connection)
            outcome = self._piece()
        if watch.expired:
            raise Unavailable(f"too little within {self._settings.silence_seconds:g} s")
        if isinstance(outcome, PacsbridgeError):
            raise outcome
        return outcome

    def _piece(self) -> bytes | PacsbridgeError:
        try:
            return bytes(self._response.raw.read(_PIECE, decode_content=False))
        except Exception as exc:
            return network_fault(exc, self._settings)

    def close(self) -> None:
        """Give the connection back; one whose answer was not read to its end is of no further use."""
        release, self._release = self._release, None
        if release is not None:
            self._response.close()
            release()


class Transport:
    """Connections to a server, no more than the settings say; threads may share it."""

    def __init__(self, settings: ArchiveSettings) -> None:
        self._settings = settings
        self._adapter = _Adapter(pool_connections=2, pool_maxsize=settings.connections)
        self._slots = threading.BoundedSemaphore(settings.connections)
        self._under_way: set[Watch] = set()
        self._closed = False

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        """The answer, whatever its status. Raises Unavailable and BadAnswer; follows no redirect."""
        with self._slots, self._watching(self._settings.answer_seconds) as watch:
            outcome = self._outcome(method, url, headers, body)
        if watch.expired:
            raise self._late(f"no answer within {self._settings.answer_seconds:g} s")
        if isinstance(outcome, PacsbridgeError):
            raise outcome
        return outcome

    def open(self, method: str, url: str, headers: Mapping[str, str]) -> Stream:
        """The same with the body still to come. Raises Unavailable and BadAnswer; follows no redirect."""
        if not self._slots.acquire(timeout=self._settings.connect_seconds):
            raise Unavailable("its connections are all in use")
        try:
            return self._opened(_prepared(method, url, headers, None, "identity"))
        except BaseException:
            self._slots.release()
            raise

    def _opened(self, request: requests.PreparedRequest) -> Stream:
        settings = self._settings
        with self._watching(settings.connect_seconds + settings.silence_seconds) as watch:
            outcome = self._translated(lambda: self._sent(request))
        if watch.expired:
            raise self._late(f"no answer for {settings.silence_seconds:g} s")
        if isinstance(outcome, PacsbridgeError):
            raise outcome
        return Stream(outcome, watch.connection, settings, self._slots.release)

    def close(self) -> None:
        """Close all connections: who waits for an answer is told that it is over, as is who asks later."""
        self._closed = True
        for watch in tuple(self._under_way):
            watch.end()
        self._adapter.close()

    @contextmanager
    def _watching(self, seconds: float) -> Iterator[Watch]:
        with Watch(seconds) as watch:
            self._under_way.add(watch)
            try:
                if self._closed:
                    raise self._late("")
                yield watch
            finally:
                self._under_way.discard(watch)

    def _late(self, reason: str) -> Unavailable:
        return Unavailable("shutting down" if self._closed else reason)

    def _outcome(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer | PacsbridgeError:
        return self._translated(lambda: self._exchange(_prepared(method, url, headers, body)))

    def _translated(self, work: Callable[[], T]) -> T | PacsbridgeError:
        """An error is returned, not raised: when the time is over, that is the better reason."""
        try:
            return work()
        except PacsbridgeError as exc:
            return exc
        except Exception as exc:
            return network_fault(exc, self._settings)

    def _exchange(self, request: requests.PreparedRequest) -> Answer:
        response = self._sent(request)
        try:
            return Answer(response.status_code, response.headers, self._body(response))
        finally:
            response.close()

    def _sent(self, request: requests.PreparedRequest) -> requests.Response:
        settings = self._settings
        return self._adapter.send(
            request,
            stream=True,
            timeout=(settings.connect_seconds, settings.silence_seconds),
            verify=settings.verify if isinstance(settings.verify, bool) else str(settings.verify),
            cert=_certificate(settings),
        )

    def _body(self, response: requests.Response) -> bytes:
        """The body of a success, decoded; of anything else nothing, as nobody needs it."""
        if not 200 <= response.status_code < 300:
            return b""
        limit = self._settings.answer_bytes
        if _announced(response) > limit:
            raise _too_long(limit)
        if response.headers.get("Content-Encoding", "").strip().lower() not in _CODINGS:
            raise BadAnswer("a content coding that was not asked for")
        body = bytearray()
        for chunk in response.iter_content(_CHUNK):
            body += chunk
            if len(body) > limit:
                raise _too_long(limit)
        return bytes(body)


class _Adapter(HTTPAdapter):
    """Requests' way to connections, which lead nowhere else, and whose answers can be watched."""

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        """The pool of connections to a server."""
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        pool.ConnectionCls = watched(guarded(pool.ConnectionCls))
        return pool


def _prepared(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None, coding: str = "gzip"
) -> requests.PreparedRequest:
    """The request as it is sent; `coding` is what can be decoded within bounds."""
    named = CaseInsensitiveDict({"User-Agent": "pacsbridge", **headers, "Accept-Encoding": coding})
    return requests.Request(method, url, headers=dict(named), data=body).prepare()


def _certificate(settings: ArchiveSettings) -> str | tuple[str, str] | None:
    """The client certificate as requests wants it."""
    if settings.certificate is None:
        return None
    certificate = str(settings.certificate)
    return certificate if settings.key is None else (certificate, str(settings.key))


def _announced(response: requests.Response) -> int:
    """The length that the answer says it has; 0 when it says none that makes sense."""
    given = response.headers.get("Content-Length", "").strip()
    return int(given) if given.isascii() and given.isdecimal() and len(given) < 20 else 0


def _too_long(limit: int) -> BadAnswer:
    return BadAnswer(f"the answer is longer than {limit} bytes")
