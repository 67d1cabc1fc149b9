"""One peer's connection: TLS handshake, reading and sending with deadlines, without polling."""

import contextlib
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator

from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket

from pacsbridge.dimse.settings import DimseSettings

_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)
_OPTIONS: tuple[tuple[int, str, int], ...] = (
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 30),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 10),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
    (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
)
"""A vanished peer is noticed after a minute; answers leave at once. Set where the system knows the name."""

VANISHED = 60
"""Seconds until what a peer has not acknowledged ends the connection; keep-alive would wait for that."""

_NOT_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def acknowledge(sock: socket.socket) -> None:
    """Acknowledges now and for a while: a sender with Nagle's algorithm on waits for it.

    The kernel goes back to delayed acknowledgements by itself, so this is said again after each read.
    """
    if _QUICKACK is not None:
        sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


class Waker:
    """A pipe that ends another thread's `poll`; setting it after `close` is harmless."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: tuple[int, int] | None = os.pipe()
        os.set_blocking(self._ends[0], False)
        os.set_blocking(self._ends[1], False)

    def fileno(self) -> int:
        """The descriptor to poll for reading; -1 when closed."""
        return self._ends[0] if self._ends else -1

    def set(self) -> None:
        """Ends the poll under way, or else the next one."""
        with self._lock, contextlib.suppress(BlockingIOError):  # full: the poll ends anyway
            if self._ends:
                os.write(self._ends[1], b"\0")

    def clear(self) -> None:
        """Makes the pipe silent again."""
        with self._lock, contextlib.suppress(BlockingIOError):  # empty: it is silent already
            if self._ends:
                os.read(self._ends[0], 4096)

    def close(self) -> None:
        """Gives both descriptors back."""
        with self._lock:
            for end in self._ends or ():
                os.close(end)
            self._ends = None


class Connection(AssociationSocket):
    """pynetdicom's socket with our reading and sending: non-blocking, in large pieces, with deadlines.

    Deadlines are readings of `time.monotonic()`. Everything but `wake` belongs to the provider's thread.
    """

    def __init__(self, assoc: Association, client: socket.socket, settings: DimseSettings) -> None:
        super().__init__(assoc, client_socket=client)
        self._settings = settings
        self._waker = Waker()
        self._poller = select.poll()
        self.is_open = False

    def open(self) -> None:
        """Sets the socket's options and shakes hands where TLS is on: here, and not in the accept loop.

        OSError (ssl.SSLError and TimeoutError are) if the peer does not manage in time.
        """
        sock = self._socket()
        for level, name, value in self._options():
            if hasattr(socket, name):
                sock.setsockopt(level, getattr(socket, name), value)
        if self._settings.tls is not None:
            self.socket = sock = self._settings.tls.wrap_socket(
                sock, server_side=True, do_handshake_on_connect=False
            )
            sock.settimeout(self._settings.limits.first_pdu)
            sock.do_handshake()
        sock.setblocking(False)
        self._poller.register(sock.fileno(), select.POLLIN)
        self._poller.register(self._waker.fileno(), select.POLLIN)
        self.is_open = True

    @property
    def certificate(self) -> bytes | None:
        """What the peer has shown of itself, in DER; None where it was not asked to."""
        return self.socket.getpeercert(binary_form=True) if isinstance(self.socket, ssl.SSLSocket) else None

    def _options(self) -> Iterator[tuple[int, str, int]]:
        """Those of each socket; the system's patience with answers must not be shorter than ours."""
        yield from _OPTIONS
        if self._settings.limits.send <= VANISHED:
            yield socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", VANISHED * 1000

    def _socket(self) -> socket.socket:
        if self.socket is None:
            raise ConnectionError("the connection is closed")
        return self.socket

    def wake(self) -> None:
        """Ends a `read` that waits in another thread."""
        self._waker.set()

    def read(self, target: memoryview, deadline: float) -> int:
        """Bytes read into `target`; 0 when woken or late. EOFError or OSError: the peer is gone."""
        sock = self._socket()
        while True:
            try:
                count = sock.recv_into(target)
            except _NOT_YET:
                if not self._wait(deadline):
                    return 0
                continue
            if not count:
                raise EOFError
            acknowledge(sock)
            return count

    def _wait(self, deadline: float) -> bool:
        """Whether there is something to read before the deadline; False also when woken."""
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            return False
        ready = self._poller.poll(remaining * 1000 + 1)
        if any(descriptor == self._waker.fileno() for descriptor, _ in ready):
            self._waker.clear()
            return False
        return bool(ready)

    def send(self, bytestream: bytes) -> None:
        """Sends all of it; Evt17 (transport connection closed) where the peer is gone or does not read."""
        deadline = time.monotonic() + self._settings.limits.send
        rest = memoryview(bytestream)
        try:
            while rest:
                rest = rest[self._send_some(rest, deadline) :]
        except OSError:
            self.event_queue.put("Evt17")

    def _send_some(self, data: memoryview, deadline: float) -> int:
        """Bytes that the socket took now, after waiting for room where there was none; TimeoutError."""
        sock = self._socket()
        try:
            return sock.send(data)
        except _NOT_YET:
            room = select.poll()
            room.register(sock.fileno(), select.POLLOUT)
            if not room.poll(max(deadline - time.monotonic(), 0) * 1000):
                raise TimeoutError("the peer does not take the answer") from None
            return 0

    def _shutdown_socket(self) -> None:
        """Closes the socket even when the peer has reset it, where the base class would leave it open."""
        if self.socket is not None:
            with contextlib.suppress(OSError):  # ENOTCONN: the peer was quicker
                self.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close()

    def sever(self) -> None:
        """Ends the connection from another thread: whoever reads or sends finds it closed."""
        sock = self.socket
        if sock is not None:
            with contextlib.suppress(OSError):  # it was closed meanwhile
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def dispose(self) -> None:
        """Gives back every descriptor."""
        self._shutdown_socket()
        self._waker.close()
