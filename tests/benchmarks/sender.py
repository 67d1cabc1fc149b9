"""A C-STORE sender that costs next to nothing, so that a benchmark times the receiver.

`python sender.py PORT AE COUNT [--large] [--studies] [--offset N]` sends COUNT CT instances over one
association, one after the other (each waits for its response), with TCP_NODELAY and
TCP_QUICKACK (no receiver is held up by the sender's side), and prints the statuses
and seconds as JSON. Every instance has a SOP Instance UID of its own, derived from --offset; with --studies a
study, series and patient of its own as well. The data set is pydicom's CT_small; --large makes it 525 KB.
"""

import argparse
import json
import socket
import struct
import time
from collections import Counter

from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian

CT = "1.2.840.10008.5.1.4.1.1.2"
ROOT = "1.2.826.0.1.3680043.8.498.777"
PDV = 16_000
UID_LENGTH = 44
"""Every UID made here is this long, so that one may be patched over another."""


def uid(kind: int, number: int) -> str:
    """A UID of exactly UID_LENGTH characters."""
    head = f"{ROOT}.{kind}.1"
    return head + str(number).zfill(UID_LENGTH - len(head))


class Template:
    """An encoded data set into which UIDs and a patient ID are patched."""

    def __init__(self, *, large: bool) -> None:
        path = get_testdata_file("CT_small.dcm", download=False)
        ds = dcmread(path)
        ds.SOPInstanceUID, ds.StudyInstanceUID, ds.SeriesInstanceUID = uid(1, 0), uid(2, 0), uid(3, 0)
        ds.PatientID = "P" + "0" * 15
        if large:
            ds.Rows = ds.Columns = 512
            ds.PixelData = ds.PixelData * 16
        stream = DicomBytesIO()
        stream.is_little_endian, stream.is_implicit_VR = True, False
        write_dataset(stream, ds)
        self._bytes = stream.getvalue()
        self._spots = [
            self._bytes.index(value.encode()) for value in (uid(1, 0), uid(2, 0), uid(3, 0), ds.PatientID)
        ]

    def encoded(self, number: int, study: int) -> bytes:
        """The data set of instance `number` in study `study`."""
        data = bytearray(self._bytes)
        patches = (uid(1, number), uid(2, study), uid(3, study), "P" + str(study).zfill(15))
        for spot, text in zip(self._spots, patches, strict=True):
            data[spot : spot + len(text)] = text.encode()
        return bytes(data)


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def associate_rq(ae: str, calling: str = "BENCH") -> bytes:
    """PS3.8 9.3.2, one presentation context for CT with explicit VR little endian."""
    context = b"\1\0\0\0" + _item(0x30, CT.encode()) + _item(0x40, ExplicitVRLittleEndian.encode())
    user = _item(0x51, struct.pack(">I", 131072)) + _item(0x52, b"1.2.826.0.1.3680043.8.498.1")
    body = struct.pack(">HH", 1, 0) + ae.ljust(16).encode() + calling.ljust(16).encode() + bytes(32)
    body += _item(0x10, b"1.2.840.10008.3.1.1.1") + _item(0x20, context) + _item(0x50, user)
    return struct.pack(">BBI", 1, 0, len(body)) + body


def command(message_id: int, sop: str) -> bytes:
    def element(tag: int, value: bytes) -> bytes:
        return struct.pack("<HHI", 0, tag, len(value)) + value

    def text(tag: int, value: str) -> bytes:
        return element(tag, value.encode() + b"\0" * (len(value) % 2))

    def short(tag: int, value: int) -> bytes:
        return element(tag, struct.pack("<H", value))

    body = text(2, CT) + short(0x100, 1) + short(0x110, message_id) + short(0x700, 2) + short(0x800, 1)
    body += text(0x1000, sop)
    return element(0, struct.pack("<I", len(body))) + body


def p_data(command: bytes, data: bytes) -> bytes:
    """The P-DATA-TF PDUs of a message."""
    out = [struct.pack(">BBIIBB", 4, 0, len(command) + 6, len(command) + 2, 1, 3), command]
    for start in range(0, len(data), PDV):
        part = data[start : start + PDV]
        last = 2 if start + PDV >= len(data) else 0
        out += [struct.pack(">BBIIBB", 4, 0, len(part) + 6, len(part) + 2, 1, last), part]
    return b"".join(out)


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        piece = sock.recv(count - len(data))
        if not piece:
            raise ConnectionError("the receiver closed the connection")
        data += piece
    return data


def pdu(sock: socket.socket) -> tuple[int, bytes]:
    """The next PDU: type and body."""
    kind, _, length = struct.unpack(">BBI", _exactly(sock, 6))
    return kind, _exactly(sock, length)


def status(body: bytes) -> int:
    spot = body.rindex(struct.pack("<HHI", 0, 0x900, 2)) + 8
    return int(struct.unpack_from("<H", body, spot)[0])


def send(port: int, ae: str, count: int, *, large: bool, studies: bool, offset: int) -> dict[str, object]:
    """Send `count` instances; statuses and the seconds between the first byte and the last response."""
    template = Template(large=large)
    statuses: Counter[int] = Counter()
    with socket.create_connection(("127.0.0.1", port), timeout=120) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(associate_rq(ae))
        kind, _ = pdu(sock)
        if kind != 2:
            raise ConnectionError(f"association answered by PDU type {kind}")
        times = [time.perf_counter()]
        for number in range(offset, offset + count):
            data = template.encoded(number, number if studies else offset)
            sock.sendall(p_data(command(number % 65535, uid(1, number)), data))
            statuses[status(pdu(sock)[1])] += 1
            times.append(time.perf_counter())
        sock.sendall(struct.pack(">BBII", 5, 0, 4, 0))
        pdu(sock)
    tenth = count // 10
    return {
        "statuses": {f"0x{status:04X}": n for status, n in statuses.items()},
        "seconds": times[-1] - times[0],
        "slowdown": (times[-1] - times[-1 - tenth]) / (times[2 * tenth] - times[tenth]),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("ae")
    parser.add_argument("count", type=int, help="10 at least")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--studies", action="store_true")
    parser.add_argument("--offset", type=int, default=1)
    asked = parser.parse_args()
    result = send(
        asked.port, asked.ae, asked.count, large=asked.large, studies=asked.studies, offset=asked.offset
    )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
