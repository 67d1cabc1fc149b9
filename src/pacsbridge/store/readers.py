"""Readers of an embedded database: a connection for each thread, so that a point read costs a point read."""

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pacsbridge.store.sql import Ask, Sql

_STATEMENTS = 500
"""How many statements a connection keeps prepared."""

_STEPS = 5_000
"""How many steps SQLite takes between two looks at the clock: a fraction of a millisecond."""

_BUSY_SECONDS = 5
"""How long a reader waits for a database that is being recovered."""

_PRAGMAS = ("query_only=ON", "cache_size=-16000", "temp_store=MEMORY")


class Readers:
    """Connections to one file, made as threads ask for them."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._all: list[sqlite3.Connection] = []

    def connection(self) -> sqlite3.Connection:
        """The connection of this thread."""
        found: sqlite3.Connection | None = getattr(self._mine, "connection", None)
        return found or self._open()

    @contextmanager
    def session(self, seconds: float) -> Iterator[Ask]:
        """Statements that see one moment, and have so many seconds together."""
        connection = self.connection()
        deadline = time.monotonic() + seconds

        def ask(statement: Sql) -> Sequence[tuple[Any, ...]]:
            return connection.execute(statement.text, statement.values).fetchall()

        connection.execute("BEGIN")
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
        try:
            yield ask
        finally:
            connection.set_progress_handler(None, 0)
            connection.rollback()

    def close(self) -> None:
        """Close every connection; a thread that asks again has a new one."""
        with self._lock:
            for connection in self._all:
                connection.close()
            self._all.clear()
        self._mine = threading.local()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._file,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_STATEMENTS,
        )
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        with self._lock:
            self._all.append(connection)
        self._mine.connection = connection
        return connection
