"""References to patients: here, at an authority, or by identifier alone."""

import pytest

from pacsbridge.kernel.identity import Issuer, identifier, patient_key
from pacsbridge.kernel.patients import subject
from pacsbridge.kernel.publication import Publication

AUTHORITY = "https://mpi.example/fhir"
OWN, OTHER = "urn:oid:1.2.3", "urn:oid:1.2.4"


@pytest.mark.parametrize(
    ("system", "issued_by", "url"),
    [
        (None, Issuer(), f"{AUTHORITY}/Patient/P1"),
        (None, Issuer(OTHER), None),
        (None, Issuer(None, "HOSP_B"), None),
        (OWN, Issuer(OWN), f"{AUTHORITY}/Patient/P1"),
        (OWN, Issuer(OTHER), None),
        (OWN, Issuer(None, "HOSP_B"), None),
    ],
)
def test_an_authority_has_its_own_patients_alone(
    system: str | None, issued_by: Issuer, url: str | None
) -> None:
    """The same number of another issuer is another patient: a reference by identifier, without a URL."""
    publication = Publication(patient_authority=AUTHORITY, patient_system=system)
    facts = {"key": patient_key("P1", issued_by), "identifier": identifier("P1", issued_by, "MR")}
    reference = subject(facts, publication)
    assert reference.get("reference") == url
    assert reference["identifier"]["value"] == "P1"
