"""Revocation lists in files: X.509 CRLs (RFC 5280 5) in PEM (RFC 7468 6), and whether OpenSSL can go by them.

OpenSSL takes a delta list for a complete one, and then lets in whom only the complete one names: a file with
one is refused. It lets in nobody whose authority has no list, or one with a signature that does not hold.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from cryptography import x509

from pacsbridge.tls.certificates import ListPlace, Place, certificates, name_of

_LIST = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)
_BEGINNING = b"-----BEGIN "
_SEQUENCE = b"\x30"
"""What a list in DER begins with: so authorities publish them (RFC 5280 4.2.1.13)."""

_Signed = x509.Certificate | x509.CertificateRevocationList
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class RevocationList:
    """One list: whose, from when until when it is good (UTC), how many certificates it names.

    `counts`: an authority that we trust has signed it, and it is about all that others may show.
    """

    issuer: str
    since: datetime
    until: datetime
    revoked: int
    counts: bool


@dataclass(frozen=True, slots=True)
class Revocations:
    """The lists of a file. `without`: authorities that have none there, and have signed no other one."""

    lists: tuple[RevocationList, ...]
    without: tuple[str, ...]

    @property
    def counting(self) -> list[RevocationList]:
        """Those that others are refused by."""
        return [one for one in self.lists if one.counts]


def revocations(place: ListPlace) -> Revocations:
    """The lists of the file, of which one at least counts. Raises Misconfigured, for the authorities too."""
    trusted = certificates(place.issuers)
    found = tuple(_list(place, block, trusted) for block in _blocks(place))
    counting = {one.issuer for one in found if one.counts}
    if not counting:
        raise place.fault(f"holds no complete revocation list of an authority in {place.issuers.path}")
    names = dict.fromkeys(name_of(one.subject) for one in _last(trusted))
    return Revocations(found, tuple(name for name in names if name not in counting))


def _blocks(place: Place) -> list[bytes]:
    """Each list by itself. A certificate beside them would be trusted."""
    data = place.content()
    found = _LIST.findall(data)
    if not found and data.startswith(_SEQUENCE):
        raise place.fault("is in DER, not in PEM: openssl crl -inform DER translates it")
    if not found:
        raise place.fault("holds no revocation list in PEM")
    if data.count(_BEGINNING) != len(found):
        raise place.fault("holds something else beside whole revocation lists")
    return found


def _list(place: Place, block: bytes, trusted: Sequence[x509.Certificate]) -> RevocationList:
    try:
        made = _understood(x509.load_pem_x509_crl(block), trusted)
    except Exception as exc:  # of odd lists the library raises what has nothing else in common
        raise place.fault("holds a revocation list that cannot be read") from exc
    if isinstance(made, str):
        raise place.fault(f"holds a revocation list of {made}")
    return made


def _understood(
    found: x509.CertificateRevocationList, trusted: Sequence[x509.Certificate]
) -> RevocationList | str:
    """What it says, or whose it is and why it cannot be used."""
    issuer, until = name_of(found.issuer), found.next_update_utc
    signers = [one for one in trusted if one.subject == found.issuer]
    signed = any(_has_signed(one, found) for one in signers)
    if _extension(found, x509.DeltaCRLIndicator) is not None:
        return f"{issuer} that is a delta and names only what is new: the complete one is needed"
    if until is None:
        return f"{issuer} that does not say until when it is good (nextUpdate)"
    if signers and not signed:
        return f"{issuer} that no authority of that name has signed, or may sign"
    return RevocationList(issuer, found.last_update_utc, until, len(found), signed and not _is_partial(found))


def _has_signed(authority: x509.Certificate, found: x509.CertificateRevocationList) -> bool:
    """Whether it has, and may (RFC 5280 4.2.1.3)."""
    usage = _extension(authority, x509.KeyUsage)
    may = usage is None or usage.crl_sign
    return may and found.is_signature_valid(authority.public_key())  # type: ignore[arg-type]


def _extension(found: _Signed, kind: type[_Extension]) -> _Extension | None:
    try:
        return found.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _is_partial(found: x509.CertificateRevocationList) -> bool:
    """Whether it leaves out certificates that callers show, or names some of others (RFC 5280 5.2.5)."""
    scope = _extension(found, x509.IssuingDistributionPoint)
    return scope is not None and any(
        (
            scope.only_contains_ca_certs,
            scope.only_contains_attribute_certs,
            scope.indirect_crl,
            scope.only_some_reasons,
        )
    )


def _last(trusted: Sequence[x509.Certificate]) -> Iterator[x509.Certificate]:
    """The authorities that have not signed another of them."""
    for one in trusted:
        if not any(other.issuer == one.subject != other.subject for other in trusted):
            yield one
