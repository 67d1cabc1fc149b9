"""The elements of the resource types as R4 has them, and the parts of a resource that can be asked for.

`_summary` and `_elements` leave elements out (FHIR R4 search, "summary" and "elements"). What has been cut
carries the tag SUBSETTED, so that nobody takes it for the whole.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pacsbridge.kernel.query import Form

Resource = Mapping[str, Any]

_ALWAYS = frozenset(("resourceType", "id", "meta"))
_RESOURCE = "id meta implicitRules language text contained extension modifierExtension"

MANDATORY: Mapping[str, frozenset[str]] = {
    "ImagingStudy": frozenset(("status", "subject")),
    "Patient": frozenset(),
    "Endpoint": frozenset(("status", "connectionType", "payloadType", "address")),
    "AuditEvent": frozenset(("type", "recorded", "agent", "source")),
}
"""Resource type → the elements at its root that R4 demands."""

ELEMENTS: Mapping[str, frozenset[str]] = {
    "ImagingStudy": frozenset(
        f"{_RESOURCE} identifier status modality subject encounter started basedOn referrer interpreter "
        "endpoint numberOfSeries numberOfInstances procedureReference procedureCode location reasonCode "
        "reasonReference note description series".split()
    ),
    "Patient": frozenset(
        f"{_RESOURCE} identifier active name telecom gender birthDate deceasedBoolean deceasedDateTime "
        "address maritalStatus multipleBirthBoolean multipleBirthInteger photo contact communication "
        "generalPractitioner managingOrganization link".split()
    ),
    "Endpoint": frozenset(
        f"{_RESOURCE} identifier status connectionType name managingOrganization contact period payloadType "
        "payloadMimeType address header".split()
    ),
    "AuditEvent": frozenset(
        f"{_RESOURCE} type subtype action period recorded outcome outcomeDesc purposeOfEvent agent source "
        "entity".split()
    ),
}
"""Resource type → all elements at its root."""

BELOW: Mapping[str, str] = {"ImagingStudy": "series"}
"""Resource type → the one element that a summary shortens: its `instance` is not a summary element.

Every other element that pacsbridge publishes is one, but for `contained`, which stays, as references name it.
"""

_SUBSETTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
    "display": "subsetted",
}


def summary(resource: Resource) -> dict[str, Any]:
    """The summary elements of a resource (R4's Σ), tagged."""
    short = {name: value for name, value in resource.items() if name != "text"}
    below = BELOW.get(resource["resourceType"])
    if below in short:
        short[below] = [{n: v for n, v in one.items() if n != "instance"} for one in short[below]]
    return _tagged(short)


def needs_whole(type_: str, form: Form, elements: frozenset[str]) -> bool:
    """Whether a form of a resource cannot be had from its summary."""
    if elements:
        return BELOW.get(type_) in elements
    return form in (Form.WHOLE, Form.DATA)


def part(resource: Resource, form: Form, elements: frozenset[str]) -> dict[str, Any]:
    """The part of a resource, or of its summary, that is asked for; tagged. Mandatory elements are in it."""
    type_ = resource["resourceType"]
    if elements:
        return _tagged(_only(resource, elements | MANDATORY[type_]))
    if form is Form.SUMMARY:
        return summary(resource)
    if form is Form.TEXT:
        return _tagged(_only(resource, MANDATORY[type_] | {"text"}))
    return _tagged({name: value for name, value in resource.items() if name != "text"})


def _only(resource: Resource, names: Iterable[str]) -> dict[str, Any]:
    """Those elements, and what is contained in the resource for them to refer to, nothing else of it."""
    kept = {*_ALWAYS, *names} - {"contained"}
    chosen = {name: value for name, value in resource.items() if name in kept}
    named = set(_local_references(chosen)) if "contained" in resource else set()
    inside = [one for one in resource.get("contained", ()) if f"#{one['id']}" in named]
    return chosen | ({"contained": inside} if inside else {})


def _local_references(node: Any) -> Iterator[str]:
    """The references into the resource itself, `#id`."""
    if isinstance(node, dict):
        if str(node.get("reference", "")).startswith("#"):
            yield node["reference"]
        node = list(node.values())
    if isinstance(node, list):
        for below in node:
            yield from _local_references(below)


def _tagged(resource: dict[str, Any]) -> dict[str, Any]:
    meta = resource.get("meta", {})
    tags = [tag for tag in meta.get("tag", ()) if tag.get("code") != _SUBSETTED["code"]]
    head = {"resourceType": resource["resourceType"], "id": resource["id"]}
    return {**head, "meta": {**meta, "tag": [*tags, _SUBSETTED]}} | _without_head(resource)


def _without_head(resource: Resource) -> dict[str, Any]:
    return {name: value for name, value in resource.items() if name not in _ALWAYS}
