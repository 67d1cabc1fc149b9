"""C-GET and C-MOVE of pacsbridge beside Orthanc and pynetdicom: `python tests/benchmarks/retrieval.py`.

Each provider is started anew, filled with the same CT instances of one study (pynetdicom has them ready as
data sets in memory), and asked for that study by the same requester, which counts what it is sent and throws
it away; it is the destination of C-MOVE as well. Its own time is part of every row. The table gives seconds
from the request to the last response, the best of three, and for each peer its seconds over pacsbridge's
(above 1: pacsbridge is quicker).

    --count 1000      instances                    --large      of 525 KB each, instead of 39
    --peers PEER[,…]  pacsbridge,orthanc,pynetdicom
"""

import argparse
import json
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.filebase import DicomBytesIO
from pynetdicom import AE, evt
from receivers import HERE, ORTHANC, Fed, _await_port, _pacsbridge, _port, _until_indexed
from sender import CT, Template, uid

GET, MOVE = "1.2.840.10008.5.1.4.1.2.2.3", "1.2.840.10008.5.1.4.1.2.2.2"
EXPLICIT = "1.2.840.10008.1.2.1"
STUDY = uid(2, 1)


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def _context(number: int, abstract: str) -> bytes:
    inner = _item(0x30, abstract.encode()) + _item(0x40, EXPLICIT.encode())
    return _item(0x20, bytes((number, 0, 0, 0)) + inner)


def _user(extra: bytes = b"") -> bytes:
    length = _item(0x51, struct.pack(">L", 131072))
    return _item(0x50, length + _item(0x52, b"1.2.826.0.1.3680043.8.498.1") + extra)


def _request(model: str) -> bytes:
    """An A-ASSOCIATE-RQ: the retrieval in context 1, CT in context 3, of which we are the provider."""
    head = struct.pack(">HH", 1, 0) + b"ANY".ljust(16) + b"REQUESTER".ljust(16) + bytes(32)
    role = _item(0x54, struct.pack(">H", len(CT)) + CT.encode() + b"\0\1")
    body = head + _item(0x10, b"1.2.840.10008.3.1.1.1") + _context(1, model) + _context(3, CT) + _user(role)
    return struct.pack(">BxL", 1, len(body)) + body


def _acceptance(request: bytes) -> bytes:
    """An A-ASSOCIATE-AC that takes every context, with its first transfer syntax."""
    items, at = b"", 68
    while at < len(request):
        kind, length = struct.unpack_from(">BxH", request, at)
        value = request[at + 4 : at + 4 + length]
        at += 4 + length
        if kind == 0x20:
            syntax = value[value.index(b"\x40\0") :]
            first = syntax[: 4 + int.from_bytes(syntax[2:4], "big")]
            items += _item(0x21, bytes((value[0], 0, 0, 0)) + first)
    body = request[:68] + _item(0x10, b"1.2.840.10008.3.1.1.1") + items + _user()
    return struct.pack(">BxL", 2, len(body)) + body


def _command(elements: Mapping[int, bytes | int]) -> bytes:
    values = {
        number: struct.pack("<H", value) if isinstance(value, int) else value + b"\0" * (len(value) % 2)
        for number, value in elements.items()
    }
    body = b"".join(struct.pack("<HHL", 0, number, len(one)) + one for number, one in values.items())
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def _pdu(context: int, control: int, fragment: bytes) -> bytes:
    return struct.pack(">BxLLBB", 4, len(fragment) + 6, len(fragment) + 2, context, control) + fragment


