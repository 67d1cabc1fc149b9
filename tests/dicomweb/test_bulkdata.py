"""WADO-RS bulk data over real HTTP: what metadata names is there, whole or by range."""

import io
import struct
from itertools import pairwise
from typing import Any

import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_files

from pacsbridge.dicom.part10 import part10_head
from pacsbridge.dicomweb.sending import _cut

from .conftest import CT, EXPLICIT, JPEG, Bridge, Instance, element
from .test_frames import BIG, OCTETS, SOI, STREAMS, capsule, contents, hold_file, image, parts, refused

ITEM = b"\xfe\xff\x00\xe0"
PRIVATE = 0x00091010
LONG = bytes(range(256)) * 8


def sequence(tag: int, *items: bytes) -> bytes:
    """A sequence of items of defined length."""
    body = b"".join(ITEM + struct.pack("<L", len(item)) + item for item in items)
    return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, b"SQ", 0, len(body)) + body


@pytest.fixture
def rich(bridge: Bridge) -> Instance:
    """A long value at the root, one in the second item of a sequence, an icon in fragments, pixel data."""
    icon = sequence(0x00880200, capsule([b"icon"], table=False))
    nested = sequence(0x00089215, element(0x00080060, "CS", b"CT"), element(PRIVATE, "OB", LONG[::-1]))
    before = nested + element(PRIVATE, "OB", LONG) + icon
    return hold_file(bridge, image(capsule(STREAMS), 6, JPEG, before=before), JPEG)


@pytest.fixture
def native(bridge: Bridge) -> Instance:
    """Native frames: one value."""
    pixels = element(0x7FE00010, "OW", bytes(range(24)))
    return hold_file(bridge, image(pixels, 6, EXPLICIT), EXPLICIT, "76")


def get(
    bridge: Bridge, instance: Instance, path: str, accept: str = "*/*", **headers: str
) -> requests.Response:
    """Ask for a value."""
    url = bridge.instance(instance, "bulkdata", path)
    return requests.get(url, headers={"Accept": accept, **headers}, timeout=60)


def uris(document: Any) -> list[str]:
    """Every BulkDataURI of a DICOM JSON document, in its order."""
    if isinstance(document, list):
        return [uri for one in document for uri in uris(one)]
    if not isinstance(document, dict):
        return []
    own = [document["BulkDataURI"]] if "BulkDataURI" in document else []
    return own + [uri for one in document.values() for uri in uris(one)]


def test_what_metadata_names_is_there(bridge: Bridge, rich: Instance, native: Instance) -> None:
    """Every BulkDataURI of the metadata leads to its value, in sequences too."""
    found = uris(requests.get(bridge.instance(rich, "metadata"), timeout=60).json())
    tags = [uri.partition("/bulkdata/")[2] for uri in found]
    assert tags == ["00089215/2/00091010", "00091010", "00880200/1/7FE00010", "7FE00010"]
    nested, root, icon, pixels = (requests.get(uri, timeout=60) for uri in found)
    assert nested.content == LONG[::-1] and root.content == LONG
    assert contents(icon) == [b"icon"] and contents(pixels) == STREAMS
    (uri,) = uris(requests.get(bridge.instance(native, "metadata"), timeout=60).json())
    assert requests.get(uri, timeout=60).content == bytes(range(24))


def test_single_and_multipart(bridge: Bridge, rich: Instance, native: Instance) -> None:
    """A value is octets on its own, or one part for a client that names multipart; errors name both."""
    single = get(bridge, rich, "00091010")
    assert single.headers["Content-Type"] == f"{OCTETS}; transfer-syntax={EXPLICIT}"
    assert single.headers["Content-Location"] == bridge.instance(rich, "bulkdata", "00091010")
    for name in (OCTETS, "*/*"):
        several = get(bridge, rich, "00091010", f'multipart/related; type="{name}"')
        ((fields, content),) = parts(several)
        assert content == LONG and fields["Content-Location"] == single.headers["Content-Location"]
    assert contents(get(bridge, native, "7FE00010", "multipart/related")) == [bytes(range(24))]
    assert OCTETS in refused(get(bridge, native, "7FE00010", "image/jpeg"), 406)
    assert "image/jpeg" in refused(get(bridge, rich, "7FE00010", OCTETS), 406)
    stored = get(bridge, rich, "7FE00010", f'multipart/related; type="{OCTETS}"; transfer-syntax=*')
    assert contents(stored) == STREAMS


def test_encapsulated_pixel_data_are_a_part_a_frame(bridge: Bridge, rich: Instance) -> None:
    """The parts are of the codec's type, in the stored transfer syntax; one frame may come on its own."""
    response = get(bridge, rich, "7FE00010")
    assert response.headers["Content-Type"].startswith('multipart/related; type="image/jpeg"')
    assert [fields["Content-Type"] for fields, _ in parts(response)] == [
        f"image/jpeg; transfer-syntax={JPEG}"
    ] * 6
    alone = hold_file(bridge, image(capsule([SOI], table=False), 1, JPEG), JPEG, "75")
    assert get(bridge, alone, "7FE00010", "image/jpeg").content == SOI


