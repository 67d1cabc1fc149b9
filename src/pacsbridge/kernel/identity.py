"""What things are called: logical ids, identifiers and their systems, and what a source's configuration adds.

Ids are functions of what they name, so that every replica and every re-import gives the same; where the name
itself may not stand in a URL, the id is a keyed hash of it (HMAC-SHA256, 32 hexadecimal digits).
"""

import hmac
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from hashlib import sha256
from typing import Any, Literal, NamedTuple
from urllib.parse import quote, unquote

from pacsbridge.errors import Misconfigured
from pacsbridge.kernel.terminology import IDENTIFIER_TYPES
from pacsbridge.kernel.values import is_id, is_uri

IdForm = Literal["uid", "hash"]
Identifier = dict[str, Any]

FETCHED = "#fetched"
"""What the URI of an archive ends in for the instances of it that are kept here."""

_OID = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]*))+")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*")


_SYSTEM_MAPS = (
    "patient_systems", "accession_systems", "encounter_systems", "specimen_systems", "coding_systems"
)  # fmt: skip
_DEFAULT_SYSTEMS = ("patient_system", "accession_system", "study_id_system")


@dataclass(frozen=True, slots=True)
class Context:
    """What the configuration of a source adds to its headers.

    `zone` is used where (0008,0201) lacks. The `…_systems` map local namespaces (and, for `coding_systems`,
    scheme designators) to systems; `patient_system` and `accession_system` hold where a header names no
    issuer, and Study IDs are identifiers only under a `study_id_system`. `r4_laterality` takes the concepts
    of R4's example value set, `study_comments` emits notes, `device_performer` makes the device a performer.
    Raises Misconfigured for a system that is no absolute URI.
    """

    zone: tzinfo | None = None
    patient_systems: Mapping[str, str] = field(default_factory=dict)
    accession_systems: Mapping[str, str] = field(default_factory=dict)
    encounter_systems: Mapping[str, str] = field(default_factory=dict)
    specimen_systems: Mapping[str, str] = field(default_factory=dict)
    coding_systems: Mapping[str, str] = field(default_factory=dict)
    patient_system: str | None = None
    accession_system: str | None = None
    study_id_system: str | None = None
    r4_laterality: bool = False
    study_comments: bool = False
    device_performer: bool = False

    def __post_init__(self) -> None:
        """Check the systems: a FHIR uri carries them."""
        for name in _SYSTEM_MAPS:
            for designator, system in getattr(self, name).items():
                _check_system(f"{name}: {designator}", system)
        for name in _DEFAULT_SYSTEMS:
            if (system := getattr(self, name)) is not None:
                _check_system(name, system)


def _check_system(name: str, system: str) -> None:
    if not is_uri(system):
        raise Misconfigured(f"{name} must be an absolute URI")


class Issuer(NamedTuple):
    """Who gave an identifier: a system, else at most the name of a namespace."""

    system: str | None = None
    namespace: str | None = None


def issuer(
    namespace: str, universal: str, universal_type: str, systems: Mapping[str, str], default: str | None
) -> Issuer:
    """An issuer as a header names it (PS3.3 10.14, the HL7v2 Hierarchic Designator macro).

    A universal id with a URI form stands first, then the configured system of the local namespace. An
    issuer that is named without either keeps its name alone; `default` is for headers that name none.
    """
    system = _universal_system(universal, universal_type) if universal else None
    system = system or systems.get(namespace)
    if system:
        return Issuer(system, namespace or None)
    if named := namespace or universal:
        return Issuer(None, named)
    return Issuer(default)


def _universal_system(text: str, type_: str) -> str | None:
    """A Universal Entity ID (0040,0032) as a URI by its type (0040,0033); None for types that have none."""
    form = _UNIVERSAL_FORMS.get(type_.upper())
    return form(text) if form else None


def _oid(text: str) -> str | None:
    return f"urn:oid:{text}" if _OID.fullmatch(text) else None


def _itself(text: str) -> str | None:
    return text if is_uri(text) else None


def _uuid(text: str) -> str | None:
    try:
        return uuid.UUID(text).urn
    except ValueError:
        return None


def _host(text: str) -> str | None:
    return f"http://{text.lower()}" if _HOST.fullmatch(text) else None


_UNIVERSAL_FORMS = {"ISO": _oid, "URI": _itself, "URL": _itself, "UUID": _uuid, "DNS": _host}


def identifier(value: str, issued_by: Issuer, type_: str | None = None) -> Identifier:
    """A FHIR Identifier: type of HL7 v2 table 0203, system, value; `assigner` where only a name is known."""
    result: Identifier = {}
    if type_:
        result["type"] = {"coding": [IDENTIFIER_TYPES[type_]]}
    if issued_by.system:
        result["system"] = issued_by.system
    result["value"] = value
    if issued_by.namespace and not issued_by.system:
        result["assigner"] = {"display": issued_by.namespace}
    return result


def patient_key(patient_id: str, issued_by: Issuer) -> str:
    """What tells patients apart: the issuer (its system, else its name) and the PatientID, `issuer|id`."""
    issuer_text = issued_by.system or issued_by.namespace or ""
    return f"{issuer_text.replace('%', '%25').replace('|', '%7C')}|{patient_id}"


def names_same_patient(vague: str, key: str) -> bool:
    """Whether `vague` is `key` without its issuer: a header that lacks one doesn't name another patient."""
    return vague.startswith("|") and vague[1:] == key.partition("|")[2]


def study_id(study_uid: str, key: bytes, form: IdForm = "uid") -> str:
    """The id of an ImagingStudy: its Study Instance UID, or the keyed hash where that is the setting."""
    if form == "uid" and is_id(study_uid):
        return study_uid
    return _keyed_hash("study", study_uid, key)


def patient_id(patient_key: str, key: bytes) -> str:
    """The id of a Patient: a PatientID is often no legal id, and two issuers may use the same number."""
    return _keyed_hash("patient", patient_key, key)


def order_id(accession: Mapping[str, Any], key: bytes) -> str:
    """The id of a study that is known from an order alone, by the Identifier of its accession number."""
    issued_by = Issuer(accession.get("system"), accession.get("assigner", {}).get("display"))
    return _keyed_hash("order", patient_key(accession.get("value", ""), issued_by), key)


_AE = "urn:dicom:ae:"


def source_uri(ae: str) -> str:
    """The URI of an application entity, for `meta.source`."""
    return _AE + quote(ae.strip(), safe="")


def ae_of(uri: str) -> str:
    """The application entity that a source is; "" for another kind of source."""
    return unquote(uri.removeprefix(_AE)) if uri.startswith(_AE) else ""


def fetched_uri(archive: str) -> str:
    """The URI of what was fetched from an archive and is kept here: a source apart, with our endpoints."""
    return archive + FETCHED


def _keyed_hash(kind: str, text: str, key: bytes) -> str:
    content = f"{kind}:{text}".encode("utf-8", "surrogatepass")
    return hmac.new(key, content, sha256).hexdigest()[:32]
