"""Searches worth asking, the resources to ask them of, and searches that must be refused.

A case is a type and a query string as it travels, percent-encoded. What it finds stands nowhere here: that is
for the evaluator and for the server to work out, each by itself.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

Json = dict[str, Any]

DCM = "http://dicom.nema.org/resources/ontology/DCM"
SCT = "http://snomed.info/sct"
ICD = "http://hl7.org/fhir/sid/icd-10"
V2 = "http://terminology.hl7.org/CodeSystem/v2-0203"
KINDS = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type"
ROOT = "1.2.840.99"
CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
SR = "1.2.840.10008.5.1.4.1.1.88.11"


def identified(value: str, system: str = "", type_: str = "", type_system: str = V2) -> Json:
    """An Identifier."""
    typed = {"type": {"coding": [{"system": type_system, "code": type_}]}} if type_ else {}
    return {**typed, **({"system": system} if system else {}), "value": value}


def to(reference: str = "", type_: str = "", display: str = "", identifier: Json | None = None) -> Json:
    """A Reference, of what is given."""
    parts = {"reference": reference, "type": type_, "identifier": identifier, "display": display}
    return {name: part for name, part in parts.items() if part}


def patient(id_: str, **more: Any) -> Json:
    """A Patient."""
    return {"resourceType": "Patient", "id": id_, **more}


def endpoint(id_: str, status: str, kind: str, payload: Json, **more: Any) -> Json:
    """An Endpoint."""
    return {
        "resourceType": "Endpoint",
        "id": id_,
        "status": status,
        "connectionType": {"system": KINDS, "code": kind},
        "payloadType": [payload],
        "address": f"https://{id_}.example/dicomweb",
        **more,
    }


def series(uid: str, modality: str, *classes: str, system: str = DCM, **more: Any) -> Json:
    """A series with one instance a SOP class."""
    coding = {"system": system, "code": modality} if system else {"code": modality}
    instances = [
        {"uid": f"{uid}.{n}", "sopClass": {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{class_}"}}
        for n, class_ in enumerate(classes, 1)
    ]
    return {"uid": uid, "modality": coding, **({"instance": instances} if instances else {}), **more}


def study(number: int, *of_series: Json, accession: Json | None = None, **more: Any) -> Json:
    """An ImagingStudy with its UID for id and first identifier."""
    uid = f"{ROOT}.{number}"
    of_uid = {"use": "official", "system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}
    return {
        "resourceType": "ImagingStudy",
        "id": uid,
        "identifier": [of_uid, accession] if accession else [of_uid],
        "status": "available",
        "subject": ANNA,
        **({"series": list(of_series)} if of_series else {}),
        **more,
    }


def coded(code: str, system: str = SCT, display: str = "") -> Json:
    """A Coding."""
    parts = {"system": system, "code": code, "display": display}
    return {name: part for name, part in parts.items() if part}


RIS, MPI = "urn:oid:1.9.7", "urn:oid:1.9.1"
CHEST, HEAD = coded("51185008", display="Chest"), coded("69536005", display="Head")
KNEE = coded("72696002", display="Knee région")

ANNA = to("Patient/pat-1", "Patient", "Anna Ünal", identified("12345", MPI, "MR"))
SEAN = to("Patient/pat-2", "Patient", "Sean O'Neil", identified("12345", "", "MR"))

PATIENTS: tuple[Json, ...] = (
    patient(
        "pat-1",
        meta={"source": "urn:dicom:ae:CT1", "tag": [coded("synthetic", "http://tags.example")]},
        identifier=[identified("12345", MPI, "MR"), identified("A-1", "http://ids.example/old", "MR")],
        name=[{"family": "Ünal", "given": ["Anna", "Maria"], "prefix": ["Dr."]}],
        gender="female",
        birthDate="1970-01-31",
    ),
    patient(
        "pat-2",
        meta={"source": "urn:dicom:ae:MR1", "profile": ["http://profiles.example/patient"]},
        identifier=[identified("12345", "", "MR")],
        name=[{"family": "O'Neil", "given": ["Sean"]}],
        gender="male",
        birthDate="1970-02",
    ),
    patient(
        "pat-3",
        identifier=[identified("777", MPI, "MR"), identified("777", MPI, "SS")],
        name=[{"family": "Müller-Straße", "given": ["Jörg"], "suffix": ["Jr."]}],
        gender="other",
        birthDate="1971",
    ),
    patient(
        "pat-4",
        meta={"security": [coded("R", "http://terminology.hl7.org/CodeSystem/v3-Confidentiality")]},
        identifier=[identified("x-4", "http://ids.example/old")],
        name=[{"text": "Östen Ångström, the younger"}],
        gender="unknown",
    ),
    patient(
        "pat-5",
        name=[{"family": "山田", "given": ["太郎"]}, {"family": "Yamada", "given": ["Tarou", "anna"]}],
        gender="female",
        birthDate="1970-01-31",
    ),
    patient("pat-6", identifier=[identified("A,1|2$3\\4", "http://ids.example/odd,system", "MR")]),
    patient(
        "pat-7",
        meta={"tag": [coded("synthetic", ""), coded("seven", "http://tags.example")]},
        identifier=[identified("12.345", "urn:dicom:uid")],
        name=[{"family": "100%_Test*", "given": ["a_b", "O’Neil"]}],
        gender="male",
        birthDate="2024-02-29",
    ),
    patient(
        "pat-8",
        identifier=[identified("12345-8", MPI, "MR", "http://types.example")],
        name=[{"family": "1000 Lakes", "given": ["Anna-Lena"]}],
        birthDate="1900-03-01",
    ),
)

ENDPOINTS: tuple[Json, ...] = (
    endpoint(
        "ep-1",
        "active",
        "dicom-wado-rs",
        {"text": "DICOM"},
        meta={"source": "urn:dicom:ae:PACS", "tag": [coded("main", "http://tags.example")]},
        name="Main archive",
        identifier=[identified("E1", "http://ids.example/ep", "RI"), identified("E-any")],
        managingOrganization=to("Organization/org-1", "Organization", "North Hospital"),
    ),
    endpoint(
        "ep-2",
        "suspended",
        "dicom-qido-rs",
        {"coding": [coded("dicom", "http://payloads.example")]},
        meta={"profile": ["http://profiles.example/endpoint"]},
        name="main ARCHIVE, second",
        managingOrganization=to(display="South Hospital"),
    ),
    endpoint(
        "ep-3",
        "off",
        "ihe-iid",
        {"coding": [coded("viewer", "http://payloads.example"), coded("dicom", "")]},
        identifier=[identified("E1", "http://ids.example/other")],
        managingOrganization=to("", "Organization", "West", identified("org-9", "http://ids.example/org")),
    ),
    endpoint(
        "ep-4",
        "test",
        "dicom-wado-uri",
        {"text": "DICOM"},
        meta={"security": [coded("N", "http://terminology.hl7.org/CodeSystem/v3-Confidentiality")]},
        name="Viewer of the archive",
        managingOrganization=to("https://orgs.example/fhir/Organization/org-1"),
    ),
    endpoint(
        "ep-5",
        "active",
        "dicom-dimse",
        {"coding": [coded("dicom", "http://payloads.example")]},
        connectionType=coded("dicom-dimse", "http://kinds.example"),
        managingOrganization=to("Organization/org-2", identifier=identified("org-2")),
    ),
)

STUDIES: tuple[Json, ...] = (
    study(
        1,
        series(f"{ROOT}.1.1", "CT", CT, CT, bodySite=CHEST),
        accession=identified("A1", RIS, "ACSN"),
        meta={"source": "urn:dicom:ae:CT1", "profile": ["http://profiles.example/study"]},
        modality=[coded("CT", DCM)],
        started="2024-02-29T23:30:00-05:00",
        endpoint=[to("Endpoint/ep-1", "Endpoint")],
        referrer=to("Practitioner/dr-1", "Practitioner"),
        basedOn=[to("", "ServiceRequest", "", identified("A1", RIS, "ACSN"))],
        reasonCode=[{"coding": [coded("R05", ICD, "Cough")], "text": "Chronic cough"}],
    ),
    study(
        2,
        series(f"{ROOT}.2.1", "MR", MR, bodySite=HEAD),
        series(f"{ROOT}.2.2", "SR", SR),
        accession=identified("A1", "", "ACSN"),
        meta={"source": "urn:dicom:ae:MR1", "tag": [coded("synthetic", "http://tags.example")]},
        modality=[coded("MR", DCM)],
        subject=SEAN,
        started="2024-03-01T00:30:00+02:00",
        encounter=to("", "Encounter", "", identified("V1", "urn:oid:1.6", "VN")),
        basedOn=[to("ServiceRequest/sr-1"), to("", "ServiceRequest", "", identified("RP1"))],
        reasonCode=[{"text": "Cough"}],
    ),
    study(
        3,
        series(f"{ROOT}.3.1", "CT", CT, MR, bodySite={"display": "Chest wall"}),
        subject=to("Patient/pat-3", "Patient"),
        started="2024-03-01T00:00:00Z",
        endpoint=[to("Endpoint/ep-2"), to("Endpoint/ep-3")],
        interpreter=[
            to("Practitioner/dr-1"),
            to("", "Practitioner", "Vera Vee", identified("V", "urn:staff")),
        ],
        reasonCode=[{"coding": [coded("R05", "http://codes.example")]}],
    ),
    study(
        4,
        series(f"{ROOT}.4.1", "CT", CT, system="", bodySite=coded("51185008", "")),
        subject=to("Patient/pat-4", "Patient"),
        started="2024-02-29",
        meta={"source": "http://pacs.example/query?a=1,2", "tag": [coded("synthetic", "")]},
        encounter=to("Encounter/enc-1", "Encounter"),
    ),
    study(
        5,
        series(
            f"{ROOT}.5.1",
            "US",
            performer=[{"actor": to("Practitioner/dr-2", "Practitioner", "Pia Phy")}],
            endpoint=[to("Endpoint/ep-3", "Endpoint")],
        ),
        subject=to("Patient/pat-5", "Patient"),
        started="2024-02",
        endpoint=[to("Endpoint/ep-1")],
        referrer=to("", "Practitioner", "Ruth Ref", identified("R", "urn:staff")),
    ),
    study(
        6,
        series(
            f"{ROOT}.6.1",
            "US",
            performer=[{"actor": to("", "Practitioner", "Tom Tec", identified("T", "urn:staff"))}],
            bodySite=KNEE,
        ),
        subject=to("Patient/pat-6", "Patient"),
        started="2024",
        status="unknown",
    ),
    study(
        7,
        series(f"{ROOT}.7.1", "CT", performer=[{"actor": to("Device/scanner", "Device")}]),
        series(f"{ROOT}.7.2", "MR", performer=[{"actor": to("", "Device", "Scanner 2")}]),
        subject=to("Device/phantom-1", "Device", "Phantom", identified("12345", MPI)),
        started="2024-02-29T23:30:00.123456Z",
    ),
    study(8, subject=to("Group/herd", "Group"), status="cancelled", started="2023-12-31T23:59:59-00:30"),
    study(9, subject=to(display="Nobody known"), status="entered-in-error", started="2024-12-31T23:59:59Z"),
    study(
        10,
        series(f"{ROOT}.10.1", "CT", CT, bodySite=CHEST, endpoint=[to("Endpoint/ep-2")]),
        accession=identified("a1", RIS, "ACSN"),
        subject=to("https://authority.example/fhir/Patient/pat-1", "Patient", "", identified("12345", MPI)),
        started="2024-03-01",
        referrer=to(display="Somebody"),
    ),
    study(
        11,
        series(f"{ROOT}.11.1", "MR", MR, system="http://other.example/modalities"),
        subject=to("Patient/gone", "Patient"),
        basedOn=[to(display="An order on paper")],
        started="2024-02-29T18:30:00-05:00",
    ),
    study(
        12,
        series(f"{ROOT}.12.1", "OT"),
        subject=to("", "Patient", "Logical", identified("777", MPI, "MR")),
        endpoint=[to("Endpoint/nowhere"), to(display="A CD")],
    ),
    study(
        13,
        series(f"{ROOT}.13.1", "ct", CT),
        subject=to("Device/pat-1", "Device"),
        started="2025-01-01T00:00:00+14:00",
    ),
    study(
        14,
        accession=identified("A,1|2$3\\4", "urn:acc|$,\\", "ACSN"),
        subject=to("Patient/pat-6"),
        started="2024-12-31T23:59:59.999999-12:00",
    ),
    study(
        15,
        series(f"{ROOT}.15.1", "MG", bodySite=coded("76752008", display="Breast")),
        accession=identified("A1", RIS, "PLAC"),
        meta={"profile": ["http://profiles.example/study", "http://profiles.example/Study"]},
        interpreter=[to("PractitionerRole/dr-1", "PractitionerRole")],
        basedOn=[to("CarePlan/sr-1", "CarePlan"), to("ServiceRequest/sr-2")],
    ),
    study(
        16,
        series(f"{ROOT}.16.1", "CT", CT, performer=[{"actor": to("Organization/dr-2")}]),
        meta={"source": "urn:dicom:ae:ct1"},
        subject=SEAN,
        reasonCode=[
            {"coding": [coded("r05", ICD, "Ça brûle")]},
            {"coding": [coded("161891005", SCT, "Back pain"), coded("M54", ICD, "Dorsalgia")]},
        ],
        started="1999-12-31T12:00:00Z",
    ),
    study(
        17,
        series(f"{ROOT}.17.1", "KO"),
        subject=to("Patient/pat-7", "Patient"),
        referrer=to("PractitionerRole/dr-1"),
        encounter=to(display="Ward 3"),
        started="0001-01-01",
    ),
    study(
        18,
        series(f"{ROOT}.18.1", "MR", MR, bodySite=HEAD, performer=[{"actor": to(display="Unknown hand")}]),
        subject=to("Patient/pat-8", "Patient"),
        started="9999-12-31",
        meta={"security": [coded("R", "http://terminology.hl7.org/CodeSystem/v3-Confidentiality")]},
    ),
    study(
        19,
        series(f"{ROOT}.19.1", "CT", CT, bodySite=CHEST),
        series(f"{ROOT}.19.2", "CT", CT, bodySite=HEAD),
        accession=identified("A19", "http://accessions.example", "ACSN"),
        status="registered",
        endpoint=[to("Endpoint/ep-4", identifier=identified("E4", "http://ids.example/ep"))],
        interpreter=[to(display="Somebody")],
    ),
    study(
        20,
        subject=SEAN,
        started="2024-02-29T23:30:00.5+00:00",
        endpoint=[to("Endpoint/ep-5")],
        meta={"source": "urn:dicom:ae:CT1", "tag": [coded("other", "http://tags.example")]},
    ),
    study(
        21,
        series(f"{ROOT}.21.1", "CT", bodySite={"display": "Upper limb, left"}),
        subject=to("Patient/pat-1"),
        status="unknown",
        basedOn=[to("https://ris.example/fhir/ServiceRequest/sr-1"), to("Task/t-1")],
    ),
    study(
        22,
        series(f"{ROOT}.22.1", "CT", SR),
        subject=to("Patient/pat-2", "Patient"),
        started="2024-03-01T00:00:00+00:00",
        reasonCode=[{"text": "coughing, by night"}, {"coding": [coded("R05", "")]}],
        encounter=to("Encounter/enc-2", identifier=identified("V1", "urn:oid:1.7", "VN")),
    ),
    {
        "resourceType": "ImagingStudy",
        "id": "order-Q7",
        "identifier": [identified("Q7", RIS, "ACSN"), identified("1.2.840.99.1", "urn:oid:1.9.8")],
        "status": "registered",
        "subject": ANNA,
        "basedOn": [to("ServiceRequest/sr-1", "ServiceRequest", "", identified("Q7", RIS, "ACSN"))],
        "started": "2024-05-01T10:00:00+02:00",
    },
    {
        "resourceType": "ImagingStudy",
        "id": "bare",
        "status": "registered",
        "subject": to(display="Nobody known"),
    },
)

RESOURCES: tuple[Json, ...] = tuple(
    resource
    for turn in range(len(STUDIES))
    for part in (ENDPOINTS, PATIENTS, STUDIES)
    for resource in part[turn : turn + 1]
)
"""In the order in which they are published: the types mixed, so that no type's rows lie together."""

