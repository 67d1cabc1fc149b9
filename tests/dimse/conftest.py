"""A listener under test, what it stores, and peers that speak raw PDUs, rightly or wrongly."""

import contextlib
import os
import random
import shutil
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from pacsbridge import metrics
from pacsbridge.dimse.server import DimseServer
from pacsbridge.dimse.settings import DimseSettings, Limits, Peer

CT = b"1.2.840.10008.5.1.4.1.1.2"
ECHO = b"1.2.840.10008.1.1"
IMPLICIT = b"1.2.840.10008.1.2"
EXPLICIT = b"1.2.840.10008.1.2.1"
PATIENCE = 10.0


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Waits until the condition holds; fails after `seconds`."""
    pause, deadline = threading.Event(), time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        pause.wait(0.01)


class Wire:
    """Builds PDUs by hand, so that they can be built wrongly."""

    @staticmethod
    def item(kind: int, body: bytes) -> bytes:
        """An item or sub-item of association negotiation."""
        return struct.pack(">BxH", kind, len(body)) + body

    @staticmethod
    def pdu(kind: int, body: bytes, length: int | None = None) -> bytes:
        """A PDU, with a lie for its length if one is given."""
        return struct.pack(">BxL", kind, len(body) if length is None else length) + body

    @classmethod
    def associate(
        cls,
        contexts: Any = ((1, CT, (IMPLICIT,)), (3, ECHO, (IMPLICIT,))),
        calling: bytes = b"RAW",
        called: bytes = b"PACSBRIDGE",
        max_length: int = 16384,
        extra: bytes = b"",
    ) -> bytes:
        """An A-ASSOCIATE-RQ; `extra` goes to the user information."""
        body = struct.pack(">HH", 1, 0) + called.ljust(16) + calling.ljust(16) + bytes(32)
        body += cls.item(0x10, b"1.2.840.10008.3.1.1.1")
        for number, abstract, transfers in contexts:
            inner = cls.item(0x30, abstract) + b"".join(cls.item(0x40, uid) for uid in transfers)
            body += cls.item(0x20, bytes((number, 0, 0, 0)) + inner)
        user = cls.item(0x51, struct.pack(">L", max_length)) + cls.item(0x52, b"1.2.3.4") + extra
        return cls.pdu(1, body + cls.item(0x50, user))

    @staticmethod
    def element(number: int, value: bytes) -> bytes:
        """A command element, padded."""
        value += b"\0" * (len(value) % 2)
        return struct.pack("<HHL", 0, number, len(value)) + value

    @classmethod
    def command(
        cls, field: int, message: int = 1, data: bool = True, sop: bytes = CT, uid: bytes = b"1.2"
    ) -> bytes:
        """A request's command set."""
        body = cls.element(0x0002, sop) + cls.element(0x0100, struct.pack("<H", field))
        body += cls.element(0x0110, struct.pack("<H", message)) + cls.element(0x0700, b"\0\0")
        body += cls.element(0x0800, struct.pack("<H", 1 if data else 0x0101))
        body += cls.element(0x1000, uid) if uid else b""
        return cls.element(0, struct.pack("<L", len(body))) + body

    @staticmethod
    def pdv(context: int, control: int, fragment: bytes, length: int | None = None) -> bytes:
        """A presentation data value, with a lie for its length if one is given."""
        return (
            struct.pack(">LBB", len(fragment) + 2 if length is None else length, context, control) + fragment
        )

    @classmethod
    def data(cls, context: int, control: int, fragment: bytes) -> bytes:
        """A P-DATA-TF with one value."""
        return cls.pdu(4, cls.pdv(context, control, fragment))

    @classmethod
    def store(
        cls, message: int = 1, data: bytes = b"\0" * 100, uid: bytes = b"1.2", piece: int = 16000
    ) -> bytes:
        """A whole C-STORE request."""
        pieces = [data[i : i + piece] for i in range(0, len(data), piece)]
        body = [cls.data(1, 2 if i == len(pieces) - 1 else 0, part) for i, part in enumerate(pieces)]
        return cls.data(1, 3, cls.command(1, message, uid=uid)) + b"".join(body)

    @classmethod
    def echo(cls, message: int = 1) -> bytes:
        """A whole C-ECHO request."""
        return cls.data(3, 3, cls.command(0x30, message, data=False, sop=ECHO, uid=b""))

    @staticmethod
    def starts(stream: bytes) -> list[int]:
        """Where each PDU of a stream begins."""
        starts = [0]
        while starts[-1] < len(stream):
            starts.append(starts[-1] + 6 + int.from_bytes(stream[starts[-1] + 2 : starts[-1] + 6], "big"))
        return starts[:-1]

    RELEASE = struct.pack(">BxLL", 5, 4, 0)
    ABORT = struct.pack(">BxLBBBB", 7, 4, 0, 0, 0, 0)


