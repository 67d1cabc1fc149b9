"""Storing over HTTP: real requests into a real intake, by requests, by sockets and by dicomweb-client."""

import asyncio
import io
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pydicom
import pytest
import requests
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from dicomweb_client.api import DICOMwebClient

from pacsbridge import runtime
from pacsbridge.bridge.intake import Intake
from pacsbridge.bridge.sources import STOW_URI, Source, Sources
from pacsbridge.config import load
from pacsbridge.dicom.part10 import part10_head
from pacsbridge.dicomweb import DicomwebSettings, dicomweb_app
from pacsbridge.dicomweb import store as store_module
from pacsbridge.dicomweb.receipt import failure_reason
from pacsbridge.dicomweb.receiving import Entrance
from pacsbridge.errors import NotUnderstood, TooCostly, Unavailable
from pacsbridge.kernel.conflicts import Policy
from pacsbridge.store.records import Held
from pacsbridge.store.store import Store
from pacsbridge.turns import Turns

from .conftest import CT, EXPLICIT, STUDY, Bridge, dataset, element, serve

RELATED = 'multipart/related; type="application/dicom"; boundary=XX'
LIMIT = 6 << 20
SPOOL = 1 << 20
OTHER_STUDY = "1.2.276.0.7230010.3.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
MISSING = object()


@dataclass
class Desk:
    """A running server that takes instances, and what stands behind it."""

    store: Store
    intake: Intake
    folder: Path
    url: str
    session: requests.Session = field(default_factory=requests.Session)

    def post(
        self, body: "bytes | Iterable[bytes]", study: str = "", **headers: str | None
    ) -> requests.Response:
        """POST a body; header names with underscores, None leaves one out."""
        fields = {"Content-Type": RELATED, **{k.replace("_", "-"): v for k, v in headers.items()}}
        sent = {name: value for name, value in fields.items() if value is not None}
        path = f"/studies/{study}" if study else "/studies"
        return self.session.post(self.url + path, data=body, headers=sent, timeout=60)

    def held(self, study: str = STUDY) -> Sequence[Held]:
        """The instances of a study, once everything is indexed."""
        assert self.intake.indexer.drain(30)
        return self.store.held(study)

    def spools(self) -> list[Path]:
        """Temporary files."""
        return list((self.folder / "incoming").iterdir())

    def letters(self) -> list[tuple[str, str]]:
        """Key and reason of each dead letter."""
        return [(letter.key, letter.reason) for letter in self.store.dead_letters()]


@pytest.fixture
def settings() -> dict[str, Any]:
    """What differs from the defaults; tests override it."""
    return {"spool_bytes": SPOOL, "object_bytes": LIMIT}


@pytest.fixture
def min_free_bytes() -> int:
    """What must stay free on the disk; overridden where it is full."""
    return 0


@pytest.fixture
def desk(tmp_path: Path, settings: Mapping[str, Any], min_free_bytes: int) -> Iterator[Desk]:
    """A running server with an intake that holds nothing yet."""
    store = Store("sqlite", tmp_path)
    store.migrate()
    sources = Sources(Source("", ""))
    intake = Intake(store, tmp_path, sources.of_uri, lambda: 1, min_free_bytes=min_free_bytes)
    intake.start()
    ready: Future[str] = Future()
    stop = threading.Event()
    with ThreadPoolExecutor(4) as executor:

        def make_app(url: str) -> web.Application:
            entrance = Entrance(intake, sources.of_uri(STOW_URI))
            return dicomweb_app(
                store, intake.packs, DicomwebSettings(url, **settings), Turns(executor), entrance
            )

        thread = threading.Thread(target=serve, args=(make_app, ready, stop), name="dicomweb")
        thread.start()
        try:
            yield Desk(store, intake, tmp_path, ready.result(10))
        finally:
            stop.set()
            thread.join(15)
            intake.stop()
            store.close()


def uid(number: int, study: str = STUDY) -> str:
    """The SOP Instance UID of an instance."""
    return f"{study}.1.{number}"


def file(number: int, study: str = STUDY, pixels: bytes = b"\1\2\3\4", syntax: str = EXPLICIT) -> bytes:
    """A Part 10 file."""
    content = dataset(study, f"{study}.1", uid(number, study), pixels)
    return part10_head(CT, uid(number, study), syntax) + content


