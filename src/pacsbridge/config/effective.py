"""The settings in force, flat and without secrets, as `pacsbridge check` prints them."""

import re
from pathlib import Path
from typing import Any

from pacsbridge.config.schema import SECTIONS, Config
from pacsbridge.config.table import Key, Section, entries

MASK = "***"
_PASSWORD = re.compile(r"(?<=:)[^:@/]*(?=@)|(?<=password=)[^&]*")


def effective(config: Config) -> dict[str, Any]:
    """Path of each key → its value; of repeated tables a list of tables."""
    shown: dict[str, Any] = {}
    for one in SECTIONS:
        held: Any = getattr(config, one.attribute) if one.attribute else config
        if one.repeated:
            shown[one.name] = [_values(one, table) for table in held]
        else:
            prefix = f"{one.name}." if one.name else ""
            shown |= {f"{prefix}{name}": value for name, value in _values(one, held).items()}
    return shown


def _values(of: Section, held: Any) -> dict[str, Any]:
    return {entry.name: _shown(entry.key, getattr(held, entry.name)) for entry in entries(of)}


def _shown(key: Key, value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return list(value)
    return _PASSWORD.sub(MASK, value) if key.secret and isinstance(value, str) else value
