"""TLS by BCP 195, and contexts whose certificates are replaced while connections stand."""

import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest
from certificate_site import Pair, Site

from pacsbridge.errors import Misconfigured
from pacsbridge.tls import contexts
from pacsbridge.tls.certificates import Identity, Place
from pacsbridge.tls.contexts import Files, Renewable

SECONDS = 30


def files(own: Pair | None, ca: object = None) -> Files:
    """As the configuration would name them."""
    identity = None
    if own is not None:
        identity = Identity(Place("dimse.tls.certificate", own.certificate), Place("dimse.tls.key", own.key))
    return Files(identity, Place("dimse.tls.ca", ca, trusted=True) if ca else None)  # type: ignore[arg-type]


Connect = Callable[[ssl.SSLContext, ssl.SSLContext], tuple[ssl.SSLSocket, ssl.SSLSocket]]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Both ends of a connection between two contexts; raises what either side raises."""
    with ExitStack() as stack:

        def both(calling: ssl.SSLContext, called: ssl.SSLContext) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
            pair = socket.socketpair()
            for one in pair:
                one.settimeout(SECONDS)
                stack.callback(one.close)
            ends: list[ssl.SSLSocket | OSError] = []

            def answer() -> None:
                try:
                    ends.append(stack.enter_context(called.wrap_socket(pair[0], server_side=True)))
                except OSError as exc:
                    ends.append(exc)

            thread = threading.Thread(target=answer)
            thread.start()
            try:
                end = stack.enter_context(calling.wrap_socket(pair[1], server_hostname="127.0.0.1"))
            finally:
                thread.join()
            if isinstance(ends[0], OSError):
                raise ends[0]
            return end, ends[0]

        yield both


def shown(end: ssl.SSLSocket) -> bytes | None:
    """The certificate that the other side has shown."""
    return end.getpeercert(binary_form=True)


def test_a_new_certificate_is_for_new_connections(site: Site, connect: Connect) -> None:
    """What is established goes on with the old one; whoever comes later is shown the new one."""
    own = files(site.issue("own"))
    called = Renewable("dimse", own, partial(contexts.server, own))
    calling = contexts.client(files(None, site.ca))
    before, answering = connect(calling, called)
    site.issue("own")
    called.renew()
    after, _ = connect(calling, called)
    assert shown(before) != shown(after)
    before.sendall(b"still here")
    assert answering.recv(10) == b"still here"


def test_a_broken_file_leaves_the_old_certificate(site: Site, connect: Connect) -> None:
    """Half a file, a key of another, an expired one: refused, and the old one is still shown."""
    pair = site.issue("own")
    own = files(pair)
    called = Renewable("dimse", own, partial(contexts.server, own))
    calling = contexts.client(files(None, site.ca))
    first = shown(connect(calling, called)[0])
    whole = pair.certificate.read_bytes()
    for bad in (whole[:100], site.issue("other").certificate.read_bytes(), b""):
        pair.certificate.write_bytes(bad)
        with pytest.raises(Misconfigured):
            called.renew()
        assert shown(connect(calling, called)[0]) == first
    site.issue("own", days=(-9, -1))
    with pytest.raises(Misconfigured, match="expired"):
        called.renew()
    assert shown(connect(calling, called)[0]) == first


def test_a_new_authority_replaces_the_old_one(site: Site, tmp_path: object, connect: Connect) -> None:
    """Callers of the old authority stay out once there is another, those of the new one come in."""
    other = Site(site.folder, "other")
    trusted = site.folder / "trusted.pem"
    trusted.write_bytes(site.ca.read_bytes())
    own = files(site.issue("own"), trusted)
    called = Renewable("dimse", own, partial(contexts.server, own))
    old, new = (contexts.client(files(one.issue("caller"), site.ca)) for one in (site, other))
    connect(old, called)
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(new, called)
    trusted.write_bytes(other.ca.read_bytes())
    called.renew()
    connect(new, called)
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(old, called)


def test_a_session_of_the_old_authority_is_not_resumed(site: Site, connect: Connect) -> None:
    """A caller that kept its session is asked for its certificate again."""
    other = Site(site.folder, "other")
    trusted = site.folder / "trusted.pem"
    trusted.write_bytes(site.ca.read_bytes())
    own = files(site.issue("own"), trusted)
    called = Renewable("dimse", own, partial(contexts.server, own))
    calling = contexts.client(files(site.issue("caller"), site.ca))
    calling.maximum_version = ssl.TLSVersion.TLSv1_2
    end, _ = connect(calling, called)
    assert end.session is not None
    trusted.write_bytes(other.ca.read_bytes())
    called.renew()
    pair = socket.socketpair()
    for one in pair:
        one.settimeout(SECONDS)
    faults: list[OSError] = []

    def answer() -> None:
        try:
            called.wrap_socket(pair[0], server_side=True)
        except OSError as exc:
            faults.append(exc)

    thread = threading.Thread(target=answer)
    thread.start()
    with pytest.raises(OSError, match=r"."):
        calling.wrap_socket(pair[1], server_hostname="127.0.0.1", session=end.session)
    thread.join()
    assert isinstance(faults[0], ssl.SSLCertVerificationError)


def test_whom_we_call_is_who_we_mean(site: Site, connect: Connect) -> None:
    """Another host's certificate is refused; names switched off it is taken, and so it is by a pin."""
    own = files(site.issue("own", "elsewhere.example"))
    called = contexts.server(own)
    trusting = files(None, site.ca)
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(contexts.client(trusting), called)
    assert shown(connect(contexts.client(trusting, names=False), called)[0])
    assert shown(connect(contexts.client(trusting, pins={"elsewhere.example"}), called)[0])
    with pytest.raises(ssl.SSLCertVerificationError, match="somebody else"):
        connect(contexts.client(trusting, names=False, pins={"ct1.example"}), called)


