"""A peer is known by a name in its certificate, or by its digest."""

import ssl
from hashlib import sha256

import pytest
from certificate_site import Site

from pacsbridge import config
from pacsbridge.tls.pins import shows


@pytest.fixture
def certificate(site: Site) -> bytes:
    """One of CT 1, in DER."""
    pair = site.issue("ct1", "ct1.hospital.example", "192.0.2.7", common="CT 1")
    return ssl.PEM_cert_to_DER_cert(pair.certificate.read_text())


def test_a_certificate_is_known(certificate: bytes) -> None:
    """By a DNS name, by the common name, by the digest; not by a part of them, nor by an address."""
    digest = sha256(certificate).hexdigest()
    for pin in ("ct1.hospital.example", "ct 1", f"sha256:{digest}"):
        assert shows(certificate, {"other", pin})
    for pin in ("hospital.example", "ct", "192.0.2.7", digest, f"sha256:{digest[:-1]}0g", ""):
        assert not shows(certificate, {pin})


def test_nothing_and_nonsense_are_not_known(certificate: bytes) -> None:
    """No certificate, or one that cannot be read, is nobody's; of the latter the digest still counts."""
    assert not shows(None, {"ct 1"})
    broken = certificate[:-40]
    assert not shows(broken, {"ct 1"})
    assert shows(broken, {f"sha256:{sha256(broken).hexdigest()}"})


def test_a_pin_may_be_written_as_openssl_prints_it(certificate: bytes, tmp_path: object) -> None:
    """Capital letters and colons make no difference; what is no digest is refused."""
    kind = next(one.key.kind for one in config.schema.ENTRIES if one.path == "peer.certificates")
    digest = sha256(certificate).hexdigest().upper()
    printed = ":".join(digest[place : place + 2] for place in range(0, 64, 2))
    assert shows(certificate, kind.read([f"SHA256:{printed}"]))
    assert shows(certificate, kind.read(["CT1.Hospital.Example"]))
    for bad in ("sha256:12", f"sha256:{'g' * 64}", "", " a", "a\n", 1):
        with pytest.raises(ValueError):
            kind.read([bad])
