"""The settings in force, flat and without secrets, as `pacsbridge check` prints them."""

from pathlib import Path
from typing import Any

from pacsbridge.config.schema import SECTIONS, Config
from pacsbridge.config.table import Key, Section, entries, within


def effective(config: Config) -> dict[str, Any]:
    """Path of each key → its value; of repeated tables a list of tables, which have their own in turn."""
    return _values(SECTIONS[0], config)


def _values(of: Section, held: Any) -> dict[str, Any]:
    shown = {entry.name: _shown(entry.key, getattr(held, entry.name)) for entry in entries(of)}
    for one in within(of):
        below = getattr(held, one.attribute)
        if one.repeated:
            shown[one.name] = [_values(one, member) for member in below]
        else:
            shown |= {f"{one.name}.{name}": value for name, value in _values(one, below).items()}
    return shown


def _shown(key: Key, value: Any) -> Any:
    if key.secret and value:
        return key.kind.masked(value)
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
