"""WADO-RS frames over real HTTP: pydicom is the oracle, dicomweb-client a client written by others."""

import random
import threading
import time
from collections.abc import Iterable, Sequence
from email.parser import BytesParser
from hashlib import sha256
from pathlib import Path

import psutil
import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.data import get_testdata_files
from pydicom.encaps import encapsulate, generate_frames

from pacsbridge.blobs.blob import Blob
from pacsbridge.dicom.part10 import part10_head
from pacsbridge.dicom.reader import read_header
from pacsbridge.dicomweb import frames as module
from pacsbridge.dicomweb.pieces import BATCH, Reader
from pacsbridge.errors import Absent
from pacsbridge.kernel.extract import extract
from pacsbridge.kernel.identity import Context
from pacsbridge.store.records import Arrival

from .conftest import CT, EXPLICIT, JPEG, STUDY, Bridge, Instance, dataset, element

RLE, JLS, J2K, HTJ2K, MP4 = (f"1.2.840.10008.1.2.{end}" for end in ("5", "4.80", "4.90", "4.201", "4.102"))
IMPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
OCTETS = "application/octet-stream"
SOI = b"\xff\xd8\xff\xe0"
END = b"\xfe\xff\xdd\xe0\0\0\0\0"


def hold_file(bridge: Bridge, raw: bytes, syntax: str, sop: str = "77") -> Instance:
    """Store a whole file as it is, under a UID of the study whatever it says itself."""
    uid = f"{STUDY}.1.{sop}"
    facts = extract(read_header(dataset(STUDY, f"{STUDY}.1", uid), EXPLICIT).attributes, Context())
    location = bridge.packs.append({}, [raw])
    arrival = Arrival(facts, "urn:test", 1, syntax, location.text, location.size, sha256(raw).digest())
    bridge.store.put([arrival], {location.pack: location.end}, 1)
    return Instance(STUDY, f"{STUDY}.1", uid, raw)


def image(
    pixels: bytes, frames: int, syntax: str, size: tuple[int, int] = (2, 2), before: bytes = b""
) -> bytes:
    """A Part 10 file of 8-bit frames whose pixel element, head and all, is `pixels`."""
    return part10_head(CT, "1.2.3", syntax) + b"".join(
        (
            element(0x00080018, "UI", b"1.2.3"),
            element(0x00280002, "US", b"\1\0"),
            element(0x00280008, "IS", str(frames).encode()),
            element(0x00280010, "US", size[0].to_bytes(2, "little")),
            element(0x00280011, "US", size[1].to_bytes(2, "little")),
            element(0x00280100, "US", b"\10\0"),
            before,
            pixels,
        )
    )


def capsule(streams: Sequence[bytes], table: bool = True) -> bytes:
    """Encapsulated pixel data, as pydicom makes them."""
    return b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff" + encapsulate(list(streams), has_bot=table) + END


STREAMS = [SOI + bytes([number]) * 10 for number in range(6)]


@pytest.fixture
def jpeg(bridge: Bridge) -> Instance:
    """Six frames, whose streams are only streams by their first bytes."""
    return hold_file(bridge, image(capsule(STREAMS), 6, JPEG), JPEG)


@pytest.fixture
def native(bridge: Bridge) -> Instance:
    """Six frames of four bytes."""
    return hold_file(bridge, image(element(0x7FE00010, "OW", bytes(range(24))), 6, EXPLICIT), EXPLICIT, "76")


def get(
    bridge: Bridge, instance: Instance, frames: str, accept: str = "*/*", **headers: str
) -> requests.Response:
    """Ask for frames."""
    url = bridge.instance(instance, "frames", frames)
    return requests.get(url, headers={"Accept": accept, **headers}, timeout=60)


def parts(response: requests.Response) -> list[tuple[dict[str, str], bytes]]:
    """Header fields and content of each part."""
    assert len(response.content) == int(response.headers["Content-Length"])
    head = f"Content-Type: {response.headers['Content-Type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head + response.content)
    pieces = response.content.split(f"--{message.get_param('boundary')}".encode())
    assert pieces[-1] == b"--\r\n"
    contents = [piece.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for piece in pieces[1:-1]]
    payloads = message.get_payload()
    assert isinstance(payloads, list)
    return [(dict(part.items()), content) for part, content in zip(payloads, contents, strict=True)]


def contents(response: requests.Response) -> list[bytes]:
    """The parts of a good answer."""
    assert response.status_code == 200, response.text
    return [content for _, content in parts(response)]


