"""Spools: files that grow, and that outlive nobody."""

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from pacsbridge.blobs.packs import Packs


def test_a_spool_discards_itself(packs: Packs, tmp_path: Path) -> None:
    """What is not adopted leaves nothing, however often it is discarded."""
    before = len(os.listdir("/proc/self/fd"))
    with packs.spool(b"HEAD") as spool:
        spool.write(b"data")
        assert (spool.size, spool.path.read_bytes()) == (8, b"HEADdata")
        assert spool.sha256 == sha256(b"data").digest()
    spool.discard()
    assert list((tmp_path / "incoming").iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_names_tell_nothing(packs: Packs) -> None:
    """Two spools, two random names."""
    with packs.spool() as one, packs.spool() as other:
        assert one.path != other.path
        assert len(one.path.name) == 32


def test_leftovers_of_the_dead_are_removed(packs: Packs, tmp_path: Path) -> None:
    """A killed process leaves a spool, the next start removes it; those of the living stay."""
    script = (
        "import os, signal, sys; from pathlib import Path; from pacsbridge.blobs.packs import Packs;"
        "spool = Packs(Path(sys.argv[1]), min_free_bytes=0).spool(b'x'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=env, check=False)
    assert killed.returncode == -9
    with packs.spool(b"alive") as mine:
        assert len(list((tmp_path / "incoming").iterdir())) == 2
        Packs(tmp_path, min_free_bytes=0)
        assert list((tmp_path / "incoming").iterdir()) == [mine.path]
        mine.write(b" and well")
        assert packs.open(packs.adopt({}, mine).text).read() == b"alive and well"


def test_an_adopted_spool_takes_no_more(packs: Packs) -> None:
    """Writing behind the adoption is refused instead of changing what is acknowledged."""
    with packs.spool() as spool:
        spool.write(b"all")
        text = packs.adopt({}, spool).text
        with pytest.raises(Exception, match="cannot write a spool"):
            spool.write(b"more")
    assert packs.open(text).verify()
