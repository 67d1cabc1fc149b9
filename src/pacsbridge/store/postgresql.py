"""PostgreSQL: sessions that see one moment, one writer of many processes, connections that give up.

A server that is frozen, or behind a dead network, answers nothing at all; the driver would wait for ever.
"""

import math
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

from pacsbridge.store.sql import READER_SECONDS, Ask, Sql

_CONNECT_SECONDS = 3
_POOL_SECONDS = 5
_WRITER_SECONDS = 60
"""How long a statement may take; a writer also waits for its turn."""

_CANCEL_SECONDS = 1
"""How long it may take to tell the server to end a statement."""

_GRACE_SECONDS = 2
"""How much longer its answer may take before the server counts as frozen."""

_WRITER_LOCK = 0x70616373
"""The key of the advisory lock that makes one writer of many processes."""

_SESSION = f"-c statement_timeout={READER_SECONDS * 1000} -c default_transaction_isolation=repeatable\\ read"
"""A reader sees one moment, however many queries it asks."""

_WRITER = (
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = on; "
    f"SET LOCAL statement_timeout = {_WRITER_SECONDS * 1000}; "
    f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})"
)
"""A writer sees what was committed while it waited for its turn; its commit outlives the server's crash."""


class Impatient(psycopg.Connection[Any]):
    """`patience` is how many seconds the next answers may take; beyond it the connection is closed.

    `yields` is asked meanwhile: once it is True, the server is told to end the statement.
    """

    patience: float = 3
    """Where nothing else is said: for a ping, a rollback, a look at one row."""

    yields: Callable[[], bool] = staticmethod(lambda: False)

    def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
        """As in the base class, with a limit. Raises OperationalError."""
        try:
            return super().wait(_limited(gen, self.patience, self._look()), *arguments, **options)
        except _NoAnswer:
            self.pgconn.finish()
            raise

    def _look(self) -> Callable[[], object]:
        """Ends the statement, once."""
        told = False

        def look() -> None:
            nonlocal told
            if not told and self.yields():
                told = True
                with suppress(psycopg.Error):
                    self.cancel_safe(timeout=_CANCEL_SECONDS)

        return look


class _NoAnswer(psycopg.OperationalError):
    """The server counts as frozen."""


def _limited(
    exchange: Generator[Any, Any, Any], seconds: float, look: Callable[[], object]
) -> Generator[Any, Any, Any]:
    """The driver's exchange with the server; at each look that finds nothing ready, it may be given up."""
    end = time.monotonic() + seconds
    try:
        wanted = next(exchange)
        while True:
            ready = yield wanted
            if not ready:
                look()
                if time.monotonic() > end:
                    raise _NoAnswer("no answer in time")
            wanted = exchange.send(ready)
    except StopIteration as done:
        return done.value


def engine(url: URL) -> Engine:
    """An engine of such connections."""
    made = create_engine(
        url,
        hide_parameters=True,
        pool_size=8,
        pool_pre_ping=True,
        pool_timeout=_POOL_SECONDS,
        connect_args={"connect_timeout": _CONNECT_SECONDS, "options": _SESSION},
    )

    @event.listens_for(made, "do_connect")
    def _connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
        return Impatient.connect(*arguments, **options)

    @event.listens_for(made, "begin")
    def _begin(connection: Connection) -> None:
        impatient: Any = connection.connection.driver_connection
        impatient.patience = _prepared(connection) + _GRACE_SECONDS

    @event.listens_for(made, "checkin")
    def _rest(impatient: Any, _record: Any) -> None:
        if impatient is not None:
            impatient.patience, impatient.yields = Impatient.patience, Impatient.yields

    return made


def _prepared(connection: Connection) -> float:
    """Begin as a reader or a writer; how many seconds a statement may take."""
    options = connection.get_execution_options()
    if not options.get("pacsbridge_write"):
        return READER_SECONDS
    connection.exec_driver_sql(_WRITER)
    if not options["pacsbridge_patient"]:
        return _WRITER_SECONDS
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    return math.inf


def ask(impatient: Impatient, yields: Callable[[], bool]) -> Ask:
    """Asks PostgreSQL; `yields` ends a statement."""
    impatient.patience, impatient.yields = READER_SECONDS + _GRACE_SECONDS, yields

    def ask_(statement: Sql) -> Sequence[tuple[Any, ...]]:
        return impatient.execute(statement.text.replace("?", "%s"), statement.values).fetchall()

    return ask_
