"""Calling others: what came of it is told once, by the exception."""

from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from pacsbridge.dimse.echo import echo
from pacsbridge.dimse.settings import Place
from pacsbridge.errors import Unavailable


def test_a_peer_that_is_not_there(free_port: Callable[[], int]) -> None:
    """Nobody answers: the exception says so, the library's own complaints are not passed on."""
    with capture_logs() as lines, pytest.raises(Unavailable, match="does not answer"):
        echo("US", "THEM", Place("127.0.0.1", free_port()))
    assert lines == []