START, STEP = datetime(2026, 3, 1, 16, tzinfo=UTC), timedelta(minutes=20)


def published(number: int) -> datetime:
    """When the resource at this place of `RESOURCES` is published: on the hour, and else odd milliseconds."""
    return START + number * STEP + (number % 3 > 0) * timedelta(seconds=7, milliseconds=17)


def as_served(number: int) -> Json:
    """The resource at this place with the time that the server puts into it."""
    resource = RESOURCES[number]
    updated = published(number).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return resource | {"meta": resource.get("meta", {}) | {"lastUpdated": updated}}


# searches, by type

_DATES = """
    2024 2023 2024-02 2024-02-29 2024-03-01 2024-03-01T00:00Z 2024-02-29T23:30 2024-02-29T23:30:00
    2024-03-01T04:30:00Z 2024-02-29T23:30:00-05:00 2024-03-01T01:30:00%2B02:00 2024-12-31T23:59:59.999Z
    2024-02-29T23:30:00.123456Z
"""
_PREFIXES = ("", *"eq ne gt lt ge le sa eb ap".split())

_STUDY_TOKENS = """
    identifier=A1 identifier=a1 identifier=urn:oid:1.9.7%7CA1 identifier=urn:oid:1.9.7|A1 identifier=%7CA1
    identifier=urn:oid:1.9.7%7C identifier=urn:dicom:uid%7C identifier=A1,Q7
    identifier=urn:oid:1.9.7%7CQ7,%7CA1
    identifier=1.2.840.99.1 identifier=urn:oid:1.2.840.99.1 identifier=urn:dicom:uid%7C1.2.840.99.1
    identifier=urn:dicom:uid%7Curn:oid:1.2.840.99.10 identifier=%7C1.2.840.99.1
    identifier=urn:oid:1.9.8%7C1.2.840.99.1 identifier=1.2.840.99 identifier=1.2.840.99.2,1.2.840.99.3
    identifier=A%5C,1%5C%7C2%5C$3%5C%5C4 identifier=urn:acc%5C%7C%5C$%5C,%5C%5C%7C identifier=A$1
    identifier=urn:acc%5C%7C%5C$%5C,%5C%5C%7CA%5C,1%5C%7C2%5C$3%5C%5C4 identifier=A identifier=A1%20
    identifier=A%25
    identifier=http://accessions.example%7CA19 identifier=HTTP://accessions.example%7CA19
    identifier=A1&identifier=1.2.840.99.2 identifier=A1&identifier=A19
    identifier:not=A1 identifier:not=A1,Q7 identifier:not=urn:dicom:uid%7C identifier:not=1.2.840.99.1
    identifier:not=urn:oid:1.9.7%7C identifier:not=A1&identifier:not=Q7
    identifier:missing=true identifier:missing=false
    identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203%7CACSN%7CA1
    identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203%7CPLAC%7CA1
    identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203%7CACSN%7CA%5C,1%5C%7C2%5C$3%5C%5C4
    identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203%7CACSN%7CQ7,http://x%7CACSN%7CA1
    identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203%7CMR%7CA1
    modality=CT modality=MR modality=ct modality=CT,MR modality=CT&modality=MR modality=%7CCT
    modality=http://dicom.nema.org/resources/ontology/DCM%7CCT modality=SR modality=KO,OT
    modality=http://dicom.nema.org/resources/ontology/DCM%7C
    modality=http://other.example/modalities%7CMR modality=%7CMR,http://other.example/modalities%7C
    modality:not=CT modality:not=CT,MR modality:not=CT&modality:not=MR modality:not=%7CCT
    modality:not=http://dicom.nema.org/resources/ontology/DCM%7C modality:not=US&modality=US
    modality:missing=true modality:missing=false modality:missing=false&modality:not=CT,MR,US
    bodysite=51185008 bodysite=http://snomed.info/sct%7C51185008 bodysite=%7C51185008 body-site=69536005
    bodysite=http://snomed.info/sct%7C body-site=51185008,69536005 bodysite=51185008&bodysite=69536005
    bodysite:not=51185008 body-site:not=http://snomed.info/sct%7C51185008,69536005 bodysite:missing=true
    body-site:missing=false bodysite:text=chest bodysite:text=CHEST%20W bodysite:text=hest
    bodysite:text=knee%20region bodysite:text=head,breast bodysite:text=upper%20limb%20left
    body-site:text=Upper-Limb
    bodysite:text=%C3%A7hest body-site:not=69536005&bodysite:missing=false
    dicom-class=1.2.840.10008.5.1.4.1.1.2 dicom-class=urn:oid:1.2.840.10008.5.1.4.1.1.4
    dicom-class=urn:ietf:rfc:3986%7Curn:oid:1.2.840.10008.5.1.4.1.1.2
    dicom-class=urn:ietf:rfc:3986%7C1.2.840.10008.5.1.4.1.1.88.11 dicom-class=urn:ietf:rfc:3986%7C
    dicom-class=%7C1.2.840.10008.5.1.4.1.1.2 dicom-class=1.2.840.10008.5.1.4.1.1
    dicom-class=1.2.840.10008.5.1.4.1.1.4,1.2.840.10008.5.1.4.1.1.88.11
    dicom-class=1.2.840.10008.5.1.4.1.1.4&dicom-class=1.2.840.10008.5.1.4.1.1.2
    dicom-class:not=1.2.840.10008.5.1.4.1.1.2 dicom-class:missing=true dicom-class:missing=false
    instance=1.2.840.99.1.1.2 instance=urn:oid:1.2.840.99.1.1.2 instance=urn:dicom:uid%7C1.2.840.99.2.1.1
    instance=urn:ietf:rfc:3986%7Curn:oid:1.2.840.99.3.1.1,1.2.840.99.4.1.1 instance=%7C1.2.840.99.1.1.1
    instance=http://x.example%7C1.2.840.99.1.1.1 instance=1.2.840.99.1.1 instance:not=1.2.840.99.1.1.1
    instance:not=urn:oid:1.2.840.99.1.1.1,1.2.840.99.2.1.1 instance:missing=true instance:missing=false
    series=1.2.840.99.1.1 series=urn:oid:1.2.840.99.7.2 series=urn:dicom:uid%7Curn:oid:1.2.840.99.10.1
    series=urn:ietf:rfc:3986%7C1.2.840.99.19.2 series=http://x.example%7C1.2.840.99.1.1
    series=1.2.840.99.7.1,1.2.840.99.19.1 series=1.2.840.99.7.1&series=1.2.840.99.7.2
    series=%7C1.2.840.99.12.1
    series=1.2.840.99.1 series:not=1.2.840.99.1.1 series:not=urn:dicom:uid%7C1.2.840.99.2.2
    series:missing=true series:missing=false
    reason=R05 reason=http://hl7.org/fhir/sid/icd-10%7CR05 reason=%7CR05 reason=http://snomed.info/sct%7C
    reason=r05,161891005 reason=M54&reason=r05 reason=http://hl7.org/fhir/sid/icd-10%7C reason=Cough
    reason:not=R05 reason:not=http://hl7.org/fhir/sid/icd-10%7C,R05 reason:missing=true reason:missing=false
    reason:text=cough reason:text=Chronic reason:text=ca%20bru reason:text=dorsalgia,chronic
    reason:text=COUGHING%20by reason:text=pain reason:text=back%20pain
    status=available status=%7Cavailable status=http://x.example%7Cavailable status=available,unknown
    status=registered&status=available status=Available status=avail status=http://x.example%7C
    status=entered-in-error,cancelled status:not=available status:not=available,registered
    status:not=%7Cavailable status:not=http://x.example%7Cavailable status:missing=true status:missing=false
"""

