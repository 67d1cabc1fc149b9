"""One patient's resources, as clauses of a search (FHIR R4, "compartment Patient")."""

from collections.abc import Iterator

from pacsbridge.kernel.query import Clause, Kind, ReferenceValue, TokenValue
from pacsbridge.kernel.search_values import reference


def named(patient: str, base_url: str) -> ReferenceValue:
    """The value that a search by patient has for a reference; `base_url` is that of the FHIR API."""
    return reference(patient, base_url, ("Patient",))


def clauses(type_: str, own: ReferenceValue) -> Iterator[Clause]:
    """What confines a search of a type to a patient; nothing for what belongs to nobody."""
    if type_ in ("AuditEvent", "ImagingStudy"):
        yield Clause("patient", Kind.REFERENCE, (own,))
    if type_ == "Patient":
        yield Clause("_id", Kind.ID, (TokenValue(None, own.target),))
