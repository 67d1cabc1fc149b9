"""Where settings come from: a TOML file, the environment over it, the defaults under it.

    given     what stands in the file and the environment, by path, with its origin
    checked   unknown paths and planned features are told, with the nearest known key
    read      every value by the kind of its key
    settled   what one key says about another (`checks`)

All faults of one stage are told at once.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pacsbridge import __version__
from pacsbridge.config.checks import faults_between, with_derived
from pacsbridge.config.kinds import Kind, Planned
from pacsbridge.config.schema import ENTRIES, PLANNED, SECTIONS, Config
from pacsbridge.config.table import Entry, Section
from pacsbridge.errors import Misconfigured

FILE_VARIABLE = "PACSBRIDGE_CONFIG"
PREFIX = "PACSBRIDGE__"
DEFAULT_FILE = Path("pacsbridge.toml")

_KEYS: Mapping[str, Entry] = {entry.path: entry for entry in ENTRIES}
_TABLES: Mapping[str, Section] = {one.name: one for one in SECTIONS if one.name}


class Given(NamedTuple):
    """A value as somebody wrote it, and where."""

    value: Any
    origin: str


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """The settings in force. `path` is what --config names; raises Misconfigured with every fault found.

    Without `path`: PACSBRIDGE_CONFIG, then ./pacsbridge.toml, then the defaults. Relative paths are taken
    from the working directory.
    """
    environ = os.environ if environ is None else environ
    file = _file(path, environ)
    given = dict(_from_file(file)) if file else {}
    _raise_all(list(_misspelt(environ)))
    given.update(_from_environment(environ))
    _raise_all(_unknown(given))
    faults: list[str] = []
    config = Config(**dict(_read(given, faults)), file=file)
    _raise_all(faults)
    _raise_all(list(faults_between(config)))
    return with_derived(config)


def secret(path: Path, key: str) -> bytes:
    """The content of a `…_file` key without white space round it. Raises Misconfigured."""
    try:
        content = path.read_bytes().strip()
    except OSError as exc:
        raise Misconfigured(f"{key}: cannot read {path} ({exc.strerror})") from exc
    if not content:
        raise Misconfigured(f"{key}: {path} is empty")
    return content


def _file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    if path is not None:
        return path
    if named := environ.get(FILE_VARIABLE):
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def _from_file(file: Path) -> Iterator[tuple[str, Given]]:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as exc:
        raise Misconfigured(f"{file}: cannot be read ({exc.strerror})") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise Misconfigured(f"{file}: is not TOML: {exc}") from exc
    for name, value in document.items():
        if isinstance(value, dict) and _is_plain_table(name):
            yield from ((f"{name}.{below}", Given(one, str(file))) for below, one in value.items())
        else:
            yield name, Given(value, str(file))


def _is_plain_table(name: str) -> bool:
    return name in _TABLES and not _TABLES[name].repeated


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, Given]]:
    """`PACSBRIDGE__FHIR__PORT` is `fhir.port`; an empty variable counts as none."""
    for name, text in environ.items():
        if name.startswith(PREFIX) and text:
            path = name.removeprefix(PREFIX).lower().replace("__", ".")
            kind = _KEYS[path].key.kind if path in _KEYS else _ANY
            yield path, Given(kind.from_text(text), name)


_SERVICE_LINK = re.compile(
    r".*_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT_[0-9]+_(TCP|UDP).*)=.*|.*=(tcp|udp)://.*"
)
"""Variables that Kubernetes sets in every container for a service called pacsbridge, name=value."""


def _misspelt(environ: Mapping[str, str]) -> Iterator[str]:
    """Variables that look like overrides and are none, with the name that was meant."""
    right = {f"{PREFIX}{path.replace('.', '__')}".upper() for path in _KEYS}
    for name, text in environ.items():
        own = name.startswith(PREFIX) or name == FILE_VARIABLE
        if name.startswith("PACSBRIDGE_") and not own and not _SERVICE_LINK.fullmatch(f"{name}={text}"):
            meant = next(iter(difflib.get_close_matches(name, [*right, FILE_VARIABLE], 1, 0.7)), None)
            yield f"{name} is not a known variable; " + (f"is it {meant}?" if meant else f"see {PREFIX}…")


_ANY = Kind("anything", lambda value: value)


def _unknown(given: Mapping[str, Given]) -> list[str]:
    return [fault for path, one in given.items() if (fault := _stranger(path, one)) is not None]


def _stranger(path: str, given: Given) -> str | None:
    """What is wrong with a path, None when it is a key or an array of tables."""
    if path in PLANNED or path.partition(".")[0] in PLANNED:
        feature = PLANNED.get(path) or PLANNED[path.partition(".")[0]]
        return f"{given.origin}: {path}: {_not_yet(feature)}"
    if _is_plain_table(path):
        return f"{given.origin}: {path} must be a table: [{path}]"
    known = path in _TABLES or (path in _KEYS and not _KEYS[path].section.repeated)
    return None if known else f"{given.origin}: {_unknown_key(path)}"


def _unknown_key(path: str) -> str:
    near = _nearest(path)
    return f"{path} is not a known key" + (f"; the nearest is {near}" if near else "")


def _nearest(path: str) -> str | None:
    """The key of the same name in another table, else the one that is spelt most alike."""
    known = [*_KEYS, *_TABLES, *PLANNED]
    same = (one for one in known if one.rpartition(".")[2] == path.rpartition(".")[2])
    return next(same, None) or next(iter(difflib.get_close_matches(path, known, 1, 0.7)), None)


def _not_yet(feature: str) -> str:
    return f"{feature} is not available in this version ({__version__})"


def _read(given: Mapping[str, Given], faults: list[str]) -> Iterator[tuple[str, Any]]:
    """Arguments of Config by name; what cannot be read goes to `faults`."""
    for one in SECTIONS:
        if one.repeated:
            yield one.attribute, tuple(_read_tables(one, given.get(one.name), faults))
            continue
        values = {
            entry.name: value
            for entry in _entries_of(one)
            if (found := given.get(entry.path)) is not None
            and (value := _value(entry, found, entry.path, faults)) is not _UNFIT
        }
        if one.name:
            yield one.attribute, one.cls(**values)
        else:
            yield from values.items()


_UNFIT = object()


def _entries_of(one: Section) -> list[Entry]:
    return [entry for entry in ENTRIES if entry.section == one]


def _value(entry: Entry, given: Given, path: str, faults: list[str]) -> Any:
    try:
        return entry.key.kind.read(given.value)
    except Planned as exc:
        faults.append(f"{given.origin}: {path}: {_not_yet(str(exc))}")
    except ValueError:
        was = "" if entry.key.secret else f", not {_short(given.value)}"
        faults.append(f"{given.origin}: {path} must be {entry.key.kind.expects}{was}")
    return _UNFIT


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _read_tables(of: Section, given: Given | None, faults: list[str]) -> Iterator[Any]:
    """The members of an array of tables, counted from 1 in messages."""
    if given is None:
        return
    if not isinstance(given.value, list) or not all(isinstance(one, dict) for one in given.value):
        faults.append(f"{given.origin}: {of.name} must be an array of tables: [[{of.name}]]")
        return
    for number, table in enumerate(given.value, 1):
        values = _read_table(of, table, Given(number, given.origin), faults)
        if values is not None:
            yield of.cls(**values)


def _read_table(of: Section, table: Mapping[str, Any], at: Given, faults: list[str]) -> dict[str, Any] | None:
    """The arguments of one member; None when something is wrong with it. `at` is its number."""
    known = {entry.name: entry for entry in _entries_of(of)}
    before = len(faults)
    where = f"{of.name} {at.value}"
    faults.extend(
        f"{at.origin}: {where}: {_unknown_key(f'{of.name}.{name}')}" for name in table if name not in known
    )
    faults.extend(
        f"{at.origin}: {where} lacks {entry.name}"
        for entry in known.values()
        if entry.required and entry.name not in table
    )
    values = {
        name: _value(known[name], Given(value, at.origin), f"{where}: {name}", faults)
        for name, value in table.items()
        if name in known
    }
    return values if len(faults) == before else None


def _raise_all(faults: list[str]) -> None:
    if faults:
        raise Misconfigured("\n".join(faults))
