"""`pacsbridge viewer` on bad input: one line that says what to change, and exit code 2 (or 1)."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pacsbridge.cli import main


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder without a configuration, with a built viewer and a file that is none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PACSBRIDGE_CONFIG", raising=False)
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "index.html").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.tgz").write_bytes(b"other")


def viewer(*arguments: str) -> Result:
    """The command's outcome."""
    return CliRunner().invoke(main, ["viewer", *arguments])


REFUSED = {
    "another package": (["--package", "other.tgz"], "other.tgz is not @ohif/app"),
    "no pages": (["--package", "empty"], "no index.html"),
    "no such file": (["--package", "missing.tgz"], "does not exist"),
    "open to all": (["--host", "0.0.0.0"], "allow_insecure_listen"),
    "no URL": (["--dicomweb", "ftp://x"], "--dicomweb: must be an http or https URL"),
    "no registry": (["--registry", "registry"], "--registry: must be"),
    "no port": (["--port", "70000"], "70000 is not in the range"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_options_are_usage_errors(case: str) -> None:
    """They are told by their names, and nothing is fetched."""
    arguments, said = REFUSED[case]
    outcome = viewer(*arguments)
    assert outcome.exit_code == 2
    assert said in outcome.output


def test_a_port_that_is_taken_is_told() -> None:
    """In one line that names the option."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        outcome = viewer("--package", "dist", "--port", port)
    assert outcome.exit_code == 2
    assert outcome.output.startswith(f"pacsbridge: --port: cannot listen on 127.0.0.1:{port}")


def test_a_registry_that_is_away_fails(free_port: Callable[[], int]) -> None:
    """The environment of npm names it; the line says what else can be done."""
    url = f"http://127.0.0.1:{free_port()}"
    outcome = CliRunner(env={"NPM_CONFIG_REGISTRY": url}).invoke(main, ["viewer"])
    assert outcome.exit_code == 1
    assert url in outcome.output
    assert "--package" in outcome.output
