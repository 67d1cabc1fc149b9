"""A supervisor learns when the process is ready and when it stops."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from running_bridge import bridges

from pacsbridge.commands.notifying import READY, notify


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[socket.socket]:
    """What listens as systemd does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        line.settimeout(60)
        yield line


def test_serve_tells_its_states(supervisor: socket.socket, tmp_path: Path) -> None:
    """READY comes once both ports listen, STOPPING when it was told to stop."""
    with bridges(tmp_path) as make:
        bridge = make()
        bridge.launch(environment={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert supervisor.recv(100) == b"READY=1"
        assert requests.get(f"{bridge.root}/health/ready", timeout=20).status_code == 200
        assert bridge.stop() == 0
        assert supervisor.recv(100) == b"STOPPING=1"


def test_names_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that begins with @ is one of the abstract name space (unix(7))."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind("\0pacsbridge-test")
        line.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", "@pacsbridge-test")
        notify(READY)
        assert line.recv(100) == b"READY=1"


@pytest.mark.parametrize("path", [None, "", "vsock:2:1234", "/nowhere/at/all"])
def test_nobody_listens(path: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a supervisor, or with one that is gone, nothing happens."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if path is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", path)
    notify(READY)
