"""Files of certificates and keys in PEM (RFC 7468): what is in them, and what is wrong, in one line."""

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pacsbridge.errors import Misconfigured

_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)
"""What the library raises for files that are no certificates or keys, or none that it knows."""

NOTICE = timedelta(days=30)
"""How long before its end a certificate is warned about."""


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


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate of ours and where its key is, which may be the same file."""

    certificate: Place
    key: Place


@dataclass(frozen=True, slots=True)
class Standing:
    """How the certificates of a file stand: when the first of them ends (UTC), and what there is to say.

    `fault`: why none can be used now, of authorities; why ours cannot. Empty where nothing is wrong.
    """

    until: datetime
    fault: str
    warning: str


def certificates(place: Place) -> list[x509.Certificate]:
    """Those in the file, in its order, one at least. Raises Misconfigured."""
    try:
        return x509.load_pem_x509_certificates(_content(place))
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


def standing(place: Place, now: datetime) -> Standing:
    """How the file's certificates stand. Raises Misconfigured."""
    found = certificates(place)
    deciding = found if place.trusted else found[:1]
    last = max(deciding, key=lambda one: one.not_valid_after_utc)
    until = min(one.not_valid_after_utc for one in found)
    fault = "" if any(not _lapse(one, now) for one in deciding) else _lapse(last, now)
    return Standing(until, fault, "" if fault else _warning(found, until, now))


def check_in_force(place: Place) -> None:
    """Whether it can be used today. Raises Misconfigured."""
    if fault := standing(place, datetime.now(UTC)).fault:
        raise place.fault(fault)


def _lapse(one: x509.Certificate, now: datetime) -> str:
    """Why a certificate is not valid now; "" where it is."""
    if now > one.not_valid_after_utc:
        return f"expired on {_day(one.not_valid_after_utc)}"
    if now < one.not_valid_before_utc:
        return f"is not valid before {_day(one.not_valid_before_utc)}"
    return ""


def _warning(found: Sequence[x509.Certificate], until: datetime, now: datetime) -> str:
    which = "expires" if len(found) == 1 else f"has {len(found)} certificates, of which one expires"
    if now > until:
        return f"{which.replace('expires', 'has expired')} on {_day(until)}"
    if until - now < NOTICE:
        return f"{which} on {_day(until)}, in {(until - now).days} days"
    return ""


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _key(place: Place) -> PrivateKeyTypes:
    data = _content(place)
    try:
        return load_pem_private_key(data, None)
    except TypeError as exc:
        raise place.fault("is encrypted, and nobody is there to give its password") from exc
    except _UNREADABLE as exc:
        raise place.fault("holds no private key in PEM, or one that cannot be read") from exc


def _content(place: Place) -> bytes:
    try:
        return place.path.read_bytes()
    except OSError as exc:
        raise place.fault(f"cannot be read ({exc.strerror})") from exc
