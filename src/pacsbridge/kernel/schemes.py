"""Coding scheme designators (0008,0102) to the URIs that FHIR knows code systems by: PS3.16 Table 8-1.

The URIs are those of FHIR R4 and of terminology.hl7.org; a scheme that has none goes by the OID which
Table 8-1 registers for it.
"""

import re
from collections.abc import Mapping

from pacsbridge.kernel.terminology import DCM, LOINC, RADLEX, SNOMED_CT, UCUM

_HL7 = "http://terminology.hl7.org/CodeSystem/"
_SID = "http://hl7.org/fhir/sid/"

_SCHEMES: tuple[tuple[str, str, str], ...] = (
    ("SCT SRT SNM3 99SDM", "2.16.840.1.113883.6.96", SNOMED_CT),
    ("DCM", "1.2.840.10008.2.16.4", DCM),
    ("LN LOINC", "2.16.840.1.113883.6.1", LOINC),
    ("RADLEX", "2.16.840.1.113883.6.256", RADLEX),
    ("UCUM", "2.16.840.1.113883.6.8", UCUM),
    ("I9 ICD9", "2.16.840.1.113883.6.42", _HL7 + "icd9"),
    ("I9C ICD9CM ICD-9-CM", "2.16.840.1.113883.6.2", _SID + "icd-9-cm"),
    ("I10 ICD10 ICD-10", "2.16.840.1.113883.6.3", _SID + "icd-10"),
    ("I10C ICD10CM ICD-10-CM", "2.16.840.1.113883.6.90", _SID + "icd-10-cm"),
    ("I10P ICD10PCS ICD-10-PCS", "2.16.840.1.113883.6.4", "http://www.cms.gov/Medicare/Coding/ICD10"),
    ("I11 ICD11 ICD-11", "1.2.840.10008.2.16.16", "http://id.who.int/icd/release/11/mms"),
    ("ICDO3 ICD-O-3", "2.16.840.1.113883.6.43.1", _HL7 + "icd-o-3"),
    ("ACR", "2.16.840.1.113883.6.76", _HL7 + "ACR"),
    ("C4 CPT4 CPT-4", "2.16.840.1.113883.6.12", "http://www.ama-assn.org/go/cpt"),
    ("C5", "2.16.840.1.113883.6.82", _HL7 + "C5"),
    ("CD2", "2.16.840.1.113883.6.13", "http://www.ada.org/cdt"),
    ("CTV3", "2.16.840.1.113883.6.6", _HL7 + "read-Codes"),
    ("HPC", "2.16.840.1.113883.6.14", _HL7 + "HCPCS-all-codes"),
    ("MSH", "2.16.840.1.113883.6.177", "https://www.nlm.nih.gov/mesh"),
    ("NCIt", "2.16.840.1.113883.3.26.1.1", "http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl"),
    ("NDC", "2.16.840.1.113883.6.69", _SID + "ndc"),
    ("POS", "2.16.840.1.113883.6.50", _HL7 + "POS"),
    ("RXNORM", "2.16.840.1.113883.6.88", "http://www.nlm.nih.gov/research/umls/rxnorm"),
    ("UMLS", "2.16.840.1.113883.6.86", _HL7 + "umls"),
    ("UPC", "2.16.840.1.113883.6.55", _HL7 + "UPC"),
    ("RFC3066", "2.16.840.1.113883.6.121", "urn:ietf:bcp:47"),
    ("RFC5646", "2.16.840.1.113883.6.316", "urn:ietf:bcp:47"),
    ("ISO3166_1", "2.16.1", "urn:iso:std:iso:3166"),
    ("ISO639_1", "2.16.840.1.113883.6.99", ""),
    ("ISO639_2", "2.16.840.1.113883.6.100", ""),
    ("ASTM-sigpurpose", "1.2.840.10065.1.12", ""),
    ("caDSR", "2.16.840.1.113883.3.26.2", ""),
    ("DC", "1.2.840.10008.2.16.10", ""),
    ("DCMUID", "1.2.840.10008.2.6.1", ""),
    ("FMA", "2.16.840.1.113883.6.119", ""),
    ("IBSI", "1.2.840.10008.2.16.13", ""),
    ("ITIS_TSN", "1.2.840.10008.2.16.7", ""),
    ("MA", "1.2.840.10008.2.16.5", ""),
    ("MAYOASRG", "1.2.840.10008.2.16.12", ""),
    ("MGI", "1.2.840.10008.2.16.8", ""),
    ("NEU", "2.16.840.1.113883.6.210", ""),
    ("NICIP", "2.16.840.1.113883.2.1.3.2.4.21", ""),
    ("NYUMCCG", "1.2.840.10008.2.16.11", ""),
    ("PATHLEX", "1.3.6.1.4.1.19376.1.8.2.1", ""),
    ("PUBCHEM_CID", "1.2.840.10008.2.16.9", ""),
    ("RADELEMENT", "1.2.840.10008.2.16.15", ""),
    ("RO", "1.2.840.10008.2.16.14", ""),
    ("RRID", "1.2.840.10008.2.16.18", ""),
    ("UBERON", "1.2.840.10008.2.16.6", ""),
    ("UNS", "1.2.840.10008.2.16.17", ""),
)
"""Designator and usual other spellings, registered OID, URI ("" where FHIR knows none)."""

_OLD_SNOMED = {"2.16.840.1.113883.6.51": SNOMED_CT, "2.16.840.1.113883.6.53": SNOMED_CT}
"""The OIDs of SNM3 and SDM: their codes are those of Table O-1."""

_ICD_9_CM_PARTS = {
    "2.16.840.1.113883.6.103": _SID + "icd-9-cm",
    "2.16.840.1.113883.6.104": _SID + "icd-9-cm",
}

BY_DESIGNATOR: Mapping[str, str] = {
    name.upper(): uri or f"urn:oid:{oid}" for names, oid, uri in _SCHEMES for name in names.split()
}
"""Designator in capitals → system."""

BY_OID: Mapping[str, str] = {oid: uri for _, oid, uri in _SCHEMES if uri} | _OLD_SNOMED | _ICD_9_CM_PARTS
"""OID → system, where the system is not the OID itself."""

_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")
_LONGEST_UID = 64


def from_oid(oid: str) -> str | None:
    """The system of a coding scheme UID: its URI if it has one, else `urn:oid:`; None when it is no OID."""
    text = oid.strip(" \0")
    if len(text) > _LONGEST_UID or not _OID.fullmatch(text):
        return None
    return BY_OID.get(text, f"urn:oid:{text}")
