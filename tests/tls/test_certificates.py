"""What is wrong with a file of certificates is told in one line that names the key and the file."""

import re
import ssl
from base64 import b64decode, encodebytes
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from certificate_site import Pair, Site, encrypted
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from pacsbridge.errors import Misconfigured
from pacsbridge.tls import contexts
from pacsbridge.tls.certificates import Identity, Place, check_key
from pacsbridge.tls.contexts import Files
from pacsbridge.tls.pins import shows
from pacsbridge.tls.standing import standing


def identity(certificate: Path, key: Path) -> Identity:
    """As the configuration would name them."""
    return Identity(Place("dimse.tls.certificate", certificate), Place("dimse.tls.key", key))


def faulty(site: Site) -> dict[str, tuple[Files, str]]:
    """Files of which one is bad each → the beginning of what is said of it."""
    own, other = site.issue("own"), site.issue("other")
    good = identity(*own)
    none, text = site.folder / "none.pem", site.folder / "text.pem"
    text.write_text("certificates are kept elsewhere")
    broken = site.folder / "broken.pem"
    broken.write_bytes(own.certificate.read_bytes().replace(b"MII", b"AAA"))
    weak = _weak(site.folder)
    names = {
        "missing": (identity(none, own.key), f"certificate: {none} cannot be read (No such file"),
        "a folder": (identity(site.folder, own.key), f"certificate: {site.folder} cannot be read (Is a dir"),
        "no PEM": (identity(text, own.key), f"certificate: {text} holds no certificate in PEM"),
        "broken": (identity(broken, own.key), f"certificate: {broken} holds no certificate in PEM, or one"),
        "a key": (identity(own.key, own.key), f"certificate: {own.key} holds no certificate"),
        "no key": (identity(own.certificate, none), f"key: {none} cannot be read (No such file"),
        "not a key": (identity(own.certificate, text), f"key: {text} holds no private key in PEM"),
        "other key": (identity(own.certificate, other.key), f"key: {other.key} is not the key of the cert"),
        "locked": (
            identity(own.certificate, encrypted(own.key)),
            f"key: {own.key.with_suffix('.locked')} is enc",
        ),
        "expired": (
            identity(*site.issue("old", days=(-9, -1))),
            f"certificate: {site.folder}/old.pem expired",
        ),
        "early": (
            identity(*site.issue("new", days=(1, 9))),
            f"certificate: {site.folder}/new.pem is not valid",
        ),
        "weak": (identity(*weak), f"certificate: {weak.certificate} or its key cannot be used ("),
    }
    found = {name: (Files(one), f"dimse.tls.{said}") for name, (one, said) in names.items()}
    for name, path in {"no authority": text, "missing authority": none}.items():
        found[name] = Files(good, Place("dimse.tls.ca", path, trusted=True)), f"dimse.tls.ca: {path} "
    return found


def _weak(folder: Path) -> Pair:
    """A self-signed certificate of 1024 bits, as nobody should have any longer."""
    pair, key = Pair(folder / "weak.pem", folder / "weak.key"), rsa.generate_private_key(65537, 1024)
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "weak")]), datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=9))
    made = builder.sign(key, hashes.SHA256())
    pair.certificate.write_bytes(made.public_bytes(Encoding.PEM))
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pair.key.write_bytes(key.private_bytes(*form))
    return pair


def test_a_bad_file_is_named(site: Site) -> None:
    """Of each fault one line with the key of the configuration, the file, and what is wrong."""
    for name, (files, said) in faulty(site).items():
        with pytest.raises(Misconfigured) as told:
            contexts.server(files)
        assert str(told.value).startswith(said), name
        assert "\n" not in str(told.value)


def test_a_source_is_named() -> None:
    """Files of an archive are named by it."""
    place = Place("source.ca", Path("/none.pem"), "main-pacs", trusted=True)
    with pytest.raises(Misconfigured, match=re.escape("source main-pacs: ca: /none.pem cannot be read")):
        standing(place, datetime.now(UTC))


@pytest.mark.filterwarnings("ignore")
def test_no_file_is_beyond_words(site: Site) -> None:
    """Certificates and keys with bytes changed at random are good or at fault, in words of ours."""
    own, random = site.issue("own", "a.example"), Random(7)
    files = identity(*own)
    read = [ssl.PEM_cert_to_DER_cert(own.certificate.read_text()), b64decode(_body(own.key.read_text()))]
    kinds = "CERTIFICATE", re.findall("BEGIN (.*?)-", own.key.read_text())[0]
    told = 0
    for _ in range(2000):
        for data, kind, path in zip(read, kinds, own, strict=True):
            lines = encodebytes(_changed(data, random)).decode()
            path.write_text(f"-----BEGIN {kind}-----\n{lines}-----END {kind}-----\n")
        for step in (check_key, lambda one: standing(one.certificate, datetime.now(UTC))):
            try:
                step(files)
            except Misconfigured:
                told += 1
        shows(_changed(read[0], random), {"x"})
    assert told > 1000


def _body(pem: str) -> str:
    return "".join(line for line in pem.splitlines() if not line.startswith("-"))


def _changed(data: bytes, random: Random) -> bytes:
    found = bytearray(data)
    for _ in range(random.randint(1, 3)):
        found[random.randrange(len(found))] = random.randrange(256)
    return bytes(found)


STANDINGS: dict[str, tuple[tuple[float, float], str, str]] = {
    "good": ((-1, 31), "", ""),
    "soon": ((-1, 29.5), "", "expires on .*, in 29 days"),
    "over": ((-9, -1), "expired on ", ""),
    "not yet": ((1, 90), "is not valid before ", ""),
}


@pytest.mark.parametrize("case", STANDINGS)
def test_a_certificate_stands(site: Site, case: str) -> None:
    """Within thirty days of its end there is a warning, outside of its time a fault."""
    days, fault, warning = STANDINGS[case]
    found = standing(
        Place("fhir.tls.certificate", site.issue("own", days=days).certificate), datetime.now(UTC)
    )
    assert bool(found.fault) is bool(fault)
    assert found.fault.startswith(fault)
    assert re.fullmatch(warning or "", found.warning)
    assert abs(found.until - datetime.now(UTC) - timedelta(days=days[1])) < timedelta(minutes=10)


def _both(make: Callable[..., Pair], first: tuple[float, float], second: tuple[float, float]) -> bytes:
    files = make("first", days=first), make("second", days=second)
    return b"".join(one.certificate.read_bytes() for one in files)


@pytest.mark.parametrize(
    ("trusted", "first", "fault", "warning"),
    [
        (True, (-9, -1), "", "has 2 certificates, of which one has expired on "),
        (True, (-9, 9), "", "has 2 certificates, of which one expires on "),
        (False, (-9, -1), "expired on ", ""),
    ],
)
def test_a_file_of_several(
    site: Site, trusted: bool, first: tuple[float, float], fault: str, warning: str
) -> None:
    """One authority that has ended is warned about while another is good; of ours the first decides."""
    path = site.folder / "both.pem"
    path.write_bytes(_both(site.issue, first, (-1, 365)))
    found = standing(Place("dimse.tls.ca", path, trusted=trusted), datetime.now(UTC))
    assert (found.fault[: len(fault)], found.warning[: len(warning)]) == (fault, warning)
    assert bool(found.fault) is bool(fault)
