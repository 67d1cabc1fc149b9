"""The part of the table that is about DIMSE: the listener, and the application entities that may call."""

from dataclasses import dataclass
from pathlib import Path

from pacsbridge.config import kinds
from pacsbridge.config.kinds import MIB
from pacsbridge.config.table import key, section

SERVICES = ("echo", "store", "find", "get", "move", "commitment")
_SERVICES = kinds.list_of(
    kinds.choice(*SERVICES), 'services: "echo", "store", "find", "get", "move", "commitment"'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DimseTls:
    """TLS on the DIMSE port (PS3.15 B.12); without a certificate there is none."""

    certificate: Path | None = key(
        kinds.PATH,
        None,
        "Our certificate and those between it and its authority, in PEM; peers that we call see it too.",
        example="dicom.pem",
    )
    ca: Path | None = key(
        kinds.PATH,
        None,
        "The authorities of peers' certificates: every caller needs one then, and whom we call.",
        example="hospital.pem",
    )
    crl: Path | None = key(
        kinds.PATH,
        None,
        "Their revocation lists, in PEM: refused is what is on one, and all of an authority without one.",
        example="hospital.crl.pem",
    )
    match_names: bool = key(
        kinds.FLAG,
        True,
        "Whom we call has to show a certificate for that host; false where certificates name none.",
    )
    key: Path | None = key(kinds.PATH, None, "The key of our certificate, in PEM.", example="dicom.key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimse:
    """The DIMSE listener: C-ECHO, C-STORE, C-FIND, C-GET, C-MOVE and Storage Commitment."""

    ae_title: str = key(kinds.AE_TITLE, "PACSBRIDGE", "Our AE title.")
    host: str = key(kinds.ADDRESS, "127.0.0.1", "The address to listen on.")
    port: int = key(kinds.PORT, 11112, "The port to listen on; 0 takes any free one.")
    services: tuple[str, ...] = key(_SERVICES, SERVICES, "The services that are switched on.")
    max_associations: int = key(
        kinds.whole(1, 10_000), 50, "Associations at a time; one more is turned away for the moment."
    )
    max_pdu: int = key(kinds.whole(4096, MIB), 131072, "The longest PDU that we ask peers to send, in bytes.")
    require_called_ae: bool = key(kinds.FLAG, False, "Refuse callers that call us by another AE title.")
    workers: int = key(
        kinds.planned(
            kinds.whole(1, 1),
            [(lambda value: type(value) is int and value > 1, "more than one receiver process")],
        ),
        1,
        "Receiver processes that share the port.",
    )
    spool_bytes: int = key(
        kinds.whole(65536, 1024 * MIB),
        8 * MIB,
        "Instances up to this size are received in memory, larger ones in a file of their own; STOW-RS too.",
    )
    first_pdu_seconds: float = key(
        kinds.number(0.1, 3600), 15.0, "How long a caller may take to ask for its association."
    )
    pdu_seconds_per_mib: float = key(
        kinds.number(0.1, 3600), 30.0, "How long a PDU may take from first to last byte, for each MiB begun."
    )
    network_timeout: float = key(
        kinds.number(0.1, 86400), 300.0, "How long an association may be silent, in seconds."
    )
    send_seconds: float = key(kinds.number(0.1, 3600), 30.0, "How long a peer may take to read an answer.")
    find_limit: int = key(
        kinds.whole(1, 10_000_000),
        50_000,
        "Answers to one C-FIND; its last status says where there are more.",
    )
    move_seconds: float = key(
        kinds.number(0.1, 3600),
        60.0,
        "How long a destination of C-MOVE may take to associate, to take data, or to answer.",
    )
    keep_fetched: bool = key(
        kinds.FLAG,
        False,
        "Keep what C-GET and C-MOVE fetch from archives, so that the next one needs no archive.",
    )
    max_waiting: int = key(
        kinds.whole(1, 10_000),
        200,
        "Connections without an association; beyond it the oldest of them is closed.",
    )
    allow_insecure_listen: bool = key(
        kinds.FLAG, False, "The word for this port alone: open to other machines, though not secured."
    )
    tls: DimseTls = section(DimseTls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """An application entity that may call. With none listed any may; once one is, all others are refused."""

    ae_title: str = key(kinds.AE_TITLE, ..., "Its AE title.", example="CT1")
    host: str | None = key(
        kinds.CALLER,
        None,
        "Where it calls from: an address, a network or a name; without it, from anywhere.",
        example="10.0.0.5",
    )
    port: int = key(kinds.PEER_PORT, 104, "Where it listens itself.")
    tls: bool = key(kinds.FLAG, False, "Whether it is called by TLS there.")
    certificates: tuple[str, ...] = key(
        kinds.list_of(kinds.CERTIFICATE, "names in certificates and SHA-256 digests"),
        (),
        "By which certificates it is known: a DNS name or the common name in them, or sha256: and a digest.",
        example=["ct1.hospital.example"],
    )
    timezone: str | None = key(
        kinds.ZONE, None, "The zone of its clocks, where its headers don't say.", example="Europe/Berlin"
    )
    charset: str = key(
        kinds.CHARSET, "", "The character set of its data sets that declare none.", example="ISO_IR 100"
    )
    services: tuple[str, ...] | None = key(
        _SERVICES, None, "What it may ask for.", example=["echo", "store"], derived="those of dimse.services"
    )
    patient_system: str | None = key(
        kinds.URI, None, "The system of its patient IDs that name no issuer.", example="urn:oid:1.2.3"
    )
    accession_system: str | None = key(
        kinds.URI, None, "The system of its accession numbers that name no issuer.", example="urn:oid:1.2.4"
    )
    study_id_system: str | None = key(
        kinds.URI, None, "The system of its Study IDs, which are left out otherwise.", example="urn:oid:1.2.5"
    )
