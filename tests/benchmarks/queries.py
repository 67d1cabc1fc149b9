"""C-FIND and QIDO-RS beside Orthanc and a plain pynetdicom handler, over the same studies, in one run.

    python tests/benchmarks/queries.py

Synthetic studies of one series with one instance. A client that only counts asks `pacsbridge serve` for all
studies by C-FIND with a dozen keys: answers a second, and milliseconds to the first one. Then the same of an
Orthanc with the same studies, where it is installed, and of a pynetdicom handler with its data sets ready.
By QIDO-RS a page of 100 studies is asked for again and again: the median in milliseconds. Last, pacsbridge
alone with more studies.

    --studies N   beside the peers          --more N      pacsbridge alone; 0: not at all
    --pages N     of QIDO-RS                --folder DIR  for the stores and Orthanc
"""

import argparse
import multiprocessing
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from archives import HOST, free_port, instance_values, orthanc, plugin, series_values, study_values
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from pacsbridge import opening
from pacsbridge.config import load as load_settings
from pacsbridge.dicom.dicom_json import from_json
from pacsbridge.kernel.extract import extract
from pacsbridge.store.records import Arrival

STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.2.1"
KEYS = (
    "00080020 00080030 00080050 00080061 00080090 00081030 00100010 00100020 00100030 00100040 0020000D "
    "00200010 00201206 00201208"
).split()
"""What a workstation's list of studies shows."""

PATIENCE = 120.0
BATCH = 500
COUNTED = ("00080054", "00080056", "00080061", "00201206", "00201208", "00201209")
"""Attributes of an archive's records that no header has."""


# filling


def fill(config: Path, studies: int) -> None:
    """A store with the studies, published, as `serve` finds it."""
    settings = load_settings(config)
    store = opening.open_store(settings)
    now = time.time_ns() // 1000
    for start in range(0, studies, BATCH):
        numbers = range(start, min(start + BATCH, studies))
        store.put([arrival(number, studies, now) for number in numbers], {}, now)
    opening.open_publisher(settings, store).publish_all()
    store.close()


def arrival(number: int, studies: int, now: int) -> Arrival:
    """The one instance of a study."""
    values = {**study_values(number, studies), **series_values(number), **instance_values(number, 1)}
    row = {
        tag: {"vr": vr, "Value": [value]}
        for tag, (vr, value) in values.items()
        if tag not in COUNTED and value not in ("", None)
    }
    return Arrival(extract(from_json(row)), "urn:x", now, "1.2.840.10008.1.2.1", "p:0", 1, bytes(32))


# asking


def item(kind: int, body: bytes) -> bytes:
    """An item of an A-ASSOCIATE-RQ."""
    return struct.pack(">BBH", kind, 0, len(body)) + body


def associate_rq() -> bytes:
    """One presentation context for queries (PS3.8 9.3.2)."""
    context = b"\1\0\0\0" + item(0x30, STUDY_ROOT.encode()) + item(0x40, ExplicitVRLittleEndian.encode())
    user = item(0x51, struct.pack(">I", 131072)) + item(0x52, b"1.2.826.0.1.3680043.8.498.1")
    body = struct.pack(">HH", 1, 0) + b"ANY-SCP".ljust(16) + b"BENCH".ljust(16) + bytes(32)
    body += item(0x10, b"1.2.840.10008.3.1.1.1") + item(0x20, context) + item(0x50, user)
    return struct.pack(">BBI", 1, 0, len(body)) + body


def find_rq() -> bytes:
    """C-FIND of all studies."""

    def element(number: int, value: bytes) -> bytes:
        return struct.pack("<HHI", 0, number, len(value)) + value

    shorts = ((0x100, 0x20), (0x110, 1), (0x700, 0), (0x800, 1))
    body = element(2, STUDY_ROOT.encode() + b"\0" * (len(STUDY_ROOT) % 2))
    body += b"".join(element(number, struct.pack("<H", value)) for number, value in shorts)
    command = element(0, struct.pack("<I", len(body))) + body
    asked = Dataset()
    asked.QueryRetrieveLevel = "STUDY"
    for tag in KEYS:
        setattr(asked, _keyword(tag), None)
    return pdv(3, command) + pdv(2, _encoded(asked))


def _keyword(tag: str) -> str:
    from pydicom.datadict import keyword_for_tag

    return keyword_for_tag(int(tag, 16))


def _encoded(data: Dataset) -> bytes:
    from pynetdicom.dsutils import encode

    return encode(data, False, True) or b""


def pdv(control: int, fragment: bytes) -> bytes:
    """A P-DATA-TF with one value."""
    return struct.pack(">BBIIBB", 4, 0, len(fragment) + 6, len(fragment) + 2, 1, control) + fragment


@dataclass(frozen=True)
class Answered:
    """All answers to one C-FIND."""

    count: int
    first: float
    seconds: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.count / self.seconds


def ask(port: int) -> Answered:
    """Ask for all studies, and count what comes."""
    with socket.create_connection((HOST, port), PATIENCE) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(associate_rq())
        pdus = _pdus(sock)
        kind, _ = next(pdus)
        if kind != 2:
            raise RuntimeError("the association was refused")
        began = time.perf_counter()
        sock.sendall(find_rq())
        return _count(pdus, began)


def _count(pdus: Iterator[tuple[int, bytes]], began: float) -> Answered:
    count, first = 0, 0.0
    for _kind, body in pdus:
        at = 0
        while at < len(body):
            (length,) = struct.unpack_from(">I", body, at)
            control = body[at + 5]
            if control == 3 and _status(body[at + 6 : at + 4 + length]) not in (0xFF00, 0xFF01):
                return Answered(count, first, time.perf_counter() - began)
            if control == 2:
                count += 1
                first = first or time.perf_counter() - began
            at += 4 + length
    raise RuntimeError("the association has ended")


