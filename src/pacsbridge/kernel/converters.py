"""Converters of the mapping table: attributes of one data set → the value of one fact, or None.

All are total: what cannot be used is left out and noted in the scope.
"""

from collections.abc import Callable
from typing import Any

from pacsbridge.errors import NotUnderstood
from pacsbridge.kernel import codes, concepts, dates, names, references, values
from pacsbridge.kernel.attributes import Attributes
from pacsbridge.kernel.identity import Identifier, Issuer, identifier, patient_key
from pacsbridge.kernel.model import Level
from pacsbridge.kernel.query_keys import Record, kept
from pacsbridge.kernel.scope import Scope
from pacsbridge.kernel.terminology import Coding

Convert = Callable[[Attributes, Scope], Any]

# texts and numbers


def text(keyword: str) -> Convert:
    """The first value, cleaned."""

    def convert(attributes: Attributes, _scope: Scope) -> str | None:
        value = attributes.text(keyword)
        return values.clean(value) or None if value else None

    return convert


def uid(keyword: str) -> Convert:
    """A UID that must be there. Raises NotUnderstood when it is missing or no UID."""

    def convert(attributes: Attributes, _scope: Scope) -> str:
        found = values.uid(attributes.text(keyword) or "")
        if found is None:
            raise NotUnderstood(f"{keyword} is missing or no UID", keyword)
        return found

    return convert


def unsigned(keyword: str) -> Convert:
    """A number from 0 up."""

    def convert(attributes: Attributes, scope: Scope) -> int | None:
        value = attributes.text(keyword)
        if not value:
            return None
        number = values.unsigned(value)
        if number is None:
            scope.note(keyword, value, "not a number from 0 up")
        return number

    return convert


def code(keyword: str) -> Convert:
    """A code string in capitals."""

    def convert(attributes: Attributes, _scope: Scope) -> str | None:
        value = attributes.text(keyword)
        return (values.code(value) or "").upper() or None if value else None

    return convert


def code_list(keyword: str) -> Convert:
    """All values of a code string, in capitals."""

    def convert(attributes: Attributes, _scope: Scope) -> list[str] | None:
        found = (values.code(value) for value in attributes.texts(keyword)[:64])
        return [value.upper() for value in found if value] or None

    return convert


def queried(level: Level) -> Convert:
    """What queries of a level are answered from (see `query_keys`)."""

    def convert(attributes: Attributes, _scope: Scope) -> Record | None:
        return kept(attributes, level)

    return convert


def listed(convert: Callable[[Attributes, Scope], list[Any]]) -> Convert:
    """A converter to a list, of which an empty one is no fact."""

    def convert_or_none(attributes: Attributes, scope: Scope) -> list[Any] | None:
        return convert(attributes, scope) or None

    return convert_or_none


# dates


def started(date: str, time: str, *better: str) -> Convert:
    """A dateTime from a date and a time; none where one of the `better` dates is readable."""

    def convert(attributes: Attributes, scope: Scope) -> str | None:
        if any(_readable_date(attributes, keyword) for keyword in better):
            return None
        day = _date(attributes, scope, date)
        if day is None:
            return None
        return dates.date_time(day, _time(attributes, scope, time), scope.offset, scope.zone)

    return convert


def acquired_at(attributes: Attributes, scope: Scope) -> str | None:
    """Acquisition DateTime (0008,002A), where the series has no date of its own."""
    value = attributes.text("AcquisitionDateTime")
    if not value or _readable_date(attributes, "SeriesDate"):
        return None
    found = dates.dt(value, scope.offset, scope.zone)
    if found is None:
        scope.note("AcquisitionDateTime", value, "not a date and time")
    return found


def birth_date(attributes: Attributes, scope: Scope) -> str | None:
    """Patient's Birth Date (0010,0030), partial ones as they are, never shifted by a zone."""
    return _date(attributes, scope, "PatientBirthDate")


def _date(attributes: Attributes, scope: Scope, keyword: str) -> str | None:
    value = attributes.text(keyword)
    if not value:
        return None
    day = dates.da(value)
    if day is None:
        scope.note(keyword, value, "not a date")
    return day


def _time(attributes: Attributes, scope: Scope, keyword: str) -> str | None:
    value = attributes.text(keyword)
    if not value:
        return None
    time = dates.tm(value)
    if time is None:
        scope.note(keyword, value, "not a time of day")
    return time


def _readable_date(attributes: Attributes, keyword: str) -> bool:
    value = attributes.text(keyword)
    return bool(value) and dates.da(value or "") is not None


# the patient


def key(attributes: Attributes, scope: Scope) -> str | None:
    """What tells this patient apart; None without PatientID."""
    number = scope.text(attributes, "PatientID")
    if not number:
        return None
    if len(attributes.texts("PatientID")) > 1:
        scope.note("PatientID", "\\".join(attributes.texts("PatientID")), "several values; the first is used")
    return patient_key(number, _patient_issuer(attributes, scope, scope.context.patient_system))


def medical_record(attributes: Attributes, scope: Scope) -> Identifier | None:
    """PatientID with its issuer."""
    number = scope.text(attributes, "PatientID")
    if not number:
        return None
    return identifier(number, _patient_issuer(attributes, scope, scope.context.patient_system), "MR")


def other_medical_records(attributes: Attributes, scope: Scope) -> list[Identifier]:
    """The items of Other Patient IDs Sequence (0010,1002), each with the issuer that it names itself."""
    return [
        identifier(number, _patient_issuer(item, scope, None), "MR")
        for item in scope.items(attributes, "OtherPatientIDsSequence")
        if (number := scope.text(item, "PatientID"))
    ]


