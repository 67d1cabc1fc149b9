"""`pacsbridge translate` beside dicom2fhir, whole processes.

    python tests/benchmarks/translate.py PEER_PYTHON

PEER_PYTHON is the interpreter of an environment that has dicom2fhir 0.1.25 and fhir.resources 8.0.0 (it does
not install beside pacsbridge). Both read the same kind of files, CT of 39 KB, into one Bundle (one study: all
that dicom2fhir can). Seconds are medians of three runs; the cost of an instance is the slope between a tenth
of the files and all of them, so that the start of the interpreter is not counted.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from sender import CT, Template, uid

from pacsbridge.dicom.part10 import part10_head

_PEER = """
import asyncio, sys
from dicom2fhir.dicom2fhir import from_directory
print(len(asyncio.run(from_directory(sys.argv[1], {"dicom_timezone": "UTC"})).json()))
"""


def write_files(folder: Path, count: int) -> None:
    """`count` instances of one study."""
    template = Template(large=False)
    for number in range(1, count + 1):
        head = part10_head(CT, uid(1, number), "1.2.840.10008.1.2.1")
        (folder / f"{number:06}.dcm").write_bytes(head + template.encoded(number, 1))


def seconds(command: Sequence[str]) -> float:
    """The median of three runs."""
    taken = []
    for _run in range(3):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("peer_python")
    parser.add_argument("--ours", type=int, default=5000, help="instances for pacsbridge")
    parser.add_argument("--theirs", type=int, default=200, help="instances for dicom2fhir")
    asked = parser.parse_args()
    rows = (
        ("pacsbridge", asked.ours, [sys.executable, "-m", "pacsbridge", "translate"]),
        ("dicom2fhir", asked.theirs, [asked.peer_python, "-c", _PEER]),
    )
    costs = [_row(title, count, command) for title, count, command in rows]
    print(f"an instance costs dicom2fhir {costs[1] / costs[0]:.0f} × what it costs pacsbridge")


def _row(title: str, count: int, command: Sequence[str]) -> float:
    """Print one line; milliseconds an instance."""
    taken = []
    for files in (count // 10, count):
        with tempfile.TemporaryDirectory() as folder:
            write_files(Path(folder), files)
            taken.append(seconds([*command, folder]))
    cost = (taken[1] - taken[0]) / (count - count // 10) * 1000
    print(f"{title:12} {count:6} instances {taken[1]:7.2f} s   {cost:8.3f} ms an instance", flush=True)
    return cost


if __name__ == "__main__":
    main()
