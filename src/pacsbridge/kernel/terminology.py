"""Names of FHIR's code systems, each once, and the few fixed codings that resources use."""

from collections.abc import Mapping
from typing import Final

Coding = dict[str, str]
"""A FHIR Coding: any of `system`, `code`, `display`."""

SNOMED_CT: Final = "http://snomed.info/sct"
DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
LOINC: Final = "http://loinc.org"
RADLEX: Final = "http://radlex.org"
UCUM: Final = "http://unitsofmeasure.org"
URI: Final = "urn:ietf:rfc:3986"
DICOM_UID: Final = "urn:dicom:uid"
IDENTIFIER_TYPE: Final = "http://terminology.hl7.org/CodeSystem/v2-0203"
PARTICIPATION_TYPE: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
CONNECTION_TYPE: Final = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type"


def _codings(system: str, displays: Mapping[str, str]) -> Mapping[str, Coding]:
    return {code: {"system": system, "code": code, "display": display} for code, display in displays.items()}


IDENTIFIER_TYPES: Final = _codings(
    IDENTIFIER_TYPE,
    {
        "ACSN": "Accession ID",
        "FILL": "Filler Identifier",
        "MR": "Medical record number",
        "PLAC": "Placer Identifier",
        "VN": "Visit number",
    },
)
"""HL7 v2 table 0203, what study, order, patient and visit numbers need. To be copied, not changed."""

PARTICIPATIONS: Final = _codings(PARTICIPATION_TYPE, {"PRF": "performer", "SPRF": "secondary performer"})
"""HL7 v3 participation types of a series' performers."""

CONNECTION_TYPES: Final = _codings(
    CONNECTION_TYPE,
    {
        "dicom-wado-rs": "DICOM WADO-RS",
        "dicom-qido-rs": "DICOM QIDO-RS",
        "dicom-stow-rs": "DICOM STOW-RS",
        "dicom-wado-uri": "DICOM WADO-URI",
        "ihe-iid": "IHE IID",
    },
)
"""R4's connection types of imaging endpoints."""
