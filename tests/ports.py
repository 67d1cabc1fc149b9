"""TCP ports for the servers that tests start."""

import contextlib
import secrets
import socket

_RANGE = range(20_000, 32_000)
"""Below what Linux gives to whoever asks for any port, as tests that run side by side do all the time."""


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on, and that nobody is likely to get."""
    while True:
        port = secrets.choice(_RANGE)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
