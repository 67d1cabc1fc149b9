"""How a table of keys is written as dataclasses, and walked."""

from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any

from pacsbridge.config.kinds import Kind


@dataclass(frozen=True, slots=True)
class Key:
    """One line of the table. `example` stands where there is no default; `derived` says what it is otherwise.

    `secret`: the value may carry a password, which is masked wherever it is shown.
    """

    kind: Kind
    meaning: str
    example: Any = None
    derived: str | None = None
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """One table of the file: its name there ("" is the top), its attribute of Config, its class."""

    name: str
    attribute: str
    cls: type
    repeated: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """A key where it stands; `required`: it has no default."""

    section: Section
    name: str
    key: Key
    default: Any
    required: bool

    @property
    def path(self) -> str:
        """As it is written in messages: `fhir.port`."""
        return f"{self.section.name}.{self.name}" if self.section.name else self.name


def key(kind: Kind, default: Any, meaning: str, **more: Any) -> Any:
    """A key and its default; without one (`...`) it must be given. `more`: the rest of `Key`."""
    metadata = {"key": Key(kind, meaning, **more)}
    if default is ...:
        return field(metadata=metadata)
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


def section(cls: type) -> Any:
    """A TOML table."""
    return field(default_factory=cls, metadata={"section": cls})


def tables(cls: type, name: str) -> Any:
    """A TOML array of tables, under its singular name."""
    return field(default=(), metadata={"tables": cls, "name": name})


def sections(top: type) -> Iterator[Section]:
    """The tables of a configuration class, the top first."""
    yield Section("", "", top, False)
    for one in fields(top):
        if cls := one.metadata.get("section"):
            yield Section(one.name, one.name, cls, False)
        elif cls := one.metadata.get("tables"):
            yield Section(one.metadata["name"], one.name, cls, True)


def entries(of: Section) -> Iterator[Entry]:
    """The keys of one table."""
    for one in fields(of.cls):
        if line := one.metadata.get("key"):
            required = one.default is MISSING and one.default_factory is MISSING
            yield Entry(of, one.name, line, _default(one), required)


def _default(one: Field[Any]) -> Any:
    if one.default_factory is not MISSING:
        return one.default_factory()
    return None if one.default is MISSING else one.default
