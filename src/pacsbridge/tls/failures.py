"""TLS handshakes that fail: counted each, told in the log and to the audit log within bounds.

Whoever scans the network fails a thousand times a minute. Of one address one failure a minute is told for
each reason, of all together `_MOST`; the next one that is told says how many were passed over.
"""

import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping

import structlog

from pacsbridge import metrics

log = structlog.get_logger("pacsbridge.tls")

_WINDOW_SECONDS = 60.0
_MOST = 20

_NONE, _UNTRUSTED, _EXPIRED = "no certificate", "certificate not trusted", "certificate not valid now"
_NO_TLS, _OLD, _CIPHERS = "no TLS", "old TLS", "no cipher in common"
_REFUSED, _OTHER, _LATE, _CLOSED = "refused by the caller", "other", "too slow", "closed by the caller"

REASONS = (_NONE, _UNTRUSTED, _EXPIRED, _NO_TLS, _OLD, _CIPHERS, _REFUSED, _OTHER, _LATE, _CLOSED)
"""Why handshakes fail: the labels of the metric."""

SILENT = frozenset({_LATE, _CLOSED})
"""What says nothing of who the caller is: of these no audit event is made."""

_PARTS: Iterable[tuple[str, str]] = (
    ("PEER_DID_NOT_RETURN", _NONE),
    ("_ALERT_", _REFUSED),
    ("HTTP_REQUEST", _NO_TLS),
    ("PROXY_REQUEST", _NO_TLS),
    ("WRONG_VERSION_NUMBER", _NO_TLS),
    ("RECORD", _NO_TLS),
    ("PACKET_LENGTH", _NO_TLS),
    ("UNSUPPORTED_PROTOCOL", _OLD),
    ("VERSION_TOO_LOW", _OLD),
    ("UNKNOWN_PROTOCOL", _OLD),
    ("NO_SHARED", _CIPHERS),
    ("NO_SUITABLE", _CIPHERS),
    ("EOF", _CLOSED),
)
"""The first that is part of OpenSSL's name of the fault says why."""

_CODES: Mapping[int, str] = {9: _EXPIRED, 10: _EXPIRED}
"""X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED; all others are `_UNTRUSTED`."""

Tell = Callable[[str, str, int], object]
"""Hears address, reason (one of `REASONS`), and how many were passed over before; returns at once."""


def why(fault: Exception) -> str:
    """The reason, one of `REASONS`, that an exception of a handshake stands for."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        return _CODES.get(fault.verify_code, _UNTRUSTED)
    if isinstance(fault, ssl.SSLError):
        name = f"{getattr(fault, 'reason', '')} {'EOF' if isinstance(fault, ssl.SSLEOFError) else ''}"
        return next((reason for part, reason in _PARTS if part in name), _OTHER)
    return _LATE if isinstance(fault, TimeoutError | ConnectionAbortedError) else _CLOSED


class Failures:
    """Those of one port, "dimse" or "http"; any thread may tell of one."""

    def __init__(self, port: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._port = port
        self._clock = clock
        self._lock = threading.Lock()
        self._since = clock()
        self._told: set[tuple[str, str]] = set()
        self._passed_over = 0
        self.tell: Tell = lambda _address, _reason, _more: None
        """Who hears of those that say something of the caller."""

    def note(self, address: str, fault: Exception) -> None:
        """A handshake with a caller has failed."""
        reason = why(fault)
        metrics.TLS_FAILURES.labels(self._port, reason).inc()
        more = self._turn((address, reason))
        if more is None:
            return
        level = log.debug if reason == _CLOSED else log.warning  # what probes of balancers do all the time
        level("tls handshake failed", server=self._port, address=address, reason=reason, skipped=more)
        if reason not in SILENT:
            self.tell(address, reason, more)

    def _turn(self, one: tuple[str, str]) -> int | None:
        """How many have been passed over since the last one that was told; None: this one is, too."""
        with self._lock:
            if self._clock() - self._since >= _WINDOW_SECONDS:
                self._since = self._clock()
                self._told.clear()
            if one in self._told or len(self._told) >= _MOST:
                self._passed_over += 1
                return None
            self._told.add(one)
            more, self._passed_over = self._passed_over, 0
            return more