class RawPeer:
    """A socket to the listener that reads PDUs."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection((host, port), timeout=PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> "RawPeer":
        """Sends all of it."""
        self.socket.sendall(data)
        return self

    def associate(self, **how: Any) -> "RawPeer":
        """Associates; fails if not accepted."""
        assert self.send(Wire.associate(**how)).read()[0] == 2
        return self

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def read(self) -> tuple[int, bytes]:
        """Type and body of the next PDU."""
        kind, length = struct.unpack(">BxL", self._exactly(6))
        return kind, self._exactly(length)

    def answer(self) -> dict[int, bytes]:
        """The command elements of the next P-DATA-TF."""
        kind, body = self.read()
        assert kind == 4, f"PDU of type {kind}: {body.hex()}"
        elements, rest = {}, body[6:]
        while rest:
            _, number, length = struct.unpack_from("<HHL", rest)
            elements[number], rest = rest[8 : 8 + length], rest[8 + length :]
        return elements

    def status(self) -> int:
        """The status of the next response."""
        return int(struct.unpack("<H", self.answer()[0x0900])[0])

    def ended(self) -> str:
        """How it ends: "abort S R" with source and reason, "eof" or "reset"; answers are skipped."""
        try:
            while True:
                kind, body = self.read()
                if kind == 7:
                    return f"abort {body[2]} {body[3]}"
        except EOFError:
            return "eof"
        except ConnectionError:
            return "reset"

    def reset(self) -> None:
        """Closes with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class FileSpool:
    """A spool in a folder, as `blobs` has one."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{random.getrandbits(64):x}"
        self._file = self.path.open("xb", buffering=0)
        self.size = 0

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        """Appends."""
        self._file.write(data)
        self.size += len(data)

    def discard(self) -> None:
        """Removes."""
        self._file.close()
        self.path.unlink()


class Shelf:
    """What has been stored; can be told to fail, or to take its time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.taken: list[Any] = []
        self.spooled: list[tuple[str, str, str]] = []
        self.fault: Exception | None = None
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()

    def adopt(self, stored: Any) -> None:
        """Takes an instance, once the shelf is open, unless there is a fault."""
        self.entered.set()
        assert self.open.wait(PATIENCE)
        if self.fault is not None:
            raise self.fault
        self.taken.append(stored)

    def spool(self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> FileSpool:
        """A new spool."""
        self.spooled.append((sop_class_uid, sop_instance_uid, transfer_syntax_uid))
        return FileSpool(self.folder)

    def leftovers(self) -> list[Path]:
        """Spools that nobody removed."""
        return list(self.folder.iterdir())


class House:
    """A running listener with all that a test wants to know of it."""

    def __init__(self, folder: Path, peers: tuple[Peer, ...], settings: dict[str, Any]) -> None:
        limits = Limits(**settings.pop("limits", {}))
        self.shelf = Shelf(folder)
        self.refused: list[tuple[Any, str | None, Exception]] = []
        configured = DimseSettings(**{"port": 0, **settings}, limits=limits)
        self.server = DimseServer(configured, self.shelf.adopt, self.shelf.spool, peers, self._note)
        self.server.start()
        self.port = self.server.port

    def _note(self, caller: Any, uid: str | None, fault: Exception) -> None:
        self.refused.append((caller.calling_ae, uid, fault))

    def dial(self) -> RawPeer:
        """A new raw connection."""
        return RawPeer(self.port)

    def echoes(self) -> bool:
        """Whether a well-behaved peer still gets its echo."""
        with self.dial().associate() as peer:
            return peer.send(Wire.echo()).status() == 0

    @property
    def connections(self) -> int:
        """Connections that have a thread."""
        return sum(thread.name == "dimse-connection" for thread in threading.enumerate())


@pytest.fixture
def counted() -> Callable[..., float]:
    """What a metric has risen by since the test began."""
    before: dict[str, float] = {}

    def read(name: str, **labels: str) -> float:
        return metrics.REGISTRY.get_sample_value(name, labels) or 0.0

    for family in metrics.REGISTRY.collect():
        before.update({f"{s.name}{sorted(s.labels.items())}": s.value for s in family.samples})
    return lambda name, **labels: read(name, **labels) - before.get(f"{name}{sorted(labels.items())}", 0.0)


def descriptors() -> int:
    """Open descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., House]]:
    """Starts listeners; afterwards threads, descriptors and spools must be back where they were."""
    spools = tmp_path / "spools"
    spools.mkdir()
    before = (threading.active_count(), descriptors())
    with contextlib.ExitStack() as stack:

        def start(*peers: Peer, **settings: Any) -> House:
            house = House(spools, peers, settings)
            stack.callback(house.server.stop, 5)
            return house

        yield start
    until(lambda: threading.active_count() <= before[0] and descriptors() <= before[1], 30)
    assert not list(spools.iterdir())


@pytest.fixture
def house(serve: Callable[..., House]) -> House:
    """A listener with the default settings."""
    return serve()


@pytest.fixture
def wire() -> type[Wire]:
    """The PDU builder."""
    return Wire


@pytest.fixture
def raw_peer() -> type[RawPeer]:
    """Raw connections, to any port."""
    return RawPeer


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """Waits for a condition with a deadline."""
    return until


@pytest.fixture
def dcmtk() -> Callable[[str], str]:
    """The path of one of DCMTK's programs; the test is skipped where it is not installed."""

    def find(program: str) -> str:
        path = shutil.which(program)
        if path is None:
            pytest.skip(f"{program} is not installed: apt-get install dcmtk")
        return path

    return find
