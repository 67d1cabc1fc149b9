"""The house rules that a tool can check: who imports whom, where libraries live, how large things may be."""

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "pacsbridge"

RINGS = (
    ("errors", "logs", "metrics"),
    ("kernel",),
    ("dicom", "store", "blobs", "remote", "tls"),
    ("bridge", "access", "audit", "connections", "render", "turns"),
    ("dimse", "fhir", "dicomweb", "web", "httpd", "samples", "viewer"),
    ("config", "datadir"),
    ("securing",),
    ("wiring",),
    ("archives", "auditing", "backup", "opening", "manual"),
    ("pages",),
    ("runtime",),
    ("checking", "demo"),
    ("commands",),
    ("cli",),
    ("__main__",),
)
"""From the innermost outwards. A part imports itself and parts of inner rings, never a sibling."""

HOMES = {
    "pydicom": {"dicom", "dimse", "samples", "render"},
    "numpy": {"render"},
    "PIL": {"render"},
    "pynetdicom": {"dimse", "demo"},
    "sqlalchemy": {"store"},
    "alembic": {"store"},
    "psycopg": {"store"},
    "aiohttp": {"fhir", "dicomweb", "web", "httpd", "access", "connections", "viewer"},
    "jwt": {"access"},
    "cryptography": {"tls"},
    "orjson": {
        "store",
        "fhir",
        "dicomweb",
        "web",
        "bridge",
        "blobs",
        "commands",
        "remote",
        "access",
        "audit",
    },
    "requests": {"demo", "cli", "remote"},
    "click": {"cli", "commands"},
    "rich": {"commands"},
    "markdown_it": {"manual"},
    "jinja2": {"web"},
    "markupsafe": {"web"},
    "prometheus_client": {"metrics", "httpd"},
    "structlog": {
        "logs",
        "blobs",
        "bridge",
        "access",
        "audit",
        "store",
        "tls",
        "dimse",
        "fhir",
        "dicomweb",
        "web",
        "remote",
        "render",
        "connections",
        "httpd",
        "runtime",
        "demo",
    },
}
"""Library → parts that may import it. A library that is not named here may be imported nowhere."""

IMPURE = {
    *("asyncio", "http", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "shutil"),
    *("signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time"),
}
"""Modules of the standard library that the kernel does without: it opens nothing and knows no clock."""

TABLES = {"kernel/body_parts.py", "kernel/snomed.py", "kernel/uids.py"}
"""Modules that are one table, of whatever length."""

FUNCTION_LINES = 50
MODULE_LINES = 400


class Module(NamedTuple):
    """One file: its path under the package, its syntax tree, its length."""

    path: Path
    tree: ast.Module
    lines: int

    @property
    def part(self) -> str:
        """The package or top-level module it belongs to; the root's `__init__` is nobody's."""
        return self.path.parts[0].removesuffix(".py")

    @property
    def name(self) -> str:
        """Dotted, as it is imported."""
        names = [*self.path.with_suffix("").parts]
        return ".".join(["pacsbridge", *(names[:-1] if names[-1] == "__init__" else names)])

    def at(self, node: ast.stmt | ast.expr) -> str:
        """Where a node stands, for a message."""
        return f"{self.path}:{node.lineno}"


class Import(NamedTuple):
    """One imported module."""

    place: str
    target: str
    deferred: bool


def modules(root: Path) -> list[Module]:
    """Every module of the package."""
    texts = [(path, path.read_text(encoding="utf-8")) for path in sorted(root.rglob("*.py"))]
    return [Module(path.relative_to(root), ast.parse(text), text.count("\n")) for path, text in texts]


