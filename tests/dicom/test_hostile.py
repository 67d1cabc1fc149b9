"""Hostile data sets: bombs are refused within their limits, no mutated bytes break the reader."""

import contextlib
import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacsbridge.dicom.limits import DEFAULT, Limits
from pacsbridge.dicom.metadata import metadata
from pacsbridge.dicom.reader import read_header
from pacsbridge.errors import NotUnderstood, Refused, TooLarge

IMPLICIT, LITTLE, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
SYNTAXES = [None, IMPLICIT, LITTLE, "1.2.840.10008.1.2.2", DEFLATED, "1.2.840.113619.5.2"]
UID = struct.pack("<HH2sH", 0x0008, 0x0018, b"UI", 4) + b"1.2\0"


def _deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def _refused(source: Any, uid: str | None, limit: str, megabytes: int) -> None:
    """The source is refused for `limit`, and reading it allocates less than `megabytes`."""
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match=limit):
            read_header(source, uid)
        assert tracemalloc.get_traced_memory()[1] < megabytes << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("explicit", [True, False])
def test_a_million_elements(encoder: Callable[..., Any], explicit: bool) -> None:
    """Elements are counted, wanted or not."""
    uid = LITTLE if explicit else IMPLICIT
    for tag in (0x00091001, 0x00100020):
        data = UID * explicit + encoder(explicit).element(tag, "LO", b"") * 1_000_000
        _refused(data, uid, "elements", 4)


def test_elements_up_to_the_limit(encoder: Callable[..., Any]) -> None:
    """The number in the limits is the number of elements."""
    data = encoder().element(0x00100020, "LO", b"ID") * 10
    assert read_header(data, LITTLE, limits=DEFAULT._replace(elements=11)).attributes.text("PatientID")
    with pytest.raises(TooLarge):
        read_header(data, LITTLE, limits=DEFAULT._replace(elements=9))


@pytest.mark.parametrize("tag", [0x00081032, 0x00091032])
def test_half_a_million_items(encoder: Callable[..., Any], tag: int) -> None:
    """Items are counted, kept or passed over."""
    write = encoder()
    items = write.item(b"") * 500_000 + write.pack("HHL", 0xFFFE, 0xE0DD, 0)
    data = UID + write.head(tag, "SQ", 0xFFFFFFFF) + items
    _refused(data, LITTLE, "items", 32)
    with pytest.raises(TooLarge, match="items"):
        read_header(io.BytesIO(data), LITTLE)


