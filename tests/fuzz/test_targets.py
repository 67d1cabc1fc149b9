"""The fuzzed targets on their seeds, on what fuzzing has found, and on some thousand mutations (T-FUZZ)."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fuzz.targets import LONGEST, SECONDS, TARGETS

MUTATIONS = 2000
FINDINGS = Path(__file__).parent / "findings"


pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # it says which values are none


def tried(name: str, data: bytes) -> float:
    """The seconds that a target takes over an input; whatever it raises is a finding."""
    start = time.process_time()
    TARGETS[name].attempt(data)
    return time.process_time() - start


@pytest.mark.parametrize("name", TARGETS)
def test_seeds(name: str) -> None:
    """What is valid, or nearly so, is taken or refused."""
    assert all(tried(name, seed) < SECONDS for seed in TARGETS[name].seeds())


@pytest.mark.parametrize("name", TARGETS)
def test_findings(name: str) -> None:
    """What once went wrong does not any more."""
    for path in sorted((FINDINGS / name).glob("*")):
        assert tried(name, path.read_bytes()) < SECONDS, path.name


@pytest.mark.parametrize("name", TARGETS)
def test_mutations(name: str) -> None:
    """Seeds with bytes flipped, dropped, repeated, moved and cut off: each taken or refused, in time."""
    chance = random.Random(name)
    seeds = TARGETS[name].seeds()
    slowest = max(tried(name, mutated(chance, chance.choice(seeds))) for _ in range(MUTATIONS))
    assert slowest < SECONDS


def mutated(chance: random.Random, seed: bytes) -> bytes:
    """A seed after a few mutations."""
    data = bytearray(seed)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(data) or 1)
        length = chance.choice((1, 2, 4, 64))
        kind = chance.randrange(5)
        if kind == 0:
            data[at : at + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            del data[at : at + length]
        elif kind == 2:
            data[at:at] = data[at : at + length] * chance.choice((1, 2, 100))
        elif kind == 3:
            data[at : at + 4] = chance.choice(
                (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\r\n--b")
            )
        else:
            del data[at:]
    return bytes(data[:LONGEST])


def test_the_command_runs() -> None:
    """`python tests/fuzz/run.py` fuzzes, where atheris is installed."""
    pytest.importorskip("atheris", reason="no fuzzer: pip install -e '.[fuzz]'")
    command = [sys.executable, str(Path(__file__).with_name("run.py")), "query", "--seconds", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Done" in done.stderr
