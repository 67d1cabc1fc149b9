"""Revocation lists: whom they keep out, how they stand, and what is wrong with a file of them."""

import random as chance
import re
import socket
import ssl
import threading
from base64 import b64decode, encodebytes
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from certificate_site import Pair, Site
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from pacsbridge.errors import Misconfigured
from pacsbridge.tls import contexts
from pacsbridge.tls.certificates import Identity, ListPlace, Place
from pacsbridge.tls.contexts import Files, Renewable
from pacsbridge.tls.failures import why
from pacsbridge.tls.revocation import revocations
from pacsbridge.tls.standing import standing

SECONDS = 30


def place(path: Path, ca: Path) -> ListPlace:
    """Lists as the configuration would name them."""
    return ListPlace("dimse.tls.crl", path, issuers=Place("dimse.tls.ca", ca, trusted=True))


def files(site: Site, crl: Path, ca: Path | None = None) -> Files:
    """Ours, the authorities of callers, and their lists."""
    own, lists = site.issue("own"), place(crl, ca or site.ca)
    identity = Identity(Place("dimse.tls.certificate", own.certificate), Place("dimse.tls.key", own.key))
    return Files(identity, lists.issuers, lists)


def outcome(called: ssl.SSLContext, site: Site, who: Pair) -> str:
    """What comes of a handshake with a caller who shows a certificate: "" or the reason of its failure."""
    calling = ssl.create_default_context(cafile=site.ca)
    calling.load_cert_chain(*who)
    return _outcome(calling, called)[1]


