"""What is kept under a name for the whole database: a text each."""

from sqlalchemy import Connection, select

from pacsbridge.store import schema
from pacsbridge.store.upsert import upsert


def recall(connection: Connection, name: str) -> str | None:
    """What is kept under a name."""
    c = schema.setting.c
    found: str | None = connection.execute(select(c.value).where(c.name == name)).scalar()
    return found


def remember(connection: Connection, name: str, value: str) -> bool:
    """Keep a value under a name; whether it is another than before."""
    if recall(connection, name) == value:
        return False
    upsert(connection, schema.setting, [{"name": name, "value": value}], key=("name",))
    return True
