"""The keys of the audit log; part of the table of `schema`."""

from dataclasses import dataclass
from pathlib import Path

from pacsbridge.config import kinds
from pacsbridge.config.table import key


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Who did what to whose data: kept for good, searched as AuditEvent, forwarded where that is wanted."""

    enabled: bool = key(kinds.FLAG, True, "Keep the audit log.")
    keep_days: int = key(
        kinds.whole(0, 36500), 0, "Remove records after so many days, once they are forwarded; 0: never."
    )
    syslog_url: str | None = key(
        kinds.SYSLOG,
        None,
        "Forward DICOM audit messages by syslog: over udp, tcp or tls.",
        example="tls://audit.example:6514",
    )
    syslog_ca: Path | None = key(
        kinds.PATH,
        None,
        "The authorities that sign the certificate of that receiver.",
        example="/etc/ssl/hospital-ca.pem",
        derived="those of the system",
    )
    syslog_crl: Path | None = key(
        kinds.PATH,
        None,
        "The revocation lists of these authorities, in PEM.",
        example="/etc/ssl/hospital.crl.pem",
    )
    syslog_certificate: Path | None = key(
        kinds.PATH, None, "Our own certificate for it, in PEM.", example="/etc/ssl/pacsbridge.pem"
    )
    syslog_key: Path | None = key(
        kinds.PATH, None, "The key of that certificate.", example="/run/secrets/pacsbridge-key.pem"
    )
    fhir_url: str | None = key(
        kinds.BASE_URL,
        None,
        "Forward AuditEvents to a FHIR server: its base.",
        example="https://audit.example/fhir",
    )
    fhir_username: str | None = key(
        kinds.USER_NAME, None, "Our name there (HTTP Basic).", example="pacsbridge"
    )
    fhir_password_file: Path | None = key(
        kinds.PATH, None, "The file with the password.", example="/run/secrets/audit"
    )
    fhir_bearer_token_file: Path | None = key(
        kinds.PATH, None, "Or the file with a bearer token.", example="/run/secrets/audit-token"
    )
    fhir_ca: Path | None = key(
        kinds.PATH,
        None,
        "The file with the certificate authority of its certificate.",
        example="/etc/ssl/hospital-ca.pem",
        derived="those of the system",
    )
