"""Files of certificates and keys in PEM (RFC 7468): what is in them, and what is wrong, in one line."""

import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pacsbridge.errors import Misconfigured

_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)
"""What the library raises for files that are no certificates or keys, or none that it knows."""


@dataclass(frozen=True, slots=True)
class Place:
    """A key of the configuration, and the file that it names.

    `source` is the `[[source]]` that has the key, "" for a table of its own. `trusted`: the certificates of
    authorities stand there; else one of ours, first, and those between it and its authority.
    """

    key: str
    path: Path
    source: str = ""
    trusted: bool = False

    @property
    def label(self) -> str:
        """The key as messages name it."""
        return f"source {self.source}: {self.key.removeprefix('source.')}" if self.source else self.key

    def fault(self, what: str) -> Misconfigured:
        """What is wrong with the file."""
        return Misconfigured(f"{self.label}: {self.path} {what}")

    def content(self) -> bytes:
        """What is in the file. Raises Misconfigured."""
        try:
            return self.path.read_bytes()
        except OSError as exc:
            raise self.fault(f"cannot be read ({exc.strerror})") from exc


@dataclass(frozen=True, slots=True)
class ListPlace(Place):
    """A file of revocation lists, of the authorities in another one."""

    issuers: Place = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate of ours and where its key is, which may be the same file."""

    certificate: Place
    key: Place


def certificates(place: Place) -> list[x509.Certificate]:
    """Those in the file, in its order, one at least. Raises Misconfigured."""
    try:
        return x509.load_pem_x509_certificates(place.content())
    except _UNREADABLE as exc:
        raise place.fault("holds no certificate in PEM, or one that cannot be read") from exc


def check_key(identity: Identity) -> None:
    """Whether the key is one, needs no password, and belongs to the certificate. Raises Misconfigured."""
    certificate, key = certificates(identity.certificate)[0], _key(identity.key)
    try:
        fits = key.public_key() == certificate.public_key()
    except _UNREADABLE as exc:
        raise identity.certificate.fault("has a public key that cannot be read") from exc
    if not fits:
        raise identity.key.fault(f"is not the key of the certificate in {identity.certificate.path}")


def exposed(identity: Identity) -> bool:
    """Whether every user of the machine may read the key. Raises Misconfigured."""
    path = identity.key.path
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError as exc:
        raise identity.key.fault(f"cannot be read ({exc.strerror})") from exc


def name_of(name: x509.Name) -> str:
    """The name of an authority in a line (RFC 4514)."""
    return " ".join(name.rfc4514_string().split())


def _key(place: Place) -> PrivateKeyTypes:
    data = place.content()
    try:
        return load_pem_private_key(data, None)
    except TypeError as exc:
        raise place.fault("is encrypted, and nobody is there to give its password") from exc
    except _UNREADABLE as exc:
        raise place.fault("holds no private key in PEM, or one that cannot be read") from exc