def part(content: bytes, kind: str = "application/dicom", **headers: str) -> bytes:
    """One part with its delimiter."""
    fields = {"Content-Type": kind, **{k.replace("_", "-"): v for k, v in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return f"--XX\r\n{head}\r\n".encode() + content + b"\r\n"


def body(*contents: bytes) -> bytes:
    """A whole body."""
    return b"".join(map(part, contents)) + b"--XX--\r\n"


def referenced(answer: requests.Response) -> list[str]:
    """The SOP Instance UIDs that the answer calls stored."""
    return [item["00081155"]["Value"][0] for item in answer.json().get("00081199", {"Value": []})["Value"]]


def failed(answer: requests.Response, tag: str = "00081198") -> list[tuple[str | None, int]]:
    """The SOP Instance UIDs that it calls refused, with the reasons."""
    items = answer.json().get(tag, {"Value": []})["Value"]
    return [
        (item.get("00081155", {"Value": [None]})["Value"][0], item["00081197"]["Value"][0]) for item in items
    ]


def test_stored(desk: Desk) -> None:
    """An instance is there, byte by byte; the answer says where."""
    answer = desk.post(body(file(1), file(2)))
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/dicom+json"
    where = f"{desk.url}/studies/{STUDY}"
    assert answer.json() == {
        "00081190": {"vr": "UR", "Value": [where]},
        "00081199": {
            "vr": "SQ",
            "Value": [
                {
                    "00081150": {"vr": "UI", "Value": [CT]},
                    "00081155": {"vr": "UI", "Value": [uid(number)]},
                    "00081190": {"vr": "UR", "Value": [f"{where}/series/{STUDY}.1/instances/{uid(number)}"]},
                }
                for number in (1, 2)
            ],
        },
    }
    assert [one.sop_uid for one in desk.held()] == [uid(1), uid(2)]
    got = requests.get(answer.json()["00081199"]["Value"][1]["00081190"]["Value"][0], timeout=30)
    assert file(2) in got.content
    assert desk.letters() == []


def test_by_another_client(desk: Desk) -> None:
    """dicomweb-client stores instances, in one piece and in chunks, and understands the answer."""
    instances = [pydicom.dcmread(io.BytesIO(file(number, pixels=bytes(3_000_000)))) for number in (1, 2)]
    client = DICOMwebClient(desk.url, chunk_size=100_000)
    answer = client.store_instances(instances)
    assert [item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence] == [uid(1), uid(2)]
    assert "FailedSOPSequence" not in answer
    again = DICOMwebClient(desk.url).store_instances(instances[:1], study_instance_uid=STUDY)
    assert again.ReferencedSOPSequence[0].RetrieveURL.endswith(uid(1))
    assert len(desk.held()) == 2
    fetched = client.retrieve_instance(STUDY, f"{STUDY}.1", uid(2))
    assert fetched.PixelData == bytes(3_000_000)


def test_again(desk: Desk) -> None:
    """The same again is a success and writes nothing."""
    desk.post(body(file(1)))
    first = desk.held()
    size = desk.intake.packs.total_bytes()
    answer = desk.post(body(file(1), file(1)))
    assert (answer.status_code, referenced(answer)) == (200, [uid(1), uid(1)])
    assert desk.held() == first
    assert desk.intake.packs.total_bytes() == size


def test_several_studies(desk: Desk) -> None:
    """There is no one place then: the Retrieve URL of the whole is empty, as its type 2 allows."""
    answer = desk.post(body(file(1), file(1, OTHER_STUDY)))
    assert answer.status_code == 200
    assert answer.json()["00081190"] == {"vr": "UR"}
    assert len(desk.held()) == len(desk.held(OTHER_STUDY)) == 1


def test_other_study_than_named(desk: Desk) -> None:
    """An instance of another study than the URL names is refused alone, and on record."""
    answer = desk.post(body(file(1), file(1, OTHER_STUDY)), study=STUDY)
    assert answer.status_code == 202
    assert referenced(answer) == [uid(1)]
    assert failed(answer) == [(uid(1, OTHER_STUDY), 0xA900)]
    assert answer.json()["00081190"]["Value"] == [f"{desk.url}/studies/{STUDY}"]
    assert desk.held(OTHER_STUDY) == []
    [(key, why)] = desk.letters()
    assert key == uid(1, OTHER_STUDY) and "another study" in why
    assert desk.post(body(file(1)), study=OTHER_STUDY).status_code == 409


def test_large_of_other_study(desk: Desk) -> None:
    """The same for one that is too large for memory: nothing of it stays."""
    large = file(1, OTHER_STUDY, pixels=bytes(3 * SPOOL))
    answer = desk.post(body(large, file(2)), study=STUDY)
    assert (answer.status_code, failed(answer)) == (202, [(uid(1, OTHER_STUDY), 0xA900)])
    assert referenced(answer) == [uid(2)]
    assert desk.spools() == []


def test_bad_ones_stop_nobody(desk: Desk) -> None:
    """Each part by itself: what is no DICOM or lacks UIDs is told and on record; the others are stored."""
    nameless = element(0x00080016, "UI", CT.encode()) + element(0x00100020, "LO", b"P")
    half = dataset("", f"{STUDY}.1", uid(7))
    answer = desk.post(body(b"no DICOM at all", file(1), nameless, half, b"", file(2)))
    assert answer.status_code == 202
    assert referenced(answer) == [uid(1), uid(2)]
    assert failed(answer) == [(None, 0xC000), (None, 0xC000), (uid(7), 0xC000), (None, 0xC000)]
    assert answer.json()["00081198"]["Value"][1]["00081150"]["Value"] == [CT]
    assert {key for key, _ in desk.letters()} == {"", uid(7)}


def test_nothing_stored(desk: Desk) -> None:
    """409 with the reasons, and no sequence of what is stored."""
    answer = desk.post(body(b"no DICOM"))
    assert answer.status_code == 409
    assert "00081199" not in answer.json()
    assert failed(answer) == [(None, 0xC000)]


def test_too_large(desk: Desk) -> None:
    """Beyond the limit: 413 when it is all there is, told with its UID, and nothing of it stays."""
    large = file(1, pixels=bytes(LIMIT))
    answer = desk.post(body(large))
    assert (answer.status_code, failed(answer)) == (413, [(uid(1), 0xC001)])
    assert desk.spools() == []
    assert desk.letters() == [(uid(1), f"longer than {LIMIT} bytes")]
    both = desk.post(body(large, file(2)))
    assert (both.status_code, referenced(both)) == (202, [uid(2)])
    mixed = desk.post(body(large, b"no DICOM"))
    assert (mixed.status_code, failed(mixed)) == (409, [(uid(1), 0xC001), (None, 0xC000)])


@pytest.mark.parametrize("settings", [{"spool_bytes": SPOOL, "object_bytes": SPOOL}])
def test_too_large_for_memory_already(desk: Desk) -> None:
    """The two bounds may be the same."""
    answer = desk.post(body(file(1, pixels=bytes(2 * SPOOL))))
    assert (answer.status_code, failed(answer)) == (413, [(uid(1), 0xC001)])
    garbage = desk.post(body(b"\xff" * 2 * SPOOL))
    assert (garbage.status_code, failed(garbage)) == (413, [(None, 0xC001)])


@pytest.mark.parametrize("size", [SPOOL - 4096, SPOOL, SPOOL + 1, 2 * SPOOL, 5 * SPOOL])
def test_small_and_large(desk: Desk, size: int) -> None:
    """Memory or spool: what is read back is what was sent, and recognised when it comes again."""
    sent = file(1, pixels=os.urandom(size & ~1))
    assert desk.post(body(sent)).status_code == 200
    [held] = desk.held()
    assert desk.intake.packs.open(held.location).read() == sent
    assert desk.post(body(sent)).status_code == 200
    assert desk.held() == [held]
    assert desk.spools() == []


def test_preamble_is_made_harmless(desk: Desk) -> None:
    """A program in the preamble is gone; a TIFF's head stays, in memory and in a spool."""
    for number, (start, pixels) in enumerate(
        [
            (b"MZ\x90\0", b"\0\0"),
            (b"MZ\x90\0", bytes(2 * SPOOL)),
            (b"II*\0", b"\0\0"),
            (b"II*\0", bytes(2 * SPOOL)),
        ]
    ):
        plain = file(number, pixels=pixels)
        head = start.ljust(128, b"\7")
        assert desk.post(body(head + plain[128:])).status_code == 200
        [held] = [one for one in desk.held() if one.sop_uid == uid(number)]
        kept = desk.intake.packs.open(held.location).read()
        assert kept[:128] == (head if start == b"II*\0" else bytes(128))
        assert kept[128:] == plain[128:]


@pytest.mark.parametrize("pixels", [b"\1\2", os.urandom(2 * SPOOL)])
def test_deflated(desk: Desk, pixels: bytes) -> None:
    """A deflated data set is understood even where only its beginning is in memory."""
    import zlib

    deflate = zlib.compressobj(wbits=-15)
    content = dataset(STUDY, f"{STUDY}.1", uid(1), pixels)
    packed = part10_head(CT, uid(1), DEFLATED) + deflate.compress(content) + deflate.flush()
    answer = desk.post(body(packed), study=STUDY)
    assert (answer.status_code, referenced(answer)) == (200, [uid(1)])
    assert [one.transfer_syntax_uid for one in desk.held()] == [DEFLATED]


@pytest.mark.parametrize("study", [STUDY, OTHER_STUDY])
def test_study_far_behind(desk: Desk, study: str) -> None:
    """The study may stand behind what was looked at in memory; the URL still holds."""
    plain = dataset(STUDY, f"{STUDY}.1", uid(1))
    at = plain.index(b"\x10\x00\x10\x00PN")
    long = element(0x00091010, "OB", bytes(2 * SPOOL))
    sent = part10_head(CT, uid(1), EXPLICIT) + plain[:at] + long + plain[at:]
    answer = desk.post(body(sent), study=study)
    assert answer.status_code == (200 if study == STUDY else 409)
    assert len(desk.held()) == (study == STUDY)
    assert desk.spools() == []


@pytest.mark.parametrize(
    "kind",
    [
        "application/dicom; transfer-syntax=1.2.840.10008.1.2.1",
        'Application/DICOM; transfer-syntax="1.2.840.10008.1.2.1"',
        "",
    ],
)
def test_part_types(desk: Desk, kind: str) -> None:
    """With a transfer syntax, in capitals, or not given: the whole says it then."""
    assert desk.post(part(file(1), kind, content_transfer_encoding="binary") + b"--XX--").status_code == 200


@pytest.mark.parametrize(
    ("kind", "more", "said"),
    [
        ("application/dicom+json", {}, "metadata"),
        ("application/dicom+xml", {}, "metadata"),
        ("image/jpeg", {}, "application/dicom"),
        ("multipart/related; boundary=YY", {}, "application/dicom"),
        ("application/dicom, text/plain", {}, "application/dicom"),
        ("application/dicom", {"Content-Transfer-Encoding": "base64"}, "encoding"),
        ("application/dicom", {"Content-Encoding": "gzip"}, "encoding"),
    ],
)
def test_other_parts(desk: Desk, kind: str, more: dict[str, str], said: str) -> None:
    """A part of another type is refused: 415 with a reason when it is all, alone when there are others."""
    odd = part(file(1), kind, **more)
    answer = desk.post(odd + b"--XX--")
    assert answer.status_code == 415
    assert said in answer.json()["reason"]
    both = desk.post(odd + part(file(2)) + b"--XX--")
    assert (both.status_code, referenced(both), failed(both)) == (202, [uid(2)], [(None, 0xC002)])
    assert [one.sop_uid for one in desk.held()] == [uid(2)]
    assert desk.letters() == []


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({"Content_Type": None}, 415, "multipart/related"),
        ({"Content_Type": "application/dicom"}, 415, "multipart/related"),
        ({"Content_Type": RELATED.replace("related", "form-data")}, 415, "multipart/related"),
        ({"Content_Type": RELATED.replace("application/dicom", "application/dicom+json")}, 415, "metadata"),
        ({"Content_Type": RELATED.replace("application/dicom", "image/jpeg")}, 415, "application/dicom"),
        ({"Content_Type": RELATED.removesuffix("; boundary=XX")}, 400, "boundary"),
        ({"Content_Type": RELATED + "X" * 80}, 400, "boundary"),
        ({"Content_Type": RELATED + "YY"}, 400, "closing boundary"),
        ({"Content_Encoding": "gzip"}, 415, "Content-Encoding"),
        ({"Accept": "application/dicom+xml"}, 406, "application/dicom+json"),
        ({"Accept": "text/html;q=0.5"}, 406, "application/dicom+json"),
    ],
)
def test_refused_as_a_whole(desk: Desk, headers: dict[str, str], status: int, said: str) -> None:
    """What is wrong with the request itself, before anything is stored."""
    answer = desk.post(body(file(1)), **headers)
    assert answer.status_code == status
    assert said in answer.json()["reason"]
    assert desk.held() == []


