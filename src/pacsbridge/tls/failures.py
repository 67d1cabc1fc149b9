"""TLS handshakes that fail: counted each, told in the log and to the audit log within bounds.

Whoever scans the network fails a thousand times a minute. Of one address one failure a minute is told for
each reason (`logs.Seldom`); the next one that is told says how many were passed over.
"""

import ssl
import time
from collections.abc import Callable, Iterable, Mapping

import structlog

from pacsbridge import metrics
from pacsbridge.logs import Seldom

log = structlog.get_logger("pacsbridge.tls")

_NONE, _UNTRUSTED, _EXPIRED = "no certificate", "certificate not trusted", "certificate not valid now"
_REVOKED, _NO_LIST = "certificate revoked", "no revocation list in force"
_NO_TLS, _OLD, _CIPHERS = "no TLS", "old TLS", "no cipher in common"
_REFUSED, _OTHER, _LATE, _CLOSED = "refused by the caller", "other", "too slow", "closed by the caller"

REASONS = (
    *(_NONE, _UNTRUSTED, _EXPIRED, _REVOKED, _NO_LIST),
    *(_NO_TLS, _OLD, _CIPHERS, _REFUSED, _OTHER, _LATE, _CLOSED),
)
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

_LISTS = (3, 5, 8, 11, 12, 15, 16, 33, 35, 36, 44, 54)
"""X509_V_ERR_UNABLE_TO_GET_CRL and whatever else keeps OpenSSL from going by a list."""

_CODES: Mapping[int, str] = {9: _EXPIRED, 10: _EXPIRED, 23: _REVOKED, **dict.fromkeys(_LISTS, _NO_LIST)}
"""X509_V_ERR_CERT_NOT_YET_VALID, _CERT_HAS_EXPIRED, _CERT_REVOKED; all others are `_UNTRUSTED`."""

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
        self._seldom = Seldom(clock=clock)
        self.tell: Tell = lambda _address, _reason, _more: None
        """Who hears of those that say something of the caller."""

    def note(self, address: str, fault: Exception) -> None:
        """A handshake with a caller has failed."""
        reason = why(fault)
        metrics.TLS_FAILURES.labels(self._port, reason).inc()
        more = self._seldom.turn((address, reason))
        if more is None:
            return
        level = log.debug if reason == _CLOSED else log.warning  # what probes of balancers do all the time
        level("tls handshake failed", server=self._port, address=address, reason=reason, skipped=more)
        if reason not in SILENT:
            self.tell(address, reason, more)
