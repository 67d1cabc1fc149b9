"""TLS by BCP 195 (RFC 9325, PS3.15 B.12): 1.3, or 1.2 with forward secrecy and an AEAD cipher."""

import ssl
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from pacsbridge.tls.certificates import Identity, ListPlace, Place, certificates, check_key
from pacsbridge.tls.pins import shows
from pacsbridge.tls.revocation import revocations
from pacsbridge.tls.standing import check_in_force

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"
"""Of TLS 1.2 (RFC 9325 4.2); all suites of TLS 1.3 are fit. Level 2: keys of 112 bits of security."""

_NOT_PINNED = "certificate of somebody else"


@dataclass(frozen=True, slots=True)
class Files:
    """What one side of TLS is made of: who we are, whom we trust, and whom no longer."""

    own: Identity | None = None
    trusted: Place | None = None
    revoked: ListPlace | None = None

    @property
    def places(self) -> tuple[Place, ...]:
        """The files of certificates and of revocation lists among them."""
        own = None if self.own is None else self.own.certificate
        return tuple(one for one in (own, self.trusted, self.revoked) if one is not None)


class Renewable(ssl.SSLContext):
    """Hands every new connection to the context that was made last; what is established stays as it is.

    `use` names what it is for; `files` are those that it is made of.
    """

    def __new__(cls, *_given: object) -> "Renewable":
        """Of a protocol that no connection ever uses."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, use: str, files: Files, make: Callable[[], ssl.SSLContext]) -> None:
        self.use = use
        self.files = files
        self._make = make
        self._newest = make()

    def renew(self) -> None:
        """Read the files anew. Raises Misconfigured, and then all is as before."""
        self._newest = self._make()

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        """See `ssl.SSLContext`."""
        return self._newest.wrap_socket(*args, **options)

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """See `ssl.SSLContext`."""
        return self._newest.wrap_bio(*args, **options)


def server(files: Files) -> ssl.SSLContext:
    """The side that is called; with authorities to trust, callers have to show a certificate.

    Raises Misconfigured.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _furnish(context, files)
    if files.trusted is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    for place in files.places:
        check_in_force(place)
    return context


def client(files: Files, *, names: bool = True, pins: Collection[str] = ()) -> ssl.SSLContext:
    """The side that calls; without authorities those of the machine are trusted.

    `names`: the certificate has to be for the host that is called (RFC 9525). `pins`: it has to be one of
    these, whatever host it is for. Raises Misconfigured.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if files.trusted is None:
        context.load_default_certs()
    _furnish(context, files)
    context.check_hostname = names and not pins
    if pins:
        context.sslsocket_class = _pinned(pins)
    return context


def _furnish(context: ssl.SSLContext, files: Files) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(_CIPHERS)
    if files.own is not None:
        show(context, files.own)
    if files.trusted is not None:
        trust(context, files.trusted)
    if files.revoked is not None:
        check_revocation(context, files.revoked)


def show(context: ssl.SSLContext, own: Identity) -> None:
    """Have others see our certificate. Raises Misconfigured."""
    check_key(own)
    try:
        context.load_cert_chain(own.certificate.path, own.key.path, password=lambda: b"")
    except OSError as exc:
        raise own.certificate.fault(f"or its key cannot be used ({_why(exc)})") from exc


def trust(context: ssl.SSLContext, authorities: Place) -> None:
    """Believe the certificates of some authorities. Raises Misconfigured."""
    certificates(authorities)
    _load(context, authorities)


def check_revocation(context: ssl.SSLContext, lists: ListPlace) -> None:
    """Refuse the certificates that revocation lists name (RFC 5280 6.3). Raises Misconfigured.

    The list that is asked is that of the authority which has signed what is shown. Those of authorities above
    it are not: each would be needed too, of the root as well, and one that is away would keep everybody out.
    An authority in between that was revoked is shut out by taking its own list away.
    """
    revocations(lists)
    _load(context, lists)
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def _load(context: ssl.SSLContext, place: Place) -> None:
    try:
        context.load_verify_locations(place.path)
    except OSError as exc:
        raise place.fault(f"cannot be used ({_why(exc)})") from exc


def _why(fault: OSError) -> str:
    """OpenSSL's or the system's own words."""
    said = fault.reason if isinstance(fault, ssl.SSLError) else fault.strerror
    return str(said or type(fault).__name__).replace("_", " ").lower()


def _pinned(pins: Collection[str]) -> type[ssl.SSLSocket]:
    """Sockets whose handshake fails where another certificate is shown."""

    class Pinned(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            super().do_handshake(block)
            if not shows(self.getpeercert(binary_form=True), pins):
                fault = ssl.SSLCertVerificationError(1, _NOT_PINNED)
                fault.verify_code, fault.verify_message = 0, _NOT_PINNED
                raise fault

    return Pinned