_STUDY_REFERENCES = """
    patient=pat-1 patient=Patient/pat-1 patient=http://fhir.example/fhir/Patient/pat-1
    patient=https://authority.example/fhir/Patient/pat-1 patient=http://fhir.example/fhir2/Patient/pat-1
    patient=pat-1,pat-2 patient=Patient/pat-2,pat-3 patient=pat-1&patient=pat-2 patient=gone patient=PAT-1
    patient=phantom-1 patient=pat patient:Patient=pat-1 patient:Patient=pat-2,pat-3
    patient:identifier=12345 patient:identifier=urn:oid:1.9.1%7C12345 patient:identifier=%7C12345
    patient:identifier=urn:oid:1.9.1%7C patient:identifier=777,12345 patient:missing=true
    patient:missing=false
    subject=pat-1 subject=Patient/pat-1 subject=Device/pat-1 subject=http://fhir.example/fhir/Device/phantom-1
    subject=herd subject=Group/herd,phantom-1 subject=https://authority.example/fhir/Patient/pat-1
    subject:Patient=pat-1 subject:Device=pat-1 subject:Group=herd subject:Device=phantom-1,pat-1
    subject:Patient=pat-2
    subject:identifier=12345 subject:identifier=urn:oid:1.9.1%7C12345 subject:identifier=urn:oid:1.9.1%7C
    subject:missing=true subject:missing=false subject=pat-1&patient=pat-1
    basedon=sr-1 based-on=ServiceRequest/sr-1 basedon=CarePlan/sr-1 based-on=sr-2,t-1
    basedon=https://ris.example/fhir/ServiceRequest/sr-1 based-on=http://fhir.example/fhir/Task/t-1
    basedon=sr-1&basedon=sr-2 basedon:ServiceRequest=sr-1 based-on:CarePlan=sr-1 basedon:Task=t-1
    basedon:Appointment=sr-1 basedon:AppointmentResponse=sr-1 based-on:ServiceRequest=sr-2
    based-on:Appointment=sr-1 based-on:AppointmentResponse=sr-1 based-on:Task=t-1,sr-1 basedon:CarePlan=sr-1
    basedon:identifier=A1 based-on:identifier=urn:oid:1.9.7%7CA1,Q7 based-on:identifier=%7CRP1
    basedon:identifier=urn:oid:1.9.7%7C basedon:missing=true based-on:missing=false based-on:missing=true
    basedon:missing=false
    encounter=enc-1 encounter=Encounter/enc-1,enc-2 encounter=http://fhir.example/fhir/Encounter/enc-2
    encounter:Encounter=enc-1 encounter:identifier=V1 encounter:identifier=urn:oid:1.6%7CV1
    encounter:identifier=urn:oid:1.7%7C encounter:missing=true encounter:missing=false
    endpoint=ep-1 endpoint=Endpoint/ep-2 endpoint=ep-3 endpoint=http://fhir.example/fhir/Endpoint/ep-3
    endpoint=ep-2,ep-4 endpoint=ep-2&endpoint=ep-3 endpoint=nowhere endpoint:Endpoint=ep-3
    endpoint:identifier=E4 endpoint:identifier=http://ids.example/ep%7C endpoint:missing=true
    endpoint:missing=false
    interpreter=dr-1 interpreter=Practitioner/dr-1 interpreter=PractitionerRole/dr-1
    interpreter:Practitioner=dr-1 interpreter:PractitionerRole=dr-1 interpreter:identifier=V
    interpreter:identifier=urn:staff%7CV interpreter:missing=true interpreter:missing=false
    referrer=dr-1 referrer=Practitioner/dr-1 referrer=PractitionerRole/dr-1 referrer:Practitioner=dr-1
    referrer:PractitionerRole=dr-1 referrer:identifier=R referrer:identifier=urn:staff%7C
    referrer:missing=true referrer:missing=false
    performer=dr-2 performer=Practitioner/dr-2 performer=Organization/dr-2 performer=Device/scanner
    performer=scanner,dr-2 performer=http://fhir.example/fhir/Device/scanner performer:Device=scanner
    performer:Practitioner=dr-2 performer:Organization=dr-2 performer:CareTeam=dr-2 performer:Patient=dr-2
    performer:PractitionerRole=dr-2 performer:RelatedPerson=dr-2 performer:identifier=T
    performer:identifier=urn:staff%7CT performer:missing=true performer:missing=false
"""

