"""Connections of both engines: many readers, one writer at a time, driver errors translated."""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from pacsbridge.errors import Misconfigured, NotUnderstood, PacsbridgeError, TooCostly, Unavailable
from pacsbridge.store.readers import Readers
from pacsbridge.store.sql import PATIENT, Ask, Patience, Sql

T = TypeVar("T")

BUSY_MILLISECONDS = 10_000
"""How long a writer waits for another process's transaction."""

_POOL_SECONDS = 5
"""How long a reader waits for a free connection."""

_TURN_SECONDS = 10
"""How long a writer waits for others of its process, which may be waiting for a database that is away."""

_PRIVATE = 0o600
"""The mode of a new database, which its log takes over: patients are in it, whoever may enter the folder."""

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

_DATA_CLASSES = frozenset({"22", "23", "54"})
"""SQLSTATE classes about the value: data exception, integrity, program limit (an index entry too long)."""


_CANCELED = "57014"
"""The SQLSTATE of a statement that has been stopped."""


class Database:
    """An engine with the pacsbridge way of reading and writing."""

    def __init__(self, url: str, data_dir: Path, password: str | None = None) -> None:
        self._url = _resolved(url, data_dir)
        if password is not None:
            self._url = self._url.set(password=password)
        self.embedded = self._url.get_backend_name() == "sqlite"
        self._lock = threading.Lock()
        self.engine = _sqlite(self._url) if self.embedded else _postgresql(self._url)
        self._readers = Readers(str(self._url.database))
        self._session = self._readers.session if self.embedded else self._session_of_server

    @property
    def label(self) -> str:
        """The address without its password."""
        return self._url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Close every connection."""
        self._readers.close()
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection in a read transaction: one consistent view."""
        with _translated(self.engine), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def asking(self, patience: Patience = PATIENT) -> Iterator[Ask]:
        """Statements as text in a read transaction: one consistent view, past the query builder's cost.

        TooCostly when they are ended; how many seconds each may take, a server knows by itself.
        """
        try:
            with self._session(patience) as ask:
                yield ask
        except Exception:  # to enter a translation costs as much as a small search
            with _translated_by_driver(self.engine):
                raise

    def one(self, statement: Sql) -> Sequence[tuple[Any, ...]]:
        """The rows of a statement that looks at few; it needs no transaction of its own."""
        if not self.embedded:
            with self.asking() as ask:
                return ask(statement)
        return self._embedded(lambda: self._readers.one(statement))

    def state(self) -> int | None:
        """A number that differs once anything has been committed; None where only a round trip would tell."""
        return self._embedded(self._readers.state) if self.embedded else None

    def _embedded(self, work: Callable[[], T]) -> T:
        """Work with the readers; a translation is entered for a fault alone."""
        try:
            return work()
        except (sqlite3.Error, UnicodeEncodeError, OverflowError):
            with _translated_by_driver(self.engine):
                raise

    @contextmanager
    def _session_of_server(self, patience: Patience) -> Iterator[Ask]:
        from pacsbridge.store import postgresql  # noqa: PLC0415 - its driver is an extra

        pooled = self.engine.raw_connection()
        try:
            yield postgresql.ask(cast(Any, pooled.driver_connection), patience.yields)
        finally:
            pooled.close()

    @contextmanager
    def write(self, *, durable: bool = True, patient: bool = False) -> Iterator[Connection]:
        """The only write transaction of all threads and processes; committed at the end.

        `durable=False` leaves the sync of an embedded database to a later commit: for what the packs can
        restore after a power cut. A server has power cuts of its own, that this process would not notice.
        `patient`: a statement may take as long as it takes, for migrations.
        """
        with self._turn(), _translated(self.engine), self.engine.connect() as plain:
            connection = plain.execution_options(
                pacsbridge_write=True, pacsbridge_durable=durable, pacsbridge_patient=patient
            )
            with connection.begin():
                yield connection

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=_TURN_SECONDS):
            raise Unavailable("the index is busy")
        try:
            yield
        finally:
            self._lock.release()