RANGES = {
    "bytes=0-0": (0, 1),
    "bytes=5-9": (5, 10),
    "bytes=2000-": (2000, 2048),
    "bytes=-48": (2000, 2048),
    "bytes=-99999": (0, 2048),
    "bytes=2000-99999": (2000, 2048),
    "Bytes = 1 - 2": (1, 3),
}


@pytest.mark.parametrize("asked", RANGES)
def test_one_range_is_206(bridge: Bridge, rich: Instance, asked: str) -> None:
    """From the start, to the end, from the end, in the middle (RFC 9110 14.1.2)."""
    start, stop = RANGES[asked]
    response = get(bridge, rich, "00091010", Range=asked)
    assert response.status_code == 206
    assert response.content == LONG[start:stop]
    assert response.headers["Content-Range"] == f"bytes {start}-{stop - 1}/2048"
    assert response.headers["Content-Length"] == str(stop - start)


@pytest.mark.parametrize("asked", ["bytes=2048-", "bytes=9999-10000", "bytes=-0"])
def test_a_range_behind_the_end_is_416(bridge: Bridge, rich: Instance, asked: str) -> None:
    """And tells how much there is."""
    response = get(bridge, rich, "00091010", Range=asked)
    assert "2048" in refused(response, 416) and response.headers["Content-Range"] == "bytes */2048"


@pytest.mark.parametrize(
    "asked",
    ["bytes=1-2,4-5", "bytes=9-2", "bytes=-", "bytes=a-b", "lines=1-2", "bytes", "", "bytes=1-" + "9" * 30],
)
def test_other_ranges_are_passed_over(bridge: Bridge, rich: Instance, asked: str) -> None:
    """Several at once, illegible ones and other units: the whole value, as RFC 9110 14.2 allows."""
    response = get(bridge, rich, "00091010", Range=asked)
    assert response.status_code == 200 and response.content == LONG


@given(st.integers(0, 30), st.integers(0, 40), st.integers(1, 30))
def test_ranges_are_those_of_slices(first: int, last: int, length: int) -> None:
    """A range is the slice that Python has for it, nothing if that is empty, all if it is backwards."""
    found = _cut(str(first), str(last), length)
    if last < first:
        assert found == (0, length, False)
    else:
        wanted = range(length)[first : last + 1]
        assert found == ((wanted.start, wanted.stop, True) if wanted else None)


def test_conditions(bridge: Bridge, rich: Instance) -> None:
    """A known tag is 304, If-Range of another version the whole; HEAD knows no ranges."""
    first = get(bridge, rich, "00091010")
    tag = first.headers["ETag"]
    assert get(bridge, rich, "00091010", **{"If-None-Match": tag, "Range": "bytes=0-1"}).status_code == 304
    assert get(bridge, rich, "00091010", **{"If-Range": tag, "Range": "bytes=0-1"}).content == LONG[:2]
    assert get(bridge, rich, "00091010", **{"If-Range": '"other"', "Range": "bytes=0-1"}).status_code == 200
    url = bridge.instance(rich, "bulkdata", "00091010")
    head = requests.head(url, headers={"Range": "bytes=0-1"}, timeout=60)
    assert head.status_code == 200 and not head.content
    assert head.headers["Content-Length"] == "2048" and head.headers["Accept-Ranges"] == "bytes"
    assert head.headers["ETag"] == tag and "private" in head.headers["Cache-Control"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=6))
def test_ranges_put_together_are_the_whole(bridge: Bridge, native: Instance, cuts: list[int]) -> None:
    """Of a multipart answer too: heads, content and closing line."""
    accept = f'multipart/related; type="{OCTETS}"'
    whole = get(bridge, native, "7FE00010", accept).content
    edges = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    pieces = [
        get(bridge, native, "7FE00010", accept, Range=f"bytes={start}-{stop - 1}").content
        for start, stop in pairwise(edges)
    ]
    assert b"".join(pieces) == whole


@pytest.mark.parametrize(
    "path",
    [
        "7FE0001",
        "7FE000100",
        "PixelData",
        "7FE00010/1",
        "7FE00010/x/7FE00010",
        "7FE00010//",
        "7FE00010%00",
    ],
)
def test_malformed_paths_are_400(bridge: Bridge, rich: Instance, path: str) -> None:
    """Tags are eight hexadecimal digits, items are numbers."""
    assert "tag" in refused(get(bridge, rich, path), 400)


@pytest.mark.parametrize(
    "path",
    [
        "00091011",
        "00089215",
        "00089215/3/00091010",
        "00089215/0/00091010",
        "00089215/1/00091010",
        "7FE00008",
        "00020010",
    ],
)
def test_what_is_not_there_is_404(bridge: Bridge, rich: Instance, path: str) -> None:
    """An element that is missing, a sequence, an item that is missing, the file meta group."""
    assert "no such value" in refused(get(bridge, rich, path), 404)


