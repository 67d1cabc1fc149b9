"""THE table: which DICOM elements become which facts, where they go in FHIR R4, and how they merge.

Extraction walks `ROWS`; the store merges by `RULES`; tests and documentation read both. A row's converter
is called when one of its keywords is there. Several rows with one path are a chain of fallbacks, the first
row first; the builder takes the first that any instance has, so that the order of arrival changes nothing.

Which instance says what belongs to the level at which instances may differ: orders, reasons and places
stand with the series, since the series of one study may come from different equipment and requests.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pacsbridge.kernel import converters as to
from pacsbridge.kernel import references, titles
from pacsbridge.kernel.converters import Convert
from pacsbridge.kernel.model import Level, Merge
from pacsbridge.kernel.query_keys import kept_keywords


@dataclass(frozen=True, slots=True)
class Row:
    """One fact: its level and name, its path in R4, the root elements it is made of, converter and merge."""

    level: Level
    name: str
    path: str
    keywords: tuple[str, ...]
    convert: Convert
    merge: Merge = Merge.LAST
    required: bool = False


def _row(
    level: Level,
    name: str,
    path: str,
    keywords: str,
    convert: Convert,
    merge: Merge = Merge.LAST,
    *,
    required: bool = False,
) -> Row:
    return Row(level, name, path, tuple(keywords.split()), convert, merge, required)


ATTRIBUTES = "attributes"
"""The fact that C-FIND and QIDO-RS answer from: attributes as they stand (`query_keys`); no part of FHIR."""

_PATIENT, _STUDY, _SERIES, _INSTANCE = Level
_REFINE, _NEWEST, _EARLIEST, _UNION = Merge.REFINE, Merge.NEWEST, Merge.EARLIEST, Merge.UNION
_ISSUERS = "IssuerOfPatientID IssuerOfPatientIDQualifiersSequence"

# fmt: off
ROWS: tuple[Row, ...] = (
    _row(_PATIENT, "key", "Patient.id", f"PatientID {_ISSUERS}", to.key),
    _row(_PATIENT, "identifier", "Patient.identifier", f"PatientID {_ISSUERS}", to.medical_record, _REFINE),
    _row(_PATIENT, "other_identifiers", "Patient.identifier", "OtherPatientIDsSequence",
         to.listed(to.other_medical_records), _REFINE),
    _row(_PATIENT, "name", "Patient.name", "PatientName", to.patient_names, _REFINE),
    _row(_PATIENT, "gender", "Patient.gender", "PatientSex", to.gender),
    _row(_PATIENT, "birth_date", "Patient.birthDate", "PatientBirthDate", to.birth_date, _REFINE),

    _row(_STUDY, "uid", "ImagingStudy.id, .identifier", "StudyInstanceUID", to.uid("StudyInstanceUID"),
         required=True),
    _row(_STUDY, "accession", "ImagingStudy.identifier, .basedOn",
         "AccessionNumber IssuerOfAccessionNumberSequence", references.accession, _REFINE),
    _row(_STUDY, "study_id", "ImagingStudy.identifier", "StudyID", to.study_id),
    _row(_STUDY, "modalities", "ImagingStudy.modality", "ModalitiesInStudy",
         to.code_list("ModalitiesInStudy"), _UNION),
    _row(_STUDY, "encounter", "ImagingStudy.encounter", "AdmissionID IssuerOfAdmissionIDSequence",
         references.encounter, _REFINE),
    _row(_STUDY, "started", "ImagingStudy.started", "StudyDate StudyTime TimezoneOffsetFromUTC",
         to.started("StudyDate", "StudyTime"), _REFINE),
    _row(_STUDY, "referrer", "ImagingStudy.referrer",
         "ReferringPhysicianName ReferringPhysicianIdentificationSequence", to.referrer, _REFINE),
    _row(_STUDY, "interpreters", "ImagingStudy.interpreter",
         "NameOfPhysiciansReadingStudy PhysiciansReadingStudyIdentificationSequence",
         to.listed(to.interpreters), _REFINE),
    _row(_STUDY, "reported_series", "ImagingStudy.numberOfSeries", "NumberOfStudyRelatedSeries",
         to.unsigned("NumberOfStudyRelatedSeries"), _NEWEST),
    _row(_STUDY, "reported_instances", "ImagingStudy.numberOfInstances", "NumberOfStudyRelatedInstances",
         to.unsigned("NumberOfStudyRelatedInstances"), _NEWEST),
    _row(_STUDY, "procedures", "ImagingStudy.procedureCode", "ProcedureCodeSequence",
         to.listed(to.procedures), _REFINE),
    _row(_STUDY, "requested_procedures", "ImagingStudy.procedureCode", "RequestedProcedureCodeSequence",
         to.listed(to.requested_procedures), _REFINE),
    _row(_STUDY, "requested_description", "ImagingStudy.procedureCode", "RequestedProcedureDescription",
         to.text("RequestedProcedureDescription")),
    _row(_STUDY, "comments", "ImagingStudy.note", "StudyComments", to.comments),
    _row(_STUDY, "description", "ImagingStudy.description", "StudyDescription", to.text("StudyDescription")),

    _row(_SERIES, "uid", "ImagingStudy.series.uid", "SeriesInstanceUID", to.uid("SeriesInstanceUID"),
         required=True),
    _row(_SERIES, "number", "ImagingStudy.series.number", "SeriesNumber", to.unsigned("SeriesNumber")),
    _row(_SERIES, "modality", "ImagingStudy.series.modality, .modality", "Modality", to.code("Modality")),
    _row(_SERIES, "description", "ImagingStudy.series.description", "SeriesDescription",
         to.text("SeriesDescription")),
    _row(_SERIES, "description_meaning", "ImagingStudy.series.description", "SeriesDescriptionCodeSequence",
         to.series_meaning),
    _row(_SERIES, "reported_instances", "ImagingStudy.series.numberOfInstances",
         "NumberOfSeriesRelatedInstances", to.unsigned("NumberOfSeriesRelatedInstances"), _NEWEST),
    _row(_SERIES, "anatomic_regions", "ImagingStudy.series.bodySite", "AnatomicRegionSequence",
         to.listed(to.anatomic_regions), _UNION),
    _row(_SERIES, "body_part", "ImagingStudy.series.bodySite", "BodyPartExamined", to.body_part),
    _row(_SERIES, "laterality", "ImagingStudy.series.laterality", "Laterality", to.laterality),
    _row(_SERIES, "image_laterality", "ImagingStudy.series.laterality", "ImageLaterality",
         to.image_laterality, _UNION),
    _row(_SERIES, "specimens", "ImagingStudy.series.specimen", "SpecimenDescriptionSequence",
         to.listed(references.specimens), _UNION),
    _row(_SERIES, "started", "ImagingStudy.series.started", "SeriesDate SeriesTime TimezoneOffsetFromUTC",
         to.started("SeriesDate", "SeriesTime"), _REFINE),
    _row(_SERIES, "acquired_at", "ImagingStudy.series.started", "AcquisitionDateTime",
         to.acquired_at, _EARLIEST),
    _row(_SERIES, "acquired", "ImagingStudy.series.started", "AcquisitionDate AcquisitionTime",
         to.started("AcquisitionDate", "AcquisitionTime", "SeriesDate"), _EARLIEST),
    _row(_SERIES, "performed", "ImagingStudy.series.started",
         "PerformedProcedureStepStartDate PerformedProcedureStepStartTime",
         to.started("PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime",
                    "SeriesDate", "AcquisitionDate"), _EARLIEST),
    _row(_SERIES, "physicians", "ImagingStudy.series.performer",
         "PerformingPhysicianName PerformingPhysicianIdentificationSequence",
         to.listed(to.performing_physicians), _UNION),
    _row(_SERIES, "operators", "ImagingStudy.series.performer",
         "OperatorsName OperatorIdentificationSequence", to.listed(to.operators), _UNION),
    _row(_SERIES, "devices", "ImagingStudy.series.performer",
         "Manufacturer ManufacturerModelName DeviceSerialNumber", to.listed(references.device), _UNION),
    _row(_SERIES, "requests", "ImagingStudy.basedOn",
         "RequestAttributesSequence RequestedProcedureID PlacerOrderNumberImagingServiceRequest "
         "FillerOrderNumberImagingServiceRequest", to.listed(references.requests), _UNION),
    _row(_SERIES, "reasons", "ImagingStudy.reasonCode",
         "ReasonForTheRequestedProcedure ReasonForRequestedProcedureCodeSequence RequestAttributesSequence",
         to.listed(to.reasons), _UNION),
    _row(_SERIES, "procedure_steps", "ImagingStudy.procedureReference",
         "ReferencedPerformedProcedureStepSequence", to.listed(to.procedure_steps), _UNION),
    _row(_SERIES, "performed_location", "ImagingStudy.location", "PerformedLocation",
         to.text("PerformedLocation")),
    _row(_SERIES, "department", "ImagingStudy.location", "InstitutionalDepartmentName",
         to.text("InstitutionalDepartmentName")),
    _row(_SERIES, "institution", "ImagingStudy.location", "InstitutionName", to.text("InstitutionName")),

    _row(_INSTANCE, "uid", "ImagingStudy.series.instance.uid", "SOPInstanceUID", to.uid("SOPInstanceUID"),
         required=True),
    _row(_INSTANCE, "sop_class", "ImagingStudy.series.instance.sopClass", "SOPClassUID",
         to.uid("SOPClassUID"), required=True),
    _row(_INSTANCE, "number", "ImagingStudy.series.instance.number", "InstanceNumber",
         to.unsigned("InstanceNumber")),
    _row(_INSTANCE, "title", "ImagingStudy.series.instance.title",
         "ImageType DocumentTitle ConceptNameCodeSequence ContentLabel", titles.title),
    _row(_INSTANCE, "availability", "ImagingStudy.status", "InstanceAvailability",
         to.code("InstanceAvailability")),

    *(Row(level, ATTRIBUTES, "", kept_keywords(level), to.queried(level), Merge.OVERLAY) for level in Level),
)
# fmt: on


def keywords(*levels: Level) -> tuple[str, ...]:
    """The root elements that the facts of some levels are made of.

    The character set is none of them: DICOM JSON is UTF-8 (PS3.18 F.2.1), and there are archives that fail
    when they are asked for it.
    """
    found = (keyword for row in ROWS if row.level in levels for keyword in row.keywords)
    return tuple(dict.fromkeys(found))


RULES: Mapping[Level, Mapping[str, Merge]] = {
    level: {row.name: row.merge for row in ROWS if row.level is level} for level in Level
}
"""Level → field name → how values of the field merge."""
