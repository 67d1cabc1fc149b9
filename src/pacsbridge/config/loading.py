"""Where settings come from: a TOML file, the environment over it, the defaults under it.

    given     what stands in the file and the environment, by path, with its origin
    checked   unknown paths and planned features are told, with the nearest known key
    read      every value by the kind of its key
    settled   what one key says about another (`checks`)

All faults of one stage are told at once. An array of tables is one value to the first two stages; the third
takes each member as the file is taken: what is given in it, by path, is checked and read.
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
from pacsbridge.config.schema import ENTRIES, SECTIONS, Config
from pacsbridge.config.table import Entry, Section, entries, joined, within
from pacsbridge.errors import Misconfigured

FILE_VARIABLE = "PACSBRIDGE_CONFIG"
PREFIX = "PACSBRIDGE__"
DEFAULT_FILE = Path("pacsbridge.toml")

_KEYS: Mapping[str, Entry] = {entry.path: entry for entry in ENTRIES}
_TOP = SECTIONS[0]
_TABLES: Mapping[str, Section] = {one.path: one for one in SECTIONS if one is not _TOP}
_HOME: Mapping[str, str] = {
    **{entry.path: entry.section.array for entry in ENTRIES},
    **{one.path: one.inside for one in SECTIONS if one.repeated},
}
"""What may be given, keys and arrays of tables → the array whose members have it, "" for the file itself."""


class Given(NamedTuple):
    """A value as somebody wrote it, and where."""

    value: Any
    origin: str


class Frame(NamedTuple):
    """The file, or one member of an array of tables: what is given in it, by path from the top of the file.

    `array`: the array's path, "" for the file. `place`: the member as messages name it, from the outermost
    array inwards and counted from 1: `source 1`, `endpoint 2`.
    """

    array: str
    place: tuple[str, ...]
    given: Mapping[str, Given]

    def told(self, origin: str, *text: str) -> str:
        """A message about something in it."""
        return ": ".join((origin, *self.place, *text))


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
    whole = Frame("", (), given)
    _raise_all(list(_unknown(whole)))
    faults: list[str] = []
    config = Config(**_arguments(_TOP, whole, faults), file=file)
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
    yield from _flat(document, "", str(file))


def _flat(table: Mapping[str, Any], at: str, origin: str) -> Iterator[tuple[str, Given]]:
    """What stands in a table, by path; of the tables in it those that are no arrays are opened."""
    for name, value in table.items():
        path = joined(at, name)
        if isinstance(value, dict) and _is_plain_table(path):
            yield from _flat(value, path, origin)
        else:
            yield path, Given(value, origin)


def _is_plain_table(path: str) -> bool:
    return path in _TABLES and not _TABLES[path].repeated


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
    right = {f"{PREFIX}{path.replace('.', '__')}".upper() for path, array in _HOME.items() if not array}
    for name, text in environ.items():
        own = name.startswith(PREFIX) or name == FILE_VARIABLE
        if name.startswith("PACSBRIDGE_") and not own and not _SERVICE_LINK.fullmatch(f"{name}={text}"):
            meant = next(iter(difflib.get_close_matches(name, [*right, FILE_VARIABLE], 1, 0.7)), None)
            yield f"{name} is not a known variable; " + (f"is it {meant}?" if meant else f"see {PREFIX}…")


_ANY = Kind("anything", lambda value: value)


def _unknown(frame: Frame) -> Iterator[str]:
    for path, given in frame.given.items():
        if (fault := _stranger(path, frame.array)) is not None:
            yield frame.told(given.origin, fault)


def _stranger(path: str, array: str) -> str | None:
    """What is wrong with a path in a member of `array`; None when it may be given there."""
    if (home := _HOME.get(path)) == array:
        return None
    if _is_plain_table(path):
        return f"{path} must be a table: [{path}]"
    if home:
        return f"{path} is part of an array of tables, which is given whole: [[{_outermost(home, array)}]]"
    return _unknown_key(path)


def _outermost(below: str, array: str) -> str:
    """The array that stands in members of `array` themselves and is, or has in it, the one `below`."""
    return below if _HOME[below] == array else _outermost(_HOME[below], array)


def _unknown_key(path: str) -> str:
    near = _nearest(path)
    return f"{path} is not a known key" + (f"; the nearest is {near}" if near else "")


def _nearest(path: str) -> str | None:
    """The key of the same name in another table, else the one that is spelt most alike."""
    known = [*_KEYS, *_TABLES]
    same = (one for one in known if one.rpartition(".")[2] == path.rpartition(".")[2])
    return next(same, None) or next(iter(difflib.get_close_matches(path, known, 1, 0.7)), None)


def _not_yet(feature: str) -> str:
    return f"{feature} is not available in this version ({__version__})"


def _arguments(of: Section, frame: Frame, faults: list[str]) -> dict[str, Any]:
    """What a table's class is made with; what cannot be read goes to `faults`."""
    values: dict[str, Any] = {
        entry.name: value
        for entry in entries(of)
        if (found := frame.given.get(entry.path)) is not None
        and (value := _value(entry, found, frame, faults)) is not _UNFIT
    }
    for one in within(of):
        if one.repeated:
            values[one.attribute] = tuple(_members(one, frame, faults))
        else:
            values[one.attribute] = one.cls(**_arguments(one, frame, faults))
    return values


_UNFIT = object()


def _value(entry: Entry, given: Given, frame: Frame, faults: list[str]) -> Any:
    path = entry.path.removeprefix(f"{frame.array}.")
    try:
        return entry.key.kind.read(given.value)
    except Planned as exc:
        faults.append(frame.told(given.origin, path, _not_yet(str(exc))))
    except ValueError:
        was = "" if entry.key.secret else f", not {_short(given.value)}"
        faults.append(frame.told(given.origin, f"{path} must be {entry.key.kind.expects}{was}"))
    return _UNFIT


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _members(of: Section, frame: Frame, faults: list[str]) -> Iterator[Any]:
    """The members of an array of tables that stands in a frame."""
    if (given := frame.given.get(of.path)) is None:
        return
    if not isinstance(given.value, list) or not all(isinstance(one, dict) for one in given.value):
        faults.append(frame.told(given.origin, f"{of.name} must be an array of tables: [[{of.path}]]"))
        return
    for number, table in enumerate(given.value, 1):
        inner = dict(_flat(table, of.path, given.origin))
        member = Frame(of.path, (*frame.place, f"{of.name} {number}"), inner)
        yield from _member(of, member, given.origin, faults)


def _member(of: Section, frame: Frame, origin: str, faults: list[str]) -> Iterator[Any]:
    """One of them, when nothing is wrong with it."""
    before = len(faults)
    faults.extend(_unknown(frame))
    faults.extend(
        f"{frame.told(origin)} lacks {entry.name}"
        for entry in entries(of)
        if entry.required and entry.path not in frame.given
    )
    values = _arguments(of, frame, faults)
    if len(faults) == before:
        yield of.cls(**values)


def _raise_all(faults: list[str]) -> None:
    if faults:
        raise Misconfigured("\n".join(faults))