def _outcome(calling: ssl.SSLContext, called: ssl.SSLContext) -> tuple[str, str]:
    """That of a caller, and of whom it calls."""
    found = {}

    def shake(side: bool, sock: socket.socket, context: ssl.SSLContext) -> None:
        sock.settimeout(SECONDS)
        found[side] = ""
        try:
            name = None if side else "127.0.0.1"
            with context.wrap_socket(sock, server_side=side, server_hostname=name) as secure:
                secure.send(b".")
                secure.recv(1)
        except OSError as exc:
            found[side] = why(exc)

    one, other = socket.socketpair()
    threads = [
        threading.Thread(target=shake, args=(False, one, calling)),
        threading.Thread(target=shake, args=(True, other, called)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found[False], found[True]


def test_who_is_on_the_list_stays_out(site: Site) -> None:
    """The others of the same authority come in."""
    good, lost = site.issue("good"), site.issue("lost")
    called = contexts.server(files(site, site.revoke(lost)))
    assert outcome(called, site, good) == ""
    assert outcome(called, site, lost) == "certificate revoked"


def test_whom_we_call_is_looked_up_too(site: Site) -> None:
    """A server whose certificate was revoked is not talked to."""
    crl = site.revoke()
    called = contexts.server(files(site, crl))
    trusted = place(crl, site.ca)
    before, after = (
        contexts.client(Files(None, trusted.issuers, place(one, site.ca)))
        for one in (crl, site.revoke(Pair(site.folder / "own.pem", site.folder / "own.key"), name="later"))
    )
    caller = site.issue("caller")
    for one in (before, after):
        one.load_cert_chain(*caller)
    assert _outcome(before, called)[0] == ""
    assert _outcome(after, called)[0] == "certificate revoked"


def test_a_new_list_is_for_new_connections(site: Site) -> None:
    """Read anew it keeps out whom it names; nonsense, an expired list or none in its place change nothing."""
    caller, other = site.issue("caller"), site.issue("other")
    crl = site.revoke(other)
    own = files(site, crl)
    called = Renewable("dimse", own, partial(contexts.server, own))
    assert outcome(called, site, caller) == ""
    site.revoke(other, caller)
    called.renew()
    assert outcome(called, site, caller) == "certificate revoked"
    for bad in (b"", b"nonsense", site.revoke(days=(-9, -1), name="old").read_bytes()):
        crl.write_bytes(bad)
        with pytest.raises(Misconfigured, match=r"^dimse\.tls\.crl: "):
            called.renew()
        assert outcome(called, site, caller) == "certificate revoked"
    site.revoke(other)
    called.renew()
    assert outcome(called, site, caller) == ""


def test_a_list_that_ends_keeps_everybody_out(site: Site) -> None:
    """So OpenSSL has it; the reason is told apart from that of a revoked certificate."""
    good, lost = site.issue("good"), site.issue("lost")
    crl = site.revoke(lost)
    called = contexts.server(files(site, crl))
    soon = datetime.now(UTC) + timedelta(days=31)
    assert standing(place(crl, site.ca), soon).fault.startswith("expired on ")
    ended = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ended.load_cert_chain(site.folder / "own.pem", site.folder / "own.key")
    ended.load_verify_locations(site.ca)
    ended.load_verify_locations(site.revoke(lost, days=(-9, -1), name="old"))
    ended.verify_mode, ended.verify_flags = called.verify_mode, called.verify_flags
    assert outcome(ended, site, good) == outcome(ended, site, lost) == "no revocation list in force"


def both(site: Site, *paths: Path) -> Path:
    """Files as one."""
    path = site.folder / "both.pem"
    path.write_bytes(b"".join(one.read_bytes() for one in paths))
    return path


def test_each_authority_needs_a_list(site: Site) -> None:
    """Where one has none, its callers stay out, and there is a warning; with both all come in."""
    other = Site(site.folder, "other-ca")
    ca = both(site, site.ca, other.ca)
    ours, theirs = site.issue("ours"), other.issue("theirs")
    alone = place(site.revoke(), ca)
    called = contexts.server(files(site, alone.path, ca))
    assert outcome(called, site, ours) == ""
    assert outcome(called, site, theirs) == "no revocation list in force"
    name = x509.load_pem_x509_certificate(other.ca.read_bytes()).subject.rfc4514_string()
    warning = standing(alone, datetime.now(UTC)).warning
    assert warning.startswith(f"has no list of {name}: all certificates of that authority are refused")
    lists = site.folder / "lists.pem"
    lists.write_bytes(alone.path.read_bytes() + other.revoke(name="theirs-crl").read_bytes())
    called = contexts.server(files(site, lists, ca))
    assert [outcome(called, site, one) for one in (ours, theirs)] == ["", ""]
    assert standing(place(lists, ca), datetime.now(UTC)).warning == ""


def test_an_authority_in_between_needs_its_own_list_alone(site: Site) -> None:
    """The root needs none where its part is to have signed the other; taken away, the list shuts that out."""
    middle = Site(site.folder, "middle")
    middle.authority = site.authority.create_child_ca()
    middle.ca.write_bytes(middle.authority.cert_pem.bytes())
    ca = both(site, site.ca, middle.ca)
    good, lost = middle.issue("good"), middle.issue("lost")
    found = place(middle.revoke(lost), ca)
    assert standing(found, datetime.now(UTC)).warning == ""
    called = contexts.server(files(site, found.path, ca))
    assert outcome(called, site, good) == ""
    assert outcome(called, site, lost) == "certificate revoked"
    without = contexts.server(files(site, site.revoke(name="root-crl"), ca))
    assert outcome(without, site, good) == "no revocation list in force"


def scope(**what: object) -> x509.IssuingDistributionPoint:
    """That of a list which is about a part (RFC 5280 5.2.5)."""
    names = ("only_contains_user_certs", "only_contains_ca_certs", "indirect_crl")
    flags = {name: bool(what.get(name)) for name in names}
    reasons = what.get("only_some_reasons")
    return x509.IssuingDistributionPoint(
        None,
        None,
        only_some_reasons=reasons,  # type: ignore[arg-type]
        only_contains_attribute_certs=bool(what.get("only_contains_attribute_certs")),
        **flags,
    )


def test_a_list_of_users_is_enough(site: Site) -> None:
    """One that leaves out authorities is about all that callers may show."""
    lost = site.issue("lost")
    crl = site.revoke(lost, extension=scope(only_contains_user_certs=True))
    called = contexts.server(files(site, crl))
    assert outcome(called, site, site.issue("good")) == ""
    assert outcome(called, site, lost) == "certificate revoked"


def faulty(site: Site) -> dict[str, tuple[Path, str]]:
    """Files of which none is any good → what is said of each."""
    lost = site.issue("lost")
    crl = site.revoke(lost)
    pem = crl.read_bytes()
    none, folder, written = site.folder / "none.pem", site.folder, site.folder / "written.pem"
    other = Site(site.folder, "other-ca")
    forged = other.revoke(name="forged", of=site)

    def file(name: str, data: bytes) -> Path:
        path = written.with_name(f"{name}.pem")
        path.write_bytes(data)
        return path

    parts = {
        "authorities": scope(only_contains_ca_certs=True),
        "attributes": scope(only_contains_attribute_certs=True),
        "indirect": scope(indirect_crl=True),
        "reasons": scope(only_some_reasons=frozenset([x509.ReasonFlags.key_compromise])),
    }
    unrelated = f"holds no complete revocation list of an authority in {site.ca}"
    return {
        "missing": (none, "cannot be read (No such file or directory)"),
        "a folder": (folder, "cannot be read (Is a directory)"),
        "empty": (file("empty", b""), "holds no revocation list in PEM"),
        "nonsense": (file("nonsense", b"ask the authority"), "holds no revocation list in PEM"),
        "certificates": (site.ca, "holds no revocation list in PEM"),
        "DER": (
            file("der", x509.load_pem_x509_crl(pem).public_bytes(Encoding.DER)),
            "is in DER, not in PEM: openssl crl -inform DER translates it",
        ),
        "half": (file("half", pem[:200]), "holds no revocation list in PEM"),
        "one and a half": (file("more", pem + pem[:200]), "holds something else beside whole rev"),
        "trust": (file("trust", pem + other.ca.read_bytes()), "holds something else beside whole rev"),
        "broken": (file("broken", pem.replace(b"MI", b"AA")), "holds a revocation list that cannot be read"),
        "other authority": (other.revoke(lost, name="other"), unrelated),
        "same name": (forged, "that no authority of that name has signed, or may sign"),
        "and a forged one": (
            file("beside", pem + forged.read_bytes()),
            "that no authority of that name has signed",
        ),
        "expired": (site.revoke(days=(-9, -1), name="old"), "expired on "),
        "early": (site.revoke(days=(1, 9), name="new"), "is not valid before "),
        "delta": (
            file("delta", pem + site.revoke(name="d", extension=x509.DeltaCRLIndicator(1)).read_bytes()),
            "that is a delta and names only what is new",
        ),
        **{name: (site.revoke(name=name, extension=one), unrelated) for name, one in parts.items()},
    }


def test_a_bad_file_is_named(site: Site) -> None:
    """Of each fault one line with the key of the configuration, the file, and what is wrong."""
    for name, (path, said) in faulty(site).items():
        with pytest.raises(Misconfigured) as told:
            contexts.server(files(site, path))
        assert str(told.value).startswith(f"dimse.tls.crl: {path} "), name
        assert said in str(told.value), name
        assert "\n" not in str(told.value)


def test_openssl_would_take_a_delta(site: Site) -> None:
    """Why it is refused: beside the complete list it lets in whom that one names."""
    lost = site.issue("lost")
    called = contexts.server(files(site, site.revoke(lost, days=(-2, 30))))
    assert outcome(called, site, lost) == "certificate revoked"
    called.load_verify_locations(site.revoke(name="delta", extension=x509.DeltaCRLIndicator(1)))
    assert outcome(called, site, lost) == ""


def test_a_list_without_an_end_is_refused(site: Site) -> None:
    """RFC 5280 5.1.2.5 wants one; of such a list nobody would notice that it is no longer looked after."""
    crl = site.revoke()
    made = x509.load_pem_x509_crl(crl.read_bytes()).public_bytes(Encoding.DER)
    crl.write_text(_armoured(_without_end(made)))
    with pytest.raises(Misconfigured, match="does not say until when it is good"):
        revocations(place(crl, site.ca))


def _without_end(made: bytes) -> bytes:
    """The same list (DER) without the second of its two times: 15 bytes less, of all and of its body."""
    first = made.index(b"\x17\x0d")
    second = made.index(b"\x17\x0d", first + 1)
    assert (made[:2], made[3]) == (b"\x30\x81", 0x30)
    lengths = bytes((0x30, 0x81, made[2] - 15, 0x30, made[4] - 15))
    return lengths + made[5:second] + made[second + 15 :]


def test_an_authority_that_may_sign_none(tmp_path: Path) -> None:
    """OpenSSL does not go by its list (RFC 5280 4.2.1.3), so that it is refused at once."""
    site = Site(tmp_path)
    key = load_pem_private_key(site.authority.private_key_pem.bytes(), None)
    ours, now = x509.load_pem_x509_certificate(site.ca.read_bytes()), datetime.now(UTC)
    builder = x509.CertificateBuilder(
        ours.issuer, ours.subject, ours.public_key(), 1, now, now + timedelta(days=9)
    )
    usage = x509.KeyUsage(
        **dict.fromkeys(USAGES, False), key_cert_sign=True, crl_sign=False, digital_signature=True
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    made = builder.add_extension(usage, critical=True).sign(key, hashes.SHA256())  # type: ignore[arg-type]
    site.ca.write_bytes(made.public_bytes(Encoding.PEM))
    with pytest.raises(Misconfigured, match="that no authority of that name has signed, or may sign"):
        revocations(place(site.revoke(), site.ca))


USAGES = (
    *("content_commitment", "key_encipherment", "data_encipherment"),
    *("key_agreement", "encipher_only", "decipher_only"),
)

STANDINGS: dict[str, tuple[tuple[float, float], str, str]] = {
    "good": ((-1, 30), "", ""),
    "of a year": ((-300, 7.5), "", ""),
    "of a year, soon": ((-300, 6.5), "", r"expires on .*, in 6 days"),
    "of a week": ((-5, 2), "", ""),
    "of a week, soon": ((-6, 1), "", r"expires on .*, in 2[34] hours"),
    "over": ((-9, -1), "expired on ", ""),
    "not yet": ((1, 90), "is not valid before ", ""),
}


@pytest.mark.parametrize("case", STANDINGS)
def test_a_list_stands(site: Site, case: str) -> None:
    """A week before its end, or with a fifth of its time left, there is a warning; then it is a fault."""
    days, fault, warning = STANDINGS[case]
    found = standing(place(site.revoke(days=days), site.ca), datetime.now(UTC))
    assert found.fault.startswith(fault)
    assert bool(found.fault) is bool(fault)
    assert re.fullmatch(warning, found.warning)
    assert abs(found.until - datetime.now(UTC) - timedelta(days=days[1])) < timedelta(minutes=10)


def test_of_several_lists_the_one_in_force_counts(site: Site) -> None:
    """Appended to the old list the new one counts, for OpenSSL and for what is said of the file."""
    caller = site.issue("caller")
    old, new = site.revoke(days=(-9, -1), name="old"), site.revoke(caller, name="new")
    path = both(site, old, new)
    found = standing(place(path, site.ca), datetime.now(UTC))
    assert (found.fault, found.warning) == ("", "")
    assert found.until > datetime.now(UTC) + timedelta(days=29)
    assert outcome(contexts.server(files(site, path)), site, caller) == "certificate revoked"


def test_the_list_of_one_authority_may_lapse(site: Site) -> None:
    """A warning, as the callers of the other one still come in."""
    other = Site(site.folder, "other-ca")
    ca = both(site, site.ca, other.ca)
    lists = site.folder / "lists.pem"
    lists.write_bytes(site.revoke().read_bytes() + other.revoke(days=(-9, -1), name="old").read_bytes())
    found = standing(place(lists, ca), datetime.now(UTC))
    assert found.fault == ""
    assert found.warning.startswith("has 2 lists, of which one has expired on ")
    assert found.until < datetime.now(UTC)


def _armoured(data: bytes) -> str:
    return f"-----BEGIN X509 CRL-----\n{encodebytes(data).decode()}-----END X509 CRL-----\n"


@pytest.mark.filterwarnings("ignore")
def test_no_file_is_beyond_words(site: Site) -> None:
    """Lists with bytes changed at random are good or at fault, in words of ours."""
    crl = site.revoke(site.issue("lost"), extension=scope(only_contains_user_certs=True))
    data = b64decode("".join(one for one in crl.read_text().splitlines() if not one.startswith("-")))
    random, told = chance.Random(7), []
    for _ in range(2000):
        changed = bytearray(data)
        for _ in range(random.randint(1, 3)):
            changed[random.randrange(len(changed))] = random.randrange(256)
        crl.write_text(_armoured(bytes(changed)))
        try:
            standing(place(crl, site.ca), datetime.now(UTC))
        except Misconfigured as exc:
            told.append(str(exc))
    assert len(told) > 1000
    assert not any("\n" in one for one in told)
