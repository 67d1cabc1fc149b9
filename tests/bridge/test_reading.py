"""Files read one after the other and by several processes: the same facts in the same order."""

import os
import signal
from pathlib import Path

import pydicom.data
import pytest

from pacsbridge.bridge import reading
from pacsbridge.bridge.reading import readings
from pacsbridge.bridge.sources import Source
from pacsbridge.dicom.limits import DEFAULT
from pacsbridge.errors import Unavailable

FILES = Path(pydicom.data.__file__).parent / "test_files"
SOURCE = Source("urn:pacsbridge:import", "import")
ONE_BY_ONE = 1_000_000


def test_processes_read_what_one_reads() -> None:
    """Every file that ships with pydicom, the unusable ones with their reasons."""
    alone = list(readings([FILES], SOURCE, DEFAULT, many=ONE_BY_ONE))
    together = list(readings([FILES], SOURCE, DEFAULT, many=1))
    assert together == alone
    assert any(one.reason for one in alone)
    assert sum(one.facts is not None for one in alone) > 80


def test_killed_process_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that the system kills is one clear error, not a wait without end."""
    here = os.getpid()

    def die(*_arguments: object) -> None:
        assert os.getpid() != here
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(reading, "_read", die)
    with pytest.raises(Unavailable, match="was killed"):
        list(readings([FILES], SOURCE, DEFAULT, many=1))
