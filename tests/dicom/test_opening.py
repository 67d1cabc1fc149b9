"""Where a data set starts: Part 10 files whole and broken, and what is none."""

import io
import struct
from collections.abc import Callable

import pytest

from pacsbridge.dicom.reader import read_header
from pacsbridge.errors import NotUnderstood


@pytest.mark.parametrize("length", [0, 1, 0xFFFFFFFF])
def test_group_length_is_not_trusted(sample: Callable[[str], bytes], length: int) -> None:
    """The length of the file meta group may be anything."""
    data = bytearray(sample("CT_small.dcm"))
    data[140:144] = struct.pack("<L", length)
    assert read_header(bytes(data)) == read_header(sample("CT_small.dcm"))


def test_without_preamble(sample: Callable[[str], bytes]) -> None:
    """A file that starts with DICM or with the meta group reads like the whole one."""
    whole = read_header(sample("MR_small.dcm"))
    for cut in (128, 132):
        header = read_header(sample("MR_small.dcm")[cut:])
        assert header.attributes == whole.attributes
        assert header.dataset_offset == whole.dataset_offset - cut


def test_dicomdir_is_named(sample: Callable[[str], bytes]) -> None:
    """A DICOMDIR is refused with that reason."""
    with pytest.raises(NotUnderstood, match="DICOMDIR"):
        read_header(sample("DICOMDIR"))


@pytest.mark.parametrize("data", [b"", b"\0" * 200, b"hello, world" * 30, b"\x89PNG\r\n\x1a\n" * 30])
def test_other_files_are_refused(data: bytes) -> None:
    """What is no DICOM is refused, bytes and file alike."""
    for source in (data, io.BytesIO(data)):
        with pytest.raises(NotUnderstood):
            read_header(source)
