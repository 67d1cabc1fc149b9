"""Coded values of a DICOM header as FHIR codings: schemes, SNOMED, modality, body part, side.

What a code system doesn't hold never goes under its name: without a system that is known for certain only
the meaning remains. Texts are expected as `kernel.values` cleans them.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from pacsbridge.kernel import body_parts, modalities, schemes, snomed
from pacsbridge.kernel.terminology import DCM, SNOMED_CT, URI, Coding
from pacsbridge.kernel.uids import uid_name as uid_name

_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_OTHER = "OT"
_URI = re.compile(r"(urn:|https?://)[!-~]+")


def coding_system(
    designator: str, *, scheme_uid: str | None = None, local: Mapping[str, str] = _NONE
) -> str | None:
    """The URI of a code system, or None where it can't be told (PS3.3 8.2, PS3.16 Table 8-1).

    `local` is the configuration's map of designators and comes first; then the designators of the standard;
    then `scheme_uid` (0008,010C). A designator itself is never returned.
    """
    name = designator.strip(" \0")
    known = local.get(name) or schemes.BY_DESIGNATOR.get(name.upper())
    return known or (schemes.from_oid(scheme_uid) if scheme_uid else None)


def to_snomed_ct(code: str) -> str | None:
    """The SNOMED CT concept id of a SNOMED-RT style code (PS3.16 Table O-1); a number is one already."""
    if code.isascii() and code.isdigit():
        return code
    return snomed.concepts().get(code.upper())


def coding(
    code: str,
    designator: str,
    meaning: str,
    *,
    scheme_uid: str | None = None,
    local: Mapping[str, str] = _NONE,
) -> Coding | None:
    """One item of the Code Sequence macro (PS3.3 Table 8.8-1) as a FHIR Coding.

    An unknown scheme leaves `display` alone. None where nothing remains, and for a SNOMED code that is not
    in Table O-1: the caller has the meaning as text. A URN Code Value comes with an empty designator.
    """
    code, meaning = " ".join(code.split()), meaning.strip()
    system = _system(code, designator, scheme_uid, local)
    if code and system == SNOMED_CT:
        concept = to_snomed_ct(code)
        return _coding(system, concept, meaning) if concept else None
    if code and system:
        return _coding(system, code, meaning)
    return {"display": meaning} if meaning else None


def concept(
    code: str,
    designator: str,
    meaning: str,
    *,
    scheme_uid: str | None = None,
    local: Mapping[str, str] = _NONE,
) -> dict[str, Any] | None:
    """The same item as a CodeableConcept: `coding` where there is one, `text` the meaning."""
    found = coding(code, designator, meaning, scheme_uid=scheme_uid, local=local)
    result: dict[str, Any] = {"coding": [found]} if found else {}
    if meaning.strip():
        result["text"] = meaning.strip()
    return result or None


def body_part(text: str) -> Coding | None:
    """Body Part Examined (0018,0015) as a SNOMED CT coding; None for what PS3.16 Annex L doesn't list."""
    found = body_parts.find(text)
    return _coding(SNOMED_CT, found.code, found.meaning) if found else None


def modality(code: str) -> Coding:
    """Modality (0008,0060) as a coding, `display` where the standard has one; a blank one is OT."""
    name = " ".join(code.split()).upper() or _OTHER
    return _coding(DCM, name, modalities.MODALITIES.get(name, ""))


def is_acquisition(code: str) -> bool:
    """Whether a modality takes images or signals (CID 29).

    As against documents, plans and other derived objects (CID 32). One that the standard doesn't know counts
    as a device.
    """
    return " ".join(code.split()).upper() not in modalities.DERIVED


_SIDES: Final[Mapping[str, tuple[str, str]]] = {
    "L": ("7771000", "Left"),
    "R": ("24028007", "Right"),
    "B": ("51440002", "Bilateral"),
}
_R4_SIDES: Final[Mapping[str, tuple[str, str]]] = {
    "L": ("419161000", "Unilateral left"),
    "R": ("419465000", "Unilateral right"),
    "B": ("51440002", "Bilateral"),
}


def laterality(text: str, r4_example: bool = False) -> Coding | None:
    """Laterality (0020,0060) or Image Laterality (0020,0062) by CID 244.

    L, R and B; None for U (unpaired) and anything else. `r4_example` takes the concepts of R4's example value
    set instead.
    """
    side = (_R4_SIDES if r4_example else _SIDES).get(text.strip().upper())
    return _coding(SNOMED_CT, *side) if side else None


def sop_class(uid: str) -> Coding:
    """A SOP Class UID as a coding, `display` for those of the standard."""
    return _coding(URI, f"urn:oid:{uid}", uid_name(uid) or "")


def _system(code: str, designator: str, scheme_uid: str | None, local: Mapping[str, str]) -> str | None:
    if not designator.strip(" \0") and _URI.fullmatch(code):
        return URI
    return coding_system(designator, scheme_uid=scheme_uid, local=local)


def _coding(system: str, code: str, display: str) -> Coding:
    result = {"system": system, "code": code}
    return result | {"display": display} if display else result
