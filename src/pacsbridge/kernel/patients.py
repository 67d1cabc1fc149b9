"""Patient facts → the Patient resource, and the reference to it."""

from typing import Any

from pacsbridge.kernel import names
from pacsbridge.kernel.identity import Identifier, patient_id
from pacsbridge.kernel.model import Values, fullest
from pacsbridge.kernel.publication import Publication
from pacsbridge.kernel.values import is_id

_DATA_ABSENT = {
    "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
    "valueCode": "unknown",
}


def patient(facts: Values, publication: Publication) -> dict[str, Any] | None:
    """The Patient resource; None for a patient without PatientID, who cannot be told from others."""
    if "key" not in facts:
        return None
    resource: dict[str, Any] = {
        "resourceType": "Patient",
        "id": patient_id(facts["key"], publication.id_key),
        "identifier": fullest([facts["identifier"], *facts.get("other_identifiers", ())]),
        "name": names.listed(facts.get("name", {})),
        "gender": facts.get("gender"),
        "birthDate": facts.get("birth_date"),
    }
    return {name: value for name, value in resource.items() if value}


def subject(facts: Values, publication: Publication) -> dict[str, Any]:
    """The reference to a patient; without PatientID a display alone, marked as lacking the rest."""
    display = names.display(facts.get("name", {}))
    if "key" not in facts:
        result: dict[str, Any] = {"extension": [_DATA_ABSENT]}
    else:
        result = {"reference": _url(facts, publication), "type": "Patient", "identifier": facts["identifier"]}
    result["display"] = display
    return {name: value for name, value in result.items() if value}


def reference(facts: Values, publication: Publication) -> str:
    """Where a patient is read, as the resources say; "" where they don't."""
    return str(subject(facts, publication).get("reference", ""))


def _url(facts: Values, publication: Publication) -> str | None:
    """Where the patient is read: here, or at the authority, for its own PatientIDs that are legal ids."""
    if publication.patient_authority is None:
        return f"Patient/{patient_id(facts['key'], publication.id_key)}"
    identifier = facts["identifier"]
    number = identifier["value"]
    if not is_id(number) or not _of_authority(identifier, publication):
        return None
    return f"{publication.patient_authority.rstrip('/')}/Patient/{number}"


def _of_authority(identifier: Identifier, publication: Publication) -> bool:
    """Whether the authority gave a number: another issuer's may be somebody else's there."""
    return identifier.get("system") == publication.patient_system and "assigner" not in identifier