_CHAINS = """
    patient.identifier=12345 patient.identifier=urn:oid:1.9.1%7C12345 patient.identifier=%7C12345,777
    patient.identifier=A%5C,1%5C%7C2%5C$3%5C%5C4 patient.identifier=urn:oid:1.9.1%7C
    patient.identifier:not=12345 patient.identifier:missing=true patient.identifier:missing=false
    patient.identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203%7CMR%7C12345
    patient.identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203%7CSS%7C777
    patient.name=unal patient.name=ONEIL patient.name=jr patient.name=nal patient.name:exact=%C3%9Cnal
    patient.name:exact=unal patient.name:contains=nal patient.name:contains=stra%C3%9Fe
    patient.name:missing=true
    patient.name:missing=false patient.family=muller%20strasse patient.family=o%27neil,yamada
    patient.family:exact=Yamada
    patient.family:contains=e patient.family:missing=true patient.given=anna patient.given:exact=anna
    patient.given:contains=ar patient.given:missing=true patient.given:missing=false
    patient.given=sean,j%C3%B6rg
    patient.birthdate=1970-01-31 patient.birthdate=1970 patient.birthdate=lt1970-02 patient.birthdate=ge1971
    patient.birthdate=ne1970-01-31 patient.birthdate:missing=true patient.birthdate:missing=false
    patient.gender=female patient.gender=male,other patient.gender:not=female patient.gender:missing=true
    patient._id=pat-1 patient._id=pat-1,pat-2 patient._id=gone patient._id=phantom-1 patient._id:not=pat-1
    patient.name=anna&patient.gender=female patient.name=anna&patient.birthdate=1900
    patient.gender=female&modality=CT
    subject.identifier=12345 subject.name=yamada subject.family=100%25 subject.given=a_b
    subject.birthdate=2024-02-29
    subject.gender=male subject._id=pat-1 subject.name:exact=O%27Neil subject.gender:missing=true
    subject.given=oneil
    subject:Patient.identifier=urn:oid:1.9.1%7C12345 subject:Patient.name=100
    subject:Patient.family:contains=LAKE
    subject:Patient.given=tarou subject:Patient.birthdate=sa1970-01 subject:Patient.gender=unknown
    subject:Patient._id=pat-7,pat-8 subject:Patient.birthdate:missing=true subject:Patient.gender:not=male
    subject:Patient.name:missing=true subject:Patient.given:exact=Anna
    endpoint.connection-type=dicom-wado-rs endpoint.connection-type=http://kinds.example%7C
    endpoint.connection-type=ihe-iid,dicom-qido-rs endpoint.connection-type:not=dicom-wado-rs
    endpoint.status=active endpoint.status=off,test endpoint.status:not=active endpoint.name=main
    endpoint.name:exact=Main%20archive endpoint.name:contains=ARCHIVE endpoint.name:missing=true
    endpoint.identifier=E1 endpoint.identifier=http://ids.example/other%7CE1 endpoint.organization=org-1
    endpoint.organization:identifier=org-9 endpoint.organization:missing=true
    endpoint.organization=https://orgs.example/fhir/Organization/org-1 endpoint.payload-type=dicom
    endpoint.payload-type=http://payloads.example%7Cviewer endpoint.payload-type:missing=false
    endpoint._id=ep-3
    endpoint.status=active&endpoint.connection-type=ihe-iid endpoint.status=active&modality=CT
"""

