"""Handshakes that fail have a reason, and are told within bounds."""

import socket
import ssl
import warnings
from collections.abc import Callable

import pytest
from certificate_site import Site
from structlog.testing import capture_logs

from pacsbridge import metrics
from pacsbridge.tls import contexts
from pacsbridge.tls.certificates import Identity, ListPlace, Place
from pacsbridge.tls.contexts import Files
from pacsbridge.tls.failures import REASONS, SILENT, Failures, why

SECONDS = 30


def files(site: Site) -> Files:
    """Ours, the authority of callers, and its list."""
    own, lost = site.issue("own"), site.issue("lost")
    identity = Identity(Place("fhir.tls.certificate", own.certificate), Place("fhir.tls.key", own.key))
    trusted = Place("fhir.tls.ca", site.ca, trusted=True)
    return Files(identity, trusted, ListPlace("fhir.tls.crl", site.revoke(lost), issuers=trusted))


def calling(site: Site, *, shows: Site | None = None, days: tuple[float, float] = (-1, 9)) -> ssl.SSLContext:
    """Somebody who trusts the site, with a certificate of an authority or none."""
    context = ssl.create_default_context(cafile=site.ca)
    if shows is not None:
        context.load_cert_chain(*shows.issue("caller", days=days))
    return context


def anonymous(site: Site) -> ssl.SSLContext:
    """Without a certificate."""
    return calling(site)


def stranger(site: Site) -> ssl.SSLContext:
    """With one of another authority."""
    return calling(site, shows=Site(site.folder, "other"))


def late(site: Site) -> ssl.SSLContext:
    """With one that has ended."""
    return calling(site, shows=site, days=(-9, -1))


def revoked(site: Site) -> ssl.SSLContext:
    """With one that is on the list."""
    context = calling(site)
    context.load_cert_chain(site.folder / "lost.pem", site.folder / "lost.key")
    return context


def doubtful(site: Site) -> ssl.SSLContext:
    """Who does not trust the site."""
    return calling(Site(site.folder, "other"))


def old(site: Site) -> ssl.SSLContext:
    """Of TLS 1.1."""
    context = calling(site, shows=site)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def weak(site: Site) -> ssl.SSLContext:
    """Of TLS 1.2 without forward secrecy."""
    context = calling(site, shows=site)
    context.set_ciphers("AES128-GCM-SHA256")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


CALLERS: dict[Callable[[Site], ssl.SSLContext] | bytes | None, str] = {
    anonymous: "no certificate",
    stranger: "certificate not trusted",
    late: "certificate not valid now",
    revoked: "certificate revoked",
    doubtful: "refused by the caller",
    old: "old TLS",
    weak: "no cipher in common",
    b"\x01\0\0\0\0\x44\0\1": "no TLS",
    b"GET / HTTP/1.1\r\nHost: here\r\n\r\n": "no TLS",
    b"CONNECT here:443 HTTP/1.1\r\n\r\n": "no TLS",
    b"\x16\x03\x01\x02\0\x01": "closed by the caller",
    b"": "closed by the caller",
    None: "too slow",
}
"""Who calls: by TLS, by something else, or not at all → the reason that it has."""


@pytest.mark.parametrize("caller", CALLERS)
def test_a_failure_has_its_reason(
    site: Site, caller: Callable[[Site], ssl.SSLContext] | bytes | None
) -> None:
    """What OpenSSL says of each kind of caller comes to a reason of the table."""
    called, us = socket.socketpair()
    with called, us:
        called.settimeout(0.2 if caller is None else SECONDS)
        us.setblocking(False)
        sock = contexts.server(files(site)).wrap_socket(
            called, server_side=True, do_handshake_on_connect=False
        )
        if callable(caller):
            fault = _shake(sock, caller(site), us)
        else:
            us.send(caller or b"")
            if caller is not None:
                us.shutdown(socket.SHUT_WR)
            fault = _fault(sock.do_handshake)
        sock.close()
    assert why(fault) == CALLERS[caller]
    assert why(fault) in REASONS


def _fault(step: Callable[[], object]) -> OSError:
    with pytest.raises(OSError, match=r".") as told:
        step()
    return told.value


def _shake(sock: ssl.SSLSocket, context: ssl.SSLContext, plain: socket.socket) -> OSError:
    """Both sides by turns, until ours fails."""
    sock.setblocking(False)
    other = context.wrap_socket(plain, server_hostname="127.0.0.1", do_handshake_on_connect=False)
    with other:
        for _ in range(20):
            for side in (other, sock):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue
                except OSError as exc:
                    if side is sock:
                        return exc
    raise AssertionError("the handshake came to its end")


@pytest.fixture
def told() -> list[tuple[str, str, int]]:
    """What an audit log would hear."""
    return []


class Clock:
    """A clock that is set."""

    now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """At its beginning."""
    return Clock()


def count(port: str) -> float:
    """Failures of a port by the metric."""
    (family,) = metrics.TLS_FAILURES.collect()
    return sum(one.value for one in family.samples if one.labels["port"] == port)


def test_a_scanner_does_not_flood(told: list[tuple[str, str, int]], clock: Clock) -> None:
    """Of an address one a minute is told, of all twenty; the metric has each, the next one the rest."""
    failures, fault = Failures("dimse", clock), ssl.SSLError(1, "x")
    failures.tell = lambda *said: told.append(said)
    before = count("dimse")
    with capture_logs() as lines:
        for _ in range(500):
            failures.note("192.0.2.1", fault)
        for number in range(500):
            failures.note(f"198.51.100.{number % 250}", fault)
        assert (len(told), len(lines)) == (20, 20)
        clock.now = 60.0
        failures.note("192.0.2.1", fault)
    assert count("dimse") - before == 1001
    assert told[0] == ("192.0.2.1", "other", 0)
    assert [more for _address, _reason, more in told] == [0, 499, *[0] * 18, 481]
    assert [one["skipped"] for one in lines] == [more for _address, _reason, more in told]


def test_a_probe_hides_nobody(told: list[tuple[str, str, int]], clock: Clock) -> None:
    """What a balancer does all the time does not keep a failure of another kind behind it from being told."""
    failures = Failures("http", clock)
    failures.tell = lambda *said: told.append(said)
    untrusted = ssl.SSLCertVerificationError(1, "x")
    untrusted.verify_code = 18
    for fault in (ConnectionResetError(), ConnectionResetError(), untrusted):
        failures.note("192.0.2.1", fault)
    assert told == [("192.0.2.1", "certificate not trusted", 1)]


def test_who_says_nothing_is_no_stranger(told: list[tuple[str, str, int]], clock: Clock) -> None:
    """A probe that only connects, or waits, is no audit event; to connect and go is not worth a warning."""
    failures = Failures("http", clock)
    failures.tell = lambda *said: told.append(said)
    with capture_logs() as lines:
        failures.note("192.0.2.1", ConnectionResetError())
        failures.note("192.0.2.2", TimeoutError())
    assert [one["reason"] for one in lines if one["log_level"] == "warning"] == ["too slow"]
    assert {"too slow", "closed by the caller"} == SILENT
    assert told == []