def refused(response: requests.Response, status: int) -> str:
    """The reason of a refusal."""
    assert response.status_code == status
    return str(response.json()["reason"])


def test_frames_come_as_asked_for(bridge: Bridge, jpeg: Instance, native: Instance) -> None:
    """In the order of the list, as often as they are in it, each with its place, length, type and syntax."""
    response = get(bridge, jpeg, "5,1,5")
    assert contents(response) == [STREAMS[4], STREAMS[0], STREAMS[4]]
    assert response.headers["Content-Type"].startswith('multipart/related; type="image/jpeg"; boundary=')
    for number, (fields, content) in zip((5, 1, 5), parts(response), strict=True):
        assert fields["Content-Type"] == f"image/jpeg; transfer-syntax={JPEG}"
        assert fields["Content-Length"] == str(len(content))
        assert fields["Content-Location"] == bridge.instance(jpeg, "frames", str(number))


def test_native_frames(bridge: Bridge, native: Instance) -> None:
    """Native frames are octets in little endian, in the transfer syntax of the standard's table."""
    response = get(bridge, native, "6,2")
    assert contents(response) == [bytes(range(20, 24)), bytes(range(4, 8))]
    assert response.headers["Content-Type"].startswith(f'multipart/related; type="{OCTETS}"; boundary=')
    assert parts(response)[0][0]["Content-Type"] == f"{OCTETS}; transfer-syntax={EXPLICIT}"


def test_one_frame_on_its_own(bridge: Bridge, jpeg: Instance, native: Instance) -> None:
    """One frame comes without multipart to a client that names its type so; several do not."""
    response = get(bridge, jpeg, "3", "image/jpeg")
    assert response.content == STREAMS[2]
    assert response.headers["Content-Type"] == f"image/jpeg; transfer-syntax={JPEG}"
    assert response.headers["Content-Location"] == bridge.instance(jpeg, "frames", "3")
    assert get(bridge, jpeg, "3", "image/*").content == STREAMS[2]
    assert get(bridge, native, "3", OCTETS).content == bytes(range(8, 12))
    assert "multipart/related" in refused(get(bridge, jpeg, "3,4", "image/jpeg"), 406)


def test_what_would_need_decoding_is_406(bridge: Bridge, jpeg: Instance, native: Instance) -> None:
    """The refusal names what there is: the codec's type and its transfer syntax."""
    for accept in (
        OCTETS,
        f'multipart/related; type="{OCTETS}"',
        "image/png",
        f"{OCTETS}; transfer-syntax={EXPLICIT}",
    ):
        reason = refused(get(bridge, jpeg, "1", accept), 406)
        assert 'type="image/jpeg"' in reason and JPEG in reason
    assert OCTETS in refused(get(bridge, native, "1", "image/jpeg"), 406)
    for syntax in (IMPLICIT, BIG):  # not to be used with web services (PS3.18 8.7.3)
        assert EXPLICIT in refused(get(bridge, native, "1", f"{OCTETS}; transfer-syntax={syntax}"), 406)


@pytest.mark.parametrize("syntax", ["*", JPEG])
def test_as_stored(bridge: Bridge, jpeg: Instance, syntax: str) -> None:
    """Viewers ask for octets in any transfer syntax: they get the stream with the syntax it is in."""
    accept = f'multipart/related; type="{OCTETS}"; transfer-syntax={syntax}'
    response = get(bridge, jpeg, "2", accept)
    assert contents(response) == [STREAMS[1]]
    assert parts(response)[0][0]["Content-Type"] == f"{OCTETS}; transfer-syntax={JPEG}"
    better = get(bridge, jpeg, "2", f'{accept}; q=0.5, multipart/related; type="image/jpeg"')
    assert 'type="image/jpeg"' in better.headers["Content-Type"]


@pytest.mark.parametrize(
    ("syntax", "media_type"),
    [(RLE, "image/dicom-rle"), (JLS, "image/jls"), (J2K, "image/jp2"), (HTJ2K, "image/jphc")],
)
def test_each_codec_has_its_type(bridge: Bridge, syntax: str, media_type: str) -> None:
    """PS3.18 table 8.7.3-5."""
    instance = hold_file(bridge, image(capsule([b"ab", b"cd"]), 2, syntax), syntax)
    response = get(bridge, instance, "2", f'multipart/related; type="{media_type}"; transfer-syntax={syntax}')
    assert contents(response) == [b"cd"]
    assert parts(response)[0][0]["Content-Type"] == f"{media_type}; transfer-syntax={syntax}"


