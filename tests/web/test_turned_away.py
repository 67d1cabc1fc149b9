"""The page of sources tells who was turned away, and why."""

import socket
import ssl
import time
from pathlib import Path

import pytest
from certificate_site import Site as Authority
from page_site import site, words
from pynetdicom import AE

from pacsbridge.bridge.association_log import REFUSALS, AssociationLog, Refusal

PEER = '[[peer]]\nae_title = "CT1"\nhost = "192.0.2.1"\n'


def test_the_page_tells_who_was_turned_away_and_why(tmp_path: Path) -> None:
    """A stranger, a peer from elsewhere, one who calls another: each with reason, number, a way on."""
    calls = (("ROGUE", "PACSBRIDGE"), ("CT1", "PACSBRIDGE"), ("ROGUE", "PACSBRIDGE"), ("ROGUE", "OTHER"))
    with site(tmp_path, samples=False, config=PEER, DIMSE__REQUIRE_CALLED_AE="true") as running:
        assert "Turned away Nobody since the start." in words(running.get("/sources"))
        for calling, called in calls:
            ae = AE(calling)
            ae.add_requested_context("1.2.840.10008.1.1")
            port = running.running.settings.dimse.port
            assert not ae.associate("127.0.0.1", port, ae_title=called).is_established
        page = running.get("/sources")
        said = words(page).partition("Turned away ")[2]
        troubles = running.get("/docs/troubleshooting").text
    assert "ROGUE OTHER 127.0.0.1 called AE title not recognised" in said
    assert "CT1 PACSBRIDGE 127.0.0.1 calling AE title not from this address" in said
    stranger = said.partition("ROGUE PACSBRIDGE 127.0.0.1 calling AE title not recognised ")[2]
    assert stranger.partition(" UTC ")[2].startswith("2 ")
    anchor = page.text.partition('href="/docs/troubleshooting#')[2].partition('"')[0]
    assert f'id="{anchor}"' in troubles


def test_the_page_tells_whose_handshake_failed(tmp_path: Path) -> None:
    """A caller without a certificate has no AE title yet: the address and the reason stand there."""
    authority = Authority(tmp_path)
    ours = authority.issue("bridge")
    keys = {"CERTIFICATE": ours.certificate, "KEY": ours.key, "CA": authority.ca}
    environment = {f"DIMSE__TLS__{name}": str(file) for name, file in keys.items()}
    caller = ssl.create_default_context(cafile=str(authority.ca))
    with site(tmp_path / "site", samples=False, **environment) as running:
        port = running.running.settings.dimse.port
        with (
            socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
            pytest.raises(OSError, match="CERTIFICATE_REQUIRED"),
            caller.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
        ):
            secured.recv(1)
        deadline = time.monotonic() + 30
        while "127.0.0.1 TLS: no certificate" not in (said := words(running.get("/sources"))):
            assert time.monotonic() < deadline, said
            time.sleep(0.1)


def test_refusals_are_remembered_in_bounds() -> None:
    """The latest first; the same again counts up, and those of longest ago make room."""
    log = AssociationLog()
    for number in range(REFUSALS + 1):
        log.turn_away(Refusal("X", "US", f"10.0.0.{number}", "why", number))
    log.turn_away(Refusal("X", "US", "10.0.0.1", "why", 99))
    refusals = log.with_living(()).refusals
    assert len(refusals) == REFUSALS
    assert (refusals[0].address, refusals[0].times, refusals[0].at) == ("10.0.0.1", 2, 99)
    assert "10.0.0.0" not in {one.address for one in refusals}
