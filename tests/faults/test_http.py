"""T-HTTP: slow, silent and too many HTTP clients; whoever comes to work is served meanwhile."""

import socket
import ssl
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from bystander import bystander
from data_sets import STOW_HEADERS, data_set, file, multipart
from slow_clients import HALF_HEAD, SILENT, SLOW_FORM, SLOW_INSTANCE, crowd, dropped

from .conftest import MakeSite

DEADLINES = ("http_head_seconds", "http_idle_seconds", "http_body_seconds")


def quick(deadline: str) -> str:
    """One short deadline, so that no other does its work, for every change; at night it is the defaults."""
    return "[limits]\n" + "".join(f"{one} = {2 if one == deadline else 600}\n" for one in DEADLINES)


KEPT = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    ("deadline", "first", "drip"),
    [
        ("http_idle_seconds", SILENT, b""),
        ("http_head_seconds", HALF_HEAD, b"x"),
        ("http_body_seconds", SLOW_FORM, b"1"),
        ("http_body_seconds", SLOW_INSTANCE, b"\0"),
        ("http_idle_seconds", KEPT, b""),
    ],
    ids=["silent", "half-head", "slow-form", "slow-instance", "idle"],
)
def test_slow_clients_are_dropped(
    make_site: MakeSite, numbers: Callable[..., int], night: bool, deadline: str, first: bytes, drip: bytes
) -> None:
    """T-HTTP: each is gone within 20 s (2 s and the time of a busy machine here); reads and echoes go on."""
    site = make_site("" if night else quick(deadline)).start()
    site.oracle.rest()
    count = numbers(40, 500)
    with bystander(site.bridge), crowd(site.bridge.http_port, count, first) as sockets:
        found = dropped(sockets, numbers(15, 40), drip)
    assert len(found) == count, f"{count - len(found)} are still there"
    print(f"{count} dropped within {max(found):.1f} s")
    assert max(found) < numbers(15, 22)
    site.oracle.check(settled=True)


def test_more_connections_than_may_be(make_site: MakeSite, numbers: Callable[..., int]) -> None:
    """T-HTTP: idle connections beyond the limit make room for new ones, so nobody is kept out."""
    most, count = numbers(50, 500), numbers(300, 10_000)
    site = make_site(f"[limits]\nhttp_connections = {most}\nhttp_idle_seconds = 600\n").start()
    with bystander(site.bridge), crowd(site.bridge.http_port, count, KEPT, answered=True) as sockets:
        assert len(dropped(sockets, 5)) >= count - most
    metrics = requests.get(f"{site.bridge.root}/metrics", timeout=10).text
    assert 'pacsbridge_http_dropped_total{reason="replaced"}' in metrics


def test_slow_bodies_make_room(make_site: MakeSite, numbers: Callable[..., int]) -> None:
    """T-HTTP: bodies that come byte by byte on all connections keep nobody out."""
    most = numbers(20, 500)
    site = make_site(f"[limits]\nhttp_connections = {most}\nhttp_body_seconds = 600\n").start()
    site.oracle.rest()
    with crowd(site.bridge.http_port, 5 * most, SLOW_FORM) as sockets, bystander(site.bridge):
        assert len(dropped(sockets, 5, b"1")) >= 4 * most
    assert "[error" not in site.bridge.log.read_text()
    site.oracle.check(settled=True)


def test_silence_instead_of_a_handshake(
    make_site: MakeSite, tmp_path: Path, numbers: Callable[..., int], night: bool
) -> None:
    """T-HTTP: on a port with TLS those who don't shake hands are dropped as well."""
    authority, pem, key = trustme.CA(), tmp_path / "tls.pem", tmp_path / "key.pem"
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(key)
    for number, part in enumerate(issued.cert_chain_pems):
        part.write_to_path(pem, append=number > 0)
    tables = f'[fhir.tls]\ncertificate = "{pem}"\nkey = "{key}"\n' + (
        "" if night else quick("http_head_seconds")
    )
    bridge = make_site(tables).bridge
    bridge.launch()
    context = ssl.create_default_context()
    authority.configure_trust(context)

    def live() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", bridge.http_port), timeout=5) as plain:
                return bool(context.wrap_socket(plain, server_hostname="127.0.0.1").version())
        except ConnectionError:
            return False

    bridge.wait(live)
    with crowd(bridge.http_port, numbers(20, 50), b"\x16\x03\x01") as sockets:
        assert live()
        assert len(dropped(sockets, numbers(15, 25))) == len(sockets)
    assert bridge.stop() == 0


def test_who_does_not_read(make_site: MakeSite) -> None:
    """T-HTTP: answers that nobody takes are given up; the connection does not stay for good."""
    site = make_site("[dicomweb]\nstall_seconds = 1\n").start()
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", site.bridge.http_port))
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 1, 0))
        ask = b"GET /fhir/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        deaf.sendall(ask * 500)
        counted = 'pacsbridge_http_dropped_total{reason="slow reader"} 1.0'
        site.bridge.wait(lambda: counted in requests.get(f"{site.bridge.root}/metrics", timeout=10).text)


OTHERS_NAME = "bridge.evil.example"


def test_somebody_elses_name(make_site: MakeSite) -> None:
    """T-REBIND: a name that somebody leads here reads nothing, stores nothing, and is on record."""
    site = make_site().start()
    others = {"Host": f"{OTHERS_NAME}:{site.bridge.http_port}"}

    def ask(path: str, **options: Any) -> requests.Response:
        options["headers"] = {**others, **options.get("headers", {})}
        return requests.request(
            options.pop("method", "GET"), f"{site.bridge.root}{path}", timeout=30, **options
        )

    body = multipart(file(data_set(1), "2.999.1.1.1"))
    stored = ask("/dicomweb/studies", method="POST", data=body, headers=STOW_HEADERS)
    assert (stored.status_code, "fhir.hosts" in stored.json()["reason"]) == (421, True)
    assert not site.oracle.rows("SELECT uid FROM instance")
    read = ask("/fhir/ImagingStudy")
    assert (read.status_code, read.json()["issue"][0]["code"]) == (421, "security")
    shown = ask("/")
    assert (shown.status_code, "Not under this name" in shown.text) == (421, True)
    paths = ("/dicomweb/series", "/metrics", "/health/live")
    assert [ask(path).status_code for path in paths] == [421, 421, 200]
    site.bridge.wait(lambda: "HTTP 421" in site.bridge.get("AuditEvent?_count=100").text, 30)
