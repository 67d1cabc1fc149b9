"""One deadline for a whole answer, its head and its body.

A timeout on each read never ends an answer that comes a byte at a time. So a watch shuts the socket when the
time is over, which wakes whoever reads from it. One thread looks after all of them: a thread for each would
have to be let in twice before a request is sent, by threads that are busy with the answers before.
"""

import math
import socket
import threading
import time
from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any

_watch: ContextVar["Watch | None"] = ContextVar("_watch", default=None)


class _Watchman:
    """Ends watches when their time is over, in a thread that begins with the first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watches: set[Watch] = set()
        self._next = math.inf
        """When he looks again; he may look early, never late."""
        self._thread: threading.Thread | None = None

    def take(self, watch: "Watch") -> None:
        with self._changed:
            self._watches.add(watch)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watchman", daemon=True)
                self._thread.start()
            if watch.deadline < self._next:
                self._changed.notify()

    def release(self, watch: "Watch") -> None:
        with self._changed:
            self._watches.discard(watch)

    def _run(self) -> None:
        while True:
            for watch in self._late():
                watch.end()

    def _late(self) -> "list[Watch]":
        """Wait for the next deadline, or for an earlier one; those whose time is over, which are let go."""
        with self._changed:
            self._next = min((one.deadline for one in self._watches), default=math.inf)
            left = self._next - time.monotonic()
            self._changed.wait(None if left == math.inf else min(max(left, 0), threading.TIMEOUT_MAX))
            now = time.monotonic()
            late = [one for one in self._watches if one.deadline <= now]
            self._watches.difference_update(late)
            return late


_watchman = _Watchman()


class Watch:
    """Shuts the connection that this thread reads an answer from, after so many seconds of real time.

    `connection` is that one, also when the watch is over. `deadline` is by the monotonic clock.
    """

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self.connection: socket.socket | None = None
        self.deadline = math.inf
        self._seconds = seconds
        self._over = False
        self._lock = threading.Lock()

    def __enter__(self) -> "Watch":
        self._token = _watch.set(self)
        self.deadline = time.monotonic() + self._seconds
        _watchman.take(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        _watchman.release(self)
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
