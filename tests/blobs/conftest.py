"""A blob store in a temporary folder, and what its tests look at it with."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pacsbridge
from pacsbridge.blobs.location import PACK_SUFFIX
from pacsbridge.blobs.packs import Packs
from pacsbridge.blobs.replay import Entry

SOURCES = Path(next(iter(pacsbridge.__path__))).parent


@pytest.fixture
def packs(tmp_path: Path) -> Iterator[Packs]:
    """A store that may fill the disk."""
    store = Packs(tmp_path, min_free_bytes=0)
    yield store
    store.close()


@pytest.fixture
def replay(tmp_path: Path) -> Callable[[], list[Entry]]:
    """Reads the folder as the next process would."""
    return lambda: list(Packs(tmp_path, min_free_bytes=0).replay({}))


@pytest.fixture
def pack_file(tmp_path: Path) -> Callable[[str], Path]:
    """The file of a pack."""
    return lambda name: tmp_path / "packs" / (name + PACK_SUFFIX)


@pytest.fixture
def run_writer(tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts `writer_process.py` on the folder; ended by its pid in the end."""
    started: list[subprocess.Popen[str]] = []

    def start(
        *arguments: str, before: tuple[str, ...] = (), folder: Path = tmp_path
    ) -> "subprocess.Popen[str]":
        script = str(Path(__file__).with_name("writer_process.py"))
        command = [*before, sys.executable, script, str(folder), *arguments]
        env = {**os.environ, "PYTHONPATH": str(SOURCES)}
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
