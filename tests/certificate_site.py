"""A site's authority and the certificates that it issues, as files in PEM."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
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

    def revoke(
        self,
        *pairs: Pair,
        days: tuple[float, float] = (-1, 30),
        name: str = "crl",
        extension: x509.ExtensionType | None = None,
        of: "Site | None" = None,
    ) -> Path:
        """A revocation list with these certificates, good from and until so many days from now.

        `of`: the authority that it says it is of, this one where none is named. Made again under the same
        name it takes the place of the first, at once and whole.
        """
        now = datetime.now(UTC)
        since, until = (now + timedelta(days=one) for one in days)
        builder = x509.CertificateRevocationListBuilder(last_update=since, next_update=until).issuer_name(
            x509.load_pem_x509_certificate((of or self).authority.cert_pem.bytes()).subject
        )
        for pair in pairs:
            number = x509.load_pem_x509_certificate(pair.certificate.read_bytes()).serial_number
            one = x509.RevokedCertificateBuilder(number, since)
            builder = builder.add_revoked_certificate(one.build())
        if extension is not None:
            builder = builder.add_extension(extension, critical=True)
        key = load_pem_private_key(self.authority.private_key_pem.bytes(), None)
        made = builder.sign(key, hashes.SHA256())  # type: ignore[arg-type]
        path, new = self.folder / f"{name}.pem", self.folder / f"{name}.new"
        new.write_bytes(made.public_bytes(Encoding.PEM))
        return new.replace(path)


def encrypted(key: Path) -> Path:
    """The same key, behind a password."""
    found = load_pem_private_key(key.read_bytes(), None)
    locked = key.with_suffix(".locked")
    form = (Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hush"))
    locked.write_bytes(found.private_bytes(*form))
    return locked
