"""DIMSE by hand: PDUs that may be wrong, and a socket that reads what is answered."""

import socket
import struct
from typing import Any, Self

CT = b"1.2.840.10008.5.1.4.1.1.2"
ECHO = b"1.2.840.10008.1.1"
IMPLICIT, EXPLICIT = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1"
PENDING = (0xFF00, 0xFF01)
PATIENCE = 30.0
"""Seconds to wait for an answer, on a machine that does other things."""


def unread(port: int) -> int:
    """Bytes that were sent to a port of the loopback interface and have not been read there yet (Linux)."""
    with open("/proc/net/tcp") as table:
        lines = [line.split() for line in table]
    own, established = f":{port:04X}", "01"
    queues = [line[4] for line in lines if line[1].endswith(own) and line[3] == established]
    return sum(int(queue.partition(":")[2], 16) for queue in queues)


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
        cls,
        field: int,
        message: int = 1,
        data: bool = True,
        sop: bytes = CT,
        uid: bytes = b"1.2",
        destination: bytes = b"",
    ) -> bytes:
        """A request's command set; `destination` is a C-MOVE's."""
        body = cls.element(0x0002, sop) + cls.element(0x0100, struct.pack("<H", field))
        body += cls.element(0x0110, struct.pack("<H", message))
        body += cls.element(0x0600, destination) if destination else b""
        body += cls.element(0x0700, b"\0\0")
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

    def __init__(self, port: int, host: str = "127.0.0.1", seconds: float = PATIENCE) -> None:
        self.socket = socket.create_connection((host, port), timeout=seconds)

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
        return self._elements(self._data())

    def _data(self) -> bytes:
        kind, body = self.read()
        assert kind == 4, f"PDU of type {kind}: {body.hex()}"
        return body

    @staticmethod
    def _elements(body: bytes) -> dict[int, bytes]:
        elements, rest = {}, body[6:]
        while rest:
            _, number, length = struct.unpack_from("<HHL", rest)
            elements[number], rest = rest[8 : 8 + length], rest[8 + length :]
        return elements

    def status(self) -> int:
        """The status of the next response."""
        return int.from_bytes(self.answer()[0x0900], "little")

    def final(self) -> int:
        """The status that ends a request; pending ones and what they bring are passed over."""
        while True:
            body = self._data()
            if body[5] & 1:
                status = int.from_bytes(self._elements(body)[0x0900], "little")
                if status not in PENDING:
                    return status

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
