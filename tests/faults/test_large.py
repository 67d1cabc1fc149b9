"""T-HUGE: an instance beyond what is taken, and one with thousands of frames."""

import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path

import pytest
import requests
from benchmarks.sender import command, p_data, pdu, status
from bystander import bystander
from data_sets import CT, EXPLICIT, STOW_HEADERS, data_set, element, file
from pushing import SUCCESS, Association
from raw_dimse import RawPeer, Wire

from .conftest import MakeSite, Site

MIB = 1 << 20
TOO_LARGE = 0xC001
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
PIXELS, FRAMES, GROUPS = 0x7FE00010, 0x00280008, 0x52009230
PIECE = bytes(64 << 10)


class Huge:
    """A CT instance of so many bytes of pixels, that are made while they are sent."""

    def __init__(self, number: int, size: int, name: str) -> None:
        self.uid = f"2.999.1.1.{number}"
        self.head = data_set(number, PatientName=name, more=[element(PIXELS, "OW", b"", size)])
        self._count = size // len(PIECE)

    def pieces(self, head: bytes) -> Iterator[bytes]:
        """All of it behind a head."""
        return chain([head], repeat(PIECE, self._count))

    def push(self, line: Association) -> int:
        """The status of its C-STORE."""
        line.socket.sendall(p_data(command(1, self.uid), b""))
        for number, part in enumerate(self.pieces(self.head)):
            last = 2 if number == self._count else 0
            line.socket.sendall(struct.pack(">BBIIBB", 4, 0, len(part) + 6, len(part) + 2, 1, last) + part)
        kind, body = pdu(line.socket)
        assert kind == 4
        return status(body)

    def body(self) -> Iterator[bytes]:
        """A request of STOW-RS with nothing else."""
        yield b"--b\r\nContent-Type: application/dicom\r\n\r\n"
        yield from self.pieces(file(self.head, self.uid))
        yield b"\r\n--b--\r\n"


@contextmanager
def at_most(folder: Path, most: int) -> Iterator[None]:
    """The files of a folder never take more bytes than that together."""
    over, sizes = threading.Event(), [0]

    def look() -> None:
        while not over.wait(0.02):
            sizes.append(sum(map(_size, folder.iterdir())))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join()
    print(f"at most {max(sizes) >> 20} MiB on the disk")
    assert max(sizes) <= most
    assert not list(folder.iterdir())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@pytest.mark.timeout(300)
def test_an_instance_beyond_the_limit(make_site: MakeSite, numbers: Callable[..., int]) -> None:
    """Refused by 0xC001 and 413, with a reason; neither memory nor disk ever has all of it."""
    limit, size = numbers(8 * MIB, 2048 * MIB), numbers(96 * MIB, 4095 * MIB)
    site = make_site(f"[limits]\nobject_bytes = {limit}\n", f"spool_bytes = {MIB}").start()
    canary = site.oracle.canary
    site.oracle.rest()
    with site.line(300) as line:
        assert site.push(line, 1) == SUCCESS
        with (
            site.oracle.bounded(40),
            at_most(site.bridge.data_dir / "incoming", limit + MIB),
            bystander(site.bridge),
        ):
            by_store, by_stow = Huge(1, size, canary), Huge(2, size, canary)
            answered = by_store.push(line)
            answer = requests.post(
                f"{site.bridge.dicomweb}/studies", by_stow.body(), headers=STOW_HEADERS, timeout=300
            )
        assert answered == TOO_LARGE
        assert site.oracle.answered(answer).status_code == 413
        assert f'"00081197":{{"vr":"US","Value":[{TOO_LARGE}]}}' in answer.text
        assert site.push(line, 2) == SUCCESS
    for one in (by_store, by_stow):
        site.oracle.note(one.uid, b"", TOO_LARGE)
    site.oracle.check(settled=True)


FRAME_BYTES = 32


def item(*elements: bytes) -> bytes:
    """An item of a sequence, of defined length."""
    body = b"".join(elements)
    return struct.pack("<HHL", 0xFFFE, 0xE000, len(body)) + body