@pytest.mark.parametrize(
    "kind", ["multipart/related; boundary=XX", RELATED.replace("XX", '"XX"'), RELATED.upper()]
)
def test_kinds_of_body(desk: Desk, kind: str) -> None:
    """Without the type, which the parts have; with quotes; in capitals."""
    assert desk.post(body(file(1)), Content_Type=kind).status_code == 200


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/dicom+json", "application/dicom+json"),
        ("application/json", "application/json"),
        ("*/*", "application/dicom+json"),
        (None, "application/dicom+json"),
    ],
)
def test_accepted(desk: Desk, accept: str | None, kind: str) -> None:
    """The answer comes as the client wants it."""
    desk.session.headers.pop("Accept")
    answer = desk.post(body(file(1)), Accept=accept)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, kind)


def test_not_a_study(desk: Desk) -> None:
    """What the URL names must be a UID."""
    assert desk.post(body(file(1)), study="1.2.x").status_code == 400


@pytest.mark.parametrize(
    "content", [b"", b"--XX--", b"no boundary in here", b"--XX\r\n\r\n", part(file(1)), part(file(1))[:-9]]
)
def test_nothing_whole(desk: Desk, content: bytes) -> None:
    """Empty, no multipart, or cut off before the first part is whole: 400, and nothing is kept."""
    answer = desk.post(content)
    assert answer.status_code == 400
    assert "boundary" in answer.json()["reason"] or "without instances" in answer.json()["reason"]
    assert desk.held() == []
    assert desk.spools() == []


