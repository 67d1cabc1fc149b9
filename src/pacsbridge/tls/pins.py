"""Which certificates a peer may show: by a name in them, or by their digest."""

from collections.abc import Collection, Iterator
from hashlib import sha256

from cryptography import x509
from cryptography.x509.oid import NameOID

DIGEST = "sha256:"


def shows(certificate: bytes | None, pins: Collection[str]) -> bool:
    """Whether a certificate (DER; None: there is none) is one of those.

    A pin is in small letters: `sha256:` and the digest of the certificate, or a name: a DNS name of its
    subject alternative name (RFC 5280 4.2.1.6) or the common name of its subject, as it is written there.
    """
    if certificate is None:
        return False
    if f"{DIGEST}{sha256(certificate).hexdigest()}" in pins:
        return True
    return any(name.lower() in pins for name in _names(certificate))


def _names(certificate: bytes) -> Iterator[str]:
    try:
        found = x509.load_der_x509_certificate(certificate)
        yield from (str(one.value) for one in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME))
        alternative = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        yield from alternative.value.get_values_for_type(x509.DNSName)
    except Exception:  # of odd certificates the library raises what has nothing else in common
        return
