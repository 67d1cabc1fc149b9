"""What tests of the audit log share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pacsbridge.store.audit import AuditLog


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AuditLog]:
    """An empty log."""
    made = AuditLog("sqlite", tmp_path)
    made.migrate()
    yield made
    made.close()
