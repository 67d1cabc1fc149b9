"""The table of keys as text: the annotated default file, and the reference."""

import json
import textwrap
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pacsbridge.config.schema import ENTRIES, SECTIONS
from pacsbridge.config.table import Entry, Section

_WIDTH = 100

_HEAD = """\
# pacsbridge: every key with its default.
#
# Keys with a hash before them have no default; what stands there is an example. Any key can be overridden
# by the environment: PACSBRIDGE__FHIR__PORT=8081, lists and tables as JSON or TOML. Relative paths are taken
# from the working directory. Without --config, PACSBRIDGE_CONFIG names the file, else ./pacsbridge.toml is
# read where it exists.
"""

_REFERENCE_HEAD = """\
# Configuration

`pacsbridge.toml` in this folder holds every key with its default; copy what you change.
"""

RULES = """\
The file is named by `--config`, else by `PACSBRIDGE_CONFIG`, else it is `./pacsbridge.toml`; without a file
the defaults hold.

The environment overrides the file: `PACSBRIDGE__FHIR__PORT=8081` is `fhir.port`, `PACSBRIDGE__DATA_DIR` is
`data_dir`; lists and tables are written as JSON or TOML. An array of tables is a JSON array in place of all
that the file has of it (`PACSBRIDGE__PEER='[{"ae_title": "CT1"}]'`). An empty variable counts as none.
Secrets come from the environment or from files that a `…_file` key names; `pacsbridge check` prints the
settings in force with secrets masked. Relative paths are taken from the working directory.

A key that is not known, or a value that does not fit, ends the command with exit code 2 and a line that names
the file, the key, what is expected and the nearest known key.
"""
"""How settings are found and read, in Markdown."""


def toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        members = (f"{json.dumps(name, ensure_ascii=False)} = {toml(one)}" for name, one in value.items())
        return f"{{ {', '.join(members)} }}" if value else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(one) for one in value)}]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(f"./{value}" if _is_relative(value) else value, default=str, ensure_ascii=False)


def _is_relative(value: Any) -> bool:
    return isinstance(value, Path) and not value.is_absolute()


def annotated() -> str:
    """The default configuration file, with the meaning of every key above it."""
    parts = [_HEAD, *("\n".join(_section_lines(one)) for one in SECTIONS)]
    return "\n".join(parts)


def _section_lines(of: Section) -> Iterator[str]:
    hash_ = "# " if of.array else ""
    if of.path:
        yield from _comment(of.meaning)
        yield f"{hash_}{_title(of)}"
    for entry in _of(of):
        yield from _comment(_meaning(entry))
        yield f"{hash_}{_assignment(entry)}" if hash_ else _assignment(entry, "# ")
    yield ""


def _title(of: Section) -> str:
    return f"[[{of.path}]]" if of.repeated else f"[{of.path}]"


def _of(one: Section) -> list[Entry]:
    return [entry for entry in ENTRIES if entry.section == one]


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH)]


def _meaning(entry: Entry) -> str:
    derived = f" Default: {entry.key.derived}." if entry.key.derived else ""
    return f"{entry.key.meaning}{derived}"


def _has_default(entry: Entry) -> bool:
    return entry.default not in (None, "", ()) and not entry.required


def _assignment(entry: Entry, without_default: str = "") -> str:
    """`key = value`: its default, else its example behind `without_default`."""
    value = entry.default if _has_default(entry) else entry.key.example
    if entry.default == {}:
        return f"{entry.name} = {{}}" + f"  # {toml(entry.key.example)}"
    return f"{'' if _has_default(entry) else without_default}{entry.name} = {toml(value)}"


def markdown() -> str:
    """The reference of every key, one table a section."""
    return f"{_REFERENCE_HEAD}\n{RULES}\n{tables()}\n"


def tables(only: Collection[str] = ()) -> str:
    """The keys alone; of some sections, by their paths in the file, or of all with what is planned."""
    if only:
        return "\n".join(_section_table(one) for one in SECTIONS if one.path in only)
    return "\n".join(_section_table(one) for one in SECTIONS)


def titles() -> list[str]:
    """The tables of the file as they are written there."""
    return [_title(one) for one in SECTIONS if one.path]


def _section_table(of: Section) -> str:
    title = _title(of) if of.path else "At the top"
    text = f"{of.meaning}\n" if of.path else "These stand before the first table.\n"
    head = ["| Key | Default | What it is |", "|---|---|---|"]
    return "\n".join([f"## {title}", "", text, *head, *(_row(entry) for entry in _of(of)), ""])


def _row(entry: Entry) -> str:
    meaning = f"{entry.key.meaning} {_sentence(entry.key.kind.expects)}".replace("|", "\\|")
    return f"| `{entry.name}` | {_default(entry)} | {meaning} |"


def _sentence(expects: str) -> str:
    return f"Must be {expects}."


def _default(entry: Entry) -> str:
    if entry.required:
        return "must be given"
    if entry.key.derived:
        return entry.key.derived
    return f"`{toml(entry.default)}`" if entry.default not in (None, "") else "none"
