"""SECURITY.md names tests, files and keys that there are."""

import re
from pathlib import Path

import pytest

from pacsbridge import config
from pacsbridge.config.effective import effective

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and line.count(" | ") == 3]
FILES = sorted(set(re.findall(r"`((?:tests|config|scripts)/[\w/.]+)", TEXT)))


@pytest.mark.parametrize("file", FILES)
def test_files_that_it_names_are_there(file: str) -> None:
    """A control is tried where the table says, and a test module has tests."""
    path = ROOT / file
    assert path.exists()
    if path.name.startswith("test_"):
        assert re.search(r"^def test_", path.read_text(encoding="utf-8"), re.MULTILINE)


def test_keys_that_it_names_are_there() -> None:
    """Dotted names in code are keys of the configuration."""
    known = effective(config.load(None, {}))
    named = set(re.findall(r"`([a-z]+(?:\.[a-z_]+)+)`", TEXT))
    assert {"dicomweb.render", "limits.pdu_bytes"} <= named
    assert {name for name in named if name not in known} == set()
    assert "allow_insecure_listen" in known


def test_every_threat_has_its_place() -> None:
    """Each row of the table of threats has a control; one without a test says so."""
    threats = [row for row in ROWS if "tests/" in row or row.endswith("| – |")]
    assert len(threats) > 20
    settings = [row.split(" | ")[2] for row in threats]
    assert all("`" in one or one.startswith(("always", "where it is")) for one in settings)
    assert sum(row.endswith("| – |") for row in threats) == 2
