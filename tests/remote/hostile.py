"""An archive as others have it: a real HTTP server on loopback that searches, remembers and misbehaves.

archive.options     lasting habits: a cap on pages, deafness to offsets, refusals of parameters
archive.faults      what happens to the next requests, one fault each, in turn
archive.routes      paths beside DICOMweb: a token server, Orthanc's own API
archive.asked       every request that came, as it came
"""

import json
import re
import socket
import ssl
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

Row = dict[str, Any]
Level = str

STUDY_UID, SERIES_UID, SOP_UID = "0020000D", "0020000E", "00080018"
STUDY_DATE, STUDY_TIME = "00080020", "00080030"
PATIENT_ID, ACCESSION_NUMBER = "00100020", "00080050"
STUDY_SERIES, STUDY_INSTANCES, SERIES_INSTANCES = "00201206", "00201208", "00201209"

KEYWORDS = {
    "StudyInstanceUID": STUDY_UID,
    "SeriesInstanceUID": SERIES_UID,
    "SOPInstanceUID": SOP_UID,
    "StudyDate": STUDY_DATE,
    "StudyTime": STUDY_TIME,
    "PatientID": PATIENT_ID,
    "AccessionNumber": ACCESSION_NUMBER,
}
"""Attributes that can be matched."""

COUNTS = (STUDY_SERIES, STUDY_INSTANCES, SERIES_INSTANCES)


def study(
    uid: str,
    date: str = "20260102",
    time: str = "120000",
    patient: str = "SYN-1",
    accession: str = "A1",
    **more: Any,
) -> Row:
    """A study in DICOM JSON, with two series of two instances as its counts have it."""
    return {
        STUDY_UID: value("UI", uid),
        STUDY_DATE: value("DA", date),
        STUDY_TIME: value("TM", time),
        PATIENT_ID: value("LO", patient),
        ACCESSION_NUMBER: value("SH", accession),
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Synthetic^Person"}]},
        STUDY_SERIES: value("IS", 2),
        STUDY_INSTANCES: value("IS", 4),
        **more,
    }


def series(study_uid: str, uid: str, modality: str = "CT", **more: Any) -> Row:
    """A series in DICOM JSON."""
    named = {
        STUDY_UID: value("UI", study_uid),
        SERIES_UID: value("UI", uid),
        "00080060": value("CS", modality),
    }
    return {**named, SERIES_INSTANCES: value("IS", 2), **more}


def instance(study_uid: str, series_uid: str, uid: str, number: int = 1, **more: Any) -> Row:
    """An instance in DICOM JSON."""
    return {
        STUDY_UID: value("UI", study_uid),
        SERIES_UID: value("UI", series_uid),
        SOP_UID: value("UI", uid),
        "00080016": value("UI", "1.2.840.10008.5.1.4.1.1.2"),
        "00200013": value("IS", number),
        **more,
    }


def value(vr: str, *values: Any) -> Row:
    """An attribute in DICOM JSON (PS3.18 F.2.2)."""
    return {"vr": vr, "Value": list(values)}


def text(row: Row, tag: str) -> str:
    """The first value of an attribute, as text."""
    return str(next(iter(row.get(tag, {}).get("Value", ())), ""))


@dataclass
class Holdings:
    """What the archive has."""

    studies: list[Row] = field(default_factory=list)
    series: list[Row] = field(default_factory=list)
    instances: list[Row] = field(default_factory=list)

    def add(self, row: Row, per_study: int = 2, per_series: int = 2) -> None:
        """A study with so many series of so many instances; their UIDs are its own with numbers behind."""
        uid = text(row, STUDY_UID)
        self.studies.append(row)
        for first in range(1, per_study + 1):
            below = f"{uid}.{first}"
            self.series.append(series(uid, below))
            for second in range(1, per_series + 1):
                self.instances.append(instance(uid, below, f"{below}.{second}", second))


@dataclass
class Options:
    """Habits of the archive. As it begins, it has none."""

    page_cap: int | None = None
    ignores_limit: bool = False
    ignores_offset: bool = False
    ignores_dates: bool = False
    refuses_includefield: bool = False
    refuses_uid_lists: bool = False
    finds_nothing_by_uid_lists: bool = False
    lacks_counts: bool = False
    warns: bool = True
    empty_status: int = 204
    authorization: str | None = None
    """The one value of the Authorization header that is not answered by 401."""