def _elements(command: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at < len(command):
        number, length = struct.unpack_from("<2xHL", command, at)
        found[number] = command[at + 8 : at + 8 + length]
        at += 8 + length
    return found


class Line:
    """One association: reads PDUs, answers C-STORE requests, counts them and their bytes."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = sock.makefile("rb", 1 << 18)
        self._encoded = b""
        self._message: bytes | None = None
        self.count = self.bytes = 0

    def read(self) -> tuple[int, bytes]:
        """Type and body of the next PDU; (0, b"") at the end."""
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        head = self._file.read(6)
        return (head[0], self._file.read(int.from_bytes(head[2:], "big"))) if head else (0, b"")

    def take(self, body: bytes) -> dict[int, bytes] | None:
        """The elements of a response that is complete; requests are answered here."""
        ended = None
        at = 0
        while at < len(body):
            length, context, control = struct.unpack_from(">LBB", body, at)
            fragment = body[at + 6 : at + 4 + length]
            at += 4 + length
            if control & 1:
                self._encoded += fragment
                if control & 2:
                    elements, self._encoded = _elements(self._encoded), b""
                    if elements[0x100][1] & 0x80:
                        ended = elements
                    self._message = elements.get(0x110)
            else:
                self.bytes += len(fragment)
                if control & 2 and self._message is not None:
                    self._answer(context, self._message)
        return ended

    def _answer(self, context: int, message: bytes) -> None:
        self.count += 1
        encoded = _command({0x100: 0x8001, 0x120: message, 0x800: 0x0101, 0x900: 0})
        self.sock.sendall(_pdu(context, 3, encoded))


def retrieve(port: int, model: str, field: int, destination: bytes = b"") -> tuple[float, Line]:
    """Seconds from the request to the last response."""
    with socket.create_connection(("127.0.0.1", port), timeout=300) as sock:
        line = Line(sock)
        sock.sendall(_request(model))
        if line.read()[0] != 2:
            raise ConnectionError("the association is not accepted")
        elements: dict[int, bytes | int] = {2: model.encode(), 0x100: field, 0x110: 1}
        if destination:
            elements[0x600] = destination
        asked = struct.pack("<HH2sH", 8, 0x52, b"CS", 6) + b"STUDY "
        asked += struct.pack("<HH2sH", 0x20, 0xD, b"UI", len(STUDY)) + STUDY.encode()
        began = time.perf_counter()
        sock.sendall(_pdu(1, 3, _command({**elements, 0x700: 0, 0x800: 1})) + _pdu(1, 2, asked))
        status = 0xFF00
        while status == 0xFF00:
            kind, body = line.read()
            if kind != 4:
                raise ConnectionError(f"PDU type {kind}")
            response = line.take(body)
            status = int.from_bytes(response[0x900], "little") if response else status
        seconds = time.perf_counter() - began
        sock.sendall(struct.pack(">BxLL", 5, 4, 0))
        line.read()
    if status:
        raise RuntimeError(f"status 0x{status:04X}")
    return seconds, line


class Destination:
    """Where C-MOVE sends to: one association after the other."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self.count = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            with sock:
                self._attend(Line(sock))

    def _attend(self, line: Line) -> None:
        while (pdu := line.read())[0] in (1, 4):
            if pdu[0] == 1:
                line.sock.sendall(_acceptance(pdu[1]))
            else:
                before = line.count
                line.take(pdu[1])
                self.count += line.count - before
        if pdu[0] == 5:
            line.sock.sendall(struct.pack(">BxLL", 6, 4, 0))

    def close(self) -> None:
        """End."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


# providers


def _bridge(folder: Path, port: int, to: int) -> Sequence[str]:
    command = _pacsbridge(folder, port)
    peers = '[[peer]]\nae_title = "REQUESTER"\n[[peer]]\nae_title = "BENCH"\n[[peer]]\nae_title = "DEST"\n'
    with (folder / "pacsbridge.toml").open("a") as config:
        config.write(f'{peers}host = "127.0.0.1"\nport = {to}\n')
    return command


def _orthanc(folder: Path, port: int, to: int) -> Sequence[str]:
    modalities = {
        "dest": ["DEST", "127.0.0.1", to],
        "requester": {
            "AET": "REQUESTER",
            "Host": "127.0.0.1",
            "Port": 1,
            "AllowGet": True,
            "AllowMove": True,
        },
    }
    settings = {
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "DicomPort": port,
        "HttpPort": _port(),
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomCheckCalledAet": False,
        "DicomModalities": modalities,
        "Plugins": [],
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    return [str(ORTHANC), str(folder / "orthanc.json")]


def _pynetdicom(_folder: Path, port: int, to: int) -> Sequence[str]:
    return [sys.executable, str(HERE / "retrieval.py"), "--serve", str(port), str(to)]


PEERS: Mapping[str, tuple[str, Callable[[Path, int, int], Sequence[str]], bool]] = {
    "pacsbridge": ("pacsbridge", _bridge, True),
    "orthanc": ("Orthanc", _orthanc, ORTHANC is not None),
    "pynetdicom": ("pynetdicom, data sets in memory", _pynetdicom, True),
}


def serve(port: int, to: int, count: int, *, large: bool) -> None:
    """A pynetdicom provider of C-GET and C-MOVE; runs until it is killed."""
    template = Template(large=large)

    def data_set(number: int) -> Dataset:
        stream = DicomBytesIO(template.encoded(number, 1))
        data = dcmread(stream, force=True)
        data.file_meta.TransferSyntaxUID = EXPLICIT
        return data

    held = [data_set(number) for number in range(1, 1 + count)]

    def get(_event: evt.Event) -> Iterator[object]:
        yield len(held)
        yield from ((0xFF00, one) for one in held)

    def move(event: evt.Event) -> Iterator[object]:
        yield "127.0.0.1", to, {"contexts": [_ct_context()]}
        yield from get(event)

    entity = AE("PEER")
    for model in (GET, MOVE):
        entity.add_supported_context(model, EXPLICIT)
    entity.add_supported_context(CT, EXPLICIT, scu_role=True, scp_role=True)
    entity.start_server(("127.0.0.1", port), evt_handlers=[(evt.EVT_C_GET, get), (evt.EVT_C_MOVE, move)])


def _ct_context() -> object:
    entity = AE()
    entity.add_requested_context(CT, EXPLICIT)
    return entity.requested_contexts[0]


@contextmanager
def provider(peer: str, to: int, count: int, *, large: bool) -> Iterator[int]:
    """Starts one, filled; its port."""
    _title, command, _present = PEERS[peer]
    port = _port()
    with tempfile.TemporaryDirectory() as name, (Path(name) / "log").open("wb") as log:
        folder = Path(name)
        sizes = [str(count), *(["--large"] if large else [])]
        more = sizes if peer == "pynetdicom" else []
        process = subprocess.Popen([*command(folder, port, to), *more], stdout=log, stderr=log)
        try:
            _await_port(port, process)
            if not more:
                sender = [sys.executable, str(HERE / "sender.py"), str(port), "ANY", *sizes]
                subprocess.run(sender, check=True, stdout=subprocess.DEVNULL)
                _until_indexed(folder, Fed(0, 1), count)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def measure(peer: str, count: int, *, large: bool) -> tuple[float, float]:
    """Seconds of C-GET and of C-MOVE: the better of three."""
    destination = Destination()
    with provider(peer, destination.port, count, large=large) as port:
        gets, moves = [], []
        for _ in range(3):
            seconds, line = retrieve(port, GET, 0x0010)
            _check(line.count, count)
            gets.append(seconds)
            before = destination.count
            moves.append(retrieve(port, MOVE, 0x0021, b"DEST")[0])
            _check(destination.count - before, count)
    destination.close()
    return min(gets), min(moves)


def _check(found: int, expected: int) -> None:
    if found != expected:
        raise RuntimeError(f"{found} instances instead of {expected}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--serve", type=int, nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve(*asked.serve, large=asked.large)
        return
    ours: tuple[float, float] | None = None
    for peer in asked.peers.split(","):
        title, _command_line, present = PEERS[peer]
        if not present:
            print(f"  {title:36} not installed")
            continue
        try:
            got, moved = measure(peer, asked.count, large=asked.large)
        except RuntimeError as fault:
            print(f"  {title:36} fails: {fault}")
            continue
        ours = ours or (got, moved)
        print(
            f"  {title:36} C-GET {got:7.2f} s {got / ours[0]:6.2f} ×   C-MOVE {moved:7.2f} s"
            f" {moved / ours[1]:6.2f} ×",
            flush=True,
        )


if __name__ == "__main__":
    main()
