"""A real server over a real store and real packs, filled with instances made here."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from socket import create_server

import pytest
from aiohttp import web

from pacsbridge.access.gate import Gate
from pacsbridge.blobs.packs import Packs
from pacsbridge.connections import Patience, Runner
from pacsbridge.dicom.part10 import part10_head
from pacsbridge.dicom.reader import read_header
from pacsbridge.dicomweb import DicomwebSettings, dicomweb_app
from pacsbridge.dicomweb.proxy import Proxy
from pacsbridge.kernel.extract import extract
from pacsbridge.kernel.identity import Context
from pacsbridge.render.pool import Limits
from pacsbridge.store.records import Arrival
from pacsbridge.store.store import Store
from pacsbridge.turns import Turns

EXPLICIT = "1.2.840.10008.1.2.1"
JPEG = "1.2.840.10008.1.2.4.50"
CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY = "1.2.276.0.7230010.3.1"


def element(tag: int, vr: str, value: bytes) -> bytes:
    """One element in explicit VR little endian (PS3.5 7.1.2)."""
    head = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little") + vr.encode()
    padded = value + (b"" if len(value) % 2 == 0 else b"\0" if vr in ("UI", "OB") else b" ")
    long = vr in ("OB", "OW")
    return head + (b"\0\0" if long else b"") + len(padded).to_bytes(4 if long else 2, "little") + padded


def dataset(study: str, series: str, sop: str, pixels: bytes = b"\1\2\3\4") -> bytes:
    """A small CT image as an encoded data set."""
    return b"".join(
        (
            element(0x00080005, "CS", b"ISO_IR 192"),
            element(0x00080016, "UI", CT.encode()),
            element(0x00080018, "UI", sop.encode()),
            element(0x00080060, "CS", b"CT"),
            element(0x00100010, "PN", "Synthetic^Jürgen".encode()),
            element(0x00100020, "LO", b"SYN-1"),
            element(0x0020000D, "UI", study.encode()),
            element(0x0020000E, "UI", series.encode()),
            element(0x00200013, "IS", b"1"),
            element(0x00280010, "US", (1).to_bytes(2, "little")),
            element(0x00280011, "US", (2).to_bytes(2, "little")),
            element(0x00280100, "US", (16).to_bytes(2, "little")),
            element(0x7FE00010, "OW", pixels),
        )
    )


@dataclass(frozen=True)
class Instance:
    """An instance that was stored: its UIDs and its Part 10 bytes."""

    study: str
    series: str
    sop: str
    file: bytes


@dataclass(frozen=True)
class Bridge:
    """The storing side of a running server, and its address."""

    store: Store
    packs: Packs
    folder: Path
    url: str

    def hold(
        self, sop: str, series: str = "1", pixels: bytes = b"\1\2\3\4", syntax: str = EXPLICIT
    ) -> Instance:
        """Store an instance of the study; UIDs are those of the study with a suffix."""
        series_uid = f"{STUDY}.{series}"
        uid = f"{series_uid}.{sop}"
        content = dataset(STUDY, series_uid, uid, pixels)
        head = part10_head(CT, uid, syntax)
        location = self.packs.append({}, [content], prelude=head)
        facts = extract(read_header(content, EXPLICIT).attributes, Context())
        arrival = Arrival(
            facts, "urn:test", 1, syntax, location.text, location.size, sha256(content).digest()
        )  # fmt: skip
        self.store.put([arrival], {location.pack: location.end}, 1)
        return Instance(STUDY, series_uid, uid, head + content)

    def study(self, *rest: str) -> str:
        """The URL of the study, or of something under it."""
        return "/".join((self.url, "studies", STUDY, *rest))

    def instance(self, instance: Instance, *rest: str) -> str:
        """The URL of an instance, or of something under it."""
        return self.study("series", instance.series, "instances", instance.sop, *rest)


def serve(
    make_app: Callable[[str], web.Application],
    ready: "Future[str]",
    stop: threading.Event,
    patience: Patience | None = None,
) -> None:
    """Serve on a free port until told to stop; for a thread of its own."""

    async def run() -> None:
        root = web.Application()
        runner = Runner(root, patience or Patience(), shutdown_seconds=1)
        socket = create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{socket.getsockname()[1]}/dicomweb"
        root.add_subapp("/dicomweb", make_app(url))
        await runner.setup()
        await web.SockSite(runner, socket).start()
        ready.set_result(url)
        await asyncio.get_running_loop().run_in_executor(None, stop.wait)
        await runner.cleanup()

    asyncio.run(run())


@pytest.fixture
def stall_seconds() -> float:
    """How long a server waits for a client that takes nothing; overridden where it matters."""
    return 30.0


@pytest.fixture
def render() -> Limits | None:
    """What may be taken to make pictures; none are made unless a test overrides it."""
    return None


@pytest.fixture
def make_proxy() -> Callable[[Store], Proxy | None]:
    """What reads archives; nothing does unless a test overrides it."""
    return lambda _store: None


@pytest.fixture
def guarding() -> Gate | None:
    """What knows callers; everybody may have everything unless a test overrides it."""
    return None


@pytest.fixture
def bridge(
    tmp_path: Path,
    stall_seconds: float,
    render: Limits | None,
    make_proxy: Callable[[Store], Proxy | None],
    guarding: Gate | None,
) -> Iterator[Bridge]:
    """A running server that holds nothing yet."""
    store = Store("sqlite", tmp_path)
    store.migrate()
    packs = Packs(tmp_path, min_free_bytes=0)
    ready: Future[str] = Future()
    stop = threading.Event()
    with ThreadPoolExecutor(4) as executor:

        def make_app(url: str) -> web.Application:
            settings = DicomwebSettings(url, stall_seconds, render=render)
            return dicomweb_app(
                store, packs, settings, Turns(executor), proxy=make_proxy(store), gate=guarding
            )

        patience = Patience(stall=stall_seconds)
        thread = threading.Thread(target=serve, args=(make_app, ready, stop, patience), name="dicomweb")
        thread.start()
        try:
            yield Bridge(store, packs, tmp_path, ready.result(10))
        finally:
            stop.set()
            thread.join(10)
            packs.close()
            store.close()


@pytest.fixture
def held(bridge: Bridge) -> Sequence[Instance]:
    """Three instances of two series, one of them larger than what is read at once."""
    return [
        bridge.hold("1"),
        bridge.hold("2", pixels=bytes(range(256)) * 20_000),
        bridge.hold("1", series="2"),
    ]
