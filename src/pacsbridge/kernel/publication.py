"""What the configuration adds to resources: ids, endpoints, authorities and look-ups elsewhere."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from urllib.parse import urlsplit

from pacsbridge.errors import Misconfigured
from pacsbridge.kernel.identity import IdForm
from pacsbridge.kernel.terminology import CONNECTION_TYPES
from pacsbridge.kernel.values import clean, is_id, is_uri

STATUSES = ("active", "suspended", "error", "off", "entered-in-error", "test")
"""R4's endpoint-status."""

PLACEHOLDERS = ("study_uid", "uid", "accession")
"""What a template may name: the study, its performed procedure step, its accession number."""

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_LITERAL = re.compile(r"https?://[^\s?#]+/([A-Z][A-Za-z]+)/[^\s/?#]+")
_REASONS = ("Condition", "Observation", "Media", "DiagnosticReport", "DocumentReference")
_MIME_TYPES: Mapping[str, tuple[str, ...]] = {
    "dicom-wado-rs": ("application/dicom", "application/dicom+json"),
    "dicom-qido-rs": ("application/dicom+json",),
    "dicom-stow-rs": ("application/dicom", "application/dicom+json"),
    "dicom-wado-uri": ("application/dicom",),
}
"""Connection type → what its endpoints give, where the configuration doesn't say."""


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """One Endpoint: `address` is a DICOMweb base without `/studies`, or any URL for other connection types.

    An address with `{study_uid}` is a template: it becomes a contained Endpoint of each study.
    `managing_organization` is a name. Raises Misconfigured for what R4 or prudence forbids: an unknown
    connection type or status, an address that is no http(s) URL or carries credentials.
    """

    address: str
    connection_type: str = "dicom-wado-rs"
    name: str | None = None
    status: str = "active"
    payload_type: str = "DICOM"
    mime_types: tuple[str, ...] = ()
    managing_organization: str | None = None

    def __post_init__(self) -> None:
        """Check, and bring the address into its one form."""
        if self.connection_type not in CONNECTION_TYPES:
            raise Misconfigured(f"endpoint: connection_type must be one of {', '.join(CONNECTION_TYPES)}")
        if self.status not in STATUSES:
            raise Misconfigured(f"endpoint: status must be one of {', '.join(STATUSES)}")
        if not clean(self.payload_type):
            raise Misconfigured("endpoint: payload_type must not be blank")
        _check_address(_PLACEHOLDER.sub("1", self.address))
        _check_placeholders("endpoint: address", self.address, ("study_uid",))
        object.__setattr__(self, "mime_types", self.mime_types or _MIME_TYPES.get(self.connection_type, ()))
        if not self.is_template and self.connection_type.startswith("dicom-"):
            object.__setattr__(self, "address", self.address.rstrip("/").removesuffix("/studies"))

    @property
    def is_template(self) -> bool:
        """Whether every study has an endpoint of its own here."""
        return "{study_uid}" in self.address

    @property
    def id(self) -> str:
        """The logical id: the same connection and address give the same."""
        return sha256(f"endpoint:{self.connection_type} {self.address}".encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Publication:
    """How resources are published.

    `id_key` is the secret of keyed hashes, `id_form` the form of ImagingStudy ids. `endpoints` maps the URI
    of a source to where its instances can be fetched; sources that are not named have `default_endpoints`.
    `patient_authority` is the base URL of the server whose Patient ids are PatientIDs, those of the system
    `patient_system`, or without one those of headers that name no issuer. The look-ups are
    templates of literal references, `https://ehr.example/fhir/Procedure/{uid}`: `uid` is the performed
    procedure step, `accession` and `study_uid` are the study's. A search URL is refused: R4 takes conditional
    references in transactions alone. Raises Misconfigured.
    """

    base_url: str = ""
    id_key: bytes = b""
    id_form: IdForm = "uid"
    endpoints: Mapping[str, tuple[EndpointSpec, ...]] = field(default_factory=dict)
    default_endpoints: tuple[EndpointSpec, ...] = ()
    patient_authority: str | None = None
    patient_system: str | None = None
    procedure_reference: str | None = None
    reason_reference: str | None = None

    def __post_init__(self) -> None:
        """Check what the configuration says."""
        if self.id_form not in ("uid", "hash"):
            raise Misconfigured("id_form must be uid or hash")
        if self.patient_authority is not None and not is_uri(self.patient_authority):
            raise Misconfigured("patient_authority must be an absolute URL")
        _check_template("procedure_reference", self.procedure_reference, ("Procedure",))
        _check_template("reason_reference", self.reason_reference, _REASONS)

    @property
    def fingerprint(self) -> str:
        """What tells these settings from others, without telling the key."""
        return sha256(repr(self).encode()).hexdigest()

    def all_endpoints(self) -> tuple[EndpointSpec, ...]:
        """Every endpoint that is a resource of its own, once."""
        groups = (self.default_endpoints, *self.endpoints.values())
        return tuple(dict.fromkeys(spec for group in groups for spec in group if not spec.is_template))

    def endpoints_of(self, sources: Iterable[str]) -> tuple[EndpointSpec, ...]:
        """The endpoints of these sources, each once, whatever the order of the sources."""
        groups = (self.endpoints.get(source, self.default_endpoints) for source in sorted(sources))
        return tuple(dict.fromkeys(spec for group in groups for spec in group))


def expand(template: str, values: Mapping[str, str | None]) -> str | None:
    """A look-up's URL; None where a value lacks or may not stand in a URL as an id."""
    named = {name: values.get(name) or "" for name in _PLACEHOLDER.findall(template)}
    if not all(is_id(value) for value in named.values()):
        return None
    return _PLACEHOLDER.sub(lambda match: named[match[1]], template)


def resource_type(url: str) -> str:
    """The resource type of a literal reference."""
    return url.rsplit("/", 2)[-2]


def _check_address(address: str) -> None:
    if not is_uri(address):
        raise Misconfigured("endpoint: address must be an absolute URL")
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Misconfigured("endpoint: address must be an http or https URL")
    if parts.username is not None or parts.password is not None:
        raise Misconfigured("endpoint: address must not carry credentials")


def _check_template(name: str, template: str | None, types: tuple[str, ...]) -> None:
    if template is None:
        return
    _check_placeholders(name, template, PLACEHOLDERS)
    match = _LITERAL.fullmatch(_PLACEHOLDER.sub("1", template))
    if match is None or match[1] not in types:
        raise Misconfigured(f"{name} must read https://…/{'|'.join(types)}/{{…}}")


def _check_placeholders(name: str, template: str, known: tuple[str, ...]) -> None:
    unknown = [found for found in _PLACEHOLDER.findall(template) if found not in known]
    if unknown:
        raise Misconfigured(f"{name} names {{{unknown[0]}}}; known are {', '.join(known)}")
