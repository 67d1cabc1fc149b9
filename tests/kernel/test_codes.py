"""Coded values of a header become FHIR codings, and nothing goes under a name that isn't its own."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.kernel import codes, terminology

SNOMED = "http://snomed.info/sct"
DCM = "http://dicom.nema.org/resources/ontology/DCM"
FHIR_CODE = re.compile(r"[^\s]+(\s[^\s]+)*")


@pytest.mark.parametrize(
    ("designator", "system"),
    [
        ("SCT", SNOMED),
        ("SRT", SNOMED),
        ("SNM3", SNOMED),
        ("99SDM", SNOMED),
        ("DCM", DCM),
        ("LN", "http://loinc.org"),
        ("RADLEX", "http://radlex.org"),
        ("UCUM", "http://unitsofmeasure.org"),
        ("I10", "http://hl7.org/fhir/sid/icd-10"),
        ("I10C", "http://hl7.org/fhir/sid/icd-10-cm"),
        ("I10P", "http://www.cms.gov/Medicare/Coding/ICD10"),
        ("I9C", "http://hl7.org/fhir/sid/icd-9-cm"),
        ("C4", "http://www.ama-assn.org/go/cpt"),
        ("NCIt", "http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl"),
        (" ncit ", "http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl"),
        ("RXNORM", "http://www.nlm.nih.gov/research/umls/rxnorm"),
        ("FMA", "urn:oid:2.16.840.1.113883.6.119"),
        ("99ACME", None),
        ("L", None),
        ("HOUSE", None),
        ("", None),
    ],
)
def test_designator_becomes_a_uri(designator: str, system: str | None) -> None:
    """Designators of PS3.16 Table 8-1 have their URI; an unknown one has none."""
    assert codes.coding_system(designator) == system


@pytest.mark.parametrize("designator", ["99ACME", "L", "HOUSE", "I10"])
def test_configured_map_comes_first(designator: str) -> None:
    """What the operator configures wins, also over a designator of the standard and over a scheme UID."""
    local = {designator: "https://acme.example/codes"}
    assert codes.coding_system(designator, scheme_uid="1.2.3", local=local) == "https://acme.example/codes"


@pytest.mark.parametrize(
    ("uid", "system"),
    [
        ("1.2.276.0.99", "urn:oid:1.2.276.0.99"),
        ("1.2.276.0.99\0", "urn:oid:1.2.276.0.99"),
        ("2.16.840.1.113883.6.96", SNOMED),
        ("2.16.840.1.113883.6.1", "http://loinc.org"),
        ("2.16.840.1.113883.6.103", "http://hl7.org/fhir/sid/icd-9-cm"),
        ("99ACME", None),
        ("1.02.3", None),
        ("1." + "2" * 63, None),
        ("", None),
    ],
)
def test_scheme_uid_names_a_private_scheme(uid: str, system: str | None) -> None:
    """A private scheme goes by its UID, a well-known UID by its URI, and what is no UID is not used."""
    assert codes.coding_system("99ACME", scheme_uid=uid) == system


@pytest.mark.parametrize("designator", ["SRT", "SNM3", "99SDM", "SCT"])
def test_snomed_rt_code_becomes_snomed_ct(designator: str) -> None:
    """Old codes are looked up in Table O-1 under whichever SNOMED designator they come."""
    expected = {"system": SNOMED, "code": "10200004", "display": "Liver"}
    assert codes.coding("T-62000", designator, "Liver") == expected
    assert codes.coding("10200004", designator, "Liver") == expected


def test_unmapped_snomed_rt_code_is_text_only() -> None:
    """A SNOMED code that Table O-1 lacks gives no coding at all; the meaning stays as text."""
    assert codes.coding("T-ZZZZZ", "SRT", "Liver") is None
    assert codes.concept("T-ZZZZZ", "SRT", "Liver") == {"text": "Liver"}


def test_unknown_scheme_keeps_the_display() -> None:
    """No system is made up, and a code without its system isn't shown."""
    assert codes.coding("CT1", "99ACME", "CT head") == {"display": "CT head"}
    assert codes.concept("CT1", "99ACME", "CT head") == {
        "coding": [{"display": "CT head"}],
        "text": "CT head",
    }
    assert codes.concept("CT1", "99ACME", " ") is None


def test_known_scheme_without_meaning() -> None:
    """A missing meaning costs neither code nor system."""
    assert codes.concept("113001", "DCM", "") == {"coding": [{"system": DCM, "code": "113001"}]}


def test_missing_code_keeps_the_meaning() -> None:
    """An item with no code value is a display."""
    assert codes.coding(" ", "SCT", "Liver") == {"display": "Liver"}
    assert codes.coding("", "", "") is None


def test_urn_code_value_is_a_uri() -> None:
    """A URN Code Value (0008,0120) has no designator: its system is that of URIs."""
    expected = {"system": "urn:ietf:rfc:3986", "code": "urn:oid:1.2.3", "display": "x"}
    assert codes.coding("urn:oid:1.2.3", "", "x") == expected
    assert codes.coding("plain", "", "x") == {"display": "x"}