@pytest.mark.parametrize("last", [file(2), file(2, pixels=bytes(3 * SPOOL))])
@pytest.mark.parametrize("missing", [1, 200])
def test_cut_off(desk: Desk, last: bytes, missing: int) -> None:
    """What was whole stays stored; the answer says that there was more, and nothing else is left."""
    answer = desk.post(part(file(1)) + part(last)[:-missing])
    assert answer.status_code == 202
    assert referenced(answer) == [uid(1)]
    assert failed(answer, "0008119A") == [(None, 0xC000)]
    assert "closing boundary" in answer.headers["Warning"]
    assert [one.sop_uid for one in desk.held()] == [uid(1)]
    assert desk.spools() == []


def test_header_bomb(desk: Desk) -> None:
    """A head without end is refused: 413, or told with what was stored before."""
    bomb = b"--XX\r\nX: " + b"y" * 500_000
    assert desk.post(bomb).status_code == 413
    answer = desk.post(part(file(1)) + bomb)
    assert (answer.status_code, referenced(answer)) == (202, [uid(1)])
    assert failed(answer, "0008119A") == [(None, 0xC001)]


def test_too_many_bad_parts(desk: Desk) -> None:
    """Once more than 100 parts are refused the rest is not looked at; what was good stays taken."""
    answer = desk.post(part(file(1)) + part(b"", "text/plain") * 200 + part(file(2)) + b"--XX--")
    assert (answer.status_code, referenced(answer), len(failed(answer))) == (202, [uid(1)], 101)
    assert "more than 100 parts were refused" in answer.headers["Warning"]


