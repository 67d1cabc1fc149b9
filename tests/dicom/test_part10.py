"""The outside of Part 10 files: file meta group and preamble."""

from collections.abc import Callable
from io import BytesIO

import pydicom
import pytest

from pacsbridge.dicom.part10 import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    neutral_preamble,
    part10_head,
)
from pacsbridge.dicom.reader import read_header

CT = "1.2.840.10008.5.1.4.1.1.2"
LITTLE = "1.2.840.10008.1.2.1"


@pytest.mark.parametrize("source_ae", ["", "MODALITY", "A_TITLE_OF_16_CH", "far too long a title"])
@pytest.mark.parametrize("instance", ["1.2.3", "1.2.34"])
def test_pydicom_reads_it(source_ae: str, instance: str) -> None:
    """Each element is read back by pydicom, and the group length is right."""
    head = part10_head(CT, instance, LITTLE, source_ae)
    meta = pydicom.dcmread(BytesIO(head)).file_meta
    assert meta.FileMetaInformationGroupLength == len(head) - 144
    assert meta.MediaStorageSOPClassUID == CT
    assert meta.MediaStorageSOPInstanceUID == instance
    assert meta.TransferSyntaxUID == LITTLE
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.ImplementationVersionName == IMPLEMENTATION_VERSION_NAME
    assert meta.get("SourceApplicationEntityTitle", "") == source_ae[:16].strip()
    assert head[:128] == bytes(128)


def test_own_uid_is_one() -> None:
    """The implementation class UID is a UUID under 2.25 (PS3.5 B.2)."""
    assert pydicom.uid.UID(IMPLEMENTATION_CLASS_UID).is_valid
    assert 0 < int(IMPLEMENTATION_CLASS_UID.removeprefix("2.25.")) < 1 << 128


def test_reader_finds_the_data_set(sample: Callable[[str], bytes]) -> None:
    """A head before a bare data set makes a file that reads like the original."""
    original = sample("CT_small.dcm")
    header = read_header(original)
    head = part10_head(CT, "1.2.3", header.transfer_syntax_uid, "AE")
    again = read_header(head + original[header.dataset_offset :])
    assert again.attributes == header.attributes
    assert again.dataset_offset == len(head)


@pytest.mark.parametrize("start", [b"MZ", b"\x7fELF", b"#!/bin/sh", b"\xca\xfe\xba\xbe", b"II+\0", b""])
def test_executable_preambles_are_emptied(start: bytes) -> None:
    """A preamble that could be run is zeroed (CVE-2019-11687)."""
    assert neutral_preamble(start.ljust(128, b"\x90")) == bytes(128)


@pytest.mark.parametrize("start", [b"II*\0", b"MM\0*"])
def test_tiff_preambles_stay(start: bytes) -> None:
    """A file that is TIFF as well stays one."""
    preamble = start.ljust(128, b"\x01")
    assert neutral_preamble(preamble) == preamble
    assert neutral_preamble(start) == start.ljust(128, b"\0")
