"""Forwarding to real receivers, by syslog (UDP, TCP, TLS) and FHIR: nothing is lost while one is away."""

import re
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import trustme
from audit_receivers import Receiver, Server
from r4_validation import assert_r4

from pacsbridge.audit.forwarding import Forwarder, Sink
from pacsbridge.audit.repository import Repository
from pacsbridge.audit.syslog import Syslog
from pacsbridge.errors import BadAnswer, Unavailable
from pacsbridge.kernel.audit import Event, Who
from pacsbridge.remote.settings import ArchiveSettings, Basic
from pacsbridge.store.audit import AuditLog

AT = 1_700_000_000_000_000
STORE = Event("store", who=Who("10.0.0.7", title="CT1"), server="PB", study="1.2.3", instances=2)
REFUSED = Event("refused", "8", Who("10.0.0.9", title="ÄÖ"), "PB", reason="not recognised")
HEADER = re.compile(
    rb"<(8[45])>1 (\S+) host pacsbridge \d+ DICOM\+RFC3881 - \xef\xbb\xbf(<\?xml.*)", re.DOTALL
)


@pytest.fixture
def forward(log: AuditLog) -> Iterator[Callable[[Sink], Forwarder]]:
    """Starts forwarders that try again at once, and ends them."""
    started: list[Forwarder] = []

    def start(sink: Sink) -> Forwarder:
        started.append(Forwarder(log, "there", "syslog", sink, wait=lambda _seconds: 0.05))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.stop()


def parsed(message: bytes) -> tuple[bytes, ET.Element]:
    """Priority and audit message of a syslog message."""
    found = HEADER.fullmatch(message)
    assert found is not None, message
    return found[1], ET.fromstring(found[3])


def users(messages: list[bytes]) -> list[str]:
    """The first participant of each message."""
    return [parsed(one)[1].find("ActiveParticipant").attrib["UserID"] for one in messages]  # type: ignore[union-attr]


def test_udp(log: AuditLog, forward: Callable[[Sink], Forwarder], wait_until: Callable[..., None]) -> None:
    """A datagram each, notices and warnings, with the message in UTF-8."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        running = forward(Syslog(f"udp://127.0.0.1:{receiver.getsockname()[1]}", "host"))
        log.append([STORE, REFUSED], AT)
        running.look()
        messages = [receiver.recv(65535) for _ in range(2)]
    assert [parsed(one)[0] for one in messages] == [b"85", b"84"]
    assert users(messages) == ["CT1", "ÄÖ"]
    wait_until(lambda: log.reached("there") == 2)


def test_tcp_while_the_receiver_is_away(
    log: AuditLog, forward: Callable[[Sink], Forwarder], wait_until: Callable[..., None]
) -> None:
    """What is recorded while it is away comes once it is back, in order, nothing missing."""
    receiver = Receiver()
    running = forward(Syslog(f"tcp://127.0.0.1:{receiver.port}", "host", settle_seconds=0.05))
    log.append([STORE], AT)
    running.look()
    wait_until(lambda: log.reached("there") == 1)
    receiver.close()
    assert users(receiver.messages) == ["CT1"]
    log.append([REFUSED, STORE], AT)
    running.look()
    again = Receiver(receiver.port)
    wait_until(lambda: log.reached("there") == 3)
    wait_until(lambda: users(again.messages)[-2:] == ["ÄÖ", "CT1"])
    again.close()


def test_a_restart_goes_on_where_it_was(log: AuditLog, wait_until: Callable[..., None]) -> None:
    """What was recorded while nothing ran is sent after the next start, and nothing twice."""
    receiver = Receiver()

    def run(events: list[Event], last: int) -> None:
        sink = Syslog(f"tcp://127.0.0.1:{receiver.port}", "host", settle_seconds=0.05)
        running = Forwarder(log, "there", "syslog", sink)
        running.start()
        log.append(events, AT)
        running.look()
        wait_until(lambda: log.reached("there") == last)
        running.stop()

    run([STORE], 1)
    log.append([REFUSED], AT)
    run([STORE], 3)
    receiver.close()
    assert users(receiver.messages) == ["CT1", "ÄÖ", "CT1"]


def test_tls(
    log: AuditLog,
    forward: Callable[[Sink], Forwarder],
    tmp_path: Path,
    wait_until: Callable[..., None],
) -> None:
    """Counted octets over TLS (RFC 5425), to a receiver whose certificate is trusted."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    receiver = Receiver(context=context)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    trusting = ssl.create_default_context(cafile=tmp_path / "authority.pem")
    url = f"tls://127.0.0.1:{receiver.port}"
    running = forward(Syslog(url, "host", lambda: trusting, settle_seconds=0.05))
    log.append([STORE, REFUSED], AT)
    running.look()
    wait_until(lambda: log.reached("there") == 2)
    wait_until(lambda: users(receiver.messages) == ["CT1", "ÄÖ"])
    with pytest.raises(Unavailable, match="not trusted"):
        Syslog(url, "host").send(log.following(0, 1))
    receiver.close()


