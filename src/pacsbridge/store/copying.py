"""A copy of an embedded database while others read and write it."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from pacsbridge.errors import Unavailable

BESIDE = ("-wal", "-shm", "-journal")
"""Endings of the files that SQLite keeps beside a database; those of another database would spoil it."""

_REASONS = {"SQLITE_FULL": "disk full", "SQLITE_NOTADB": "it is damaged", "SQLITE_CORRUPT": "it is damaged"}


def copy_embedded(file: Path, target: Path) -> None:
    """Copy a database as it is at one moment, into one file that is durable on return.

    Others read and write meanwhile: what they commit later is not in it. Raises Unavailable.
    """
    target.unlink(missing_ok=True)
    target.touch(mode=0o600, exist_ok=False)
    try:
        with (
            closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as exc:
        target.unlink(missing_ok=True)
        name = getattr(exc, "sqlite_errorname", type(exc).__name__)
        raise Unavailable(f"cannot copy {file.name}: {_REASONS.get(name, name)}") from exc
    fd = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