def test_thousand_parts(desk: Desk) -> None:
    """A whole study in one request."""
    answer = desk.post(body(*(file(number) for number in range(1000))))
    assert answer.status_code == 200
    assert referenced(answer) == [uid(number) for number in range(1000)]
    assert len(desk.held()) == 1000


def test_chunked(desk: Desk) -> None:
    """A body whose length nobody knows, in pieces of any size."""
    whole = body(file(1), file(2, pixels=bytes(2 * SPOOL)))
    answer = desk.post(whole[at : at + 9973] for at in range(0, len(whole), 9973))
    assert (answer.status_code, referenced(answer)) == (200, [uid(1), uid(2)])


@pytest.mark.parametrize("settings", [{"spool_bytes": SPOOL, "object_bytes": 100 << 20}])
def test_memory_is_bounded(desk: Desk) -> None:
    """50 MB of pixels take a few of memory."""
    desk.post(body(file(1)))
    piece = os.urandom(1 << 20)
    sizes: list[int] = []

    def pieces() -> Iterator[bytes]:
        plain = file(2, pixels=bytes(4))
        length = (50 * len(piece)).to_bytes(4, "little")
        yield part(b"").removesuffix(b"\r\n") + plain[:-8] + length
        for _ in range(50):
            sizes.append(psutil.Process().memory_info().rss)
            yield piece
        yield b"\r\n--XX--"

    before = psutil.Process().memory_info().rss
    answer = desk.post(pieces())
    assert (answer.status_code, referenced(answer)) == (200, [uid(2)])
    assert max(sizes) - before < 16 << 20
    assert max(one.size for one in desk.held()) > 50 << 20