def imports(module: Module) -> Iterator[Import]:
    """What it imports, wherever that stands."""
    top = set(module.tree.body)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (Import(module.at(node), alias.name, node not in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (Import(module.at(node), target, node not in top) for target in _targets(node))


def _targets(node: ast.ImportFrom) -> Iterator[str]:
    base = node.module or ""
    if node.level:
        yield f"relative import of {base}"
    elif base == "pacsbridge":
        yield from (f"{base}.{alias.name}" for alias in node.names)
    else:
        yield base


def ring_of(part: str | None) -> int:
    """The ring of a part; -1 for the root, which holds the version alone."""
    for number, parts in enumerate(RINGS):
        if part in parts:
            return number
    return -1


def ring_faults(all_modules: list[Module]) -> Iterator[str]:
    """Imports that lead outwards or to a sibling, and parts that have no ring."""
    for module in all_modules:
        if module.name == "pacsbridge":
            continue
        if ring_of(module.part) < 0:
            yield f"{module.path}: has no ring"
        for one in imports(module):
            other = _other_part(one.target)
            if other not in (None, module.part) and ring_of(other) >= ring_of(module.part):
                yield f"{one.place}: {module.part} must not import {one.target}"


def _other_part(target: str) -> str | None:
    """The part of pacsbridge that an import names; None for libraries and the root itself."""
    package, _, rest = target.partition(".")
    return rest.partition(".")[0] if package == "pacsbridge" and rest not in ("", "__version__") else None


def home_faults(all_modules: list[Module]) -> Iterator[str]:
    """Libraries outside their homes, and what makes the kernel impure."""
    for module in all_modules:
        for one in imports(module):
            library = one.target.split(".")[0]
            if one.target.startswith("relative"):
                yield f"{one.place}: {one.target}"
            elif module.part == "kernel" and library in IMPURE:
                yield f"{one.place}: the kernel is pure and must not import {library}"
            elif library not in _standard() and module.part not in HOMES.get(library, set()):
                yield f"{one.place}: {library} is not at home in {module.part}"


def _standard() -> frozenset[str]:
    return sys.stdlib_module_names | {"pacsbridge"}


def cycle_faults(all_modules: list[Module]) -> Iterator[str]:
    """Import cycles between modules."""
    names = {module.name: module for module in all_modules}
    graph = {name: {t for one in imports(m) for t in _modules_of(one, names)} for name, m in names.items()}
    done: set[str] = set()
    for name in graph:
        path = _cycle(name, graph, done, [])
        if path:
            yield f"cycle: {' → '.join(path)}"


def _modules_of(one: Import, names: dict[str, Module]) -> Iterator[str]:
    if one.target in names and names[one.target].path.name != "__init__.py":
        yield one.target


def _cycle(name: str, graph: dict[str, set[str]], done: set[str], path: list[str]) -> list[str]:
    if name in path:
        return [*path[path.index(name) :], name]
    if name in done:
        return []
    for target in sorted(graph[name]):
        if found := _cycle(target, graph, done, [*path, name]):
            return found
    done.add(name)
    return []


def layout_faults(all_modules: list[Module]) -> Iterator[str]:
    """Packages with fewer than two modules, and what lies too deep."""
    packages: dict[Path, int] = {}
    for module in all_modules:
        parent = module.path.parent
        packages[parent] = packages.get(parent, 0) + (module.path.name != "__init__.py")
        if len(module.path.parts) > 2:
            yield f"{module.path}: deeper than package/module"
    yield from (
        f"{path}: a package of fewer than two modules" for path, count in packages.items() if count < 2
    )


def size_faults(all_modules: list[Module]) -> Iterator[str]:
    """Functions and modules that are too long."""
    for module in all_modules:
        if module.lines > MODULE_LINES and module.path.as_posix() not in TABLES:
            yield f"{module.path}: {module.lines} lines; {MODULE_LINES} at most"
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    yield f"{module.at(node)}: {node.name} has {lines} lines; {FUNCTION_LINES} at most"


def call_faults(all_modules: list[Module]) -> Iterator[str]:
    """`print` outside the command line, and clocks in the kernel."""
    for module in all_modules:
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called == "print" and module.part not in ("cli", "commands"):
                yield f"{module.at(node)}: print outside the command line"
            if module.part == "kernel" and called.rpartition(".")[2] in ("now", "today", "utcnow", "open"):
                yield f"{module.at(node)}: the kernel knows no clock and opens nothing: {called}"


RULES: dict[str, Callable[[list[Module]], Iterator[str]]] = {
    "rings": ring_faults,
    "homes": home_faults,
    "cycles": cycle_faults,
    "layout": layout_faults,
    "size": size_faults,
    "calls": call_faults,
}


@pytest.mark.parametrize("rule", RULES)
def test_the_source_keeps_the_rule(rule: str) -> None:
    """Each rule finds nothing in the source; a fault names its line."""
    faults = list(RULES[rule](modules(SOURCE)))
    assert not faults, "\n".join(["", *faults])


BREACHES = {
    "outwards": ("rings", {"kernel/a.py": "import pacsbridge.bridge.intake\n"}, "kernel/a.py:1"),
    "sibling": ("rings", {"store/a.py": "x = 1\nfrom pacsbridge.blobs.packs import Packs\n"}, "store/a.py:2"),
    "from the root": ("rings", {"dicom/a.py": "from pacsbridge import cli\n"}, "dicom/a.py:1"),
    "inside a function": (
        "rings",
        {"fhir/a.py": "def f():\n    from pacsbridge.dimse import server\n"},
        "fhir/a.py:2",
    ),
    "no ring": ("rings", {"helpers.py": ""}, "helpers.py: has no ring"),
    "foreign library": ("homes", {"fhir/a.py": "from pydicom import dcmread\n"}, "fhir/a.py:1"),
    "unknown library": ("homes", {"fhir/a.py": "import numpy\n"}, "numpy is not at home"),
    "relative": ("homes", {"fhir/a.py": "from .b import c\n"}, "relative import"),
    "impure kernel": ("homes", {"kernel/a.py": "import os\n"}, "the kernel is pure"),
    "cycle": (
        "cycles",
        {"fhir/a.py": "import pacsbridge.fhir.b\n", "fhir/b.py": "import pacsbridge.fhir.a\n"},
        "pacsbridge.fhir.a → pacsbridge.fhir.b → pacsbridge.fhir.a",
    ),
    "lonely module": ("layout", {"web/__init__.py": "", "web/a.py": ""}, "fewer than two"),
    "too deep": ("layout", {"web/pages/a.py": ""}, "deeper"),
    "long function": ("size", {"fhir/a.py": "def f():\n" + "    x = 1\n" * 50}, "f has 51 lines"),
    "long module": ("size", {"fhir/a.py": "x = 1\n" * 401}, "401 lines"),
    "print": ("calls", {"fhir/a.py": "print(1)\n"}, "fhir/a.py:1"),
    "clock": ("calls", {"kernel/a.py": "import datetime\ndatetime.datetime.now()\n"}, "kernel/a.py:2"),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_found_and_named(breach: str, tmp_path: Path) -> None:
    """Each rule finds the breach it is there for, and says where it stands."""
    rule, files, expected = BREACHES[breach]
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert any(expected in fault for fault in RULES[rule](modules(tmp_path)))
