"""INSERT … ON CONFLICT … DO UPDATE, the same for both engines."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import Executable

_INSERT = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[dict[str, Any]],
    key: tuple[str, ...],
    keep: tuple[str, ...] = (),
) -> None:
    """Insert `rows` (all with the same columns), or update those whose `key` is there, but for `keep`."""
    if rows:
        columns = tuple(rows[0])
        connection.execute(_statement(connection.dialect.name, table, columns, key, keep), rows)


@lru_cache(maxsize=64)
def _statement(
    dialect: str, table: Table, columns: tuple[str, ...], key: tuple[str, ...], keep: tuple[str, ...]
) -> Executable:
    insert: Any = _INSERT[dialect](table)
    kept = {*key, *keep}
    changed = {name: insert.excluded[name] for name in columns if name not in kept}
    if not changed:
        return insert.on_conflict_do_nothing(index_elements=list(key))  # type: ignore[no-any-return]
    return insert.on_conflict_do_update(index_elements=list(key), set_=changed)  # type: ignore[no-any-return]
