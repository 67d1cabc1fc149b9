"""Whether a resource is legal FHIR R4: the validator of fhirkit-rs, and a strict walker for what it misses.

The walker holds the R4 definitions (4.0.1) of the elements that pacsbridge emits, and refuses any other: it
checks cardinalities, empty objects and arrays, ids, uris, control characters, blanks, required codes,
Coding and Identifier systems, and the types that references may have.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import fhirkit

Json = Any


def faults(resource: Mapping[str, Json]) -> list[str]:
    """Everything that is wrong with a resource; empty when it is legal."""
    reported = [str(issue) for issue in fhirkit.validate(dict(resource))]
    return [
        *reported,
        *_faults_of(str(resource.get("resourceType")), resource, str(resource["resourceType"])),
    ]


def assert_r4(*resources: Mapping[str, Json] | None) -> None:
    """Fail with every fault of the resources; None is no resource."""
    found = [fault for resource in resources if resource is not None for fault in faults(resource)]
    assert not found, found


class _Element(NamedTuple):
    """One element of a type: its type, whether it repeats, whether it must be there."""

    type: str
    many: bool
    required: bool


def _elements(rows: str) -> dict[str, _Element]:
    """`name type cardinality` a row; cardinalities are 0..1, 1..1, 0..* and 1..*."""
    split = (row.split() for row in rows.strip().splitlines())
    return {name: _Element(type_, card.endswith("*"), card.startswith("1")) for name, type_, card in split}


_TYPES: Mapping[str, Mapping[str, _Element]] = {
    "ImagingStudy": _elements("""
        resourceType code 1..1
        id id 0..1
        meta Meta 0..1
        contained Resource 0..*
        identifier Identifier 0..*
        status code 1..1
        modality Coding 0..*
        subject Reference 1..1
        encounter Reference 0..1
        started dateTime 0..1
        basedOn Reference 0..*
        referrer Reference 0..1
        interpreter Reference 0..*
        endpoint Reference 0..*
        numberOfSeries unsignedInt 0..1
        numberOfInstances unsignedInt 0..1
        procedureReference Reference 0..1
        procedureCode CodeableConcept 0..*
        location Reference 0..1
        reasonCode CodeableConcept 0..*
        reasonReference Reference 0..*
        note Annotation 0..*
        description string 0..1
        series Series 0..*
    """),
    "Series": _elements("""
        uid id 1..1
        number unsignedInt 0..1
        modality Coding 1..1
        description string 0..1
        numberOfInstances unsignedInt 0..1
        endpoint Reference 0..*
        bodySite Coding 0..1
        laterality Coding 0..1
        specimen Reference 0..*
        started dateTime 0..1
        performer Performer 0..*
        instance Instance 0..*
    """),
    "Performer": _elements("function CodeableConcept 0..1\nactor Reference 1..1"),
    "Instance": _elements("uid id 1..1\nsopClass Coding 1..1\nnumber unsignedInt 0..1\ntitle string 0..1"),
    "Patient": _elements("""
        resourceType code 1..1
        id id 0..1
        meta Meta 0..1
        identifier Identifier 0..*
        name HumanName 0..*
        gender code 0..1
        birthDate date 0..1
    """),
    "Endpoint": _elements("""
        resourceType code 1..1
        id id 0..1
        meta Meta 0..1
        status code 1..1
        connectionType Coding 1..1
        name string 0..1
        managingOrganization Reference 0..1
        payloadType CodeableConcept 1..*
        payloadMimeType code 0..*
        address url 1..1
    """),
    "AuditEvent": _elements("""
        resourceType code 1..1
        id id 0..1
        meta Meta 0..1
        type Coding 1..1
        subtype Coding 0..*
        action code 0..1
        recorded instant 1..1
        outcome code 0..1
        outcomeDesc string 0..1
        agent AuditAgent 1..*
        source AuditSource 1..1
        entity AuditEntity 0..*
    """),
    "AuditAgent": _elements("""
        type CodeableConcept 0..1
        who Reference 0..1
        altId string 0..1
        name string 0..1
        requestor boolean 1..1
        network AuditNetwork 0..1
    """),
    "AuditNetwork": _elements("address string 0..1\ntype code 0..1"),
    "AuditSource": _elements("observer Reference 1..1\ntype Coding 0..*"),
    "AuditEntity": _elements("""
        what Reference 0..1
        type Coding 0..1
        role Coding 0..1
        name string 0..1
        query base64Binary 0..1
        detail AuditDetail 0..*
    """),
    "AuditDetail": _elements("type string 1..1\nvalueString string 1..1"),
    "Meta": _elements(
        "profile uri 0..*\nsource uri 0..1\nversionId id 0..1\nlastUpdated instant 0..1\ntag Coding 0..*"
    ),
    "Identifier": _elements("""
        use code 0..1
        type CodeableConcept 0..1
        system uri 0..1
        value string 0..1
        assigner Reference 0..1
    """),
    "Coding": _elements("system uri 0..1\ncode code 0..1\ndisplay string 0..1"),
    "CodeableConcept": _elements("coding Coding 0..*\ntext string 0..1"),
    "Reference": _elements("""
        extension Extension 0..*
        reference string 0..1
        type uri 0..1
        identifier Identifier 0..1
        display string 0..1
    """),
    "HumanName": _elements("""
        extension Extension 0..*
        family string 0..1
        given string 0..*
        prefix string 0..*
        suffix string 0..*
    """),
    "Annotation": _elements("text string 1..1"),
    "Extension": _elements("url uri 1..1\nvalueCode code 1..1"),
}

_CODES: Mapping[str, frozenset[str]] = {
    "ImagingStudy.status": frozenset({"registered", "available", "cancelled", "entered-in-error", "unknown"}),
    "Patient.gender": frozenset({"male", "female", "other", "unknown"}),
    "Endpoint.status": frozenset({"active", "suspended", "error", "off", "entered-in-error", "test"}),
    "AuditEvent.action": frozenset("CRUDE"),
    "AuditEvent.outcome": frozenset({"0", "4", "8", "12"}),
    "AuditNetwork.type": frozenset("12345"),
    "Identifier.use": frozenset({"usual", "official", "temp", "secondary", "old"}),
}
"""Required bindings, by type and element."""

_PRACTITIONERS = frozenset({"Practitioner", "PractitionerRole"})
_TARGETS: Mapping[str, frozenset[str]] = {
    "ImagingStudy.subject": frozenset({"Patient", "Device", "Group"}),
    "ImagingStudy.encounter": frozenset({"Encounter"}),
    "ImagingStudy.basedOn": frozenset(
        {"CarePlan", "ServiceRequest", "Appointment", "AppointmentResponse", "Task"}
    ),
    "ImagingStudy.referrer": _PRACTITIONERS,
    "ImagingStudy.interpreter": _PRACTITIONERS,
    "ImagingStudy.endpoint": frozenset({"Endpoint"}),
    "ImagingStudy.procedureReference": frozenset({"Procedure"}),
    "ImagingStudy.location": frozenset({"Location"}),
    "ImagingStudy.reasonReference": frozenset(
        {"Condition", "Observation", "Media", "DiagnosticReport", "DocumentReference"}
    ),
    "AuditAgent.who": _PRACTITIONERS | {"Organization", "Device", "Patient", "RelatedPerson"},
    "AuditSource.observer": _PRACTITIONERS | {"Organization", "Device", "Patient", "RelatedPerson"},
    "Series.endpoint": frozenset({"Endpoint"}),
    "Series.specimen": frozenset({"Specimen"}),
    "Performer.actor": _PRACTITIONERS | {"Organization", "CareTeam", "Patient", "Device", "RelatedPerson"},
    "Endpoint.managingOrganization": frozenset({"Organization"}),
    "Identifier.assigner": frozenset({"Organization"}),
}
"""What references may point to, by type and element."""

_YEAR = r"(?!0000)[0-9]{4}"
_DATE = rf"{_YEAR}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?)?"
_ZONED = r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?(Z|[+-](0[0-9]|1[0-3]):[0-5][0-9]|[+-]14:00)"
_FULL = rf"{_YEAR}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_PATTERNS: Mapping[str, re.Pattern[str]] = {
    "id": re.compile(r"[A-Za-z0-9.-]{1,64}"),
    "base64Binary": re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"),
    "code": re.compile(r"[^\s]+( [^\s]+)*"),
    "uri": re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]+|[A-Z][A-Za-z]+"),
    "url": re.compile(r"https?://[^\s<>\"{}|\\^`]+"),
    "date": re.compile(_DATE),
    "dateTime": re.compile(rf"{_DATE}|{_FULL}{_ZONED}"),
    "instant": re.compile(rf"{_FULL}{_ZONED}"),
    "string": re.compile(r"(?!\s)[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]+(?<!\s)"),
}
_LITERAL = re.compile(r"(?:https?://[^\s?#]+/)?([A-Z][A-Za-z]+)/[A-Za-z0-9.-]{1,64}|#[A-Za-z0-9.-]{1,64}")
_OID_URN = re.compile(r"urn:oid:[0-9]+(\.[0-9]+)*")
_RAW_DESIGNATORS = frozenset({"DCM", "SCT", "SRT", "SNM3", "LN", "UCUM", "RADLEX", "L"})


def _faults_of(type_: str, value: Json, path: str) -> Iterator[str]:
    if type_ == "Resource":
        type_ = value.get("resourceType", "none")
    if type_ == "boolean":
        yield from () if isinstance(value, bool) else (f"{path}: {value!r} is no boolean",)
    elif type_ == "unsignedInt":
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
            yield f"{path}: {value!r} is no unsignedInt"
    elif type_ in _PATTERNS:
        if not isinstance(value, str) or not _PATTERNS[type_].fullmatch(value):
            yield f"{path}: {value!r} is no {type_}"
    elif type_ not in _TYPES:
        yield f"{path}: unknown type {type_}"
    elif not isinstance(value, dict) or not value:
        yield f"{path}: {value!r} is no object with content"
    else:
        yield from _faults_of_object(type_, value, path)


def _faults_of_object(type_: str, value: Mapping[str, Json], path: str) -> Iterator[str]:
    elements = _TYPES[type_]
    yield from (
        f"{path}: {name} is missing" for name, e in elements.items() if e.required and name not in value
    )
    yield from (f"{path}: unknown element {name}" for name in value if name not in elements)
    for name, element in elements.items():
        if name in value:
            yield from _faults_of_element(f"{type_}.{name}", element, value[name], f"{path}.{name}")
    if type_ in _INVARIANTS:
        yield from (f"{path}: {fault}" for fault in _INVARIANTS[type_](value))


def _faults_of_element(key: str, element: _Element, value: Json, path: str) -> Iterator[str]:
    if element.many and (not isinstance(value, list) or not value):
        yield f"{path}: {value!r} is no array with content"
        return
    for number, one in enumerate(value if element.many else [value]):
        here = f"{path}[{number}]" if element.many else path
        yield from _faults_of(element.type, one, here)
        if key in _CODES and one not in _CODES[key]:
            yield f"{here}: {one!r} is not in the value set"
        if key in _TARGETS and isinstance(one, dict):
            yield from (f"{here}: {fault}" for fault in _target_faults(one, _TARGETS[key]))


def _target_faults(reference: Mapping[str, Json], allowed: frozenset[str]) -> Iterator[str]:
    if "type" in reference and reference["type"] not in allowed:
        yield f"type {reference['type']!r} is not allowed"
    if "reference" in reference:
        match = _LITERAL.fullmatch(reference["reference"])
        if match is None:
            yield f"{reference['reference']!r} is no literal reference"
        elif match[1] and match[1] not in allowed:
            yield f"a {match[1]} is not allowed"


def _reference_invariants(reference: Mapping[str, Json]) -> Iterator[str]:
    if not reference.keys() & {"reference", "identifier", "display", "extension"}:
        yield "a reference that says nothing"


def _coding_invariants(coding: Mapping[str, Json]) -> Iterator[str]:
    if "system" in coding and "code" not in coding:
        yield "a system without a code"
    if coding.get("system", "").upper() in _RAW_DESIGNATORS:
        yield "a designator as system"
    if coding.get("system") == "urn:ietf:rfc:3986" and not _OID_URN.fullmatch(coding.get("code", "")):
        yield from () if ":" in coding.get("code", "") else ("no URI under the system of URIs",)
    if coding.get("system") == "http://snomed.info/sct" and not coding.get("code", "").isdigit():
        yield "no SNOMED CT concept id"


def _identifier_invariants(identifier: Mapping[str, Json]) -> Iterator[str]:
    if "value" not in identifier:
        yield "an identifier without value"
    if identifier.get("system") == "urn:dicom:uid" and not _OID_URN.fullmatch(identifier.get("value", "")):
        yield "a DICOM UID without urn:oid:"


def _study_invariants(study: Mapping[str, Json]) -> Iterator[str]:
    """Contained resources are referred to (dom-3), every local reference is met; a whole one adds up."""
    contained = {f"#{resource['id']}" for resource in study.get("contained", ())}
    local = {ref for ref in _references(study) if ref.startswith("#")}
    if contained != local:
        yield f"contained {contained} but referred to {local}"
    if not any(tag.get("code") == "SUBSETTED" for tag in study.get("meta", {}).get("tag", ())):
        yield from _whole_study_invariants(study)


def _whole_study_invariants(study: Mapping[str, Json]) -> Iterator[str]:
    """What holds for a study of which nothing has been left out."""
    uids = [one for one in study.get("identifier", ()) if one.get("system") == "urn:dicom:uid"]
    if "series" in study and len(uids) != 1:
        yield "a study with series has exactly one Study Instance UID"
    known = sum(len(series.get("instance", ())) for series in study.get("series", ()))
    if study.get("numberOfInstances", 0) < known or study.get("numberOfSeries", 0) < len(
        study.get("series", ())
    ):
        yield "numbers below what is listed"


def _references(value: Json) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for one in value.values():
            yield from _references(one)
    elif isinstance(value, list):
        for one in value:
            yield from _references(one)


def _entity_invariants(entity: Mapping[str, Json]) -> Iterator[str]:
    if {"name", "query"} <= entity.keys():
        yield "an entity has a name or a query, not both (sev-1)"


_INVARIANTS: Mapping[str, Callable[[Mapping[str, Json]], Iterator[str]]] = {
    "AuditEntity": _entity_invariants,
    "Reference": _reference_invariants,
    "Coding": _coding_invariants,
    "Identifier": _identifier_invariants,
    "ImagingStudy": _study_invariants,
}
