"""`pacsbridge check` reaches each receiver of the audit log, or says in one line why it does not."""

import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from audit_receivers import Receiver, Server
from certificate_site import Site
from click.testing import CliRunner

from pacsbridge.cli import main

Check = Callable[..., tuple[int, str]]


@pytest.fixture
def check(tmp_path: Path, free_port: Callable[[], int]) -> Check:
    """Runs `check` with settings of `[audit]`; the exit code, and the line about the receiver."""

    def run(**settings: Any) -> tuple[int, str]:
        file = tmp_path / "pacsbridge.toml"
        lines = "".join(f'{key} = "{value}"\n' for key, value in settings.items())
        file.write_text(
            f'data_dir = "{tmp_path}/data"\n[blobs]\nmin_free_bytes = 0\n[dimse]\nport = {free_port()}\n'
            f"[fhir]\nport = {free_port()}\n[audit]\n{lines}"
        )
        done = CliRunner().invoke(main, ["check", "--config", str(file)])
        [line] = [one for one in done.stdout.splitlines() if "_url: " in one[:30]]
        return done.exit_code, line

    return run


def test_udp(check: Check) -> None:
    """A name that has an address is all that can be known; one that has none fails."""
    code, line = check(syslog_url="udp://127.0.0.1:514")
    assert (code, line.startswith("ok     audit.syslog_url: udp://127.0.0.1:514 has an address")) == (0, True)
    code, line = check(syslog_url=f"udp://{'x' * 70}.example:514")
    assert (code, line) == (1, "FAILED audit.syslog_url: syslog: its name cannot be resolved")


def test_tcp(check: Check, free_port: Callable[[], int]) -> None:
    """A receiver that takes connections; nobody there; one that hangs up at once."""
    receiver = Receiver()
    url = f"tcp://127.0.0.1:{receiver.port}"
    assert check(syslog_url=url) == (0, f"ok     audit.syslog_url: {url} takes connections (without TLS)")
    receiver.close()
    assert receiver.messages == []
    refused = check(syslog_url=f"tcp://127.0.0.1:{free_port()}")
    assert refused == (1, "FAILED audit.syslog_url: syslog: Connection refused")


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    """An authority, and its certificate in `authority.pem`."""
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    return made


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[Receiver]:
    """A receiver by TLS that wants to see certificates of the authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # by TLS 1.3 a client may hear of it at any time later
    receiver = Receiver(context=context)
    yield receiver
    receiver.close()


def test_tls(check: Check, secure: Receiver, authority: trustme.CA, tmp_path: Path) -> None:
    """The handshake is done, to its end: with a certificate of ours, without one, and not trusting theirs."""
    ours = authority.issue_cert("bridge.example")
    ours.cert_chain_pems[0].write_to_path(str(tmp_path / "ours.pem"))
    ours.private_key_pem.write_to_path(str(tmp_path / "ours.key"))
    url = f"tls://127.0.0.1:{secure.port}"
    known = {"syslog_url": url, "syslog_ca": tmp_path / "authority.pem"}
    own = {"syslog_certificate": tmp_path / "ours.pem", "syslog_key": tmp_path / "ours.key"}
    code, line = check(**known, **own)
    assert (code, line) == (0, f"ok     audit.syslog_url: {url} takes connections (TLSv1.2)")
    code, line = check(**known)
    assert (code, line) == (1, "FAILED audit.syslog_url: syslog: no TLS with it")
    code, line = check(syslog_url=url)
    assert (code, line) == (1, "FAILED audit.syslog_url: syslog: its certificate is not trusted")
    assert secure.messages == []


def test_a_revoked_receiver(check: Check, tmp_path: Path) -> None:
    """One that is on the list of its authority gets nothing, nor does anybody once the list has ended."""
    site = Site(tmp_path)
    theirs = site.issue("theirs")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*theirs)
    receiver = Receiver(context=context)
    url = f"tls://127.0.0.1:{receiver.port}"
    for crl, said in (
        (site.revoke(name="good"), ""),
        (site.revoke(theirs, name="bad"), "its certificate is revoked"),
        (
            site.revoke(days=(-9, -1), name="old"),
            "the revocation list of its certificate's authority has expired",
        ),
    ):
        code, line = check(syslog_url=url, syslog_ca=site.ca, syslog_crl=crl)
        assert code == bool(said)
        assert line.endswith(f"syslog: {said}" if said else "takes connections (TLSv1.3)")
    receiver.close()
    assert receiver.messages == []


def test_who_speaks_no_tls(check: Check) -> None:
    """A port of something else is told from one that is away."""
    receiver = Receiver()
    code, line = check(syslog_url=f"tls://127.0.0.1:{receiver.port}")
    receiver.close()
    assert (code, line.startswith("FAILED audit.syslog_url: syslog: ")) == (1, True)


@pytest.fixture
def server() -> Iterator[Server]:
    """A FHIR server on loopback."""
    running = Server()
    yield running
    running.close()


CASES: dict[str, tuple[dict[str, tuple[str, int]], int, str]] = {
    "all well": ({}, 0, "answers as a FHIR server"),
    "not searched": ({"/fhir/AuditEvent": ("OperationOutcome", 403)}, 0, "(HTTP 403)"),
    "no search": ({"/fhir/AuditEvent": ("OperationOutcome", 404)}, 0, "are not searched there"),
    "our credentials": (
        {"/fhir/AuditEvent": ("OperationOutcome", 401)},
        1,
        "refuses our credentials (HTTP 401)",
    ),
    "no FHIR": ({"/fhir/metadata": ("Patient", 200)}, 1, "no CapabilityStatement"),
    "another address": ({"/fhir/metadata": ("", 404)}, 1, "HTTP 404"),
}


@pytest.mark.parametrize("case", CASES)
def test_fhir(case: str, check: Check, server: Server) -> None:
    """Capabilities and a search with our credentials; nothing is created."""
    reads, code, said = CASES[case]
    server.reads |= reads
    ended, line = check(fhir_url=server.url)
    assert ended == code, line
    assert line.startswith("FAILED" if code else f"ok     audit.fhir_url: {server.url}")
    assert said in line
    assert server.resources == []


def test_fhir_that_is_away(check: Check, free_port: Callable[[], int]) -> None:
    """Nobody listens."""
    code, line = check(fhir_url=f"http://127.0.0.1:{free_port()}/fhir")
    assert (code, line) == (1, "FAILED audit.fhir_url: connection refused")


def test_a_secret_that_cannot_be_read(check: Check, tmp_path: Path) -> None:
    """The key is named."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/fhir"
        code, line = check(fhir_url=url, fhir_username="us", fhir_password_file=tmp_path / "none")
    assert (code, line.startswith("FAILED audit.fhir_url: audit.fhir_password_file")) == (1, True)