_STUDY_DATES = """
    started:missing=true started:missing=false started=2024-02-29,2024-03-01 started=lt2024,gt2024
    started=ge2024-02-29&started=lt2024-03-01 started=gt2024-02&started=le2024-12-31
    started=ge2024-02-29T00:00:00Z&started=le2024-02-29T23:59:59Z started=2024-05-01T10:00:00%2002:00
    started=2024-05-01T10:00:00+02:00 started=2024-05-01T08:00Z started=2024-05-01T10:00
    started=2024-05-01T08:00 started=2024-12-31T23:59:60Z started=2024-12-31T23:59:60
    started=2024-02-29T23:30:00.123456000000Z started=2024-02-29T23:30:00.5Z
    started=ge2024-02-29T23:30:00.500000000001Z
    started=lt2024-02-29T23:30:00.123456000001Z started=gt2024-02-29T23:30:00.123455999999Z
    started=sa2024-02-29T23:30:00.123455999999Z started=eb2024-02-29T23:30:00.123457Z started=0001
    started=0001-01-01
    started=lt0001-01-02 started=9999 started=9999-12-31 started=ge9999-12 started=ap9999 started=ap0001
    started=gt0001-01-01T00:00:00%2B14:00 started=lt9999-12-31T23:59:59-14:00 started=2023-02-28
    started=2024-02-29T23:30:00Z started=2024-02-29T23:30Z started=2024-12-31T23:59:59.999999-12:00
    started=2024-01-01T00:29:59Z started=2023-12-31T23:59:59 started=2024-12-31T10:00:00Z
    started=ap2024-02-29T23:29:59Z started=ap2024-02-29T23:28:00Z started=ap2024-02-28 started=ap2024-03-02
    started=ap2025 started=1999-12-31T12:00:00%2B00:00 started=sa2024-12-31T12:00:00%2B14:00
"""