def embedded_file(url: str, data_dir: Path) -> Path | None:
    """The file of an embedded database, None for a server. Raises Misconfigured."""
    resolved = _resolved(url, data_dir)
    return Path(str(resolved.database)) if resolved.get_backend_name() == "sqlite" else None


def _resolved(url: str, data_dir: Path) -> URL:
    if url == "sqlite":
        return URL.create("sqlite", database=str(data_dir / "index.sqlite"))
    try:
        parsed = make_url(url)
    except ArgumentError as exc:
        raise Misconfigured("store.url: neither 'sqlite' nor a postgresql:// address") from exc
    if parsed.get_backend_name() == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        return parsed
    raise Misconfigured("store.url: neither 'sqlite' nor a postgresql:// address")


def _sqlite(url: URL) -> Engine:
    file = Path(str(url.database))
    file.parent.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):  # it opens, or says what is wrong, below
        file.touch(_PRIVATE, exist_ok=False)
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=8,
        pool_timeout=_POOL_SECONDS,
        connect_args={"timeout": BUSY_MILLISECONDS / 1000, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "foreign_keys=ON", "cache_size=-16000", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if not options.get("pacsbridge_write"):
            connection.exec_driver_sql("BEGIN")
            return
        level = "FULL" if options["pacsbridge_durable"] else "NORMAL"
        connection.exec_driver_sql(f"PRAGMA synchronous={level}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _postgresql(url: URL) -> Engine:
    try:
        from pacsbridge.store import postgresql  # noqa: PLC0415 - its driver is an extra
    except ImportError as exc:
        raise Misconfigured(
            "store.url: PostgreSQL needs the extra: pip install 'pacsbridge[postgres]'"
        ) from exc
    return postgresql.engine(url)


@contextmanager
def _translated_by_driver(engine: Engine) -> Iterator[None]:
    """Errors of the bare driver as those of the query builder."""
    driver = engine.dialect.loaded_dbapi.Error
    try:
        with _translated(engine):
            yield
    except driver as exc:
        raise _translation(exc, engine) from exc


def _translation(fault: Exception, engine: Engine) -> PacsbridgeError:
    """What a driver's error is to pacsbridge: bad data is the caller's, all else passes with time."""
    if _is_data_fault(fault):
        return NotUnderstood(f"the index refuses the value ({type(fault).__name__})")
    if getattr(fault, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT or _sqlstate(fault) == _CANCELED:
        return TooCostly("this takes longer than may be spent on one answer at the moment: ask for less")
    return Unavailable(_away(fault, engine))


@contextmanager
def _translated(engine: Engine) -> Iterator[None]:
    """Errors of the query builder as pacsbridge errors."""
    try:
        yield
    except DBAPIError as exc:
        raise _translation(exc.orig if isinstance(exc.orig, Exception) else exc, engine) from exc
    except PoolTimeoutError as exc:
        raise Unavailable("the index is away (no connection is free)") from exc
    except SQLAlchemyError as exc:
        raise NotUnderstood(f"the index refuses the statement ({type(exc).__name__})") from exc
    except UnicodeEncodeError as exc:
        raise NotUnderstood("the index refuses text that is not Unicode") from exc
    except OverflowError as exc:
        raise NotUnderstood("the index refuses a number of that size") from exc


def _away(fault: BaseException | None, engine: Engine) -> str:
    """What is wrong, and what to do where waiting does not help."""
    if getattr(fault, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
        name = engine.url.database
        return f"{name} is damaged: restore it, or move it away and run `pacsbridge reindex`"
    return f"the index is away ({type(fault).__name__})"


def _sqlstate(fault: BaseException) -> str:
    """PostgreSQL's word for an error; empty for SQLite's."""
    return str(getattr(fault, "sqlstate", None) or "")


def _is_data_fault(fault: BaseException) -> bool:
    if state := _sqlstate(fault):
        return state[:2] in _DATA_CLASSES
    names = {base.__name__ for base in type(fault).__mro__}
    return bool(names & {"DataError", "IntegrityError", "ProgrammingError", "NotSupportedError"})