def of_frame(number: int) -> bytes:
    """What an MR writes of one frame: content, position, orientation, spacing, echo, window."""
    text = str(number).encode()

    def group(tag: int, *elements: bytes) -> bytes:
        return element(tag, "SQ", item(*elements))

    return item(
        group(0x00180000 | 0x9114, element(0x00189082, "FD", struct.pack("<d", 4.6))),
        group(
            0x00209111,
            element(0x00209056, "SH", b"1"),
            element(0x00209057, "UL", struct.pack("<L", number)),
            element(0x00209157, "UL", struct.pack("<LL", 1, number)),
        ),
        group(0x00209113, element(0x00200032, "DS", b"0\\0\\" + text)),
        group(0x00209116, element(0x00200037, "DS", b"1\\0\\0\\0\\1\\0")),
        group(0x00289110, element(0x00180050, "DS", b"1"), element(0x00280030, "DS", b"1\\1")),
        group(0x00289132, element(0x00281050, "DS", b"500"), element(0x00281051, "DS", b"1000")),
        group(0x00289145, element(0x00281052, "DS", b"0"), element(0x00281053, "DS", b"1")),
    )


def enhanced(frames: int, name: str) -> bytes:
    """An Enhanced MR Image (PS3.3 A.36.2) of so many frames, 4 by 4 pixels that are the frame's number."""
    short = struct.Struct("<H").pack
    image = (
        element(0x00280002, "US", short(1)),
        element(0x00280004, "CS", b"MONOCHROME2"),
        element(FRAMES, "IS", str(frames).encode()),
        *(element(tag, "US", short(4)) for tag in (0x00280010, 0x00280011)),
        *(element(tag, "US", short(bits)) for tag, bits in ((0x00280100, 16), (0x00280101, 16))),
        element(0x00280102, "US", short(15)),
        element(0x00280103, "US", short(0)),
        element(GROUPS, "SQ", b"".join(map(of_frame, range(1, frames + 1)))),
        element(PIXELS, "OW", b"".join(frame(number) for number in range(1, frames + 1))),
    )
    return data_set(1, PatientName=name, SOPClassUID=ENHANCED_MR, Modality="MR", more=image)


def frame(number: int) -> bytes:
    """The pixels of a frame."""
    return struct.pack("<H", number) * (FRAME_BYTES // 2)


@pytest.mark.timeout(300)
def test_five_thousand_frames(site: Site) -> None:
    """An Enhanced MR with 5,000 frames comes by C-STORE, is published, found, and read frame by frame."""
    frames, uid = 5_000, "2.999.1.1.1"
    data = enhanced(frames, site.oracle.canary)
    with site.oracle.bounded(300), bystander(site.bridge):
        with RawPeer(site.bridge.dimse_port) as peer:
            peer.associate(contexts=((1, ENHANCED_MR.encode(), (EXPLICIT.encode(),)),))
            request = Wire.command(1, sop=ENHANCED_MR.encode(), uid=uid.encode())
            peer.send(Wire.data(1, 3, request))
            starts = range(0, len(data), len(PIECE))
            for start in starts:
                last = 2 if start == starts[-1] else 0
                peer.send(Wire.data(1, last, data[start : start + len(PIECE)]))
            assert peer.status() == SUCCESS
        site.oracle.note(uid, data, SUCCESS)
        site.oracle.check()
        _as_published(site, uid)
        _frame_by_frame(site, uid, frames)


def _as_published(site: Site, uid: str) -> None:
    """One instance of that class, whatever the number of its frames."""
    [study] = site.bridge.studies().values()
    [series] = study["series"]
    [instance] = series["instance"]
    assert (study["numberOfInstances"], instance["uid"]) == (1, uid)
    assert instance["sopClass"]["code"] == f"urn:oid:{ENHANCED_MR}"
    assert CT not in str(study)


def _frame_by_frame(site: Site, uid: str, frames: int) -> None:
    """QIDO-RS tells how many there are; the first, the last, many at once, and none beyond."""
    series = f"{site.bridge.dicomweb}/studies/2.999.1/series/2.999.1.1/instances"
    [found] = requests.get(series, params={"includefield": "NumberOfFrames"}, timeout=30).json()
    assert found["00280008"]["Value"] == [frames]
    raw = {"Accept": 'multipart/related; type="application/octet-stream"'}

    def read(*numbers: int) -> requests.Response:
        return requests.get(f"{series}/{uid}/frames/{','.join(map(str, numbers))}", headers=raw, timeout=60)

    for number in (1, 2_500, frames):
        assert frame(number) in read(number).content
    many = read(*range(1, frames + 1, 10))
    assert many.content.count(b"application/octet-stream") == frames // 10
    assert frame(frames - 9) in many.content
    assert read(frames + 1).status_code == 404
    metadata = requests.get(f"{series}/{uid}/metadata", timeout=60)
    assert len(metadata.json()[0]["52009230"]["Value"]) == frames
