"""Fresh databases at once: what the migrations do to a worker's first one is repeated on the others.

Building tables through Alembic takes a tenth of a second, and thousands of tests begin with an empty one.
Databases that hold anything are migrated as always.
"""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from pacsbridge.store import migrations
from pacsbridge.store.engine import Database

_CHANGES = ("ALTER", "CREATE", "DELETE", "DROP", "INSERT", "UPDATE")


class Repeated:
    """Stands for `migrations.migrate`, and does the same."""

    def __init__(self) -> None:
        self._migrate: Callable[[Database], int] = migrations.migrate
        self._statements: dict[tuple[object, ...], list[tuple[str, Any]]] = {}

    def __call__(self, database: Database) -> int:
        """Bring the schema up to date; how many migrations ran."""
        key = (database.engine.dialect.name, *migrations.MIGRATIONS)
        if key not in self._statements:
            return self._noted(key, database)
        with database.write(patient=True) as connection:
            if not sa.inspect(connection).get_table_names():
                for statement, values in self._statements[key]:
                    connection.exec_driver_sql(statement, values or None)
                return len(migrations.MIGRATIONS)
        return self._migrate(database)

    def _noted(self, key: tuple[object, ...], database: Database) -> int:
        statements: list[tuple[str, Any]] = []

        def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_more: Any) -> None:
            if statement.lstrip().upper().startswith(_CHANGES):
                statements.append((statement, values))

        sa.event.listen(database.engine, "before_cursor_execute", note)
        try:
            done = self._migrate(database)
        finally:
            sa.event.remove(database.engine, "before_cursor_execute", note)
        if done == len(migrations.MIGRATIONS):
            self._statements[key] = statements
        return done