def test_a_video_is_not_taken_apart(bridge: Bridge) -> None:
    """Frames of a video would need decoding; the refusal says where all of it is, and there it is."""
    instance = hold_file(bridge, image(capsule([b"one stream"], False), 300, MP4), MP4)
    assert "bulkdata/7FE00010" in refused(get(bridge, instance, "2"), 406)
    whole = requests.get(
        bridge.instance(instance, "bulkdata", "7FE00010"), headers={"Accept": "video/mp4"}, timeout=60
    )
    assert whole.content == b"one stream" and whole.headers["Content-Type"].startswith("video/mp4;")
    single = hold_file(bridge, image(capsule([b"one stream"], False), 1, MP4), MP4, "78")
    assert get(bridge, single, "1", "video/mp4").content == b"one stream"


def test_a_codec_without_a_type(bridge: Bridge) -> None:
    """What nobody has named a media type for is within the instance only."""
    syntax = "1.2.840.10008.1.2.8.1"
    instance = hold_file(bridge, image(capsule([b"ab"]), 1, syntax), syntax)
    for path in ("frames/1", "bulkdata/7FE00010"):
        assert syntax in refused(requests.get(bridge.instance(instance, path), timeout=60), 406)


@pytest.mark.parametrize(
    "text", ["0", "1,0", "-1", "1,", ",1", "1,,2", "a", "1-3", "1 2", "1.0", "\uff11", "1" * 10, "1;2"]
)
def test_malformed_lists_are_400(bridge: Bridge, native: Instance, text: str) -> None:
    """Frames are numbers from 1 with commas between them."""
    assert "numbers from 1" in refused(get(bridge, native, text), 400)


def test_frames_that_are_not_there_are_404(bridge: Bridge, jpeg: Instance, native: Instance) -> None:
    """One frame that does not exist is enough; the reason says how many there are."""
    for instance in (jpeg, native):
        for text in ("7", "1,7", "999999999"):
            assert "6" in refused(get(bridge, instance, text), 404)
    unknown = Instance(STUDY, "1.2", "1.2.3", b"")
    assert "no such" in refused(get(bridge, unknown, "1"), 404)
    without = hold_file(bridge, image(b"", 1, EXPLICIT), EXPLICIT, "79")
    assert "no pixel data" in refused(get(bridge, without, "1"), 404)


def test_head_304_and_ranges(bridge: Bridge, jpeg: Instance) -> None:
    """HEAD tells what GET would; the entity tag differs between lists and types; ranges are served."""
    url = bridge.instance(jpeg, "frames", "1,2")
    got, head = requests.get(url, timeout=60), requests.head(url, timeout=60)
    assert head.status_code == 200 and not head.content
    for field in ("Content-Length", "Content-Type", "ETag", "Vary", "Cache-Control", "Accept-Ranges"):
        assert head.headers[field] == got.headers[field]
    assert requests.get(url, timeout=60).content == got.content
    tag = got.headers["ETag"]
    again = get(bridge, jpeg, "1,2", **{"If-None-Match": tag})
    assert again.status_code == 304 and not again.content and again.headers["ETag"] == tag
    others = [get(bridge, jpeg, "2,1"), get(bridge, jpeg, "1"), get(bridge, jpeg, "1", "image/jpeg")]
    assert len({tag, *(one.headers["ETag"] for one in others)}) == 4
    part = get(bridge, jpeg, "1,2", Range="bytes=10-200")
    assert part.status_code == 206 and part.content == got.content[10:201]


def test_dicomweb_client_agrees(bridge: Bridge, jpeg: Instance, native: Instance) -> None:
    """The official client retrieves frames at once and streamed, with and without media types."""
    client = DICOMwebClient(bridge.url)

    def names(one: Instance) -> tuple[str, str, str]:
        return one.study, one.series, one.sop

    assert client.retrieve_instance_frames(*names(jpeg), [2, 6]) == [STREAMS[1], STREAMS[5]]
    types = (("image/jpeg", JPEG),)
    assert client.retrieve_instance_frames(*names(jpeg), [3], media_types=types) == [STREAMS[2]]
    assert list(client.iter_instance_frames(*names(jpeg), [1, 2])) == STREAMS[:2]
    assert client.retrieve_instance_frames(*names(native), [1]) == [bytes(range(4))]
    octets = ((OCTETS, EXPLICIT),)
    assert client.retrieve_instance_frames(*names(native), [6], media_types=octets) == [bytes(range(20, 24))]