def connected(desk: Desk) -> socket.socket:
    """A bare connection to the server."""
    where = urlsplit(desk.url)
    assert where.hostname and where.port
    return socket.create_connection((where.hostname, where.port), timeout=30)


def request(length: int | None, *more: str) -> bytes:
    """The head of a request, chunked if there is no length."""
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = ["POST /dicomweb/studies HTTP/1.1", "Host: x", f"Content-Type: {RELATED}", size, *more, "", ""]
    return "\r\n".join(lines).encode()


def everything(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    """Status and JSON of the answer, once the server has closed."""
    data = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, content = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(content)


@pytest.mark.parametrize("settings", [{"spool_bytes": SPOOL, "stall_seconds": 0.5}])
@pytest.mark.parametrize("before", [b"", part(file(1))])
@pytest.mark.parametrize("size", [100, 2 * SPOOL])
def test_stalled(desk: Desk, before: bytes, size: int) -> None:
    """A client that sends nothing more is cut off; it is told what was stored."""
    sent = before + part(file(2, pixels=bytes(size)))[:-10]
    with connected(desk) as connection:
        connection.sendall(request(len(sent) + 1000) + sent)
        start = time.monotonic()
        status, answer = everything(connection)
    assert time.monotonic() - start < 5
    assert status == (202 if before else 408)
    assert ("00081199" in answer) == bool(before)
    assert len(desk.held()) == bool(before)
    assert desk.spools() == []


def test_connection_lost(desk: Desk, wait_until: Callable[..., None]) -> None:
    """A client that goes in the middle of a large instance leaves nothing but what was whole."""
    sent = part(file(1)) + part(file(2, pixels=bytes(4 * SPOOL)))[:-10]
    connection = connected(desk)
    connection.sendall(request(len(sent) + 1000) + sent)
    wait_until(desk.spools)
    connection.close()
    wait_until(lambda: not desk.spools())
    assert [one.sop_uid for one in desk.held()] == [uid(1)]
    assert desk.post(body(file(3))).status_code == 200


@pytest.mark.parametrize("settings", [{"stall_seconds": 1.0}])
def test_broken_chunks(desk: Desk, wait_until: Callable[..., None]) -> None:
    """A chunk that is none: nothing more comes, as from a client that stalls; what was whole is stored."""
    sent = part(file(1)) + b"--XX\r\n"
    with connected(desk) as connection:
        connection.sendall(request(None) + f"{len(sent):x}\r\n".encode() + sent + b"\r\n")
        wait_until(desk.held)
        connection.sendall(b"zz\r\n")
        status, answer = everything(connection)
    assert (status, "00081199" in answer) == (202, True)
    assert len(desk.held()) == 1
    assert desk.post(body(file(3))).status_code == 200


def test_expect_continue(desk: Desk) -> None:
    """A client that waits to be asked for the body."""
    sent = body(file(1))
    with connected(desk) as connection:
        connection.sendall(request(len(sent), "Expect: 100-continue", "Connection: close"))
        assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(sent)
        status, answer = everything(connection)
    assert (status, "00081199" in answer) == (200, True)


@pytest.mark.parametrize("spooled", [True, False])
@pytest.mark.parametrize(
    ("policy", "status", "stands"),
    [
        (Policy.REPLACE, 200, "other"),
        (Policy.REPLACE_ANY, 200, "other"),
        (Policy.KEEP_FIRST, 200, "first"),
        (Policy.REFUSE, 409, "first"),
    ],
)
def test_other_content_under_a_known_uid(
    desk: Desk, policy: Policy, status: int, stands: str, spooled: bool
) -> None:
    """By `store.on_conflict`: it replaces, is put aside, or is refused with Failure Reason 0xC004."""
    desk.store.policy = policy
    head = len(part10_head(CT, uid(1), EXPLICIT))
    sizes = {"first": 2, "other": 2 * SPOOL if spooled else 4}
    contents = {name: file(1, pixels=bytes(size)) for name, size in sizes.items()}
    assert desk.post(body(contents["first"])).status_code == 200
    desk.held()
    for _ in range(2):
        answer = desk.post(body(contents["other"]))
        assert (answer.status_code, failed(answer)) == (status, [(uid(1), 0xC004)] if status == 409 else [])
        [held] = desk.held()
        assert held.sha256 == sha256(contents[stands][head:]).digest()
        assert desk.spools() == []
    assert [key for key, _reason in desk.letters()] == ([] if stands == "other" else [uid(1)])
    some = desk.post(body(contents["other"], file(2)))
    assert (some.status_code, referenced(some)) == (
        (202, [uid(2)]) if status == 409 else (200, [uid(1), uid(2)])
    )


def test_a_large_study_in_conflict_is_answered_to_its_end(desk: Desk) -> None:
    """However many instances are refused for that: what is new among them is stored."""
    desk.store.policy = Policy.REFUSE
    many = range(1, store_module.REFUSED_PARTS + 3)
    assert desk.post(body(*map(file, many))).status_code == 200
    desk.held()
    answer = desk.post(body(*(file(number, pixels=b"\1\2") for number in (*many, 999))))
    assert (answer.status_code, referenced(answer)) == (202, [uid(999)])
    assert failed(answer) == [(uid(number), 0xC004) for number in many]


@pytest.mark.parametrize("min_free_bytes", [1 << 60])
@pytest.mark.parametrize("pixels", [b"\1\2", bytes(3 * SPOOL)])
def test_full_disk(desk: Desk, pixels: bytes) -> None:
    """507 when there is no room for anything: the answer names each instance; nothing is lost or left."""
    answer = desk.post(body(file(1, pixels=pixels), file(2)))
    assert answer.status_code == 507
    assert failed(answer) == [(uid(1), 0xA700), (uid(2), 0xA700)]
    assert desk.held() == []
    assert desk.spools() == []
    assert desk.letters() == []


def test_fills_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for the first alone: 202, and the others are to be sent again."""
    adopt = desk.intake.adopt
    taken: list[object] = []

    def full(incoming: Any) -> Any:
        taken.append(incoming)
        if len(taken) > 1:
            raise Unavailable("cannot write a pack: disk full")
        return adopt(incoming)

    monkeypatch.setattr(desk.intake, "adopt", full)
    answer = desk.post(body(file(1), file(2)))
    assert (answer.status_code, referenced(answer), failed(answer)) == (202, [uid(1)], [(uid(2), 0xA700)])
    assert desk.post(body(file(3))).status_code == 507


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        (Unavailable("shutting down"), 503, 0xA700),
        (TooCostly("x"), 503, 0xA700),
        (ValueError("x"), 500, 0x0110),
    ],
)
def test_cannot_be_kept_now(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, fault: Exception, status: int, reason: int
) -> None:
    """The database is away, or something nobody foresaw: the status asks to try later; texts stay inside."""
    monkeypatch.setattr(desk.intake, "_adopt", lambda _: (_ for _ in ()).throw(fault))
    answer = desk.post(body(file(1)))
    assert (answer.status_code, failed(answer)) == (status, [(uid(1), reason)])
    assert ("Retry-After" in answer.headers) == (status == 503)


def test_without_an_entrance(bridge: Bridge) -> None:
    """A server that only reads says that it does not store."""
    answer = requests.post(
        f"{bridge.url}/studies", body(file(1)), headers={"Content-Type": RELATED}, timeout=30
    )
    assert (answer.status_code, "STOW-RS" in answer.json()["reason"]) == (501, True)


def test_body_that_breaks_off_below_us() -> None:
    """A fault of the transfer coding is the client's."""

    async def run() -> None:
        content = StreamReader(BaseProtocol(asyncio.get_running_loop()), 1024)
        content.feed_data(b"--XX\r\n")
        content.set_exception(web.RequestPayloadError("x"))
        with pytest.raises(NotUnderstood, match="breaks off"):
            [piece async for piece in store_module._pieces(content, DicomwebSettings(""))]

    asyncio.run(run())


@pytest.mark.parametrize(("size", "whole"), [(500, True), (1, False)])
def test_pace_of_a_body(size: int, whole: bool) -> None:
    """Who sends steadily may take his time; a drip is a stall, however regular it is."""
    settings = DicomwebSettings("", body_seconds=0.5, bytes_per_second=1000)

    async def run() -> int:
        protocol = BaseProtocol(asyncio.get_running_loop())
        protocol.transport = asyncio.Transport()
        content = StreamReader(protocol, 1 << 16)

        async def send() -> None:
            for _ in range(8):
                await asyncio.sleep(0.2)
                content.feed_data(bytes(size))
            content.feed_eof()

        sending = asyncio.ensure_future(send())
        try:
            return sum([len(piece) async for piece in store_module._pieces(content, settings)])
        finally:
            sending.cancel()

    if whole:
        assert asyncio.run(run()) == 8 * size
    else:
        with pytest.raises(NotUnderstood, match="did not come to its end in time"):
            asyncio.run(run())


def test_reason_of_the_unforeseen() -> None:
    """Processing failure."""
    assert failure_reason(KeyError("x")) == 0x0110


def test_too_many_clients(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    """Beyond so many at once: 503 before anything is read; the next one has room again."""
    sent = part(file(1, pixels=bytes(2 * SPOOL)))
    connections = [connected(desk) for _ in range(store_module.REQUESTS)]
    for connection in connections:
        connection.sendall(request(len(sent) + 100) + sent[: 2 * SPOOL])
    wait_until(lambda: len(desk.spools()) == len(connections))
    answer = desk.post(body(file(2)))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    for connection in connections:
        connection.close()
    wait_until(lambda: not desk.spools())
    assert desk.post(body(file(2))).status_code == 200


def test_many_at_once(desk: Desk) -> None:
    """Clients that store at the same time, small and large."""

    def send(number: int) -> int:
        pixels = bytes(2 * SPOOL) if number % 4 == 0 else b"\1\2"
        return requests.post(
            f"{desk.url}/studies",
            body(file(number, pixels=pixels)),
            headers={"Content-Type": RELATED},
            timeout=60,
        ).status_code

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(send, range(64))) == {200}
    assert len(desk.held()) == 64
    assert desk.spools() == []


def test_work_is_finished_before_it_is_left() -> None:
    """A request that is cancelled waits for the thread that works on its spool."""
    begun, let = threading.Event(), threading.Event()
    done: list[bool] = []

    def work() -> None:
        begun.set()
        let.wait(10)
        done.append(True)

    async def run() -> None:
        with ThreadPoolExecutor(1) as executor:
            app = dicomweb_app(MISSING, MISSING, DicomwebSettings("http://x"), Turns(executor), MISSING)  # type: ignore[arg-type]
            task = asyncio.create_task(app[store_module.STORING].call(work))
            await asyncio.to_thread(begun.wait, 10)
            task.cancel()
            await asyncio.sleep(0.05)
            assert not task.done()
            let.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert done == [True]

    asyncio.run(run())


def test_served_by_the_runtime(tmp_path: Path) -> None:
    """Over the whole program: the settings reach the server, and the study is published under its source."""
    environ = {
        "DATA_DIR": str(tmp_path),
        "DIMSE__PORT": "0",
        "DIMSE__SPOOL_BYTES": "65536",
        "FHIR__PORT": "0",
        "FHIR__BASE_URL": "http://127.0.0.1/fhir",
        "FHIR__QUIET_SECONDS": "0",
        "BLOBS__MIN_FREE_BYTES": "0",
        "LIMITS__OBJECT_BYTES": "100000",
    }
    running = runtime.Runtime(load(None, {f"PACSBRIDGE__{key}": value for key, value in environ.items()}))
    running.start()
    try:
        sent = body(file(1), file(2, pixels=bytes(80_000)), file(3, pixels=bytes(200_000)))
        url = f"http://127.0.0.1:{running.http.port}"
        answer = requests.post(f"{url}/dicomweb/studies", sent, headers={"Content-Type": RELATED}, timeout=30)
        assert (answer.status_code, referenced(answer)) == (202, [uid(1), uid(2)])
        assert failed(answer) == [(uid(3), 0xC001)]
        coded = requests.post(
            f"{url}/dicomweb/studies",
            sent,
            headers={"Content-Type": RELATED, "Content-Encoding": "gzip"},
            timeout=30,
        )
        assert coded.status_code == 415
        study: dict[str, Any] = {}
        deadline = time.monotonic() + 20
        while study.get("numberOfInstances") != 2 and time.monotonic() < deadline:
            found = requests.get(f"{url}/fhir/ImagingStudy", timeout=30).json().get("entry", [])
            study = found[0]["resource"] if found else {}
            time.sleep(0.05)
        assert study["numberOfInstances"] == 2
        assert study["meta"]["source"] == STOW_URI
    finally:
        running.stop()