_COMMON_STUDY = """
    _id=1.2.840.99.1 _id=1.2.840.99.1,order-Q7,absent _id=order-q7 _id=1.2.840.99 _id:not=bare
    _id:missing=true
    _id:missing=false _id:not=bare,order-Q7 _source=urn:dicom:ae:CT1 _source=urn:dicom:ae:ct1
    _source=urn:dicom:ae:
    _source=http://pacs.example/query?a=1%5C,2 _source=urn:dicom:ae:CT1,urn:dicom:ae:MR1 _source:missing=true
    _source:missing=false _profile=http://profiles.example/study _profile=http://profiles.example/Study
    _profile=http://profiles.example/study&_profile=http://profiles.example/Study
    _profile=http://profiles.example
    _profile:missing=true _profile:missing=false _tag=synthetic _tag=http://tags.example%7Csynthetic
    _tag=%7Csynthetic _tag=http://tags.example%7C _tag:not=synthetic _tag:missing=true _tag:missing=false
    _security=R _security=http://terminology.hl7.org/CodeSystem/v3-Confidentiality%7CR
    _security:not=R _security:missing=true _security:missing=false
    _lastUpdated=2026-03-01 _lastUpdated=ne2026-03-01 _lastUpdated=2026-03
    _lastUpdated=2026-03-02T00:00:00.000Z
    _lastUpdated=gt2026-03-01T23:59:59.999Z _lastUpdated=ge2026-03-01T23:59:59.999Z _lastUpdated=lt2026-03-02
    _lastUpdated=le2026-03-01T23:00:00%2B01:00 _lastUpdated=sa2026-03-01 _lastUpdated=eb2026-03-02
    _lastUpdated=ap2026-03-01 _lastUpdated=ge2026-03-02T01:00:00%2B01:00
    _lastUpdated=eq2026-03-01T20:40:07.017Z _lastUpdated=2026-03-01T20:40:07.017000Z
    _lastUpdated=2026-03-01T20:40Z
    _lastUpdated=gt2026-03-01T22:00:00Z&_lastUpdated=lt2026-03-02T02:00:00Z _lastUpdated:missing=true
    _lastUpdated:missing=false _lastUpdated=2026-03-01,2026-03-02T00:00:00.000Z
    _lastUpdated=ap2026-03-02T00:00Z
    colour=red Modality=CT modality=CT&colour=red Patient=pat-1 foo.bar=1 foo:missing=true
"""

