"""The generated and transcribed tables against pydicom's dictionaries and their own rules."""

import re
from collections.abc import Mapping
from typing import cast

import pynetdicom  # noqa: F401 - adds newer transfer syntaxes to the dictionary
import pytest
from pydicom._uid_dict import UID_dictionary
from pydicom.sr._cid_dict import cid_concepts
from pydicom.sr._concepts_dict import concepts
from pydicom.sr._snomed_dict import mapping

from pacsbridge.kernel import body_parts, modalities, schemes, snomed, uids

Concepts = Mapping[str, Mapping[str, Mapping[str, tuple[str, list[int]]]]]
CONCEPTS = cast(Concepts, concepts)
"""Scheme → keyword → code → meaning and context groups."""

FHIR_CODE = re.compile(r"[^\s]+(\s[^\s]+)*")
VERHOEFF_PRODUCT = [
    "0123456789",
    "1234067895",
    "2340178956",
    "3401289567",
    "4012395678",
    "5987604321",
    "6598710432",
    "7659821043",
    "8765932104",
    "9876543210",
]
VERHOEFF_SHIFT = [
    "0123456789",
    "1576283094",
    "5803796142",
    "8916043527",
    "9453126870",
    "4286573901",
    "2793806415",
    "7046913258",
]


def checks(concept: str) -> bool:
    """Whether the last digit of a SNOMED CT id is its Verhoeff check digit."""
    state = 0
    for position, digit in enumerate(reversed(concept)):
        state = int(VERHOEFF_PRODUCT[state][int(VERHOEFF_SHIFT[position % 8][int(digit)])])
    return state == 0


def context_group(number: int, scheme: str) -> dict[str, str]:
    """Code → meaning of one context group in pydicom."""
    return {
        code: meaning
        for keyword in cid_concepts[number][scheme]
        for code, (meaning, groups) in CONCEPTS[scheme][keyword].items()
        if number in groups
    }


def meanings(code: str) -> set[str]:
    """Every meaning that pydicom has for a SNOMED CT concept, in small letters."""
    return {codes[code][0].lower() for codes in CONCEPTS["SCT"].values() if code in codes}


def test_snomed_table_is_table_o_1() -> None:
    """The SNOMED-RT table equals pydicom's; if it doesn't, scripts/generate_tables.py is due."""
    assert snomed.concepts() == mapping["SRT"]


def test_uid_table_is_the_registry() -> None:
    """Every SOP class and transfer syntax of pydicom is named, without the mark of the retired."""
    registry = {
        uid: row[0].removesuffix(" (Retired)")
        for uid, row in UID_dictionary.items()
        if row[1] in {"SOP Class", "Transfer Syntax"}
    }
    assert uids.names() == registry
    assert not [name for name in uids.names().values() if "Retired" in name]


def test_snomed_ids_have_their_check_digit() -> None:
    """A mistyped concept id would fail the Verhoeff check."""
    assert checks("39607008") and not checks("39607009")
    table = set(snomed.concepts().values()) | {part.code for part in body_parts.body_parts().values()}
    assert [concept for concept in table if not checks(concept)] == []


def test_body_part_terms_are_unique_defined_terms() -> None:
    """Each row of Table L-1 has its own term, fit for the value representation CS (PS3.5 6.2)."""
    terms = [row.split(" ")[0] for row in body_parts._ROWS.strip().splitlines()]
    assert len(terms) == len(set(terms)) == len(body_parts.body_parts())
    assert [term for term in terms if not re.fullmatch(r"[A-Z0-9]{1,16}", term)] == []


# Rows whose meaning in Table L-1 differs from what the context groups call the same concept.
OTHER_WORDS = {
    "AMNIOTICFLUID",
    "CALF",
    "CELIACA",
    "CHOROIDPLEXUS",
    "CULDESAC",
    "GESTSAC",
    "GLUTEAL",
    "LPORTALV",
    "MORISONSPOUCH",
    "PENILEA",
    "RPORTALV",
    "SUPRAPUBIC",
}


def test_body_parts_agree_with_the_context_groups() -> None:
    """pydicom knows every concept of the table, and all but a few by the same meaning."""
    table = body_parts.body_parts()
    differing = {term for term, part in table.items() if part.meaning.lower() not in meanings(part.code)}
    assert [term for term, part in table.items() if not meanings(part.code)] == []
    assert differing == OTHER_WORDS


def test_common_anatomic_regions_are_covered() -> None:
    """Most regions of CID 4031 have a term; a handful of Table L-1's rows has none."""
    covered = {part.code for part in body_parts.body_parts().values()}
    missing = set(context_group(4031, "SCT")) - covered
    assert len(missing) < 30
    assert not missing & {"816094009", "69536005", "818981001", "816092008", "45048000", "72696002"}


@pytest.mark.parametrize(("group", "ours"), [(29, modalities.ACQUISITION), (32, modalities.DERIVED)])
def test_modalities_hold_the_context_groups(group: int, ours: frozenset[str]) -> None:
    """CID 29 and CID 32 are in the tables with the standard's meanings."""
    theirs = context_group(group, "DCM")
    assert set(theirs) <= ours
    assert {code: modalities.MODALITIES[code] for code in theirs} == theirs


def test_modalities_hold_cid_33() -> None:
    """CID 33 is the two groups together, and no modality is of both kinds."""
    assert set(context_group(33, "DCM")) <= modalities.ACQUISITION | modalities.DERIVED
    assert not modalities.ACQUISITION & modalities.DERIVED


def test_modalities_have_meanings_of_the_dcm_ontology() -> None:
    """Every meaning, those of retired codes outside CID 33 too, is one that the ontology has for the code."""
    ontology = {(code, row[0]) for rows in CONCEPTS["DCM"].values() for code, row in rows.items()}
    assert set(modalities.MODALITIES.items()) - ontology == set()


def test_modality_codes_are_defined_terms() -> None:
    """A modality code fits the value representation CS."""
    codes = modalities.ACQUISITION | modalities.DERIVED
    assert [code for code in codes if not re.fullmatch(r"[A-Z0-9]{1,16}", code)] == []


def test_schemes_have_absolute_uris() -> None:
    """Every designator and OID leads to a URI of a form FHIR allows as a system."""
    for system in [*schemes.BY_DESIGNATOR.values(), *schemes.BY_OID.values()]:
        assert re.fullmatch(r"(https?://|urn:(oid|ietf|iso):)\S+[^/\s]", system)


def test_schemes_have_the_registered_uids() -> None:
    """The OIDs of schemes that DICOM itself registers are those of PS3.6 Table A-1."""
    ours = {oid: names.split()[0] for names, oid, _ in schemes._SCHEMES}
    registered = {uid: row[4] for uid, row in UID_dictionary.items() if row[1] == "Coding Scheme"}
    spelt_otherwise = {"1.2.840.10008.2.16.12": "MAYOASRG"}
    assert {uid: ours[uid] for uid in registered} == registered | spelt_otherwise


def test_no_designator_is_given_twice() -> None:
    """Two rows for one designator would hide each other."""
    names = [name.upper() for row in schemes._SCHEMES for name in row[0].split()]
    assert len(names) == len(set(names))


def test_codes_are_legal_fhir_codes() -> None:
    """FHIR's rule for code: no space at the ends, none doubled."""
    for code in [*modalities.MODALITIES, *snomed.concepts().values()]:
        assert FHIR_CODE.fullmatch(code)