@pytest.mark.parametrize("tag", [0x00081032, 0x00091032])
@pytest.mark.parametrize("levels", [65, 400, 100_000])
def test_deep_nesting(encoder: Callable[..., Any], tag: int, levels: int) -> None:
    """More than 64 levels are refused, in wanted and unwanted sequences, however many there are."""
    write = encoder()
    level = write.head(tag, "SQ", 0xFFFFFFFF) + write.pack("HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    _refused(UID + level * levels, LITTLE, "nested deeper", 8)


@pytest.mark.parametrize("open_ended", [True, False])
def test_64_levels_are_read(encoder: Callable[..., Any], open_ended: bool) -> None:
    """64 levels are fine."""
    write = encoder()
    data = write.element(0x00080100, "SH", "DEEP")
    for _ in range(64):
        data = write.sequence(0x00081032, [data], open_ended=open_ended)
    attributes = read_header(data, LITTLE).attributes
    for _ in range(64):
        attributes = attributes.items("ProcedureCodeSequence")[0]
    assert attributes.text("CodeValue") == "DEEP"


def test_deflate_bomb(encoder: Callable[..., Any]) -> None:
    """A header that inflates 1000:1 is refused early; pixel data that do so are not looked at."""
    write = encoder()
    data = UID + write.element(0x00091001, "OB", bytes(64 << 20))
    _refused(_deflate(data), DEFLATED, "deflated", 8)
    _refused(io.BytesIO(_deflate(data)), DEFLATED, "deflated", 8)
    pixels = UID + write.element(0x7FE00010, "OW", bytes(16 << 20))
    assert read_header(_deflate(pixels), DEFLATED).attributes.text("SOPInstanceUID") == "1.2"


def test_inflated_limit(encoder: Callable[..., Any]) -> None:
    """The absolute limit of inflated bytes holds where the ratio is modest."""
    data = UID + encoder().element(0x00091001, "OB", bytes(range(256)) * (8 << 12))
    with pytest.raises(TooLarge, match="header of more than"):
        read_header(_deflate(data), DEFLATED, limits=DEFAULT._replace(inflated=4 << 20, ratio=10_000))


def test_long_values_are_cut(encoder: Callable[..., Any]) -> None:
    """A value is cut at its limit, on record; its neighbours are whole."""
    write = encoder()
    data = UID + write.element(0x00400031, "UT", b"x" * 1_000_000) + write.element(0x00401001, "SH", "RP")
    attributes = read_header(data, LITTLE).attributes
    assert len(attributes.texts("LocalNamespaceEntityID")[0]) == DEFAULT.value
    assert attributes.text("RequestedProcedureID") == "RP"
    assert attributes.issues[0].reason == "cut at 65536 bytes"


def test_all_values_together_are_limited(encoder: Callable[..., Any]) -> None:
    """Many long values are refused before they fill the memory."""
    write = encoder()
    item = write.element(0x00400031, "UT", b"x" * 60_000)
    data = UID + write.sequence(0x00400275, [item] * 1000)
    _refused(data, LITTLE, "bytes of text", 40)


def test_endless_sequence_in_a_file(encoder: Callable[..., Any]) -> None:
    """A sequence larger than the largest window of a file is refused without reading all of the file."""
    write = encoder()
    item = write.item(write.element(0x00091001, "OB", bytes(1 << 20)))
    data = UID + write.head(0x00081032, "SQ", 0xFFFFFFFF) + item * 48
    with pytest.raises(TooLarge, match="sequence of more"):
        read_header(io.BytesIO(data), LITTLE)


LENGTHS = st.sampled_from([0, 1, 2, 7, 8, 255, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF])
SMALL = Limits(window=1 << 16, elements=500, items=100, nesting=8, inflated=1 << 16, values=1 << 12)


def _total(data: bytes) -> None:
    """Reading gives a header or refuses, the same from memory and from a file."""
    for uid in SYNTAXES:
        for source in (data, io.BytesIO(data)):
            with contextlib.suppress(Refused):
                header = read_header(source, uid, limits=SMALL)
                assert list(header.attributes)
    with contextlib.suppress(Refused):
        metadata(data, "/bulk")


@given(st.binary(max_size=400))
def test_random_bytes(data: bytes) -> None:
    """Any bytes are a header or are refused, in every transfer syntax."""
    _total(data)
    _total(bytes(128) + b"DICM" + data)
    _total(UID + data)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0x00080005, 0x00080018, 0x00081032, 0x00091001, 0x00100010, 0xFFFEE000])
            | st.sampled_from([0xFFFEE00D, 0xFFFEE0DD, 0x7FE00010, 0x52009230, 0x00200013]),
            st.sampled_from([b"UI", b"SQ", b"UN", b"PN", b"OB", b"ZZ", b"??", b"\0\0", b"US", b"UT"]),
            LENGTHS,
            st.binary(max_size=12),
        ),
        max_size=30,
    ),
    st.booleans(),
)
def test_elements_of_any_kind(rows: list[tuple[int, bytes, int, bytes]], long: bool) -> None:
    """Heads in any order, with any VR and any length, never break the reader."""
    parts = []
    for tag, vr, length, value in rows:
        head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
        lengths = b"\0\0" + struct.pack("<L", length) if long else struct.pack("<H", length & 0xFFFF)
        delimiter = tag >> 16 == 0xFFFE
        parts.append(head + (struct.pack("<L", length) if delimiter else vr + lengths) + value)
    _total(UID + b"".join(parts))


@settings(max_examples=200)
@given(st.data())
def test_mutated_files(sample: Callable[[str], bytes], data: st.DataObject) -> None:
    """Files with some bytes changed, cut or doubled are read or refused, and so is their metadata."""
    name = data.draw(
        st.sampled_from(["MR_small_implicit.dcm", "reportsi.dcm", "rtplan.dcm", "image_dfl.dcm"])
    )
    raw = bytearray(sample(name)[:6000])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=6))
    source = bytes(raw)
    with contextlib.suppress(Refused):
        read_header(source)
    with contextlib.suppress(Refused):
        metadata(source, "/bulk")


def test_refusals_carry_no_values() -> None:
    """What is said of a refused data set names no value of it."""
    with pytest.raises(NotUnderstood) as caught:
        read_header(b"Doe^Jane" * 50)
    assert "Doe" not in str(caught.value)
