"""One request, one answer: within its time, its length, and from nowhere else.

This uses requests below its sessions, because those look for proxies, certificates and passwords in the
environment, keep cookies, and read the body of a redirect to its end, however long it is.
"""

import threading
from collections.abc import Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict

from pacsbridge.errors import BadAnswer, PacsbridgeError, Unavailable
from pacsbridge.remote.outcomes import Answer, network_fault
from pacsbridge.remote.settings import ArchiveSettings
from pacsbridge.remote.watch import Watch, watched

_CHUNK = 16 * 1024
"""Bytes read at once. What comes compressed may be a thousand times as long."""

_CODINGS = frozenset({"", "identity", "gzip", "x-gzip"})
"""Content codings that are understood; a pile of several is not."""


class Transport:
    """Connections to a server, no more than the settings say; threads may share it."""

    def __init__(self, settings: ArchiveSettings) -> None:
        self._settings = settings
        self._adapter = _Adapter(pool_connections=2, pool_maxsize=settings.connections)
        self._slots = threading.BoundedSemaphore(settings.connections)

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        """The answer, whatever its status. Raises Unavailable and BadAnswer; follows no redirect."""
        with self._slots, Watch(self._settings.answer_seconds) as watch:
            outcome = self._outcome(method, url, headers, body)
        if watch.expired:
            raise Unavailable(f"no answer within {self._settings.answer_seconds:g} s")
        if isinstance(outcome, PacsbridgeError):
            raise outcome
        return outcome

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._adapter.close()

    def _outcome(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer | PacsbridgeError:
        """An error is returned, not raised: when the time is over, that is the better reason."""
        try:
            return self._exchange(_prepared(method, url, headers, body))
        except PacsbridgeError as exc:
            return exc
        except Exception as exc:
            return network_fault(exc, self._settings)

    def _exchange(self, request: requests.PreparedRequest) -> Answer:
        settings = self._settings
        response = self._adapter.send(
            request,
            stream=True,
            timeout=(settings.connect_seconds, settings.silence_seconds),
            verify=settings.verify if isinstance(settings.verify, bool) else str(settings.verify),
            cert=_certificate(settings),
        )
        try:
            return Answer(response.status_code, response.headers, self._body(response))
        finally:
            response.close()

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
    """Requests' way to connections, whose answers can be watched."""

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        """The pool of connections to a server."""
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        pool.ConnectionCls = watched(pool.ConnectionCls)
        return pool


def _prepared(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None
) -> requests.PreparedRequest:
    """The request as it is sent; `Accept-Encoding` is what can be decoded within bounds."""
    named = CaseInsensitiveDict({"User-Agent": "pacsbridge", **headers, "Accept-Encoding": "gzip"})
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
