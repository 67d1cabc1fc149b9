"""How a table of keys is written as dataclasses, and walked."""

from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any

from pacsbridge.config.kinds import Kind


@dataclass(frozen=True, slots=True)
class Key:
    """One line of the table. `example` stands where there is no default; `derived` says what it is otherwise.

    `secret`: the value carries a secret, which is masked wherever it is shown (`Kind.masked`).
    """

    kind: Kind
    meaning: str
    example: Any = None
    derived: str | None = None
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """One table of the file: its path there ("" is the top), its attribute of what holds it, its class.

    `inside`: the innermost array of tables round it, "" where there is none.
    """

    path: str
    attribute: str
    cls: type
    repeated: bool
    meaning: str
    inside: str

    @property
    def name(self) -> str:
        """As it is called in the table round it."""
        return self.path.rpartition(".")[2]

    @property
    def array(self) -> str:
        """The array of tables whose members have its keys, "" where the file itself has them."""
        return self.path if self.repeated else self.inside


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
        return joined(self.section.path, self.name)


@dataclass(frozen=True, slots=True)
class _Table:
    """What a field says that stands for a table. `name`: in the file, where it isn't the field's."""

    cls: type
    repeated: bool
    name: str | None = None
    meaning: str | None = None


def joined(path: str, name: str) -> str:
    """The path of something in a table."""
    return f"{path}.{name}" if path else name


def key(kind: Kind, default: Any, meaning: str, **more: Any) -> Any:
    """A key and its default; without one (`...`) it must be given. `more`: the rest of `Key`."""
    line = Key(kind, meaning, **more)
    common: dict[str, Any] = {"metadata": {"key": line}, "repr": not line.secret}
    if default is ...:
        return field(**common)
    if isinstance(default, dict):
        return field(default_factory=dict, **common)
    return field(default=default, **common)


def section(cls: type) -> Any:
    """A TOML table."""
    return field(default_factory=cls, metadata={"table": _Table(cls, repeated=False)})


def tables(cls: type, name: str, meaning: str | None = None) -> Any:
    """A TOML array of tables, under its singular name. `meaning`: where the class's docstring doesn't fit."""
    return field(default=(), metadata={"table": _Table(cls, True, name, meaning)})


def sections(top: type) -> Iterator[Section]:
    """The tables of a configuration class at every depth, each before those in it, the top first."""
    yield from _from(Section("", "", top, repeated=False, meaning=_text(top), inside=""))


def _from(of: Section) -> Iterator[Section]:
    yield of
    for one in within(of):
        yield from _from(one)


def within(of: Section) -> Iterator[Section]:
    """The tables that stand in one."""
    for one in fields(of.cls):
        table: _Table | None = one.metadata.get("table")
        if table is not None:
            path = joined(of.path, table.name or one.name)
            meaning = table.meaning or _text(table.cls)
            yield Section(path, one.name, table.cls, table.repeated, meaning, of.array)


def _text(cls: type) -> str:
    return cls.__doc__ or ""


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
