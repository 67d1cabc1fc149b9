"""How quick a header is read, beside pydicom that reads the same elements: a script that prints a table.

    python tests/benchmarks/header_reader.py [repetitions]

Each figure is the best of five runs, in microseconds an instance, from memory.
"""

import io
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from timeit import repeat

import pydicom
from pydicom.data import get_testdata_file

from pacsbridge.dicom.reader import read_header
from pacsbridge.kernel.attributes import BY_TAG

SAMPLES = (
    ("CT_small.dcm", "CT, explicit little endian, 256 elements"),
    ("MR_small.dcm", "MR, explicit little endian"),
    ("MR_small_implicit.dcm", "MR, implicit little endian"),
    ("MR_small_bigendian.dcm", "MR, explicit big endian"),
    ("examples_overlay.dcm", "MR, many private elements"),
    ("rtplan.dcm", "RT plan, implicit little endian"),
    ("reportsi.dcm", "structured report"),
    ("image_dfl.dcm", "deflated"),
)
TAGS: list[pydicom.tag.BaseTag | int] = list(BY_TAG)


def with_pydicom(raw: bytes) -> pydicom.Dataset:
    """The same elements by pydicom's quickest way, values not even converted."""
    return pydicom.dcmread(io.BytesIO(raw), stop_before_pixels=True, specific_tags=TAGS)


def microseconds(read: Callable[[bytes], object], raw: bytes, number: int) -> float:
    """The best of five, for one call."""
    return min(repeat(lambda: read(raw), number=number, repeat=5)) / number * 1e6


def main(number: int) -> None:
    """Prints one row a sample."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")
    print(f"{'sample':<42} {'bytes':>8} {'pydicom':>9} {'pacsbridge':>11} {'ratio':>6}")
    for name, title in SAMPLES:
        raw = Path(str(get_testdata_file(name))).read_bytes()
        slow = microseconds(with_pydicom, raw, max(1, number // 5))
        quick = microseconds(read_header, raw, number)
        print(f"{title:<42} {len(raw):>8} {slow:>7.0f}µs {quick:>9.1f}µs {slow / quick:>5.1f}×")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