def pixel_files() -> Iterable[tuple[Path, pydicom.Dataset]]:
    """Of each transfer syntax one of pydicom's files, the longest list of frames first."""
    found: dict[str, tuple[int, Path, pydicom.Dataset]] = {}
    for name in sorted(set(get_testdata_files("**/*.dcm"))):
        read = pydicom.dcmread(name, force=True)
        syntax = str(read.file_meta.get("TransferSyntaxUID", ""))
        if "PixelData" in read and "Rows" in read and syntax and "badVR" not in name:
            count = int(read.get("NumberOfFrames") or 1)
            if count > found.get(syntax, (0,))[0]:
                found[syntax] = (count, Path(name), read)
    return [(path, read) for _, path, read in found.values()]


def test_pydicoms_files_of_every_syntax(bridge: Bridge) -> None:
    """Whatever the transfer syntax, the frames that come are those that pydicom finds, or the whole value."""
    client = DICOMwebClient(bridge.url)
    chosen = list(pixel_files())
    assert len(chosen) >= 12
    for number, (path, read) in enumerate(chosen, 1):
        syntax = read.file_meta.TransferSyntaxUID
        count = int(read.get("NumberOfFrames") or 1)
        instance = hold_file(bridge, path.read_bytes(), syntax, str(number))
        got = client.retrieve_instance_frames(
            instance.study, instance.series, instance.sop, list(range(1, count + 1))
        )
        if syntax.is_encapsulated:
            assert got == list(generate_frames(read.PixelData, number_of_frames=count)), path.name
        else:
            swapped = read.pixel_array.astype(read.pixel_array.dtype.newbyteorder("<")).tobytes()
            assert b"".join(got) in (read.PixelData, swapped), path.name


def test_deflated_frames_only_go_forwards(bridge: Bridge) -> None:
    """A deflated instance is inflated on the way; its frames come in ascending order only."""
    import zlib

    plain = image(element(0x7FE00010, "OW", bytes(range(24))), 6, EXPLICIT)
    syntax = "1.2.840.10008.1.2.1.99"
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    body = plain[len(part10_head(CT, "1.2.3", EXPLICIT)) :]
    raw = part10_head(CT, "1.2.3", syntax) + deflater.compress(body) + deflater.flush()
    instance = hold_file(bridge, raw, syntax)
    assert contents(get(bridge, instance, "1,4,6")) == [bytes(range(at, at + 4)) for at in (0, 12, 20)]
    for text in ("2,1", "1,1"):
        assert "ascending" in refused(get(bridge, instance, text), 400)


