"""Readers of an embedded database: connections that go from hand to hand, as opening one costs a search."""

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pacsbridge.store.sql import Ask, Patience, Sql

_STATEMENTS = 500
"""How many statements a connection keeps prepared."""

_STEPS = 5_000
"""How many steps SQLite takes between two looks at the clock: a fraction of a millisecond."""

_BUSY_SECONDS = 5
"""How long a reader waits for a database that is being recovered."""

_IDLE = 16
"""Connections that are kept for the next readers."""

_PRAGMAS = ("query_only=ON", "cache_size=-16000", "temp_store=MEMORY")


class Readers:
    """Connections to one file: as many as read at the same time."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._idle: deque[sqlite3.Connection] = deque()
        self._witness: sqlite3.Connection | None = None
        self._witnessing = threading.Lock()

    def state(self) -> int:
        """A number that differs once anything has been committed, by whatever process.

        Only one connection can tell: each counts in its own way (SQLite, PRAGMA data_version).
        """
        with self._witnessing:
            if self._witness is None:
                self._witness = self._open()
            return int(self._witness.execute("PRAGMA data_version").fetchone()[0])

    def one(self, statement: Sql) -> Sequence[tuple[Any, ...]]:
        """The rows of one statement."""
        connection = self._take()
        try:
            return connection.execute(statement.text, statement.values).fetchall()
        finally:
            self._give_back(connection)

    @contextmanager
    def session(self, patience: Patience) -> Iterator[Ask]:
        """Statements that see one moment."""
        connection = self._take()
        deadline = time.monotonic() + patience.seconds

        def over() -> bool:
            return time.monotonic() > deadline or patience.yields()

        def ask(statement: Sql) -> Sequence[tuple[Any, ...]]:
            return connection.execute(statement.text, statement.values).fetchall()

        try:
            connection.execute("BEGIN")
            connection.set_progress_handler(over, _STEPS)
            yield ask
        finally:
            connection.set_progress_handler(None, 0)
            connection.rollback()
            self._give_back(connection)

    def close(self) -> None:
        """Close every connection that nobody reads with."""
        with self._witnessing:
            if self._witness is not None:
                self._witness.close()
                self._witness = None
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> sqlite3.Connection:
        """The connection that was used last: what it needs is still at hand."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._open()

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if len(self._idle) < _IDLE:
            self._idle.append(connection)
        else:
            connection.close()

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
        return connection
