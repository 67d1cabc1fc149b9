"""THE search parameter table: what can be searched by, and where it stands in a resource.

`PARAMETERS` is the one place that knows FHIR paths for searching. The parser, the index that the store
keeps, the CapabilityStatement and the OpenAPI description all read it. Codes, types and definitions are those
of the FHIR R4 search pages of ImagingStudy, Patient, Endpoint and AuditEvent.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

from pacsbridge.kernel import elements, search_rows
from pacsbridge.kernel.query import Kind, Row, Span, TokenValue

Resource = Mapping[str, Any]
Indexer = Callable[[str, Any], Iterable[Row]]
"""The rows of one element, under the name given first."""
Aliases = Callable[[TokenValue], tuple[TokenValue, ...]]
"""The values that a value stands for, any of which may match."""

_DEFINITIONS = "http://hl7.org/fhir/SearchParameter/"
_UID = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]*))+")
_UID_SYSTEMS = ("urn:dicom:uid", "urn:ietf:rfc:3986")


def _as_sent(value: TokenValue) -> tuple[TokenValue, ...]:
    return (value,)


def _study_uid(value: TokenValue) -> tuple[TokenValue, ...]:
    """A bare Study Instance UID means its `urn:oid:` form, which the identifier holds."""
    if value.value is None or value.system not in (None, "urn:dicom:uid") or not _UID.fullmatch(value.value):
        return (value,)
    return value, TokenValue("urn:dicom:uid", f"urn:oid:{value.value}")


def _plain_uid(value: TokenValue) -> tuple[TokenValue, ...]:
    """The resource holds the UID plain: `urn:oid:` and a system of UIDs are taken off."""
    if value.value is None:
        return (value,)
    system = None if value.system in _UID_SYSTEMS else value.system
    return (TokenValue(system, value.value.removeprefix("urn:oid:")),)


def _class_uid(value: TokenValue) -> tuple[TokenValue, ...]:
    """A bare SOP class UID means its `urn:oid:` form."""
    if value.value is None or not _UID.fullmatch(value.value):
        return (value,)
    return (TokenValue(value.system, f"urn:oid:{value.value}"),)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One search parameter of one resource type.

    `type` is FHIR's search parameter type and `kind` how the store answers it; `paths` are below the
    resource. `param` names the index rows. A reference is to one of `targets`; `chains` are those whose own
    parameters it can be chained to. `modifiers` are those beside `missing`.
    """

    code: str
    type: str
    kind: Kind
    paths: tuple[str, ...]
    indexer: Indexer | None = None
    param: str = ""
    definition: str = ""
    targets: tuple[str, ...] = ()
    chains: tuple[str, ...] = ()
    modifiers: tuple[str, ...] = ()
    aliases: Aliases = field(default=_as_sent)

    @property
    def supported_modifiers(self) -> tuple[str, ...]:
        """All modifiers."""
        return (*self.modifiers, "missing")

    @property
    def orders(self) -> bool:
        """Whether results can be sorted by it."""
        return self.kind in ORDER_FIELDS

    def expression(self, type_: str) -> str:
        """The FHIRPath expression of the parameter on a resource type."""
        found = " | ".join(f"{type_}.{path}" for path in self.paths)
        return f"{found}.where(resolve() is Patient)" if self.targets == ("Patient",) else found

    def elements(self, resource: Resource) -> Iterator[Any]:
        """The elements of a resource that it looks at."""
        for path in self.paths:
            yield from search_rows.elements(resource, path.split("."))

    def rows(self, resource: Resource) -> list[Row]:
        """The index rows of a resource: one that says so where it lacks the element."""
        elements_ = list(self.elements(resource))
        if self.indexer is not None:
            found = [row for element in elements_ for row in self.indexer(self.param, element)]
            return found or [search_rows.missing(self.param)]
        return [] if elements_ or self.kind in _NEVER_MISSING else [search_rows.missing(self.param)]


_NEVER_MISSING = (Kind.ID, Kind.UPDATED)

ORDER_FIELDS: Mapping[Kind, str] = {Kind.ID: "id", Kind.UPDATED: "updated", Kind.DATE: "low"}
"""Kinds of parameters that results can be sorted by → the field that has the order."""


def _token(code: str, path: str, indexer: Indexer, *modifiers: str, aliases: Aliases = _as_sent) -> Parameter:
    return Parameter(
        code, "token", Kind.TOKEN, (path,), indexer, modifiers=("not", *modifiers), aliases=aliases
    )


def _uri(code: str, path: str) -> Parameter:
    return Parameter(code, "uri", Kind.TOKEN, (path,), search_rows.of_code)


def _reference(code: str, paths: str, targets: str, chains: str = "") -> Parameter:
    types = tuple(targets.split())
    return Parameter(
        code,
        "reference",
        Kind.REFERENCE,
        tuple(paths.split()),
        partial(search_rows.of_reference, types),
        targets=types,
        chains=tuple(chains.split()),
        modifiers=("identifier", *types),
    )


def _date(code: str, path: str) -> Parameter:
    return Parameter(code, "date", Kind.DATE, (path,))


def _string(code: str, path: str, indexer: Indexer = search_rows.of_string) -> Parameter:
    return Parameter(code, "string", Kind.STRING, (path,), indexer, modifiers=("exact", "contains"))


_EVERY_TYPE = (
    Parameter("_id", "token", Kind.ID, ("id",), modifiers=("not",)),
    Parameter("_lastUpdated", "date", Kind.UPDATED, ("meta.lastUpdated",)),
    _uri("_profile", "meta.profile"),
    _uri("_source", "meta.source"),
    _token("_tag", "meta.tag", search_rows.of_coding),
    _token("_security", "meta.security", search_rows.of_coding),
)