def test_small_letters_and_empty_values(bridge: Bridge) -> None:
    """Hexadecimal digits may be small; a value of no bytes is an answer of none."""
    before = element(PRIVATE, "OB", b"") + element(0x0009101A, "OB", b"ab")
    instance = hold_file(bridge, image(b"", 1, EXPLICIT, before=before), EXPLICIT)
    assert get(bridge, instance, "0009101a").content == b"ab"
    empty = get(bridge, instance, "00091010")
    assert empty.status_code == 200 and empty.headers["Content-Length"] == "0"
    refused(get(bridge, instance, "00091010", Range="bytes=0-"), 416)


def test_big_endian_values_are_turned(bridge: Bridge) -> None:
    """Uncompressed bulk data are little endian, whatever they are stored in (PS3.18 8.7.3.3.1)."""

    def long(tag: int, vr: bytes, value: bytes) -> bytes:
        return struct.pack(">HH2sHL", tag >> 16, tag & 0xFFFF, vr, 0, len(value)) + value

    numbers = range(1000)
    body = struct.pack(">HH2sH", 0x0008, 0x0018, b"UI", 6) + b"1.2.3\0"
    body += long(0x00091010, b"OB", LONG) + long(0x00660016, b"OF", struct.pack(">1000f", *numbers))
    body += long(0x7FE00010, b"OW", struct.pack(">1000H", *numbers))
    instance = hold_file(bridge, part10_head(CT, "1.2.3", BIG) + body, BIG)
    assert get(bridge, instance, "00091010").content == LONG
    assert get(bridge, instance, "00660016").content == struct.pack("<1000f", *numbers)
    assert get(bridge, instance, "7FE00010").content == struct.pack("<1000H", *numbers)
    assert (
        get(bridge, instance, "7FE00010", Range="bytes=3-4").content == struct.pack("<1000H", *numbers)[3:5]
    )


def test_dicomweb_client_agrees(bridge: Bridge, rich: Instance, native: Instance) -> None:
    """The official client retrieves bulk data with and without media types, at once and streamed."""
    client = DICOMwebClient(bridge.url)
    url = bridge.instance(rich, "bulkdata", "7FE00010")
    assert client.retrieve_bulkdata(url) == STREAMS
    assert list(client.iter_bulkdata(url, media_types=(("image/jpeg", JPEG),))) == STREAMS
    url = bridge.instance(native, "bulkdata", "7FE00010")
    assert client.retrieve_bulkdata(url, media_types=((OCTETS, EXPLICIT),)) == [bytes(range(24))]
    assert client.retrieve_bulkdata(url) == [bytes(range(24))]


def test_every_link_of_pydicoms_files_leads_somewhere(bridge: Bridge) -> None:
    """The metadata of each of pydicom's images name nothing that cannot be had."""
    client = DICOMwebClient(bridge.url)
    seen = 0
    for number, name in enumerate(sorted(set(get_testdata_files("**/*.dcm"))), 1):
        with open(name, "rb") as file:
            raw = file.read()
        read = pydicom.dcmread(io.BytesIO(raw), force=True)
        if "PixelData" not in read or "truncated" in name or "TransferSyntaxUID" not in read.file_meta:
            continue
        instance = hold_file(bridge, raw, read.file_meta.TransferSyntaxUID, str(number))
        for uri in uris(requests.get(bridge.instance(instance, "metadata"), timeout=60).json()):
            values = client.retrieve_bulkdata(uri)
            encapsulated = uri.endswith("/7FE00010") and read["PixelData"].is_undefined_length
            assert len(values) == (int(read.get("NumberOfFrames") or 1) if encapsulated else 1), uri
            seen += 1
    assert seen > 60


def test_damaged_instances_are_answered(bridge: Bridge) -> None:
    """A file cut short anywhere has metadata, frames and bulk data, or they are Absent; never a 500."""
    before = sequence(0x00089215, element(PRIVATE, "OB", LONG[:20])) + element(PRIVATE, "OB", LONG[:40])
    open_item = struct.pack("<HH2sHL", 0x0008, 0x9215, b"SQ", 0, 0xFFFFFFFF) + ITEM + b"\xff" * 4
    whole = image(capsule(STREAMS[:2]), 2, JPEG, before=before)
    files = [whole[:size] for size in range(340, len(whole), 7)]
    files.append(image(b"", 1, EXPLICIT, before=open_item))
    statuses = set()
    for number, raw in enumerate(files, 1):
        instance = hold_file(bridge, raw, JPEG, str(number))
        for path in (
            "metadata",
            "frames/1",
            "bulkdata/7FE00010",
            "bulkdata/00091010",
            "bulkdata/00089215/1/00091010",
        ):
            status = requests.get(bridge.instance(instance, path), timeout=60).status_code
            assert status in (200, 404), (number, path, status)
            statuses.add(status)
    assert statuses == {200, 404}
