"""A site's authority and the certificates that it issues, as files in PEM."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)


class Pair(NamedTuple):
    """The files of a certificate and of its key."""

    certificate: Path
    key: Path


class Site:
    """An authority, whose certificate is the file `ca`."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.ca = folder / f"{name}.pem"
        self.authority.cert_pem.write_to_path(str(self.ca))

    def issue(self, name: str, *hosts: str, days: tuple[float, float] = (-1, 365), common: str = "") -> Pair:
        """A certificate for hosts (loopback where none is named), valid from and until so many days from now.

        Issued again under the same name it takes the place of the first.
        """
        now = datetime.now(UTC)
        start, end = (now + timedelta(days=one) for one in days)
        made = self.authority.issue_cert(
            *(hosts or ("127.0.0.1",)), common_name=common or name, not_before=start, not_after=end
        )
        pair = Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        pair.certificate.write_bytes(made.cert_chain_pems[0].bytes())
        pair.key.write_bytes(made.private_key_pem.bytes())
        return pair


def encrypted(key: Path) -> Path:
    """The same key, behind a password."""
    found = load_pem_private_key(key.read_bytes(), None)
    locked = key.with_suffix(".locked")
    form = (Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hush"))
    locked.write_bytes(found.private_bytes(*form))
    return locked
