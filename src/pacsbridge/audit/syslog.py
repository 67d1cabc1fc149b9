"""Audit messages by syslog (RFC 5424): over UDP (RFC 5426), TCP (RFC 6587, counted) and TLS (RFC 5425).

Syslog has no answers. A TCP or TLS receiver counts as having taken a batch when the connection still stands
a moment later; where it does not, the batch is sent again: a record may come twice but does not go missing.
"""

import os
import select
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from pacsbridge.errors import Unavailable
from pacsbridge.kernel.audit import SUCCESS
from pacsbridge.kernel.audit_message import audit_message
from pacsbridge.kernel.audit_resource import instant
from pacsbridge.remote.addresses import connected
from pacsbridge.store.audit import Record

PORTS = {"udp": 514, "tcp": 601, "tls": 6514}
"""Scheme of an address → the port where it names none."""

_FACILITY = 10
"""security/authorization messages (RFC 5424 6.2.1)"""

_NOTICE, _WARNING = 5, 4
_MESSAGE_ID = "DICOM+RFC3881"
"""PS3.15 A.6.1."""

_SECONDS = 10.0
_SETTLE_SECONDS = 0.3
_TRY_SECONDS = 1.0
"""How long one that is tried may take to hang up: by TLS 1.3 it tells late that it does not trust us."""

_CERTIFICATE = {
    3: "there is no revocation list of its certificate's authority",
    12: "the revocation list of its certificate's authority has expired",
    23: "its certificate is revoked",
}
"""OpenSSL's X509_V_ERR_… → why a certificate is not trusted, where somebody can mend it."""

_LONGEST_DATAGRAM = 65_000
_BOM = b"\xef\xbb\xbf"


class Place(NamedTuple):
    """Where a receiver is."""

    scheme: str
    host: str
    port: int


def place_of(url: str) -> Place:
    """The place that an address such as `tls://audit.example:6514` names."""
    parts = urlsplit(url)
    return Place(parts.scheme, str(parts.hostname), parts.port or PORTS[parts.scheme])


def message(record: Record, host: str) -> bytes:
    """One record as a syslog message (RFC 5424 6); `host` is this machine's name."""
    event = record.event
    severity = _NOTICE if event.outcome == SUCCESS else _WARNING
    head = f"<{_FACILITY * 8 + severity}>1 {instant(record.recorded)} {host} pacsbridge {os.getpid()} "
    return (
        f"{head}{_MESSAGE_ID} - ".encode("ascii", "replace")
        + _BOM
        + audit_message(record.recorded, event, host)
    )


class Syslog:
    """A receiver; for one thread. `context` is for TLS, and opened for each connection."""

    def __init__(
        self,
        url: str,
        host: str,
        context: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        settle_seconds: float = _SETTLE_SECONDS,
    ) -> None:
        self._place = place_of(url)
        self._host = host
        self._context = context
        self._settle = settle_seconds
        self._socket: socket.socket | None = None

    def send(self, records: Sequence[Record]) -> None:
        """Send records. Raises Unavailable."""
        messages = [message(record, self._host) for record in records]
        try:
            if self._place.scheme == "udp":
                self._datagrams(messages)
            else:
                self._stream(b"".join(b"%d %b" % (len(one), one) for one in messages))
        except (OSError, UnicodeError) as exc:
            self.close()
            raise Unavailable(f"syslog: {_why(exc)}") from exc

    def try_out(self) -> str:
        """Connect, with the handshake of TLS, and see that the receiver keeps the connection.

        Returns what to say of it. Raises Unavailable, Misconfigured.
        """
        try:
            if self._place.scheme == "udp":
                self._connected(socket.SOCK_DGRAM)
                return "has an address; whether anybody listens there nobody tells (UDP)"
            connection = self._connected(socket.SOCK_STREAM)
            self._check(connection, _TRY_SECONDS)
        except (OSError, UnicodeError) as exc:
            self.close()
            raise Unavailable(f"syslog: {_why(exc)}") from exc
        version = connection.version() if isinstance(connection, ssl.SSLSocket) else "without TLS"
        return f"takes connections ({version})"

    def close(self) -> None:
        """Close the connection."""
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()

    def _datagrams(self, messages: Sequence[bytes]) -> None:
        """A receiver that is known not to listen is told by an error of the next send (ICMP)."""
        connection = self._connected(socket.SOCK_DGRAM)
        for one in messages:
            connection.send(one[:_LONGEST_DATAGRAM])
        self._check(connection, 0.05)

    def _stream(self, data: bytes) -> None:
        connection = self._connected(socket.SOCK_STREAM)
        self._check(connection, 0)
        connection.sendall(data)
        self._check(connection, self._settle)

    def _check(self, connection: socket.socket, seconds: float) -> None:
        """Raises OSError where the receiver has closed; whatever else it says is passed over."""
        readable, _writable, _broken = select.select([connection], [], [], seconds)
        if not readable:
            return
        connection.setblocking(False)  # what is readable may be of TLS itself
        try:
            said = connection.recv(4096)
        except (ssl.SSLWantReadError, BlockingIOError):
            return
        finally:
            connection.settimeout(_SECONDS)
        if not said and connection.type == socket.SOCK_STREAM:
            raise ConnectionResetError("closed")

    def _connected(self, kind: socket.SocketKind) -> socket.socket:
        if self._socket is None:
            self._socket = self._opened(kind)
        return self._socket

    def _opened(self, kind: socket.SocketKind) -> socket.socket:
        plain = connected(self._place.host, self._place.port, _SECONDS, kind)
        if self._place.scheme != "tls":
            return plain
        try:
            return self._context().wrap_socket(plain, server_hostname=self._place.host)
        except BaseException:
            plain.close()
            raise


def _why(fault: OSError | UnicodeError) -> str:
    """Why, in few words: libraries quote what they were given."""
    if isinstance(fault, (socket.gaierror, UnicodeError)):
        return "its name cannot be resolved"
    if isinstance(fault, ssl.SSLCertVerificationError):
        return _CERTIFICATE.get(fault.verify_code, "its certificate is not trusted")
    if isinstance(fault, ssl.SSLError):
        return "no TLS with it"
    if isinstance(fault, TimeoutError):
        return f"no answer within {_SECONDS:g} s"
    return fault.strerror or type(fault).__name__