_PATIENT = """
    identifier=12345 identifier=urn:oid:1.9.1%7C12345 identifier=%7C12345 identifier=urn:oid:1.9.1%7C
    identifier=12345,777 identifier=A%5C,1%5C%7C2%5C$3%5C%5C4 identifier=http://ids.example/odd%5C,system%7C
    identifier=777&identifier=urn:oid:1.9.1%7C identifier=1234 identifier=12.345 identifier=x-4,X-4
    identifier:not=12345 identifier:not=urn:oid:1.9.1%7C identifier:missing=true identifier:missing=false
    identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203%7CMR%7C12345
    identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203%7CSS%7C777
    identifier:of-type=http://types.example%7CMR%7C12345-8
    identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203%7CMR%7C12345-8
    identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203%7CMR%7CA%5C,1%5C%7C2%5C$3%5C%5C4
    name=unal name=%C3%9CNAL name=U%CC%88nal name=anna name=dr name=Dr. name=oneil name=O%27Neil
    name=o%E2%80%99neil
    name=neil name=o%20neil name=muller name=M%C3%9CLLER-STRASSE name=stra%C3%9Fe name=ostern,osten name=jr
    name=angstrom name=%C3%96sten%20%C3%85ngstr name=%E5%B1%B1 name=yamada name=100 name=100%25 name=1000
    name=100_test name=100%25test name=1%25 name=a_b name=a%20b name=anna,sean name=anna&name=unal
    name=anna%20lena name=Anna%20 name=a name=unal%5C,anna name=younger name:exact=%C3%9Cnal name:exact=Unal
    name:exact=Anna name:exact=anna name:exact=Ann name:exact=Anna,anna name:exact=Dr.
    name:exact=%C3%96sten%20%C3%85ngstr%C3%B6m%5C,%20the%20younger name:exact=100%25_Test* name:exact=O%27Neil
    name:contains=nal name:contains=NEIL name:contains=%C3%A5ngstr%C3%B6m name:contains=stra%C3%9Fe
    name:contains=0
    name:contains=%E7%94%B0 name:contains=r name:contains=anna%20l name:contains=younger,lakes name:contains=q
    name:missing=true name:missing=false
    family=unal family=anna family=o%27neil,yamada family=1 family=m%C3%BCller%20str family:exact=O%27Neil
    family:exact=o%27neil family:exact=%E5%B1%B1%E7%94%B0 family:contains=a family:contains=test
    family:missing=true
    family:missing=false given=anna given=maria given=An given=tarou&given=anna given:exact=Anna
    given:exact=Sean,J%C3%B6rg
    given:contains=n given:contains=lena given:contains=%C3%96R given:missing=true given:missing=false
    given=O%E2%80%99Neil given=%E5%A4%AA family=unal&given=maria
    birthdate=1970-01-31 birthdate=1970 birthdate=1970-02 birthdate=1971 birthdate=2024-02-29 birthdate=ne1970
    birthdate=gt1970-01-31 birthdate=lt1970-02 birthdate=ge1970-02 birthdate=le1970-02-15 birthdate=sa1970
    birthdate=eb1970-02-01 birthdate=ap1970-02-01 birthdate=ap1972 birthdate=1970-01-31T12:00:00Z
    birthdate=gt1970-01-31T12:00:00 birthdate=lt1970-01-31T12:00:00%2B05:00 birthdate=1900-03-01
    birthdate=1970,1971 birthdate=ge1970&birthdate=lt1971 birthdate=eq1900 birthdate:missing=true
    birthdate:missing=false
    gender=female gender=male,other gender=%7Cmale gender=http://x.example%7Cmale gender=Female
    gender:not=female
    gender:not=male,unknown gender:missing=true gender:missing=false gender=female&birthdate=1970-01-31
    _id=pat-1 _id=pat-1,pat-8,ep-1 _id:not=pat-1 _id:missing=true _id:missing=false _tag=synthetic
    _tag=%7Csynthetic
    _tag=http://tags.example%7C _tag:not=http://tags.example%7Cseven _tag:missing=true _tag:missing=false
    _source=urn:dicom:ae:MR1 _source:missing=true _source:missing=false
    _profile=http://profiles.example/patient
    _profile:missing=true _profile:missing=false _security=R _security:not=R _security:missing=true
    _security:missing=false _lastUpdated=lt2026-03-01T18:20Z _lastUpdated=ge2026-03-01T18:20:07.017Z
    _lastUpdated:missing=true _lastUpdated:missing=false _lastUpdated=2026-02
"""

_ENDPOINT = """
    connection-type=dicom-wado-rs connection-type=http://kinds.example%7Cdicom-dimse
    connection-type=%7Cihe-iid
    connection-type=http://terminology.hl7.org/CodeSystem/endpoint-connection-type%7C
    connection-type=ihe-iid,dicom-qido-rs
    connection-type:not=ihe-iid connection-type:not=dicom-wado-rs,dicom-wado-uri connection-type:missing=true
    connection-type:missing=false
    identifier=E1 identifier=http://ids.example/ep%7CE1 identifier=%7CE-any
    identifier=http://ids.example/other%7C
    identifier:not=E1 identifier:not=http://ids.example/ep%7C identifier:missing=true identifier:missing=false
    identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203%7CRI%7CE1
    name=main name=MAIN%20archive name=main%20archive%20second name=archive name=v,m name:exact=Main%20archive
    name:exact=main%20archive name:contains=ARCHIVE name:contains=of%20the name:contains=second,viewer
    name:missing=true name:missing=false name=main&name:contains=second
    organization=org-1 organization=Organization/org-2
    organization=http://fhir.example/fhir/Organization/org-1
    organization=https://orgs.example/fhir/Organization/org-1 organization=org-1,org-2
    organization:Organization=org-2 organization:identifier=org-9 organization:identifier=%7Corg-2
    organization:identifier=http://ids.example/org%7C organization:missing=true organization:missing=false
    payload-type=dicom payload-type=http://payloads.example%7Cdicom payload-type=%7Cdicom
    payload-type=viewer,dicom
    payload-type:not=dicom payload-type:not=http://payloads.example%7C payload-type:missing=true
    payload-type:missing=false payload-type=dicom&payload-type=viewer payload-type=DICOM
    status=active status=off,test status=%7Csuspended status=http://x.example%7Cactive status:not=active
    status:not=off,test status:missing=true status:missing=false
    _id=ep-1 _id=ep-2,ep-3 _id:not=ep-1 _id:missing=true _id:missing=false _tag=main _tag:not=main
    _tag:missing=true
    _tag:missing=false _source=urn:dicom:ae:PACS _source:missing=true _source:missing=false
    _profile=http://profiles.example/endpoint _profile:missing=true _profile:missing=false _security=N
    _security:not=N
    _security:missing=true _security:missing=false _lastUpdated=lt2026-03-01T18:00:00Z
    _lastUpdated=ge2026-03-01T18:00:00Z _lastUpdated:missing=true _lastUpdated:missing=false
"""

CASES: tuple[tuple[str, str], ...] = (
    *(
        (type_, query)
        for type_, block in (
            ("ImagingStudy", _STUDY_TOKENS),
            ("ImagingStudy", _STUDY_REFERENCES),
            ("ImagingStudy", _CHAINS),
            ("ImagingStudy", _STUDY_DATES),
            ("ImagingStudy", _COMMON_STUDY),
            ("Patient", _PATIENT),
            ("Endpoint", _ENDPOINT),
        )
        for query in block.split()
    ),
    *(("ImagingStudy", f"started={prefix}{value}") for prefix, value in product(_PREFIXES, _DATES.split())),
)

