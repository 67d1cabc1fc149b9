"""The part of the table about archives that are asked, and about what Endpoint resources say of studies."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pacsbridge.config import kinds, table
from pacsbridge.config.kinds import MIB
from pacsbridge.kernel.publication import STATUSES
from pacsbridge.kernel.terminology import CONNECTION_TYPES


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A further Endpoint for pushed studies, beside our own DICOMweb service: an archive, a viewer."""

    address: str = table.key(
        kinds.TEXT,
        ...,
        "A DICOMweb base without /studies, or another URL; with {study_uid} in it each study has its own.",
        example="https://viewer.example/?study={study_uid}",
    )
    connection_type: str = table.key(
        kinds.choice(*CONNECTION_TYPES), "dicom-wado-rs", "FHIR's connection type."
    )
    name: str | None = table.key(kinds.TEXT, None, "A name for people.", example="Viewer")
    status: str = table.key(kinds.choice(*STATUSES), "active", "FHIR's endpoint status.")
    payload_type: str = table.key(kinds.TEXT, "DICOM", "What it gives, in words.")
    mime_types: tuple[str, ...] = table.key(
        kinds.list_of(kinds.TEXT, "MIME types"),
        (),
        "What it gives, as MIME types; empty: those usual for the connection type.",
        example=["application/dicom"],
    )
    managing_organization: str | None = table.key(kinds.TEXT, None, "Who runs it.", example="City Hospital")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An archive that is asked by QIDO-RS, with one kind of authentication at most."""

    name: str = table.key(
        kinds.SOURCE_NAME, ..., "What it is called here; no two have the same.", example="main-pacs"
    )
    url: str = table.key(
        kinds.BASE_URL,
        ...,
        "Its DICOMweb service, without /studies.",
        example="http://127.0.0.1:8042/dicom-web",
    )
    poll_seconds: float = table.key(
        kinds.number(0, 86400), 30.0, "The pause between rounds; 0: it is asked only on demand."
    )
    lookback_days: int = table.key(
        kinds.whole(0, 3650), 7, "Each round asks again for the studies of so many days."
    )
    timezone: str | None = table.key(
        kinds.ZONE, None, "The zone of its clocks, where its headers don't say.", example="Europe/Berlin"
    )
    charset: str = table.key(
        kinds.CHARSET, "", "The character set of its data sets that declare none.", example="ISO_IR 100"
    )
    headers: Mapping[str, str] = table.key(
        kinds.HEADERS, {}, "HTTP fields of each request.", example={"X-Site": "north"}, secret=True
    )
    username: str | None = table.key(
        kinds.USER_NAME, None, "For HTTP's Basic authentication.", example="bridge"
    )
    password: str | None = table.key(
        kinds.TEXT, None, "Its password; better in a file.", example="change me", secret=True
    )
    password_file: Path | None = table.key(
        kinds.PATH, None, "The file with that password.", example="/run/secrets/main-pacs"
    )
    bearer_token_file: Path | None = table.key(
        kinds.PATH, None, "The file with a bearer token.", example="/run/secrets/main-pacs-token"
    )
    oauth2_token_url: str | None = table.key(
        kinds.URL,
        None,
        "Where an OAuth 2 server gives out tokens for client credentials.",
        example="https://login.example/token",
    )
    oauth2_client_id: str | None = table.key(kinds.TEXT, None, "Who we are to it.", example="pacsbridge")
    oauth2_client_secret_file: Path | None = table.key(
        kinds.PATH, None, "The file with the secret.", example="/run/secrets/main-pacs-client"
    )
    oauth2_scope: str | None = table.key(
        kinds.TEXT, None, "The scope that is asked for, where it wants one.", example="dicomweb.read"
    )
    allow_plain_http: bool = table.key(
        kinds.FLAG, False, "Send credentials over http although others may read along."
    )
    verify_tls: bool = table.key(kinds.FLAG, True, "Refuse a server whose certificate does not hold.")
    ca: Path | None = table.key(
        kinds.PATH,
        None,
        "The file with the certificate authority of its certificate.",
        example="/etc/ssl/hospital-ca.pem",
        derived="those of the system",
    )
    certificate: Path | None = table.key(
        kinds.PATH,
        None,
        "Our own certificate, for a server that asks for one; the file may hold its key too.",
        example="/etc/ssl/pacsbridge.pem",
    )
    key: Path | None = table.key(
        kinds.PATH, None, "The key of that certificate.", example="/run/secrets/pacsbridge-key.pem"
    )
    on_delete: str = table.key(
        kinds.choice("entered-in-error", "unknown", "delete", "ignore"),
        "entered-in-error",
        "What becomes of a study that it has no longer: a status, deletion, or nothing.",
    )
    level: str = table.key(
        kinds.choice("instance", "series", "study", "metadata"),
        "instance",
        "How deep studies are asked for; below it counts stand in. "
        '"metadata" asks for all that headers say (WADO-RS), a request a study.',
    )
    changes: str = table.key(
        kinds.choice("auto", "none", "orthanc"),
        "auto",
        'Where changes are read besides: Orthanc\'s /changes; with "auto" where it is an Orthanc.',
    )
    page: int = table.key(kinds.whole(1, 10_000), 500, "Studies a page.")
    connections: int = table.key(kinds.whole(1, 32), 4, "Requests at a time.")
    answer_seconds: float = table.key(kinds.number(0.1, 3600), 120.0, "How long an answer may take.")
    answer_bytes: int = table.key(
        kinds.whole(65536, 1024 * MIB), 64 * MIB, "The longest answer that is taken."
    )
    patient_system: str | None = table.key(
        kinds.URI, None, "The system of its patient IDs that name no issuer.", example="urn:oid:1.2.3"
    )
    accession_system: str | None = table.key(
        kinds.URI, None, "The system of its accession numbers that name no issuer.", example="urn:oid:1.2.4"
    )
    study_id_system: str | None = table.key(
        kinds.URI, None, "The system of its Study IDs, which are left out otherwise.", example="urn:oid:1.2.5"
    )
    endpoints: tuple[Endpoint, ...] = table.tables(
        Endpoint,
        "endpoint",
        "What the Endpoints of the studies of this source say; without any there is one, dicom-wado-rs at "
        "its url.",
    )