def _status(command: bytes) -> int:
    spot = command.rindex(struct.pack("<HHI", 0, 0x900, 2)) + 8
    return int(struct.unpack_from("<H", command, spot)[0])


def _pdus(sock: socket.socket) -> Iterator[tuple[int, bytes]]:
    buffer = bytearray()
    while True:
        at = 0
        while len(buffer) - at >= 6:
            kind, _, length = struct.unpack_from(">BBI", buffer, at)
            if len(buffer) - at < 6 + length:
                break
            yield kind, bytes(buffer[at + 6 : at + 6 + length])
            at += 6 + length
        del buffer[:at]
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        piece = sock.recv(1 << 20)
        if not piece:
            return
        buffer += piece


def page(root: str, pages: int) -> float:
    """Seconds that a page of 100 studies takes: the median."""
    seconds = []
    for _ in range(pages):
        began = time.perf_counter()
        with urlopen(Request(f"{root}/studies?limit=100", headers={"Accept": "application/dicom+json"})) as r:
            r.read()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


# peers


@contextmanager
def ours(folder: Path, studies: int) -> Iterator[tuple[int, str]]:
    """`pacsbridge serve` with the studies: its DIMSE port and DICOMweb URL."""
    dimse, http = free_port(), free_port()
    config = folder / "pacsbridge.toml"
    config.write_text(
        f'data_dir = "{folder}"\n[dimse]\nport = {dimse}\nfind_limit = {studies * 2}\n'
        f'[fhir]\nport = {http}\n[log]\nlevel = "warning"\n'
    )
    fill(config, studies)
    process = subprocess.Popen([sys.executable, "-m", "pacsbridge", "serve", "--config", str(config)])
    try:
        _await(f"http://{HOST}:{http}/health/ready")
        yield dimse, f"http://{HOST}:{http}/dicomweb"
    finally:
        process.terminate()
        process.wait()


def _await(url: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(OSError):
            urlopen(url, timeout=5).close()
            return
        time.sleep(0.1)
    raise RuntimeError(f"{url} does not answer")


@contextmanager
def plain(studies: int) -> Iterator[int]:
    """A pynetdicom handler with as many data sets ready: its port."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve_plain, args=(studies, there))
    process.start()
    try:
        yield here.recv()
    finally:
        here.send(None)
        process.join()


def _serve_plain(studies: int, pipe: Pipe) -> None:
    from pynetdicom import AE, _config, evt

    _config.LOG_HANDLER_LEVEL = "none"
    ready = [_data_set(number, studies) for number in range(studies)]

    def found(_event: Any) -> Iterator[tuple[int, Dataset | None]]:
        for one in ready:
            yield 0xFF00, one
        yield 0x0000, None

    entity = AE()
    entity.add_supported_context(STUDY_ROOT, ExplicitVRLittleEndian)
    server = entity.start_server((HOST, 0), block=False, evt_handlers=[(evt.EVT_C_FIND, found)])
    pipe.send(server.server_address[1])
    pipe.recv()
    server.shutdown()


def _data_set(number: int, studies: int) -> Dataset:
    found = Dataset()
    for tag, (vr, value) in study_values(number, studies).items():
        if tag in KEYS:
            found.add_new(int(tag, 16), vr, value["Alphabetic"] if isinstance(value, dict) else value)
    found.QueryRetrieveLevel = "STUDY"
    return found


# the run


def show(name: str, answered: Answered, seconds: float | None) -> None:
    """One row of the table."""
    shown = "" if seconds is None else f"{seconds * 1000:9.1f}"
    print(f"{name:24}{answered.count:10,}{answered.rate:12,.0f}{answered.first * 1000:12.1f}{shown:>12}")


def best(port: int) -> Answered:
    """The median of three."""
    return sorted((ask(port) for _ in range(3)), key=lambda one: one.rate)[1]


def run(asked: argparse.Namespace, root: Path) -> None:
    """All peers, one after the other."""
    print(f"{'':24}{'studies':>10}{'answers/s':>12}{'first, ms':>12}{'page, ms':>12}")
    rows: Mapping[str, Callable[[], None]] = {
        "pacsbridge": lambda: _ours("pacsbridge", root / "ours", asked.studies, asked.pages),
        "pynetdicom": lambda: _plain(asked.studies),
        "Orthanc": lambda: _orthanc(root / "orthanc", asked.studies, asked.pages),
        "more": lambda: _ours("pacsbridge", root / "more", asked.more, asked.pages),
    }
    skipped = {name for name, there in (("Orthanc", plugin()), ("more", asked.more)) if not there}
    for name, row in rows.items():
        if name not in skipped:
            row()


def _ours(name: str, folder: Path, studies: int, pages: int) -> None:
    folder.mkdir(parents=True)
    with ours(folder, studies) as (port, url):
        show(name, best(port), page(url, pages))


def _plain(studies: int) -> None:
    with plain(studies) as port:
        show("pynetdicom, plain", best(port), None)


def _orthanc(folder: Path, studies: int, pages: int) -> None:
    folder.mkdir(parents=True)
    port = free_port()
    with orthanc(studies, folder, port) as url:
        show("Orthanc", best(port), page(url, max(pages // 5, 3)))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--studies", type=int, default=20_000)
    parser.add_argument("--more", type=int, default=100_000)
    parser.add_argument("--pages", type=int, default=50)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        run(asked, Path(folder))


if __name__ == "__main__":
    main()
