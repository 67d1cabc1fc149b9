"""One deadline for a whole answer, its head and its body.

A timeout on each read never ends an answer that comes a byte at a time. So a watch shuts the socket when the
time is over, which wakes whoever reads from it.
"""

import socket
import threading
from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any

_watch: ContextVar["Watch | None"] = ContextVar("_watch", default=None)


class Watch:
    """Shuts the connection that this thread reads an answer from, after so many seconds of real time.

    `connection` is that one, also when the watch is over.
    """

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self.connection: socket.socket | None = None
        self._over = False
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self.end)
        self._timer.daemon = True

    def __enter__(self) -> "Watch":
        self._token = _watch.set(self)
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            self._over = True
        _watch.reset(self._token)

    def on(self, connection: socket.socket) -> None:
        """From now on the answer comes through this socket."""
        with self._lock:
            self.connection = connection
            if self.expired:
                _shut(connection)

    def end(self) -> None:
        """The time is over; for any thread."""
        with self._lock:
            if self._over:
                return
            self.expired = True
            if self.connection is not None:
                _shut(self.connection)


def _shut(connection: socket.socket) -> None:
    """Not the TLS socket's own way, which would make the reader take what is left for plain text."""
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def watched(connection: type[Any]) -> type[Any]:
    """A class of urllib3's connections that shows its socket to the thread's watch before it reads."""
    if hasattr(connection, "pacsbridge_watched"):
        return connection

    def getresponse(self: Any) -> Any:
        watch = _watch.get()
        if watch is not None:
            watch.on(self.sock)
        return connection.getresponse(self)

    methods = {"getresponse": getresponse, "pacsbridge_watched": True}
    return type(f"Watched{connection.__name__}", (connection,), methods)
