"""A listener under test, what it stores, and peers that speak raw PDUs, rightly or wrongly."""

import contextlib
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from raw_dimse import RawPeer, Wire

from pacsbridge import metrics
from pacsbridge.dimse.server import DimseServer
from pacsbridge.dimse.settings import DimseSettings, Limits, Peer

PATIENCE = 10.0


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Waits until the condition holds; fails after `seconds`."""
    pause, deadline = threading.Event(), time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        pause.wait(0.01)


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