@pytest.mark.parametrize(
    ("text", "code", "display"),
    [
        ("CHEST", "816094009", "Chest"),
        ("chest ", "816094009", "Chest"),
        ("THORAX", "816094009", "Thorax"),
        ("ABDOMEN", "818981001", "Abdomen"),
        ("ABDOMEN PELVIS", "818982008", "Abdomen and Pelvis"),
        ("C-SPINE", "122494005", "Cervical spine"),
        ("Lower Leg", "30021000", "Lower leg"),
        ("LEG", "30021000", "Lower leg"),
        ("WHOLEBODY", "38266002", "Entire body"),
        ("KNEE", "72696002", "Knee"),
    ],
)
def test_body_part(text: str, code: str, display: str) -> None:
    """Terms of Annex L, however they are spaced and capitalised."""
    assert codes.body_part(text) == {"system": SNOMED, "code": code, "display": display}


@pytest.mark.parametrize("text", ["", " ", "FETALARM", "CHEST X", "Thorax rechts"])
def test_unlisted_body_part_has_no_code(text: str) -> None:
    """Text that Annex L gives no code for never goes under SNOMED's name."""
    assert codes.body_part(text) is None


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("CT", {"system": DCM, "code": "CT", "display": "Computed Tomography"}),
        (" mr ", {"system": DCM, "code": "MR", "display": "Magnetic Resonance"}),
        ("ST", {"system": DCM, "code": "ST", "display": "Single-photon emission computed tomography"}),
        ("ANN", {"system": DCM, "code": "ANN", "display": "Annotation"}),
        ("RTRAD", {"system": DCM, "code": "RTRAD"}),
        ("", {"system": DCM, "code": "OT", "display": "Other"}),
    ],
)
def test_modality(code: str, expected: dict[str, str]) -> None:
    """Modalities of all times have the system DCM, and a display where the standard has one."""
    assert codes.modality(code) == expected


@pytest.mark.parametrize(
    "code", ["CT", "MR", "US", "DX", "PT", "XA", "SM", "ECG", "ST", "DS", "ct ", "NEWDEVICE"]
)
def test_acquisition(code: str) -> None:
    """Devices count, retired and unknown ones too."""
    assert codes.is_acquisition(code)


@pytest.mark.parametrize(
    "code",
    [
        "SR",
        "PR",
        "KO",
        "REG",
        "SEG",
        "DOC",
        "RTSTRUCT",
        "RTPLAN",
        "RTDOSE",
        "RTRECORD",
        "ANN",
        "OT",
        "AU",
        "FID",
        "RWV",
        "PLAN",
        "RTRAD",
    ],
)
def test_not_acquisition(code: str) -> None:
    """Documents, plans, annotations and other derived objects don't count."""
    assert not codes.is_acquisition(code)


@pytest.mark.parametrize(
    ("text", "standard", "r4_example"),
    [
        ("L", "7771000", "419161000"),
        ("R", "24028007", "419465000"),
        (" b", "51440002", "51440002"),
    ],
)
def test_laterality(text: str, standard: str, r4_example: str) -> None:
    """CID 244 by default, R4's example concepts by setting."""
    plain, example = codes.laterality(text), codes.laterality(text, r4_example=True)
    assert plain is not None and (plain["system"], plain["code"]) == (SNOMED, standard)
    assert example is not None and (example["system"], example["code"]) == (SNOMED, r4_example)


@pytest.mark.parametrize("text", ["U", "", "LEFT SIDE", "X"])
def test_no_laterality(text: str) -> None:
    """Unpaired and unknown sides give nothing."""
    assert codes.laterality(text) is None


def test_sop_class() -> None:
    """A SOP class is a URI with the standard's name; a private one has no display."""
    ct = {
        "system": "urn:ietf:rfc:3986",
        "code": "urn:oid:1.2.840.10008.5.1.4.1.1.2",
        "display": "CT Image Storage",
    }
    assert codes.sop_class("1.2.840.10008.5.1.4.1.1.2") == ct
    assert codes.sop_class("1.2.3.4") == {"system": "urn:ietf:rfc:3986", "code": "urn:oid:1.2.3.4"}


def test_retired_sop_class_has_a_plain_name() -> None:
    """The name of a retired class comes without the mark."""
    assert codes.uid_name("1.2.840.10008.5.1.4.1.1.6") == "Ultrasound Image Storage"


def test_fixed_codings_carry_system_code_and_display() -> None:
    """The tables of fixed codings are filed under their own codes."""
    for table in (terminology.IDENTIFIER_TYPES, terminology.PARTICIPATIONS, terminology.CONNECTION_TYPES):
        for code, coding in table.items():
            assert set(coding) == {"system", "code", "display"} and coding["code"] == code


@given(
    st.text(), st.one_of(st.text(), st.sampled_from(["SRT", "SCT", "DCM", "99X", "L"])), st.text(), st.text()
)
def test_coding_is_total(code: str, designator: str, meaning: str, uid: str) -> None:
    """Any text gives a coding or None: legal code, never the designator as system, never a system alone."""
    found = codes.coding(code, designator, meaning, scheme_uid=uid)
    if found is None:
        return
    assert found and set(found) <= {"system", "code", "display"}
    assert ("system" in found) == ("code" in found)
    assert re.match(r"https?://|urn:", found.get("system", "urn:"))
    assert FHIR_CODE.fullmatch(found.get("code", "x")) and found.get("display", "x").strip()
    if found.get("system") == SNOMED:
        assert found["code"].isdigit()


@given(st.text())
def test_single_texts_are_total(text: str) -> None:
    """Body parts, sides, modalities and UIDs take any text."""
    codes.body_part(text)
    codes.laterality(text)
    codes.is_acquisition(text)
    codes.uid_name(text)
    assert FHIR_CODE.fullmatch(codes.modality(text)["code"])