class Asked(NamedTuple):
    """A request as it came; names of headers are in small letters."""

    method: str
    path: str
    pairs: list[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes
    query: str

    @property
    def params(self) -> dict[str, str]:
        """The query as a table."""
        return dict(self.pairs)


class Exchange:
    """One request and the ways to answer it."""

    def __init__(self, handler: BaseHTTPRequestHandler, asked: Asked, archive: "HostileArchive") -> None:
        self.handler = handler
        self.asked = asked
        self.archive = archive

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A whole answer; `_` in a header's name is a dash."""
        self.head(status, {"Content-Length": str(len(body)), **_dashed(headers)})
        self.write(body)

    def json(self, content: Any, status: int = 200, **headers: str) -> None:
        """An answer in JSON."""
        kind = {"Content_Type": "application/dicom+json"}
        self.send(status, json.dumps(content).encode(), **{**kind, **headers})

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """The status line and headers."""
        self.handler.send_response(status)
        for name, given in headers.items():
            self.handler.send_header(name, given)
        self.handler.end_headers()

    def write(self, body: bytes) -> None:
        """Bytes, at once."""
        self.handler.wfile.write(body)
        self.handler.wfile.flush()

    def drop(self) -> None:
        """End the connection behind this answer."""
        self.handler.close_connection = True

    def pause(self, seconds: float) -> bool:
        """Wait; True when the archive is being closed meanwhile."""
        return self.archive.closing.wait(seconds)

    def search(self) -> None:
        """The answer of an archive that behaves, apart from its options."""
        self.archive.search(self)


Fault = Callable[[Exchange], None]


def fine() -> Fault:
    """No fault at all."""
    return lambda exchange: exchange.search()


def status(code: int, body: bytes = b"", **headers: str) -> Fault:
    """A status, such as `status(503, Retry_After="7")`."""
    return lambda exchange: exchange.send(code, body, **headers)


def content(body: bytes, kind: str = "application/dicom+json", code: int = 200, **headers: str) -> Fault:
    """Any body with any media type; "" for none."""
    named = {"Content_Type": kind} if kind else {}
    return lambda exchange: exchange.send(code, body, **{**named, **headers})


def html() -> Fault:
    """A page for people, and 200: the portal of a firewall, say."""
    return content(b"<html><body>Synthetic^Person may not pass</body></html>", "text/html; charset=utf-8")


def hang(seconds: float = 30) -> Fault:
    """No answer for so long, then none at all."""

    def fault(exchange: Exchange) -> None:
        exchange.pause(seconds)
        exchange.drop()

    return fault


def drip(each_seconds: float, head: bool = False, size: int = 10_000) -> Fault:
    """A byte at a time, from the first of the head on or after it."""

    def fault(exchange: Exchange) -> None:
        exchange.drop()
        start = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n"
        if not head:
            exchange.write(f"{start}\r\n".encode())
        for byte in (start + "X-Long: " + "x" * size).encode() if head else b"[" * size:
            if exchange.pause(each_seconds):
                return
            exchange.write(bytes([byte]))

    return fault


def truncated() -> Fault:
    """JSON that breaks off, in an answer that is whole as HTTP has it."""
    return content(json.dumps([study("1.2.3")]).encode()[:-20])


def short(missing: int = 20) -> Fault:
    """A body shorter than its Content-Length by so many bytes."""

    def fault(exchange: Exchange) -> None:
        body = json.dumps([study("1.2.3")]).encode()
        exchange.head(200, {"Content-Type": "application/json", "Content-Length": str(len(body))})
        exchange.write(body[:-missing])
        exchange.drop()

    return fault


def long(size: int, announced: bool = True) -> Fault:
    """A list of so many bytes, which says how long it is or comes in chunks without a word."""

    def fault(exchange: Exchange) -> None:
        exchange.drop()
        kind = {"Content-Type": "application/json"}
        if announced:
            exchange.head(200, {**kind, "Content-Length": str(size)})
        else:
            exchange.head(200, {**kind, "Transfer-Encoding": "chunked"})
        for start in range(0, size, 1 << 20):
            piece = b" " * min(1 << 20, size - start)
            exchange.write(piece if announced else f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if not announced:
            exchange.write(b"0\r\n\r\n")

    return fault


def bomb(size: int, coding: str = "gzip") -> Fault:
    """So many bytes, in a thousandth of them."""

    def fault(exchange: Exchange) -> None:
        packer = zlib.compressobj(wbits=31)
        packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()
        exchange.send(200, packed, Content_Type="application/json", Content_Encoding=coding)

    return fault


def redirect(url: str, code: int = 302, body: bytes = b"") -> Fault:
    """To somewhere else; the URL may be relative."""
    return status(code, body, Location=url)


def reset() -> Fault:
    """The connection ends as if its cable were cut by a firewall."""

    def fault(exchange: Exchange) -> None:
        exchange.drop()
        connection = exchange.handler.connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.socket.close(connection)

    return fault


def nonsense(said: bytes = b"SSH-2.0-OpenSSH_9.9\r\n") -> Fault:
    """Bytes of another protocol, or none."""

    def fault(exchange: Exchange) -> None:
        exchange.drop()
        if said:
            exchange.write(said)

    return fault


def changed(change: Callable[[list[Row]], Any]) -> Fault:
    """The right rows, changed: see `wrong_vrs`, `without_uids`, `twice`."""

    def fault(exchange: Exchange) -> None:
        exchange.json(change(exchange.archive.found(exchange.asked)))

    return fault


def wrong_vrs(rows: list[Row]) -> list[Row]:
    """Values of other kinds than their representation says."""
    bad = {STUDY_DATE: {"vr": "DA", "Value": [{"Alphabetic": 7}]}, PATIENT_ID: {"vr": "SQ", "Value": "text"}}
    return [{**row, **bad, ACCESSION_NUMBER: ["no", "attribute"]} for row in rows]


def without_uids(rows: list[Row]) -> list[Row]:
    """No row says what it is."""
    return [{tag: one for tag, one in row.items() if one["vr"] != "UI"} for row in rows]


def twice(rows: list[Row]) -> list[Row]:
    """Every row two times."""
    return [row for row in rows for _ in range(2)]


class HostileArchive:
    """The server; its DICOMweb base is `url`."""

    def __init__(self, prefix: str = "/dicom-web", context: ssl.SSLContext | None = None) -> None:
        self.holdings = Holdings()
        self.options = Options()
        self.faults: deque[Fault] = deque()
        self.routes: dict[str, Fault] = {}
        self.asked: list[Asked] = []
        self.closing = threading.Event()
        self.connections = 0
        self._prefix = prefix
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._server.context = context
        self.root = f"{'https' if context else 'http'}://127.0.0.1:{self._server.server_address[1]}"
        self.url = self.root + prefix
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and wake whatever hangs."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def of(self, path: str) -> list[Asked]:
        """The requests for a path."""
        with self._lock:
            return [one for one in self.asked if one.path == path]

    def connected(self) -> None:
        """Another connection has come."""
        with self._lock:
            self.connections += 1

    def answer(self, exchange: Exchange) -> None:
        """The next fault, or else a route, or else a search."""
        with self._lock:
            self.asked.append(exchange.asked)
            fault = self.faults.popleft() if self.faults else self.routes.get(exchange.asked.path)
        (fault or Exchange.search)(exchange)

    def search(self, exchange: Exchange) -> None:
        """QIDO-RS as the options have it."""
        refusal = self._refusal(exchange.asked)
        if refusal is not None:
            exchange.send(refusal, b"Synthetic^Person")
            return
        rows = self.found(exchange.asked)
        page = rows[self._offset(exchange.asked) :][: self._limit(exchange.asked)]
        left = len(rows) - self._offset(exchange.asked) - len(page)
        warning = f"299 {self.url}: There are {left} additional results that can be requested"
        if not page:
            exchange.send(self.options.empty_status, b"[]" if self.options.empty_status == 200 else b"")
        else:
            exchange.json(page, 200, **({"Warning": warning} if left > 0 and self.options.warns else {}))

    def found(self, asked: Asked) -> list[Row]:
        """All rows that match, whatever the page."""
        level, given = self._target(asked) or ("studies", {})
        pairs = [(KEYWORDS.get(name, name), wanted) for name, wanted in (*given.items(), *asked.pairs)]
        rows = [row for row in self._rows(level) if all(self._matches(row, *pair) for pair in pairs)]
        lacking = COUNTS if self.options.lacks_counts else ()
        return [{tag: one for tag, one in row.items() if tag not in lacking} for row in rows]

    def _rows(self, level: Level) -> Sequence[Row]:
        return tuple(getattr(self.holdings, level))

    def _refusal(self, asked: Asked) -> int | None:
        options = self.options
        if options.authorization not in (None, asked.headers.get("authorization")):
            return 401
        if self._target(asked) is None:
            return 404
        uid_list = "," in asked.params.get("StudyInstanceUID", "")
        if (options.refuses_includefield and "includefield" in asked.params) or (
            options.refuses_uid_lists and uid_list
        ):
            return 400
        return None

    def _target(self, asked: Asked) -> tuple[Level, dict[str, str]] | None:
        """Which level a path asks for, and for what below."""
        path = asked.path.removeprefix(self._prefix)
        found = re.fullmatch(r"(?:/studies/([^/]+))?(?:/series/([^/]+))?/(studies|series|instances)", path)
        if found is None:
            return None
        uids = zip(("StudyInstanceUID", "SeriesInstanceUID"), found.groups()[:2], strict=True)
        return found[3], {name: uid for name, uid in uids if uid is not None}

    def _matches(self, row: Row, tag: str, wanted: str) -> bool:
        has = text(row, tag)
        if tag in (STUDY_DATE, STUDY_TIME):
            return self.options.ignores_dates or _within(has, wanted)
        if tag in (STUDY_UID, SERIES_UID, SOP_UID):
            nothing = self.options.finds_nothing_by_uid_lists and "," in wanted
            return not nothing and has in re.split(r"[,\\]", wanted)
        return tag not in KEYWORDS.values() or has == wanted

    def _offset(self, asked: Asked) -> int:
        return 0 if self.options.ignores_offset else int(asked.params.get("offset", 0))

    def _limit(self, asked: Asked) -> int | None:
        wanted = None if self.options.ignores_limit else asked.params.get("limit")
        limits = [
            limit for limit in (self.options.page_cap, int(wanted) if wanted else None) if limit is not None
        ]
        return min(limits, default=None)


def _within(has: str, wanted: str) -> bool:
    """Range matching (PS3.4 C.2.2.2.5): both ends belong to it, and either may be open."""
    first, dash, last = wanted.partition("-")
    if not dash:
        return has == wanted
    return bool(has) and first <= has and (not last or has[: len(last)] <= last)


def _dashed(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): given for name, given in headers.items()}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    context: ssl.SSLContext | None = None

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        connection.settimeout(30)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.context is None:
            return connection, address
        # The handshake is the handler's: here it would hold up everybody else.
        wrapped = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return wrapped, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what most tests are about."""


def _handler(archive: HostileArchive) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            archive.connected()

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            pairs = parse_qsl(parts.query, keep_blank_values=True)
            headers = {name.lower(): given for name, given in self.headers.items()}
            asked = Asked(self.command, parts.path, pairs, headers, body, parts.query)
            try:
                archive.answer(Exchange(self, asked, archive))
            except OSError:
                self.close_connection = True

        def do_POST(self) -> None:
            self.do_GET()

        def finish(self) -> None:
            with suppress(OSError, ValueError):
                super().finish()

        def log_message(self, *args: Any) -> None:
            """Nobody reads it."""

    return Handler


@contextmanager
def running(prefix: str = "/dicom-web", context: ssl.SSLContext | None = None) -> Iterator[HostileArchive]:
    """An archive for as long as a block."""
    archive = HostileArchive(prefix, context)
    try:
        yield archive
    finally:
        archive.close()


class Clock:
    """A clock that goes on when somebody sleeps, and remembers for how long."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """No time passes but here."""
        self.slept.append(seconds)
        self.now += seconds


def elapsed(since: float) -> float:
    """Seconds of real time."""
    return time.monotonic() - since
