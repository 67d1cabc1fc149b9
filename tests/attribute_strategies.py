"""Hypothesis strategies for decoded headers: wild ones, and the instances of one study that agree."""

from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from pacsbridge.kernel.attributes import ELEMENTS, Attributes
from pacsbridge.kernel.identity import Context
from pacsbridge.kernel.publication import EndpointSpec, Publication

Values = dict[str, Any]

_ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
_NAMES = st.text(st.sampled_from("^^^==ab \x00\u3000山"), max_size=14)
_UIDS = st.sampled_from([f"1.2.{number}" for number in range(9)])
_PLAUSIBLE = st.sampled_from(
    """
    20200131 2020.01.31 202001 2020 20200000 20201332 00000000 20200131101530.5+0100 101530 101530.123456 10
    235960 240000 10:15:30 +0100 -0330 +1400 +9999 0 7 -3 1.5 2147483648 99999999999999999999 CT SR KO L R B U
    M F O UNAVAILABLE ONLINE CHEST ISO DNS UUID URI X500 SCT SRT DCM LN 99X T-D1100 113001 113039 24028007
    1.2.840.10008.2.16.4 urn:oid:1.2 h.example Doe^Jane Yamada^Tarou=山田^太郎=やまだ^たろう a\\b
    """.split()
)
_TEXT = _PLAUSIBLE | _PLAUSIBLE | _NAMES | _ANY_TEXT
_TEXTS = st.tuples(_TEXT) | st.tuples(_TEXT, _TEXT)
_SOP_CLASSES = st.sampled_from(
    ["1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.59", "1.2.840.10008.5.1.4.1.1.88.11",
     "1.2.840.10008.5.1.4.1.1.104.1", "1.2.840.10008.5.1.4.1.1.11.1", "1.3.6.1.4.1.99.7"]
)  # fmt: skip

_PLAIN = [keyword for keyword, element in ELEMENTS.items() if element.vr != "SQ"]
_SEQUENCES = [keyword for keyword, element in ELEMENTS.items() if element.vr == "SQ"]
_ITEM_KEYWORDS = [
    "CodeValue", "LongCodeValue", "URNCodeValue", "CodingSchemeDesignator", "CodingSchemeUID", "CodeMeaning",
    "UniversalEntityID", "UniversalEntityIDType", "LocalNamespaceEntityID", "PatientID", "AccessionNumber",
    "RequestedProcedureID", "SpecimenIdentifier", "ReasonForTheRequestedProcedure", "StudyInstanceUID",
    "ReferencedSOPInstanceUID", "IssuerOfPatientID",
]  # fmt: skip


def _values(keywords: list[str], most: int) -> st.SearchStrategy[Values]:
    return st.dictionaries(st.sampled_from(keywords), _TEXTS, max_size=most)


def _sequences(items: st.SearchStrategy[Attributes], most: int) -> st.SearchStrategy[Values]:
    return st.dictionaries(
        st.sampled_from(_SEQUENCES), st.tuples(items) | st.tuples(items, items), max_size=most
    )


def _item(sequences: st.SearchStrategy[Values]) -> st.SearchStrategy[Attributes]:
    return st.builds(lambda texts, nested: Attributes(texts | nested), _values(_ITEM_KEYWORDS, 5), sequences)


_NESTED = _sequences(_item(_sequences(_item(st.just({})), 2)), 5)


@st.composite
def wild(draw: st.DrawFn) -> Attributes:
    """A header of any mapped elements with any text, some of it plausible; only its UIDs are UIDs."""
    values = draw(_values(_PLAIN, 30)) | draw(_NESTED)
    values |= {keyword: (draw(_UIDS),) for keyword in ("SeriesInstanceUID", "SOPInstanceUID")}
    values |= {"StudyInstanceUID": ("1.2.3",), "SOPClassUID": (draw(_SOP_CLASSES),)}
    return Attributes(values)


contexts = st.builds(
    Context,
    zone=st.sampled_from([None, ZoneInfo("Europe/Berlin"), ZoneInfo("Pacific/Kiritimati")]),
    patient_systems=st.sampled_from([{}, {"CT": "urn:oid:1.2"}]),
    coding_systems=st.sampled_from([{}, {"99X": "urn:oid:1.3"}]),
    accession_system=st.sampled_from([None, "urn:oid:1.4"]),
    study_id_system=st.sampled_from([None, "urn:oid:1.5"]),
    r4_laterality=st.booleans(),
    study_comments=st.booleans(),
    device_performer=st.booleans(),
)

publications = st.builds(
    Publication,
    id_key=st.binary(max_size=4),
    id_form=st.sampled_from(["uid", "hash"]),
    default_endpoints=st.sampled_from(
        [(), (EndpointSpec("https://p.example"), EndpointSpec("https://v.example/{study_uid}", "ihe-iid"))]
    ),
    patient_authority=st.sampled_from([None, "https://mpi.example/fhir"]),
    procedure_reference=st.sampled_from([None, "https://ehr.example/Procedure/{uid}"]),
    reason_reference=st.sampled_from([None, "https://ehr.example/Condition/{accession}"]),
)

# instances that agree


