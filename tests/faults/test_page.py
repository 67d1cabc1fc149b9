"""The manual's page about faults: each row has its tests, and each test its row."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "src" / "pacsbridge" / "manual" / "pages" / "faults.md"

ROWS = frozenset(
    """
    T-KILL T-KILL-T T-FSYNC T-ENOSPC T-EIO T-PACS-DOWN T-DB T-LORIS T-TLS T-HALF T-ASSOC T-IDLE T-PDU T-MANGLE
    T-PIPE T-ABORT T-DUP T-ORDER T-RACE T-CLOCK T-CHARSET T-HUGE T-POISON T-BOMB T-SSRF T-SEARCH T-HTTP T-SHUT
    T-SOAK T-BACKUP T-UID T-REBIND T-POLY T-XSS T-PHI T-FUZZ T-RENDER
    """.split()
)


_IDS = re.compile(r"(T-[A-Z0-9-]+(?:, T-[A-Z0-9-]+)*):")


def rows() -> dict[str, str]:
    """The lines of the page's tables by their row's id; of two the upper, the other is of the night."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return {found[1]: line for line in reversed(lines) if (found := re.match(r"\| (T-[A-Z0-9-]+) \|", line))}


def tried_by(path: Path) -> Iterator[tuple[str, str]]:
    """Names and docstrings of the tests of a module."""
    for one in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(one, ast.FunctionDef) and one.name.startswith("test_"):
            yield one.name, ast.get_docstring(one) or ""


def test_every_row_is_there() -> None:
    """No fault and no threat is left out."""
    assert rows().keys() == ROWS


@pytest.mark.parametrize("row", sorted(ROWS))
def test_each_row_has_its_tests(row: str) -> None:
    """What a row names is there, under that name."""
    named = re.findall(r"`(tests/[a-z_/]+\.py)::(test_[a-z0-9_]+)`", rows()[row])
    assert named
    for path, name in named:
        assert name in dict(tried_by(ROOT / path)), f"{path}::{name}"


def test_each_test_has_its_row() -> None:
    """Tests of faults, or their whole module, begin their docstring with the row that they are of."""
    own = {"test_page.py", "test_oracle.py", "test_without.py"}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        for name, told in tried_by(path) if path.name not in own else ():
            ids = _IDS.match(told) or _IDS.match(module)
            assert ids is not None, f"{path.name}::{name}"
            assert set(ids[1].split(", ")) <= ROWS