VERSIONS: dict[str, tuple[ssl.TLSVersion, str, bool]] = {
    "1.0": (ssl.TLSVersion.TLSv1, "ALL", False),
    "1.1": (ssl.TLSVersion.TLSv1_1, "ALL", False),
    "1.2": (ssl.TLSVersion.TLSv1_2, "ALL", True),
    "1.2 without forward secrecy": (ssl.TLSVersion.TLSv1_2, "AES256-GCM-SHA384", False),
    "1.2 with CBC": (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES256-SHA384:ECDHE-ECDSA-AES256-SHA384", False),
    "1.2 with DHE": (ssl.TLSVersion.TLSv1_2, "DHE-RSA-AES256-GCM-SHA384", False),
    "1.3": (ssl.TLSVersion.TLSv1_3, "ALL", True),
}


@pytest.mark.parametrize("case", VERSIONS)
@pytest.mark.parametrize("side", ["called", "calling"])
def test_tls_is_that_of_bcp_195(site: Site, connect: Connect, case: str, side: str) -> None:
    """RFC 8996 and RFC 9325 4.2: no TLS before 1.2, and there forward secrecy and AEAD alone; either way."""
    version, ciphers, fine = VERSIONS[case]
    own = files(site.issue("own"))
    ours = {"called": contexts.server(own), "calling": contexts.client(files(None, site.ca))}
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if side == "calling" else ssl.PROTOCOL_TLS_CLIENT)
    theirs.load_verify_locations(site.ca)
    if side == "calling":
        theirs.load_cert_chain(site.folder / "own.pem", site.folder / "own.key")
    theirs.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):
        theirs.minimum_version = theirs.maximum_version = version
    ends = (ours["calling"], theirs) if side == "calling" else (theirs, ours["called"])
    if fine:
        assert connect(*ends)[0].version()
        return
    with pytest.raises(OSError, match=r"."):
        connect(*ends)
