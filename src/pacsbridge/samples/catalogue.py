"""The sample studies: one of each kind that a mapping has to get right."""

from collections.abc import Sequence

from pacsbridge.samples.documents import document_of, report_on
from pacsbridge.samples.model import BASIC_TEXT_SR, CR, CT, MR, PDF, US, Series, Study, Values, code
from pacsbridge.samples.pictures import colour, grey, slices

_LATIN_1 = ("ISO_IR 100",)
_JAPANESE = ("", "ISO 2022 IR 87")
_UTF_8 = ("ISO_IR 192",)

_HOUNSFIELD: Values = {"RescaleIntercept": -1000, "RescaleSlope": 1, "RescaleType": "HU", "WindowCenter": 0}


def studies() -> Sequence[Study]:
    """All of them, in the order in which they are written."""
    return (_ct_thorax(), _mr_knee(), _us_abdomen(), _cr_hands(), _ct_head(), _document_only())


def _issuer(number: int) -> list[Values]:
    """An issuer that is known everywhere, by an OID of the example arc."""
    return [{"UniversalEntityID": f"2.999.{number}", "UniversalEntityIDType": "ISO"}]


def _times(date: str, time: str, offset: str) -> Values:
    zone = {"TimezoneOffsetFromUTC": offset} if offset else {}
    return {"StudyDate": date, "StudyTime": time, "SeriesDate": date, "SeriesTime": time, **zone}


_THORAX: Values = {
    "BodyPartExamined": "CHEST",
    "AnatomicRegionSequence": [code("51185008", "SCT", "Thorax")],
    "KVP": "120",
    **_HOUNSFIELD,
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    "OperatorsName": "Beispiel^Uwe",
}


def _ct_thorax() -> Study:
    """Three kinds of series, a report on one of them, and a PDF; German, with issuers by OID."""
    report = report_on("ct-thorax", 2, CT, 6, "Keine Auffälligkeiten in gezeichneten Ringen.")
    return Study(
        "ct-thorax",
        _LATIN_1,
        {
            **_times("20240311", "101530", "+0100"),
            "PatientName": "Muster^Käthe^^Dr.",
            "PatientID": "SYN-0001",
            "IssuerOfPatientID": "HOSP_A",
            "IssuerOfPatientIDQualifiersSequence": _issuer(1),
            "PatientBirthDate": "19580704",
            "PatientSex": "F",
            "AccessionNumber": "SYN24-1001",
            "IssuerOfAccessionNumberSequence": _issuer(2),
            "StudyID": "1001",
            "StudyDescription": "CT Thorax nativ",
            "ReferringPhysicianName": "Vorlage^Jürgen^^Prof.",
            "InstitutionName": "Beispielklinik",
            "ProcedureCodeSequence": [code("24627-2", "LN", "CT Chest")],
            "AdmissionID": "SYN-V-77",
            "IssuerOfAdmissionIDSequence": _issuer(3),
        },
        (
            Series(CT, "CT", 1, {**_THORAX, "SeriesDescription": "Topogramm"}, slices(1, 400.0, "ct-thorax")),
            Series(
                CT, "CT", 6, {**_THORAX, "SeriesDescription": "Thorax 5.0 Lunge"}, slices(2, 5.0, "ct-thorax")
            ),
            Series(
                CT,
                "CT",
                4,
                {**_THORAX, "SeriesDescription": "Thorax 3.0 Mediastinum"},
                slices(3, 3.0, "ct-thorax"),
            ),
            Series(BASIC_TEXT_SR, "SR", 1, {"SeriesDescription": "Befund"}, report),
            Series(
                PDF,
                "DOC",
                1,
                {"SeriesDescription": "Befund als PDF", "ConversionType": "WSD"},
                document_of("Befund CT Thorax", "Beispielbefund - keine echte Patientin"),
            ),
        ),
    )


def _mr_knee() -> Study:
    """A Japanese name in three groups, laterality, and a request with its own accession number."""
    request: Values = {
        "RequestedProcedureID": "RP-2001",
        "AccessionNumber": "SYN24-2001",
        "IssuerOfAccessionNumberSequence": _issuer(12),
        "RequestedProcedureDescription": "MRI of left knee",
        "RequestedProcedureCodeSequence": [code("24802-1", "LN", "MR Knee")],
        "ReasonForTheRequestedProcedure": "Sample pain",
        "ReasonForRequestedProcedureCodeSequence": [code("30989003", "SCT", "Knee pain")],
        "ScheduledProcedureStepID": "SPS-2001",
    }
    knee: Values = {
        "BodyPartExamined": "KNEE",
        "Laterality": "L",
        "AnatomicRegionSequence": [code("72696002", "SCT", "Knee region structure")],
        "RequestAttributesSequence": [request],
        "ScanningSequence": "SE",
        "SequenceVariant": "NONE",
        "MRAcquisitionType": "2D",
        "MagneticFieldStrength": "1.5",
        "PerformingPhysicianName": "Mihon^Hanako=見本^花子=みほん^はなこ",
    }
    return Study(
        "mr-knee",
        _JAPANESE,
        {
            **_times("20240405", "153000.25", "+0900"),
            "PatientName": "Mihon^Tarou=見本^太郎=みほん^たろう",
            "PatientID": "SYN-0002",
            "IssuerOfPatientIDQualifiersSequence": _issuer(11),
            "PatientBirthDate": "19701123",
            "PatientSex": "M",
            "AccessionNumber": "SYN24-2001",
            "IssuerOfAccessionNumberSequence": _issuer(12),
            "StudyID": "2001",
            "StudyDescription": "MR KNEE LEFT",
        },
        (
            Series(MR, "MR", 4, {**knee, "SeriesDescription": "T1 SAG"}, slices(4, 4.0, "mr-knee")),
            Series(MR, "MR", 4, {**knee, "SeriesDescription": "PD FS COR"}, slices(5, 4.0, "mr-knee")),
        ),
    )