def _patient_issuer(attributes: Attributes, scope: Scope, default: str | None) -> Issuer:
    namespace = scope.text(attributes, "IssuerOfPatientID")
    item = attributes.item("IssuerOfPatientIDQualifiersSequence")
    return references.universally(item, scope, namespace, scope.context.patient_systems, default)


def patient_names(attributes: Attributes, scope: Scope) -> dict[str, Any] | None:
    """Patient's Name (0010,0010), its groups by representation."""
    value = attributes.text("PatientName")
    if value and names.is_filling(value):
        scope.note("PatientName", value, "names nobody")
    return names.human_names(value) or None if value else None


def gender(attributes: Attributes, _scope: Scope) -> str | None:
    """Patient's Sex (0010,0040) as administrative gender."""
    value = attributes.text("PatientSex")
    return _GENDERS.get(value.strip().upper(), "unknown") if value else None


_GENDERS = {"M": "male", "F": "female", "O": "other"}


# the study


def study_id(attributes: Attributes, scope: Scope) -> Identifier | None:
    """Study ID (0020,0010), which is no identifier without a configured system: it is not unique."""
    system = scope.context.study_id_system
    number = scope.text(attributes, "StudyID") if system else ""
    return identifier(number, Issuer(system)) if number else None


def procedures(attributes: Attributes, scope: Scope) -> list[concepts.Concept]:
    """Procedure Code Sequence (0008,1032)."""
    return concepts.concepts(scope.items(attributes, "ProcedureCodeSequence"), scope)


def requested_procedures(attributes: Attributes, scope: Scope) -> list[concepts.Concept]:
    """Requested Procedure Code Sequence (0032,1064)."""
    return concepts.concepts(scope.items(attributes, "RequestedProcedureCodeSequence"), scope)


def comments(attributes: Attributes, scope: Scope) -> str | None:
    """Study Comments (0032,4000), where that is configured."""
    return scope.text(attributes, "StudyComments") or None if scope.context.study_comments else None


# the series


def anatomic_regions(attributes: Attributes, scope: Scope) -> list[Coding]:
    """Anatomic Region Sequence (0008,2218), which has one item."""
    items = scope.items(attributes, "AnatomicRegionSequence")[:1]
    return [found for item in items if (found := concepts.coding(item, scope))]


def body_part(attributes: Attributes, _scope: Scope) -> Coding | None:
    """Body Part Examined (0018,0015) through PS3.16 Annex L; what isn't listed is a display alone."""
    value = attributes.text("BodyPartExamined")
    found = values.clean(value) if value else ""
    return (codes.body_part(found) or {"display": found}) if found else None


def laterality(attributes: Attributes, scope: Scope) -> Coding | None:
    """Laterality (0020,0060) of a paired body part."""
    return _side(attributes, scope, "Laterality")


def image_laterality(attributes: Attributes, scope: Scope) -> list[Coding] | None:
    """Image Laterality (0020,0062); an unpaired part is kept, so that the series shows as not uniform."""
    side = _side(attributes, scope, "ImageLaterality")
    if side is None and (attributes.text("ImageLaterality") or "").strip().upper() == _UNPAIRED:
        return [{"code": _UNPAIRED}]
    return [side] if side else None


_UNPAIRED = "U"


def _side(attributes: Attributes, scope: Scope, keyword: str) -> Coding | None:
    value = attributes.text(keyword)
    if not value:
        return None
    side = codes.laterality(value, scope.context.r4_laterality)
    if side is None and value.strip().upper() != _UNPAIRED:
        scope.note(keyword, value, "not a laterality")
    return side


def series_meaning(attributes: Attributes, scope: Scope) -> str | None:
    """The meaning of Series Description Code Sequence (0008,103F)."""
    item = attributes.item("SeriesDescriptionCodeSequence")
    return concepts.meaning(item, scope) or None if item else None


def reasons(attributes: Attributes, scope: Scope) -> list[concepts.Concept]:
    """Reasons for the requested procedure, of the root and of each request."""
    found = []
    for item in (attributes, *scope.items(attributes, "RequestAttributesSequence")):
        coded = concepts.concepts(scope.items(item, "ReasonForRequestedProcedureCodeSequence"), scope)
        found += concepts.with_text(coded, scope.text(item, "ReasonForTheRequestedProcedure"))
    return found


def procedure_steps(attributes: Attributes, scope: Scope) -> list[str]:
    """SOP Instance UIDs of the performed procedure steps (0008,1111)."""
    items = scope.items(attributes, "ReferencedPerformedProcedureStepSequence")
    found = (values.uid(item.text("ReferencedSOPInstanceUID") or "") for item in items)
    return [step for step in found if step]


def performing_physicians(attributes: Attributes, scope: Scope) -> list[dict[str, Any]]:
    """Performing physicians: (0008,1050), (0008,1052)."""
    keywords = ("PerformingPhysicianName", "PerformingPhysicianIdentificationSequence")
    return references.performers(attributes, scope, "PRF", *keywords)


def operators(attributes: Attributes, scope: Scope) -> list[dict[str, Any]]:
    """Operators: (0008,1070), (0008,1072)."""
    return references.performers(attributes, scope, "SPRF", "OperatorsName", "OperatorIdentificationSequence")


def referrer(attributes: Attributes, scope: Scope) -> references.Reference | None:
    """The referring physician: (0008,0090), (0008,0096)."""
    keywords = ("ReferringPhysicianName", "ReferringPhysicianIdentificationSequence")
    return references.person(attributes, scope, *keywords)


def interpreters(attributes: Attributes, scope: Scope) -> list[references.Reference]:
    """The physicians reading the study: (0008,1060), (0008,1062)."""
    keywords = ("NameOfPhysiciansReadingStudy", "PhysiciansReadingStudyIdentificationSequence")
    return references.people(attributes, scope, *keywords)