def test_the_index_is_made_once(bridge: Bridge, jpeg: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frame after frame, the file is parsed once."""
    calls = []
    find = module.read_pixels

    def counted(file: object) -> object:
        calls.append(1)
        return find(file)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "read_pixels", counted)
    for number in range(1, 7):
        assert contents(get(bridge, jpeg, str(number))) == [STREAMS[number - 1]]
    assert len(calls) == 1


def test_indexes_make_room(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index asked for least recently goes first, and the count of what is kept stays true."""
    import asyncio

    from pacsbridge.dicom.frames import Encapsulated, Pixels

    held = []
    for number in range(4):
        hold_file(bridge, image(capsule(STREAMS), 6, JPEG), JPEG, str(number + 1))
    held = list(bridge.store.held(STUDY))
    made = []

    def index(_packs: object, one: object) -> Pixels:
        made.append(one)
        return Pixels(0x7FE00010, JPEG, None, Encapsulated([0] * 9, [0] * 9, [], [], 1, video=False))

    class Here:
        """A service that works in its own thread."""

        packs = None
        describing = asyncio.Semaphore(2)

        async def call(self, work: object) -> object:
            return work()  # type: ignore[operator]

    monkeypatch.setattr(module, "indexed", index)
    shelf = module.Shelf(25)

    async def ask() -> None:
        for number in (0, 1, 0, 2, 0, 1, 1):
            await shelf.pixels(Here(), held[number])  # type: ignore[arg-type]

    asyncio.run(ask())
    assert [held.index(one) for one in made] == [0, 1, 2, 1]  # type: ignore[arg-type]
    assert len(shelf._kept) == 2 and shelf._room == 5


def test_a_hundred_thousand_fragments(bridge: Bridge) -> None:
    """A frame in as many pieces, and as many frames, come whole and without much memory."""
    count = 100_000
    one = hold_file(bridge, image(capsule([b"ab"] * count, False), 1, JPEG), JPEG, "1")
    many = hold_file(bridge, image(capsule([b"ab"] * count), count, JPEG), JPEG, "2")
    assert get(bridge, one, "1", "image/jpeg").content == b"ab" * count
    assert contents(get(bridge, many, "99999,100000")) == [b"ab", b"ab"]
    assert "cannot be told apart" in refused(
        get(bridge, hold_file(bridge, image(capsule([b"ab"] * count, False), 7, JPEG), JPEG, "3"), "1"), 404
    )


@pytest.mark.parametrize("encapsulated", [False, True])
def test_five_hundred_frames_in_constant_memory(bridge: Bridge, encapsulated: bool) -> None:
    """All frames in one answer, to a client that reads them as they come, cost some batches of memory."""
    side, count = 512, 500
    frame = SOI + bytes(side * side - 4)
    pixels = capsule([frame] * count) if encapsulated else element(0x7FE00010, "OB", frame * count)
    syntax = JPEG if encapsulated else EXPLICIT
    instance = hold_file(bridge, image(pixels, count, syntax, (side, side)), syntax)
    del pixels
    url = bridge.instance(instance, "frames", ",".join(map(str, range(1, count + 1))))
    process = psutil.Process()
    before = peak = process.memory_info().rss
    total = 0
    with requests.get(url, stream=True, timeout=60) as response:
        for chunk in response.iter_content(1 << 20):
            total += len(chunk)
            peak = max(peak, process.memory_info().rss)
        assert response.status_code == 200 and total == int(response.headers["Content-Length"])
    assert total > count * len(frame)
    assert peak - before < 48 << 20 < total


def test_what_is_cut_off_looks_cut_off(bridge: Bridge) -> None:
    """A store that loses bytes while an answer goes out never looks like a complete answer."""
    import os

    frame = bytes(4096 * 1024)
    instance = hold_file(bridge, image(element(0x7FE00010, "OB", frame), 1, EXPLICIT, (4096, 1024)), EXPLICIT)
    assert len(get(bridge, instance, "1", OCTETS).content) == len(frame) > 2 * BATCH
    pack = next(path for path in bridge.folder.rglob("*.pack"))
    os.truncate(pack, pack.stat().st_size - 1000)
    with pytest.raises(requests.exceptions.RequestException):
        get(bridge, instance, "1", OCTETS)


@pytest.mark.parametrize("stall_seconds", [0.3])
def test_a_client_that_takes_nothing_is_cut_off(bridge: Bridge) -> None:
    """It holds neither a thread nor its memory for longer than it may."""
    import socket
    from urllib.parse import urlsplit

    side = 8192
    instance = hold_file(
        bridge, image(element(0x7FE00010, "OB", bytes(side * side)), 1, EXPLICIT, (side, side)), EXPLICIT
    )
    place = urlsplit(bridge.instance(instance, "frames", "1"))
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((place.hostname, place.port))
        client.sendall(f"GET {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
        client.settimeout(20)
        assert client.recv(1)  # before it is accepted the connection belongs to nobody
        deadline = time.monotonic() + 20
        port = client.getsockname()[1]

        def served() -> bool:
            found = psutil.Process().net_connections("tcp4")
            return any(
                c.raddr and c.raddr.port == port and c.status == psutil.CONN_ESTABLISHED for c in found
            )

        while served() and time.monotonic() < deadline:
            threading.Event().wait(0.05)
        assert not served()


def test_going_back_in_a_deflated_blob_reads_right(tmp_path: Path) -> None:
    """Whatever the order of reading, the bytes are those of that place: it is inflated anew."""
    import zlib

    plain = random.Random(1).randbytes(300_000)
    path = tmp_path / "deflated"
    path.write_bytes(b"head" + zlib.compress(plain, wbits=-zlib.MAX_WBITS))
    reader = Reader(Blob(path, 0, path.stat().st_size, b"", 0, 0), 4)
    for start in (0, 250_000, 10, 249_999, 120_000):
        assert reader.read(start, start + 50) == plain[start : start + 50]
    with pytest.raises(Absent):
        reader.read(299_999, 300_001)