def _us_abdomen() -> Study:
    """Colour images, no time zone, and an issuer that is only a local name."""
    return Study(
        "us-abdomen",
        _UTF_8,
        {
            **_times("20240512", "0905", ""),
            "PatientName": "Exemple^Zoë^Ångström",
            "PatientID": "SYN 0003/b",
            "IssuerOfPatientID": "CLINIC_B",
            "PatientBirthDate": "19910228",
            "PatientSex": "O",
            "AccessionNumber": "SYN24-3001",
            "IssuerOfAccessionNumberSequence": [{"LocalNamespaceEntityID": "CLINIC_B"}],
            "StudyID": "3001",
            "StudyDescription": "Échographie abdominale",
            "ProcedureCodeSequence": [code("24558-9", "LN", "US Abdomen")],
        },
        (
            Series(
                US,
                "US",
                3,
                {
                    "SeriesDescription": "Foie et rate",
                    "BodyPartExamined": "ABDOMEN",
                    "ImageType": ["ORIGINAL", "PRIMARY", "ABDOMINAL"],
                },
                colour,
            ),
        ),
    )


def _cr_hands() -> Study:
    """Both hands, a series each; codes of SNOMED-RT as older equipment sends them."""

    def hand(side: str, seed: int) -> Series:
        values: Values = {
            "SeriesDescription": f"Hand {side}",
            "BodyPartExamined": "HAND",
            "ImageLaterality": side,
            "ViewPosition": "AP",
            "AnatomicRegionSequence": [code("T-D8700", "SRT", "Hand")],
            "PixelSpacing": [0.5, 0.5],
        }
        return Series(CR, "CR", 1, values, lambda index: grey(index, seed))

    return Study(
        "cr-hands",
        _LATIN_1,
        {
            **_times("20240620", "114500", "-0500"),
            "PatientName": "Sample^Alice^^^Jr.",
            "PatientID": "SYN-0004",
            "IssuerOfPatientID": "HOSP_A",
            "IssuerOfPatientIDQualifiersSequence": _issuer(1),
            "PatientBirthDate": "20101231",
            "PatientSex": "F",
            "AccessionNumber": "SYN24-4001",
            "IssuerOfAccessionNumberSequence": _issuer(2),
            "StudyID": "4001",
            "StudyDescription": "Hands bilateral",
            "ProcedureCodeSequence": [code("P5-09024", "99SAMPLE", "Hands, both")],
        },
        (hand("R", 6), hand("L", 9)),
    )


def _ct_head() -> Study:
    """The first patient again, another day and a summer time."""
    head: Values = {
        "SeriesDescription": "Schädel 4.0",
        "BodyPartExamined": "HEAD",
        "KVP": "120",
        **_HOUNSFIELD,
    }
    return Study(
        "ct-head",
        _LATIN_1,
        {
            **_times("20240801", "235959", "+0200"),
            "PatientName": "Muster^Käthe^^Dr.",
            "PatientID": "SYN-0001",
            "IssuerOfPatientID": "HOSP_A",
            "IssuerOfPatientIDQualifiersSequence": _issuer(1),
            "PatientBirthDate": "19580704",
            "PatientSex": "F",
            "AccessionNumber": "SYN24-1002",
            "IssuerOfAccessionNumberSequence": _issuer(2),
            "StudyID": "1002",
            "StudyDescription": "CT Schädel",
            "RequestedProcedureDescription": "Schädel nativ, Verlaufskontrolle",
        },
        (Series(CT, "CT", 5, head, slices(7, 4.0, "ct-head")),),
    )


def _document_only() -> Study:
    """No image at all, and a patient without an identifier: still a study."""
    letter = document_of("Referral letter", "Sample letter - not a real patient")
    return Study(
        "letter",
        _UTF_8,
        {
            **_times("20240902", "", ""),
            "PatientName": "Sample^Unknown",
            "PatientID": "",
            "PatientBirthDate": "",
            "PatientSex": "",
            "AccessionNumber": "",
            "StudyID": "5001",
            "StudyDescription": "Letter",
        },
        (Series(PDF, "DOC", 1, {"SeriesDescription": "Letter", "ConversionType": "SD"}, letter),),
    )
