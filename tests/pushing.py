"""Senders that cost next to nothing and remember every answer: C-STORE and C-ECHO over bare sockets."""

import random
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

from benchmarks.sender import CT, associate_rq, command, p_data, pdu, status, uid
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

SUCCESS, OUT_OF_RESOURCES = 0x0000, 0xA700
VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT = "1.2.840.10008.1.2"
Note = Callable[[str, bytes, int], object]
"""Told of each answer: SOP Instance UID, the data set that was sent, the status."""


@cache
def template(size: int, name: str) -> bytes:
    """An encoded CT instance of a patient, with so many bytes of noise for its pixels."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CT, uid(1, 0)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uid(2, 0), uid(3, 0)
    ds.PatientID, ds.PatientName, ds.Modality = "FAULT", name, "CT"
    ds.add_new(0x7FE00010, "OW", random.Random(size).randbytes(size))
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, ds)
    return bytes(stream.getvalue())


def encoded(number: int, study: int, size: int = 10_000, name: str = "Canary^Patient") -> bytes:
    """The data set of instance `number`, whose UID is `uid(1, number)`, in a study with one series."""
    data = template(size, name)
    head, pixels = data[:1000], data[1000:]
    for kind, value in ((1, uid(1, number)), (2, uid(2, study)), (3, uid(3, study))):
        head = head.replace(uid(kind, 0).encode(), value.encode())
    return head + pixels


def connection(port: int, seconds: float, tls: ssl.SSLContext | None = None) -> socket.socket:
    """A connection to the loopback interface, by TLS where there is a context."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=seconds)
    return plain if tls is None else tls.wrap_socket(plain, server_hostname="127.0.0.1")


class Association:
    """One association for CT in explicit VR; tells `note` of each answer. Raises OSError when it is gone."""

    def __init__(
        self,
        port: int,
        note: Note | None = None,
        seconds: float = 60,
        tls: ssl.SSLContext | None = None,
        calling: str = "BENCH",
    ) -> None:
        self._note = note or (lambda _uid, _data, _status: None)
        self.socket = connection(port, seconds, tls)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(associate_rq("PACSBRIDGE", calling))
        kind, _ = pdu(self.socket)
        if kind != 2:
            self.socket.close()
            raise ConnectionError(f"association answered by PDU type {kind}")

    def store(self, sop_uid: str, data: bytes) -> int:
        """The status of one C-STORE."""
        self.socket.sendall(p_data(command(1, sop_uid), data))
        kind, body = pdu(self.socket)
        if kind != 4:
            raise ConnectionError(f"a C-STORE answered by PDU type {kind}")
        answer = status(body)
        self._note(sop_uid, data, answer)
        return answer

    def release(self) -> None:
        """End by A-RELEASE."""
        self.socket.sendall(struct.pack(">BBII", 5, 0, 4, 0))
        pdu(self.socket)
        self.socket.close()

    def close(self) -> None:
        """End without ceremony."""
        self.socket.close()


@contextmanager
def association(
    port: int,
    note: Note | None = None,
    seconds: float = 60,
    tls: ssl.SSLContext | None = None,
    calling: str = "BENCH",
) -> Iterator[Association]:
    """An association that is released at the end, or closed when something goes wrong."""
    made = Association(port, note, seconds, tls, calling)
    try:
        yield made
        made.release()
    finally:
        made.close()


class Sender(threading.Thread):
    """Pushes instances of one study, one after the other, until all are sent or the peer is gone."""

    def __init__(
        self, port: int, note: Note, study: int, numbers: Sequence[int], sizes: Sequence[int], name: str
    ) -> None:
        super().__init__(name=f"sender{study}")
        self._port, self._note = port, note
        self._study, self._numbers, self._sizes, self._patient = study, numbers, sizes, name
        self.acknowledged: list[int] = []
        self.done = 0

    def run(self) -> None:
        """Until the connection ends or everything is sent."""
        try:
            with association(self._port, self._note) as line:
                for number in self._numbers:
                    size = self._sizes[number % len(self._sizes)]
                    data = encoded(number, self._study, size, self._patient)
                    if line.store(uid(1, number), data) == SUCCESS:
                        self.acknowledged.append(number)
                    self.done += 1
        except OSError:
            return


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def _element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, number, len(value)) + value


def _associate_for_echo() -> bytes:
    context = b"\1\0\0\0" + _item(0x30, VERIFICATION.encode()) + _item(0x40, IMPLICIT.encode())
    user = _item(0x51, struct.pack(">I", 16384)) + _item(0x52, b"1.2.826.0.1.3680043.8.498.1")
    body = struct.pack(">HH", 1, 0) + b"PACSBRIDGE".ljust(16) + b"BYSTANDER".ljust(16) + bytes(32)
    body += _item(0x10, b"1.2.840.10008.3.1.1.1") + _item(0x20, context) + _item(0x50, user)
    return struct.pack(">BBI", 1, 0, len(body)) + body


def _echo() -> bytes:
    body = _element(2, VERIFICATION.encode() + b"\0") + _element(0x100, struct.pack("<H", 0x30))
    body += _element(0x110, struct.pack("<H", 1)) + _element(0x800, struct.pack("<H", 0x101))
    body = _element(0, struct.pack("<I", len(body))) + body
    return struct.pack(">BBIIBB", 4, 0, len(body) + 6, len(body) + 2, 1, 3) + body


def echo(port: int, seconds: float = 30, tls: ssl.SSLContext | None = None) -> int:
    """The status of a C-ECHO on an association of its own (PS3.7 9.1.5)."""
    with connection(port, seconds, tls) as sock:
        sock.sendall(_associate_for_echo())
        kind, _ = pdu(sock)
        if kind != 2:
            raise ConnectionError(f"association answered by PDU type {kind}")
        sock.sendall(_echo())
        answer = status(pdu(sock)[1])
        sock.sendall(struct.pack(">BBII", 5, 0, 4, 0))
        pdu(sock)
        return answer
