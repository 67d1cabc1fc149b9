"""The authorization server that tokens come from."""

from collections.abc import Iterator

import pytest
from token_issuer import Issuer


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """An authorization server on loopback."""
    running = Issuer()
    yield running
    running.close()