_MALFORMED: Mapping[str, str] = {
    "ImagingStudy": """
        identifier= identifier=%7C identifier=A1,,Q7 identifier=,A1 identifier=A1, identifier=A1,%7C
        identifier=A%5Cb identifier=A%5C identifier=a%7Cb%7Cc identifier:not= identifier:not=%7C
        identifier:text=A
        identifier:exact=A1 identifier:missing=yes identifier:missing= identifier:missing=TRUE
        identifier:of-type=ACSN%7CA1 identifier:of-type=%7CACSN%7CA1 identifier:of-type=http://x%7CACSN%7C
        identifier:of-type=http://x%7C%7CA1 identifier:of-type=A1 identifier:of-type=a%7Cb%7Cc%7Cd
        identifier:of-type= identifier:foo=A1
        modality= modality=CT,,MR modality=%7C modality:in=CT modality:above=CT modality:exact=CT
        modality:missing=1
        modality:Patient=CT modality:of-type=a%7Cb%7Cc modality=%5CCT modality.code=CT
        bodysite= bodysite:text= bodysite:text=%25 bodysite:text=a,,b bodysite:exact=a body-site=
        body-site:below=1
        dicom-class= dicom-class=%7C dicom-class:text=CT instance= instance=%7C instance:exact=1 series=,1
        series:in=1
        reason= reason:text= reason:contains=a reason=%7C status= status=available, status:exact=available
        status=a%7Cb%7Cc
        patient= patient=pat-1, patient=Device/x patient=Patient/ patient=/pat-1 patient=Patient/a/b
        patient=a_b
        patient=http://fhir.example/fhir/Device/x patient:Device=x patient:exact=x patient:not=pat-1
        patient:identifier= patient:identifier=%7C patient:identifier=a%7Cb%7Cc patient:missing=maybe
        patient=Practitioner/x patient=https://x.example/a%20b patient=Patient/%20 patient=pat%5C1
        subject= subject=Practitioner/x subject:Practitioner=x subject:Device=Patient/x subject:foo=x
        basedon=Patient/x based-on=Encounter/x based-on= based-on:Patient=x encounter=Patient/x
        encounter:not=x
        endpoint=Patient/x endpoint= endpoint:text=a interpreter=Patient/x referrer=Organization/x
        interpreter:Patient=x referrer:Device=x performer=Encounter/x performer:Group=x performer:identifier=
        started= started=2024,, started=2023-02-29 started=2024-02-30 started=2024-13 started=2024-00
        started=24
        started=20240229 started=2024-2-9 started=2024-02-29T10 started=2024-02-29T24:00
        started=2024-02-29T10:60
        started=2024-02-29T10:00:61 started=2024-02-29T10:00:00.Z started=2024-02-29T10:00:00.1234567890123Z
        started=2024-02-29T10:00:00%2B15:00 started=2024-02-29T10:00:00%2B1400 started=2024-02-29Z
        started=0000
        started=xx2024 started=GT2024 started=gt started=gtlt2024 started=%3E2024 started=today
        started=2024-02-29T
        started=2024-02-29%2010:00 started:exact=2024 started:not=2024 started:missing=2024 started=%202024
        started=2024%20 started=2024-02-29T10:00:00%2B02:60 started=%EF%BC%92024 started:foo=2024 started.x=1
        patient.organization=x patient.identifier= patient.identifier=%7C patient.name=
        patient.birthdate=1970-02-30
        patient.birthdate:missing=x patient.identifier:of-type=a%7Cb patient.name:not=x patient.gender:exact=x
        patient.birthdate:exact=1970 patient.general-practitioner.name=x subject:Device.identifier=x
        subject:Group.identifier=x subject:Device.x=1 encounter.identifier=V1 basedon.identifier=A1
        interpreter.name=x referrer.name=x performer.name=x based-on.identifier=A1
        endpoint.organization.name=x
        endpoint.name:not=x endpoint.status= endpoint.organization=Patient/x patient:identifier.name=x
        patient:Device.name=x
        _id= _id=a,,b _id:exact=a _id:missing=no _lastUpdated= _lastUpdated=2026-02-30 _lastUpdated=yesterday
        _lastUpdated:not=2026 _lastUpdated:missing= _tag= _tag=%7C _tag:exact=a _source= _source=a,,b
        _source:not=a
        _source:missing=0 _profile= _profile:not=a _security= _security=%7C _security:text=a
        _security:missing=1
        _has:Observation:patient:code=1 _list=1 _filter=status%20eq%20available _query=x _text=a _content=a
    """,
    "Patient": """
        identifier= identifier=%7C identifier:of-type=MR%7C12345 name= name=%25 name=*** name=a,,b name=a%5Cb
        name:exact= name:contains= name:contains=%27 name:text=a name:not=a name:missing=x family= family=?
        family:not=a
        given=, given:foo=a birthdate= birthdate=1970-02-30 birthdate=31.01.1970 birthdate:contains=1970
        gender=
        gender:exact=male gender=%7C name.family=a identifier.value=1 birthdate.x=1
        _has:ImagingStudy:patient:modality=CT
        _id= _lastUpdated=1 _content=a
    """,
    "Endpoint": """
        connection-type= connection-type=%7C connection-type:exact=a identifier=a%7Cb%7Cc name= name:not=a
        organization= organization=Patient/x organization:Patient=x organization.name=a
        organization:identifier=%7C
        payload-type= payload-type:exact=x status=, status:in=a status:missing=x _text=a _list=x _source=
        _tag=,
    """,
}

MALFORMED: tuple[tuple[str, str, str], ...] = (
    *(
        (type_, query, query.partition("=")[0])
        for type_, block in _MALFORMED.items()
        for query in block.split()
    ),
    ("ImagingStudy", "modality=CT&started=yesterday&status=available", "started"),
    ("ImagingStudy", "colour=red&patient=Device/x", "patient"),
    ("ImagingStudy", "modality%3Afoo=CT", "modality:foo"),
    ("Patient", "name=anna&name=", "name"),
)
"""A type, a query string and the parameter that is to blame."""
