"""Clients that are slow, silent or too many: sockets that are watched until they are dropped."""

import contextlib
import resource
import select
import socket
import time
from collections.abc import Iterator, Sequence

SILENT = b""
HALF_HEAD = b"GET /fhir/metadata HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
SLOW_FORM = (
    b"POST /fhir/ImagingStudy/_search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\n_count="
)
SLOW_INSTANCE = (
    b"POST /dicomweb/studies HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
    b'Content-Type: multipart/related; type="application/dicom"; boundary=b\r\n\r\n'
    b"--b\r\nContent-Type: application/dicom\r\n\r\n"
)


@contextlib.contextmanager
def crowd(port: int, count: int, first: bytes, *, answered: bool = False) -> Iterator[list[socket.socket]]:
    """So many connections, each with the same first bytes sent; `answered`: something has been heard."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2 * count + 1000)), hard))
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            sockets.append(socket.create_connection(("127.0.0.1", port), timeout=30))
            with contextlib.suppress(OSError):
                sockets[-1].sendall(first)
                if answered:
                    sockets[-1].recv(65536)
        yield sockets
    finally:
        for one in sockets:
            one.close()


def dropped(sockets: Sequence[socket.socket], seconds: float, drip: bytes = b"") -> list[float]:
    """When each was closed by the other side, in seconds from now; `drip` is sent on each now and then."""
    start, open_ = time.monotonic(), {one.fileno(): one for one in sockets}
    poll, found = select.poll(), []
    for descriptor in open_:
        poll.register(descriptor, select.POLLIN)
    while open_ and time.monotonic() < start + seconds:
        for descriptor, _event in poll.poll(500):
            if _has_ended(open_[descriptor]):
                poll.unregister(descriptor)
                del open_[descriptor]
                found.append(time.monotonic() - start)
        for one in open_.values() if drip else ():
            with contextlib.suppress(OSError):
                one.send(drip)
    return found


def _has_ended(one: socket.socket) -> bool:
    try:
        return not one.recv(65536)
    except OSError:
        return True
