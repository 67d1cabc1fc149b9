"""A site with its certificates."""

from pathlib import Path

import pytest
from certificate_site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """An authority of its own for each test."""
    return Site(tmp_path)