@pytest.mark.parametrize("scheme", ["udp", "tcp"])
def test_where_no_name_may_lead(log: AuditLog, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """A name that comes to lead to this host by an address that is none is not sent what is on record."""

    def lead_astray(_host: str, port: int, **options: socket.SocketKind) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, options["type"], 0, "", ("0.0.0.0", port))]

    receiver = Receiver()
    log.append([STORE], AT)
    monkeypatch.setattr(socket, "getaddrinfo", lead_astray)
    with pytest.raises(Unavailable, match=r"^syslog: its name leads to 0\.0\.0\.0 \(unspecified\)"):
        Syslog(f"{scheme}://audit.test:{receiver.port}", "host").send(log.following(0, 1))
    receiver.close()
    assert receiver.messages == []


@pytest.fixture
def server() -> Iterator[Server]:
    """A FHIR server on loopback."""
    running = Server()
    yield running
    running.close()


def repository(server: Server) -> Repository:
    """What sends to it, with credentials."""
    return Repository(ArchiveSettings("audit", server.url, Basic("us", "pw"), tries=1))


def test_a_fhir_server(
    log: AuditLog, server: Server, forward: Callable[[Sink], Forwarder], wait_until: Callable[..., None]
) -> None:
    """A create for each event, legal R4, with our credentials and without an id of ours."""
    running = forward(repository(server))
    log.append([STORE, REFUSED], AT)
    running.look()
    wait_until(lambda: log.reached("there") == 2)
    assert_r4(*server.resources)
    assert [one["outcome"] for one in server.resources] == ["0", "8"]
    assert not any("id" in one for one in server.resources)
    assert set(server.heads) == {("/fhir/AuditEvent", "application/fhir+json", "Basic dXM6cHc=")}


@pytest.mark.parametrize("status", [404, 401, 500])
def test_a_fhir_server_that_refuses_them_all(log: AuditLog, server: Server, status: int) -> None:
    """A wrong address or password loses nothing: the same is sent again until it is taken."""
    log.append([STORE, REFUSED], AT)
    sink = repository(server)
    server.status = status
    with pytest.raises(Exception, match=str(status)):
        sink.send(log.following(0, 10))
    server.status = 201
    sink = repository(server)
    sink.send(log.following(0, 10))
    sink.send(log.following(0, 10))
    assert [one["outcome"] for one in server.resources] == ["0", "8"]


def test_a_page_to_log_in_at_has_taken_nothing(log: AuditLog, server: Server) -> None:
    """200 with a page is no FHIR server's answer: it is sent again; what was created is, whatever is said."""
    log.append([STORE], AT)
    sink = repository(server)
    server.status, server.page = 200, b"<html>Who are you?</html>"
    with pytest.raises(BadAnswer, match=r"^not JSON: text/html$"):
        sink.send(log.following(0, 1))
    server.status = 201
    sink.send(log.following(0, 1))
    sink.send(log.following(0, 1))
    assert len(server.resources) == 1


def test_one_that_a_fhir_server_finds_wrong_holds_up_no_others(log: AuditLog, server: Server) -> None:
    """422 is about that one: it is passed over, and stays in the log."""
    log.append([STORE], AT)
    server.status = 422
    sink = repository(server)
    sink.send(log.following(0, 1))
    log.append([REFUSED], AT)
    server.status = 201
    sink.send(log.following(0, 10))
    assert [one["outcome"] for one in server.resources] == ["8"]
