"""THE table of configuration keys: name, kind, default and meaning of each, read by all the rest.

A key is a field of a dataclass below, in `access`, `dimse` or `sources`, its line of the table the field's
metadata. The loader, the annotated `config/pacsbridge.toml`, the reference and `pacsbridge check` walk the
table; none of them names a key.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pacsbridge.config import kinds
from pacsbridge.config.access import Auth as Auth
from pacsbridge.config.access import HttpTls as HttpTls
from pacsbridge.config.audit import Audit as Audit
from pacsbridge.config.dimse import SERVICES as SERVICES
from pacsbridge.config.dimse import Dimse as Dimse
from pacsbridge.config.dimse import Peer as Peer
from pacsbridge.config.kinds import MIB
from pacsbridge.config.sources import Endpoint as Endpoint
from pacsbridge.config.sources import Source as Source
from pacsbridge.config.table import Entry, Section, entries, key, section, sections, tables
from pacsbridge.config.web import Web as Web
from pacsbridge.kernel.conflicts import Policy
from pacsbridge.logs import LEVELS


@dataclass(frozen=True, slots=True, kw_only=True)
class Fhir:
    """The FHIR API, and with it the one HTTP port."""

    host: str = key(kinds.ADDRESS, "127.0.0.1", "The address to listen on.")
    port: int = key(kinds.PORT, 8080, "The port to listen on; 0 takes any free one.")
    base_url: str = key(
        kinds.BASE_URL,
        "",
        "The URL of the API as clients reach it; it stands in links, so it must be given behind a proxy.",
        example="http://127.0.0.1:8080/fhir",
        derived="from host and port",
    )
    quiet_seconds: float = key(
        kinds.number(0, 3600), 2.0, "A study is published this long after its last instance arrived,"
    )
    max_wait_seconds: float = key(
        kinds.number(0, 86400), 30.0, "or this long after the first that is not published yet."
    )
    default_count: int = key(kinds.whole(1, 10_000), 50, "Entries a page, where the client doesn't say.")
    max_count: int = key(kinds.whole(1, 10_000), 1000, "Entries a page at most.")
    id_form: str = key(
        kinds.choice("uid", "hash"),
        "uid",
        'The id of an ImagingStudy: its Study Instance UID ("uid") or a keyed hash of it ("hash").',
    )
    id_key_file: Path | None = key(
        kinds.PATH,
        None,
        "The file with the secret of keyed ids. All replicas need the same.",
        example="/run/secrets/id_key",
        derived="a key made once and kept in data_dir",
    )
    patient_authority: str | None = key(
        kinds.BASE_URL,
        None,
        "The FHIR server that has the Patient resources, with PatientIDs as ids; without it we serve them. "
        "The PatientIDs are those of systems.patient_default: others have an identifier, no URL.",
        example="https://ehr.example/fhir",
    )
    procedure_reference: str | None = key(
        kinds.TEXT,
        None,
        "Template of ImagingStudy.procedureReference; it may name {uid}, {accession} and {study_uid}.",
        example="https://ehr.example/fhir/Procedure/{uid}",
    )
    reason_reference: str | None = key(
        kinds.TEXT,
        None,
        "Template of ImagingStudy.reasonReference, likewise.",
        example="https://ehr.example/fhir/Condition/{accession}",
    )
    ask_sources: bool = key(
        kinds.FLAG, False, "A search by patient or identifier that finds nothing asks the sources at once."
    )
    ask_seconds: float = key(kinds.number(0.1, 60), 5.0, "How long they have.")
    trusted_proxies: tuple[str, ...] = key(
        kinds.list_of(kinds.NETWORK, "addresses and networks"),
        (),
        "Proxies that end TLS in front of us: their X-Forwarded-For and -Proto are believed.",
        example=["10.0.0.5"],
    )
    hosts: tuple[str, ...] = key(
        kinds.list_of(kinds.ADDRESS, "names"),
        (),
        "Names under which we are asked too. Without [auth] others than these and that of base_url are 421: "
        "pages of other sites could read along.",
        example=["pacsbridge"],
    )
    allow_insecure_listen: bool = key(
        kinds.FLAG, False, "The word for this port alone: open to other machines, though not secured."
    )
    tls: HttpTls = section(HttpTls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dicomweb:
    """QIDO-RS and WADO-RS over what the bridge holds, and STOW-RS into it."""

    base_url: str = key(
        kinds.BASE_URL,
        "",
        "The URL of the service as clients reach it; Endpoint resources name it.",
        example="http://127.0.0.1:8080/dicomweb",
        derived="beside fhir.base_url",
    )
    stall_seconds: float = key(
        kinds.number(1, 3600), 60.0, "A client that takes or sends nothing for so long is cut off."
    )
    metadata_jobs: int = key(kinds.whole(1, 64), 2, "Metadata requests that are worked on at the same time.")
    proxy_sources: bool = key(
        kinds.FLAG,
        False,
        "Pass on what only archives hold: viewers need one address and one login. Endpoints say so.",
    )
    proxy_connections: int = key(
        kinds.whole(1, 64), 8, "Connections to each archive for what is passed on, C-GET and C-MOVE."
    )
    max_results: int = key(
        kinds.whole(1, 1_000_000),
        10_000,
        "Results of one QIDO-RS search; a header says where there are more.",
    )
    render: bool = key(
        kinds.FLAG, False, "Make pictures and thumbnails; this decodes pixels and needs the extra [render]."
    )
    render_children: int = key(kinds.whole(1, 64), 2, "Processes that decode, one picture each at a time.")
    render_seconds: float = key(
        kinds.number(0.1, 600), 10.0, "How long a picture may take, by the clock and of a processor."
    )
    render_memory_bytes: int = key(
        kinds.whole(512 * MIB, 1 << 40), 1024 * MIB, "What one of these processes may take of memory."
    )
    render_pixels: int = key(
        kinds.whole(1, 1 << 32), 64_000_000, "The largest image that is decoded, and the largest picture."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The index and the published documents."""

    url: str = key(
        kinds.DATABASE,
        "sqlite",
        'The database: "sqlite", a file in data_dir, or a postgresql:// URL (with the extra [postgres]).',
        secret=True,
    )
    password_file: Path | None = key(
        kinds.PATH, None, "The file with the password of the database.", example="/run/secrets/database"
    )
    on_conflict: str = key(
        kinds.choice(*(one.value for one in Policy)),
        Policy.REPLACE.value,
        "What an instance with a known SOP Instance UID and other content does. It replaces the one held if "
        "it is from the same source (AE title, STOW-RS, import, archive), else it is put aside with success "
        '("replace"); it is put aside with success ("keep-first") or with failure 0xC004 ("refuse"); it '
        'replaces what is held, whoever sent that ("replace-any"). It is on record each time.',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Blobs:
    """The instances themselves."""

    url: str = key(
        kinds.planned(
            kinds.choice("file"),
            [
                (lambda value: str(value).startswith("s3:"), "object storage"),
                (lambda value: value == "none", "a bridge that keeps no instances"),
            ],
        ),
        "file",
        'Where they are kept: "file" is a folder in data_dir.',
    )
    pack_bytes: int = key(
        kinds.whole(MIB, 1 << 40), 256 * MIB, "A pack file is closed and a new one begun beyond this size."
    )
    min_free_bytes: int = key(
        kinds.whole(0, 1 << 50),
        1024 * MIB,
        "Instances are refused (0xA700) while the disk has less free than this.",
    )
    reject_free_bytes: int | None = key(
        kinds.whole(0, 1 << 50),
        None,
        "Associations that could only store are rejected while the disk has less free than this; 0: never.",
        example=2048 * MIB,
        derived="twice blobs.min_free_bytes",
    )
    reject_used_percent: int = key(
        kinds.whole(1, 100),
        100,
        "They are rejected as well while more of the disk than this is used, as df tells; 100: never.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Systems:
    """Identifier systems: tables from what headers say (namespaces, designators) to URIs, and defaults."""

    patient: Mapping[str, str] = key(
        kinds.SYSTEMS, {}, "By issuer of patient ID (0010,0021).", example={"HOSP_A": "urn:oid:1.2.3"}
    )
    accession: Mapping[str, str] = key(
        kinds.SYSTEMS, {}, "By issuer of accession number (0008,0051).", example={"HOSP_A": "urn:oid:1.2.4"}
    )
    encounter: Mapping[str, str] = key(
        kinds.SYSTEMS, {}, "By issuer of admission ID (0038,0014).", example={"HOSP_A": "urn:oid:1.2.6"}
    )
    specimen: Mapping[str, str] = key(
        kinds.SYSTEMS, {}, "By issuer of container identifier (0040,0513).", example={"LAB": "urn:oid:1.2.7"}
    )
    coding: Mapping[str, str] = key(
        kinds.SYSTEMS,
        {},
        "By coding scheme designator (0008,0102).",
        example={"99LOCAL": "http://hospital.example/codes"},
    )
    patient_default: str | None = key(
        kinds.URI, None, "The system of patient IDs that name no issuer.", example="urn:oid:1.2.3"
    )
    accession_default: str | None = key(
        kinds.URI, None, "The system of accession numbers that name no issuer.", example="urn:oid:1.2.4"
    )
    study_id: str | None = key(
        kinds.URI, None, "The system of Study IDs, which are left out otherwise.", example="urn:oid:1.2.5"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Choices in the mapping from DICOM to FHIR."""

    r4_laterality: bool = key(
        kinds.FLAG, False, "Take the side's codes of R4's example value set (419161000, 419465000)."
    )
    study_comments: bool = key(kinds.FLAG, False, "Publish study comments (0032,4000) as notes.")
    device_performer: bool = key(kinds.FLAG, False, "Name the device as a performer of its series.")
    charset: str = key(
        kinds.CHARSET,
        "",
        "The character set of data sets that declare none, where the peer has no setting.",
        example="ISO_IR 100",
    )
    timezone: str | None = key(
        kinds.ZONE,
        None,
        "The zone of times without an offset, where the peer has no setting; without it only dates stay.",
        example="Europe/Berlin",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is refused before it does harm."""

    pdu_bytes: int = key(kinds.whole(65536, 1024 * MIB), MIB, "The longest PDU that is taken.")
    object_bytes: int = key(kinds.whole(1024, 1 << 42), 2048 * MIB, "The largest instance that is taken.")
    header_bytes: int = key(
        kinds.whole(65536, 1024 * MIB), 32 * MIB, "The largest header element that is looked into."
    )
    header_elements: int = key(kinds.whole(100, 10_000_000), 100_000, "Elements of a header.")
    items: int = key(kinds.whole(100, 10_000_000), 50_000, "Sequence items of a header.")
    nesting: int = key(kinds.whole(4, 200), 64, "Sequences within sequences.")
    inflated_bytes: int = key(
        kinds.whole(MIB, 1 << 40),
        512 * MIB,
        "What a deflated data set may yield before its header is complete.",
    )
    http_body_bytes: int = key(kinds.whole(1024, 1024 * MIB), MIB, "The longest body of a FHIR request.")
    http_body_seconds: float = key(
        kinds.number(0.1, 3600),
        15.0,
        "How long a client may take to send it, or keep us waiting in the course of a STOW-RS body,",
    )
    http_bytes_per_second: int = key(
        kinds.whole(1, 1 << 40),
        8192,
        "and one second more for each so many bytes of that. Who is slower makes room if there are too many.",
    )
    http_connections: int = key(
        kinds.whole(10, 100_000),
        500,
        "HTTP connections at a time; beyond, who has no request or a slow body makes room, else it is 503.",
    )
    turn_seconds: float = key(
        kinds.number(0.1, 3600),
        1.0,
        "How long a search waits for its turn where more is asked than can be answered, "
        "and how long it keeps it while others wait; then it is 503.",
    )
    http_head_seconds: float = key(
        kinds.number(0.1, 3600), 15.0, "How long the head of an HTTP request may take, and a TLS handshake."
    )
    http_idle_seconds: float = key(
        kinds.number(1, 3600), 15.0, "How long an HTTP connection may wait for its first or next request."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The log, on standard error; it never holds patient data."""

    level: str = key(kinds.choice(*LEVELS), "info", "The least grave level that is written.")
    format: str = key(kinds.choice("console", "json"), "console", "Lines for people, or JSON lines.")
    requests: bool = key(kinds.FLAG, True, "Write a line for each HTTP request, without its query.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything an operator can set. `file` is where it came from, None where there was no file."""

    data_dir: Path = key(kinds.PATH, Path("./pacsbridge-data"), "The folder of everything that is kept.")
    allow_insecure_listen: bool = key(
        kinds.FLAG,
        False,
        "Listen beyond loopback although nobody has to authenticate: the network in front must be trusted. "
        "[dimse] and [fhir] each have the same word for themselves.",
    )
    dimse: Dimse = section(Dimse)
    peers: tuple[Peer, ...] = tables(Peer, "peer")
    sources: tuple[Source, ...] = tables(Source, "source")
    fhir: Fhir = section(Fhir)
    auth: Auth = section(Auth)
    dicomweb: Dicomweb = section(Dicomweb)
    web: Web = section(Web)
    endpoints: tuple[Endpoint, ...] = tables(Endpoint, "endpoint")
    store: Store = section(Store)
    blobs: Blobs = section(Blobs)
    systems: Systems = section(Systems)
    mapping: Choices = section(Choices)
    limits: Limits = section(Limits)
    log: Log = section(Log)
    audit: Audit = section(Audit)
    file: Path | None = field(default=None, compare=False)

    @property
    def insecure_dimse(self) -> bool:
        """Whether the DIMSE port may be open to other machines though not secured."""
        return self.allow_insecure_listen or self.dimse.allow_insecure_listen

    @property
    def insecure_fhir(self) -> bool:
        """The same of the HTTP port."""
        return self.allow_insecure_listen or self.fhir.allow_insecure_listen


SECTIONS: tuple[Section, ...] = tuple(sections(Config))
"""Every table of the file in its order, the top first."""

ENTRIES: tuple[Entry, ...] = tuple(entry for one in SECTIONS for entry in entries(one))
"""Every key in the file's order."""
