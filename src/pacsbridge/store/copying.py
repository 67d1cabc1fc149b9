"""A copy of an embedded database while others read and write it."""

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from pacsbridge.errors import Unavailable

BESIDE = ("-wal", "-shm", "-journal")
"""Endings of the files that SQLite keeps beside a database; those of another database would spoil it."""

_REASONS = {
    "SQLITE_FULL": "disk full",
    "SQLITE_NOTADB": "it is damaged",
    "SQLITE_CORRUPT": "it is damaged",
    "SQLITE_CANTOPEN": "it cannot be opened",
    "SQLITE_IOERR_READ": "the disk reports an error",
}


def copy_embedded(file: Path, target: Path) -> None:
    """Copy a database as it is at one moment, into one file that is durable on return.

    Others read and write meanwhile: what they commit later is not in it. Raises Unavailable, with the reason,
    OSError where there is no room for the copy.
    """
    target.unlink(missing_ok=True)
    target.touch(mode=0o600, exist_ok=False)
    try:
        with (
            closing(sqlite3.connect(f"{file.absolute().as_uri()}?{_mode(file)}", uri=True)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as exc:
        target.unlink(missing_ok=True)
        name = getattr(exc, "sqlite_errorname", type(exc).__name__)
        if name == "SQLITE_FULL":  # of the two only the copy is written to
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target)) from exc
        raise Unavailable(_REASONS.get(name, name)) from exc
    fd = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def is_damage(fault: Unavailable) -> bool:
    """Whether a copy failed for what is in the database, not for how it can be got at."""
    return not isinstance(fault.__cause__, sqlite3.OperationalError)


def _mode(file: Path) -> str:
    """How to open it: on a read-only disk SQLite cannot make the files that it has beside a database."""
    alone = not file.with_name(f"{file.name}-wal").exists()
    return "immutable=1" if alone and os.statvfs(file).f_flag & os.ST_RDONLY else "mode=ro"
