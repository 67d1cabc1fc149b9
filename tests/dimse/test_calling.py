"""Calling others: what came of it is told once, by the exception."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from certificate_site import Site
from structlog.testing import capture_logs

from pacsbridge.dimse.echo import echo
from pacsbridge.dimse.settings import Place
from pacsbridge.dimse.unanswered import unanswered
from pacsbridge.errors import Unavailable
from pacsbridge.tls import contexts
from pacsbridge.tls.certificates import Place as File
from pacsbridge.tls.contexts import Files


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """An authority."""
    return Site(tmp_path)


def test_a_peer_that_is_not_there(free_port: Callable[[], int]) -> None:
    """Nobody answers: the exception says so, the library's own complaints are not passed on."""
    with capture_logs() as lines, pytest.raises(Unavailable, match="does not answer"):
        echo("US", "THEM", Place("127.0.0.1", free_port()))
    assert lines == []


def test_why_a_peer_does_not_associate(site: Site) -> None:
    """A certificate that is not good, no TLS at all, and our own certificate refused: told in words."""
    own, other = site.issue("own"), Site(site.folder, "other")
    trusting = contexts.client(Files(trusted=File("dimse.tls.ca", site.ca, trusted=True)))
    doubting = contexts.client(Files(trusted=File("dimse.tls.ca", other.ca, trusted=True)))
    strict = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    strict.load_cert_chain(*own)
    strict.load_verify_locations(site.ca)
    strict.verify_mode = ssl.CERT_REQUIRED
    for called, calling, said in (
        (strict, doubting, "shows a certificate that is not good ("),
        (strict, trusting, "does not agree on TLS (tlsv13 alert certificate required)"),
        (None, trusting, "does not agree on TLS (wrong version number)"),
    ):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=_answered, args=(listener, called))
            thread.start()
            assert unanswered(Place("127.0.0.1", listener.getsockname()[1], calling)).startswith(said)
            thread.join()


def _answered(listener: socket.socket, tls: ssl.SSLContext | None) -> None:
    """One caller, with TLS or with something else."""
    plain, _ = listener.accept()
    with plain, contextlib.suppress(OSError):
        if tls is None:
            plain.recv(4096)
            plain.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            return
        tls.wrap_socket(plain, server_side=True).close()
