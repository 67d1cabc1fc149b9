"""Logical references: people, devices, visits, orders and specimens by their identifiers and names."""

from collections.abc import Mapping, Sequence
from typing import Any

from pacsbridge.kernel import concepts
from pacsbridge.kernel.attributes import Attributes
from pacsbridge.kernel.identity import Identifier, Issuer, identifier, issuer
from pacsbridge.kernel.names import is_filling, readable
from pacsbridge.kernel.scope import Scope
from pacsbridge.kernel.terminology import PARTICIPATIONS

Reference = dict[str, Any]


def reference(type_: str, id_: Identifier | None = None, display: str | None = None) -> Reference:
    """A reference by identifier and name, without a URL."""
    result: Reference = {"type": type_}
    if id_:
        result["identifier"] = id_
    if display:
        result["display"] = display
    return result


# issuers and numbers


def issued_by(
    item: Attributes | None, scope: Scope, systems: Mapping[str, str], default: str | None = None
) -> Issuer:
    """The issuer that an item of the Hierarchic Designator macro names; the default without an item."""
    if item is None:
        return Issuer(default)
    namespace = scope.text(item, "LocalNamespaceEntityID")
    return universally(item, scope, namespace, systems, default)


def universally(
    item: Attributes | None, scope: Scope, namespace: str, systems: Mapping[str, str], default: str | None
) -> Issuer:
    """An issuer whose namespace stands elsewhere than in the item with its universal id."""
    if item is None:
        return issuer(namespace, "", "", systems, default)
    universal = scope.text(item, "UniversalEntityID")
    return issuer(namespace, universal, scope.text(item, "UniversalEntityIDType"), systems, default)


def accession(item: Attributes, scope: Scope) -> Identifier | None:
    """Accession Number (0008,0050) with its issuer, of the root or of a request's item."""
    number = scope.text(item, "AccessionNumber")
    if not number:
        return None
    context = scope.context
    issuing = item.item("IssuerOfAccessionNumberSequence")
    by = issued_by(issuing, scope, context.accession_systems, context.accession_system)
    return identifier(number, by, "ACSN")


# people


def people(attributes: Attributes, scope: Scope, names: str, identifications: str) -> list[Reference]:
    """Practitioners by name and by Person Identification macro (PS3.3 Table 10-1).

    Names and items belong together by their order where there are equally many.
    """
    texts = attributes.texts(names)
    for text in filter(is_filling, texts):
        scope.note(names, text, "names nobody")
    displays = [readable(text) for text in texts]
    items = scope.items(attributes, identifications)
    if not items:
        return [reference("Practitioner", display=display) for display in displays if display]
    if len(displays) == len(items):
        pairs: Sequence[tuple[str | None, Attributes | None]] = list(zip(displays, items, strict=True))
    else:
        pairs = [*((display, None) for display in displays), *((None, item) for item in items)]
    return [found for display, item in pairs if (found := _person(display, item, scope))]


def person(attributes: Attributes, scope: Scope, names: str, identifications: str) -> Reference | None:
    """The one practitioner of an element that has one value."""
    found = people(attributes, scope, names, identifications)
    return found[0] if found else None


def _person(display: str | None, item: Attributes | None, scope: Scope) -> Reference | None:
    code = item.item("PersonIdentificationCodeSequence") if item else None
    id_ = None
    if code is not None:
        display = display or concepts.meaning(code, scope)
        if value := concepts.code_value(code, scope):
            id_ = identifier(value, Issuer(concepts.system(code, scope)))
    return reference("Practitioner", id_, display) if id_ or display else None


def performers(
    attributes: Attributes, scope: Scope, function: str, names: str, identifications: str
) -> list[dict[str, Any]]:
    """Practitioners as performers of a series, `function` of v3-ParticipationType."""
    coded = {"coding": [PARTICIPATIONS[function]]}
    found = people(attributes, scope, names, identifications)
    return [{"function": coded, "actor": actor} for actor in found]


def device(attributes: Attributes, scope: Scope) -> list[dict[str, Any]]:
    """The device that made a series as its performer, where that is configured."""
    if not scope.context.device_performer:
        return []
    maker, model = (scope.text(attributes, keyword) for keyword in ("Manufacturer", "ManufacturerModelName"))
    serial = scope.text(attributes, "DeviceSerialNumber")
    id_ = identifier(serial, Issuer(None, maker or None)) if serial else None
    display = " ".join(filter(None, (maker, model)))
    return [{"actor": reference("Device", id_, display)}] if id_ or display else []


# visits, orders, specimens, places


def encounter(attributes: Attributes, scope: Scope) -> Reference | None:
    """Admission ID (0038,0010) with its issuer."""
    number = scope.text(attributes, "AdmissionID")
    if not number:
        return None
    issuing = attributes.item("IssuerOfAdmissionIDSequence")
    by = issued_by(issuing, scope, scope.context.encounter_systems)
    return reference("Encounter", identifier(number, by, "VN"))


def requests(attributes: Attributes, scope: Scope) -> list[Reference]:
    """Orders that the root and (0040,0275) name: requested procedure, placer, filler, accession numbers.

    The root's own accession number is left to the study; a request that repeats it adds nothing.
    """
    own = accession(attributes, scope)
    found = _order_numbers(attributes, scope)
    for item in scope.items(attributes, "RequestAttributesSequence"):
        number = accession(item, scope)
        if number and not (own and own["value"] == number["value"]):
            found.append(service_request(number))
        found += _order_numbers(item, scope)
    return found


def service_request(id_: Identifier) -> Reference:
    """A reference to the order that goes by an identifier."""
    return reference("ServiceRequest", id_)


def _order_numbers(item: Attributes, scope: Scope) -> list[Reference]:
    found = []
    if number := scope.text(item, "RequestedProcedureID"):
        found.append(service_request({"type": {"text": "Requested Procedure ID"}, "value": number}))
    for type_, keyword in _ORDER_NUMBERS:
        if number := scope.text(item, keyword):
            found.append(service_request(identifier(number, Issuer(), type_)))
    return found


_ORDER_NUMBERS = (
    ("PLAC", "PlacerOrderNumberImagingServiceRequest"),
    ("FILL", "FillerOrderNumberImagingServiceRequest"),
)


def specimens(attributes: Attributes, scope: Scope) -> list[Reference]:
    """The specimens of (0040,0560) with their issuers."""
    found = []
    for item in scope.items(attributes, "SpecimenDescriptionSequence"):
        if number := scope.text(item, "SpecimenIdentifier"):
            issuing = item.item("IssuerOfTheSpecimenIdentifierSequence")
            by = issued_by(issuing, scope, scope.context.specimen_systems)
            found.append(reference("Specimen", identifier(number, by)))
    return found