_IMAGING_STUDY = (
    _token("identifier", "identifier", search_rows.of_typed_identifier, "of-type", aliases=_study_uid),
    _reference("patient", "subject", "Patient", "Patient"),
    _reference("subject", "subject", "Patient Device Group", "Patient"),
    _reference("basedon", "basedOn", "Appointment AppointmentResponse CarePlan ServiceRequest Task"),
    _token("bodysite", "series.bodySite", search_rows.of_coding_with_text, "text"),
    _token("dicom-class", "series.instance.sopClass", search_rows.of_coding, aliases=_class_uid),
    _reference("encounter", "encounter", "Encounter"),
    _reference("endpoint", "endpoint series.endpoint", "Endpoint", "Endpoint"),
    Parameter(
        "instance", "token", Kind.HELD, ("series.instance.uid",), modifiers=("not",), aliases=_plain_uid
    ),
    _reference("interpreter", "interpreter", "Practitioner PractitionerRole"),
    _token("modality", "series.modality", search_rows.of_coding),
    _reference(
        "performer",
        "series.performer.actor",
        "CareTeam Device Organization Patient Practitioner PractitionerRole RelatedPerson",
    ),
    _token("reason", "reasonCode", search_rows.of_concept_with_text, "text"),
    _reference("referrer", "referrer", "Practitioner PractitionerRole"),
    _token("series", "series.uid", search_rows.of_code, aliases=_plain_uid),
    _date("started", "started"),
    _token("status", "status", search_rows.of_code),
)

_PATIENT = (
    _token("identifier", "identifier", search_rows.of_typed_identifier, "of-type"),
    _string("name", "name", search_rows.of_name),
    _string("family", "name.family"),
    _string("given", "name.given"),
    _date("birthdate", "birthDate"),
    _token("gender", "gender", search_rows.of_code),
)

_ENDPOINT = (
    _token("connection-type", "connectionType", search_rows.of_coding),
    _token("identifier", "identifier", search_rows.of_typed_identifier, "of-type"),
    _string("name", "name"),
    _reference("organization", "managingOrganization", "Organization"),
    _token("payload-type", "payloadType", search_rows.of_concept),
    _token("status", "status", search_rows.of_code),
)

_AUDIT_EVENT = (
    _token("action", "action", search_rows.of_code),
    _string("address", "agent.network.address"),
    _reference(
        "agent", "agent.who", "Device Organization Patient Practitioner PractitionerRole RelatedPerson"
    ),
    _string("agent-name", "agent.name"),
    _token("altid", "agent.altId", search_rows.of_code),
    _date("date", "recorded"),
    _reference("entity", "entity.what", "AuditEvent Endpoint ImagingStudy Patient"),
    _token("outcome", "outcome", search_rows.of_code),
    _reference("patient", "entity.what", "Patient"),
    _token("subtype", "subtype", search_rows.of_coding),
    _token("type", "type", search_rows.of_coding),
)

_SHARED = {
    ("ImagingStudy", "identifier"): "clinical-identifier",
    ("ImagingStudy", "patient"): "clinical-patient",
    ("Patient", "family"): "individual-family",
    ("Patient", "given"): "individual-given",
    ("Patient", "birthdate"): "individual-birthdate",
    ("Patient", "gender"): "individual-gender",
}
"""Definitions that R4 shares between resource types; the others are named after type and code."""

ALIASES = {"based-on": "basedon", "body-site": "bodysite"}
"""Codes of later FHIR releases and of implementation guides → R4's."""


def _definition(type_: str, code: str) -> str:
    own = f"Resource-{code[1:]}" if code.startswith("_") else f"{type_}-{code}"
    return _DEFINITIONS + _SHARED.get((type_, code), own)


def _table(
    type_: str, own: Iterable[Parameter], common: Iterable[Parameter] = _EVERY_TYPE
) -> Mapping[str, Parameter]:
    return {p.code: replace(p, param=p.code, definition=_definition(type_, p.code)) for p in (*common, *own)}


PARAMETERS: Mapping[str, Mapping[str, Parameter]] = {
    "ImagingStudy": _table("ImagingStudy", _IMAGING_STUDY),
    "Patient": _table("Patient", _PATIENT),
    "Endpoint": _table("Endpoint", _ENDPOINT),
}
"""Published resource type → code → parameter."""

SEARCHED: Mapping[str, Mapping[str, Parameter]] = {
    **PARAMETERS,
    "AuditEvent": _table("AuditEvent", _AUDIT_EVENT, _EVERY_TYPE[:2]),
}
"""The same, with what is searched but never published: the audit log."""


def find(type_: str, code: str) -> Parameter | None:
    """The parameter of a code or of another name for it."""
    return SEARCHED[type_].get(ALIASES.get(code, code))


class Indexed(NamedTuple):
    """What makes a resource searchable: its rows, each once, its span where it has a date, its summary."""

    rows: list[Row]
    span: Span | None
    summary: dict[str, Any]


def indexed(resource: Resource) -> Indexed:
    """The index of a resource that is to be published."""
    parameters = SEARCHED[resource["resourceType"]].values()
    rows = dict.fromkeys(row for parameter in parameters for row in parameter.rows(resource))
    return Indexed(list(rows), _span(parameters, resource), elements.summary(resource))


def _span(parameters: Iterable[Parameter], resource: Resource) -> Span | None:
    """The span of the one date that resources of a type are searched by."""
    dates = (parameter for parameter in parameters if parameter.kind is Kind.DATE)
    texts = (text for parameter in dates for text in parameter.elements(resource))
    return next((search_rows.of_moment(text) for text in texts), None)


INDEX_VERSION = 1
"""To be raised whenever a resource that is published already would be indexed otherwise."""