def _issuer(oid: str) -> tuple[Attributes, ...]:
    return (Attributes({"UniversalEntityID": (oid,), "UniversalEntityIDType": ("ISO",)}),)


def _coded(value: str, meaning: str) -> Attributes:
    return Attributes({"CodeValue": (value,), "CodingSchemeDesignator": ("LN",), "CodeMeaning": (meaning,)})


_OF_THE_STUDY: Values = {
    "IssuerOfPatientID": ("HOSP_A",), "PatientName": ("Yamada^Tarou=山田^太郎",),
    "PatientBirthDate": ("19700131",), "PatientSex": ("M",),
    "OtherPatientIDsSequence": (Attributes({"PatientID": ("X9",)}),), "StudyDate": ("20200131",),
    "StudyTime": ("101530",), "TimezoneOffsetFromUTC": ("+0100",), "AccessionNumber": ("A1",),
    "IssuerOfAccessionNumberSequence": _issuer("1.5"), "StudyDescription": ("CT Chest",),
    "ReferringPhysicianName": ("Ref^Rita",), "AdmissionID": ("V1",),
    "IssuerOfAdmissionIDSequence": _issuer("1.6"),
    "NameOfPhysiciansReadingStudy": ("Abe^Al", "Zed^Zoe"), "ProcedureCodeSequence": (_coded("1-1", "Chest"),),
    "RequestedProcedureDescription": ("CT of the chest",),
    "RequestedProcedureCodeSequence": (_coded("1-2", "Chest"),), "StudyComments": ("Patient moved",),
}  # fmt: skip
_OF_THE_SERIES: Values = {
    "SeriesDate": ("20200131",), "SeriesTime": ("102000",), "SeriesDescription": ("Thorax",),
    "Modality": ("CT",), "SeriesNumber": ("2",), "BodyPartExamined": ("CHEST",), "Laterality": ("L",),
    "PerformedLocation": ("Room 3",),
    "SeriesDescriptionCodeSequence": (_coded("9-9", "Protocol"),), "InstitutionName": ("General",),
    "InstitutionalDepartmentName": ("Radiology",),
}  # fmt: skip
_OF_AN_INSTANCE: dict[str, list[Any]] = {
    "AcquisitionDateTime": [("20200131103000+0100",), ("20200131103001+0100",), ("20200131",)],
    "AcquisitionDate": [("20200131",), ("20200201",)],
    "AcquisitionTime": [("103000",), ("000001",)],
    "PerformedProcedureStepStartDate": [("20200131",), ("20200130",)],
    "ImageLaterality": [("L",), ("R",), ("U",)],
    "AnatomicRegionSequence": [(_coded("3-1", "Head"),), (_coded("3-2", "Neck"),)],
    "PerformingPhysicianName": [("Phy^Pia",), ("Phy^Pit", "Phy^Pia")],
    "OperatorsName": [("Tec^Tom",), ("Tec^Tim",)],
    "ModalitiesInStudy": [("CT",), ("CT", "PT")],
    "SpecimenDescriptionSequence": [
        (
            Attributes(
                {"SpecimenIdentifier": ("S1",), "IssuerOfTheSpecimenIdentifierSequence": _issuer("1.7")}
            ),
        ),
        (Attributes({"SpecimenIdentifier": ("S1",)}), Attributes({"SpecimenIdentifier": ("S2",)})),
    ],
    "RequestAttributesSequence": [
        (Attributes({"RequestedProcedureID": ("RP1",), "AccessionNumber": ("A1",)}),),
        (Attributes({"RequestedProcedureID": ("RP2",), "ReasonForTheRequestedProcedure": ("Cough",)}),),
        (Attributes({"AccessionNumber": ("A2",), "IssuerOfAccessionNumberSequence": _issuer("1.5")}),),
    ],
    "InstanceNumber": [("1",), ("2",)],
    "ImageType": [("ORIGINAL", "PRIMARY")],
}
"""Where the instances of a series may differ and still agree."""


@st.composite
def agreeing(draw: st.DrawFn) -> list[Attributes]:
    """Instances of one study, of which each lacks some values and none contradicts another."""
    return [_instance(draw, number) for number in range(draw(st.integers(2, 6)))]


def _instance(draw: st.DrawFn, number: int) -> Attributes:
    series = draw(st.integers(1, 2))
    shared = {**_OF_THE_STUDY, **_OF_THE_SERIES}
    lacking = draw(st.sets(st.sampled_from(sorted(shared)), max_size=len(shared)))
    values = {keyword: value for keyword, value in shared.items() if keyword not in lacking}
    for keyword in draw(st.sets(st.sampled_from(sorted(_OF_AN_INSTANCE)), max_size=8)):
        values[keyword] = draw(st.sampled_from(_OF_AN_INSTANCE[keyword]))
    values |= {
        "PatientID": ("12345",),
        "StudyInstanceUID": ("1.2.3",),
        "SeriesInstanceUID": (f"1.2.3.{series}",),
        "SOPInstanceUID": (f"1.2.3.{series}.{number}",),
        "SOPClassUID": ("1.2.840.10008.5.1.4.1.1.2",),
    }
    return Attributes(values)
