"""The demo's settings."""

import socket

import pytest

from pacsbridge import demo


def test_a_port_that_is_taken_gives_way(capsys: pytest.CaptureFixture[str]) -> None:
    """In one line that names both."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with demo.settings(0, port) as settings:
            assert settings.fhir.port not in (0, port)
    assert capsys.readouterr().err == f"port {port} is taken, using {settings.fhir.port}\n"
