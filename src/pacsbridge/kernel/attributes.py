"""The one input shape of the kernel: decoded attributes by keyword, whoever decoded them.

`ELEMENTS` lists every DICOM element (PS3.6) that pacsbridge reads out of a header; a header reader needs
no other. `Attributes` holds the decoded values: text as `str` without padding, numbers as their decimal
text, person names with `^` and `=` as in PS3.5 6.2.1, sequences as nested `Attributes`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Element(NamedTuple):
    """One row of the data dictionary: PS3.6 keyword, tag as 0xGGGGEEEE, value representation."""

    keyword: str
    tag: int
    vr: str


@dataclass(frozen=True, slots=True)
class Issue:
    """An attribute that could not be used: its keyword, the offending text (shortened), and why.

    `value` may hold patient data: it is kept in the store and never logged.
    """

    keyword: str
    value: str
    reason: str


TRUNCATED = Issue("DataSet", "", "truncated")
"""The data set breaks off: there is less of it than it says."""


class Attributes:
    """Read-only values of one data set or sequence item, by keyword; absent and empty are the same.

    `values` maps a keyword to a non-empty tuple of `str` or of `Attributes` (sequence items).
    `issues` are the decoding faults met on the way, this item's and its nested items' together, on the root.
    """

    __slots__ = ("_values", "issues")

    def __init__(
        self,
        values: Mapping[str, "tuple[str, ...] | tuple[Attributes, ...]"],
        issues: tuple[Issue, ...] = (),
    ) -> None:
        self._values = values
        self.issues = issues

    def __contains__(self, keyword: object) -> bool:
        return keyword in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Attributes) and self._values == other._values

    def __hash__(self) -> int:
        return hash(tuple(sorted(self._values)))

    def __repr__(self) -> str:
        return f"Attributes({dict(self._values)!r})"

    def values(self, keyword: str) -> "tuple[str, ...] | tuple[Attributes, ...]":
        """The values or items of an element as they are; () when absent."""
        return self._values.get(keyword, ())

    def texts(self, keyword: str) -> tuple[str, ...]:
        """All values of a non-sequence element, empty ones in place (PS3.5 6.4); () when absent."""
        values = self._values.get(keyword, ())
        return tuple(value for value in values if isinstance(value, str))

    def text(self, keyword: str) -> str | None:
        """The first value that is not blank, or None."""
        for value in self._values.get(keyword, ()):
            if isinstance(value, str) and value.strip():
                return value
        return None

    def items(self, keyword: str) -> "tuple[Attributes, ...]":
        """The items of a sequence; () when absent."""
        values = self._values.get(keyword, ())
        return tuple(value for value in values if isinstance(value, Attributes))

    def item(self, keyword: str) -> "Attributes | None":
        """The first item of a sequence, or None."""
        items = self.items(keyword)
        return items[0] if items else None


_ROWS = """
00080005 CS SpecificCharacterSet
00080008 CS ImageType
00080016 UI SOPClassUID
00080018 UI SOPInstanceUID
00080020 DA StudyDate
00080021 DA SeriesDate
00080022 DA AcquisitionDate
00080023 DA ContentDate
0008002A DT AcquisitionDateTime
00080030 TM StudyTime
00080031 TM SeriesTime
00080032 TM AcquisitionTime
00080033 TM ContentTime
00080050 SH AccessionNumber
00080051 SQ IssuerOfAccessionNumberSequence
00080056 CS InstanceAvailability
00080060 CS Modality
00080061 CS ModalitiesInStudy
00080070 LO Manufacturer
00080080 LO InstitutionName
00080090 PN ReferringPhysicianName
00080096 SQ ReferringPhysicianIdentificationSequence
00080100 SH CodeValue
00080102 SH CodingSchemeDesignator
00080104 LO CodeMeaning
0008010C UI CodingSchemeUID
00080110 SQ CodingSchemeIdentificationSequence
00080119 UC LongCodeValue
00080120 UR URNCodeValue
00080201 SH TimezoneOffsetFromUTC
00081010 SH StationName
00081030 LO StudyDescription
00081032 SQ ProcedureCodeSequence
0008103E LO SeriesDescription
0008103F SQ SeriesDescriptionCodeSequence
00081040 LO InstitutionalDepartmentName
00081050 PN PerformingPhysicianName
00081052 SQ PerformingPhysicianIdentificationSequence
00081060 PN NameOfPhysiciansReadingStudy
00081062 SQ PhysiciansReadingStudyIdentificationSequence
00081070 PN OperatorsName
00081072 SQ OperatorIdentificationSequence
00081080 LO AdmittingDiagnosesDescription
00081090 LO ManufacturerModelName
00081111 SQ ReferencedPerformedProcedureStepSequence
00081115 SQ ReferencedSeriesSequence
00081155 UI ReferencedSOPInstanceUID
00081199 SQ ReferencedSOPSequence
00082218 SQ AnatomicRegionSequence
00100010 PN PatientName
00100020 LO PatientID
00100021 LO IssuerOfPatientID
00100024 SQ IssuerOfPatientIDQualifiersSequence
00100030 DA PatientBirthDate
00100032 TM PatientBirthTime
00100040 CS PatientSex
00101001 PN OtherPatientNames
00101002 SQ OtherPatientIDsSequence
00101010 AS PatientAge
00102160 SH EthnicGroup
00102180 SH Occupation
001021B0 LT AdditionalPatientHistory
00104000 LT PatientComments
00180015 CS BodyPartExamined
00181000 LO DeviceSerialNumber
00181030 LO ProtocolName
0020000D UI StudyInstanceUID
0020000E UI SeriesInstanceUID
00200010 SH StudyID
00200011 IS SeriesNumber
00200012 IS AcquisitionNumber
00200013 IS InstanceNumber
00200060 CS Laterality
00200062 CS ImageLaterality
00201206 IS NumberOfStudyRelatedSeries
00201208 IS NumberOfStudyRelatedInstances
00201209 IS NumberOfSeriesRelatedInstances
00280008 IS NumberOfFrames
00280010 US Rows
00280011 US Columns
00280100 US BitsAllocated
00321060 LO RequestedProcedureDescription
00321064 SQ RequestedProcedureCodeSequence
00324000 LT StudyComments
00380010 LO AdmissionID
00380014 SQ IssuerOfAdmissionIDSequence
00400007 LO ScheduledProcedureStepDescription
00400009 SH ScheduledProcedureStepID
00400031 UT LocalNamespaceEntityID
00400032 UT UniversalEntityID
00400033 CS UniversalEntityIDType
00400243 SH PerformedLocation
00400244 DA PerformedProcedureStepStartDate
00400245 TM PerformedProcedureStepStartTime
00400253 SH PerformedProcedureStepID
00400254 LO PerformedProcedureStepDescription
00400275 SQ RequestAttributesSequence
00400551 LO SpecimenIdentifier
00400560 SQ SpecimenDescriptionSequence
00400562 SQ IssuerOfTheSpecimenIdentifierSequence
00401001 SH RequestedProcedureID
00401002 LO ReasonForTheRequestedProcedure
0040100A SQ ReasonForRequestedProcedureCodeSequence
00401101 SQ PersonIdentificationCodeSequence
00402016 LO PlacerOrderNumberImagingServiceRequest
00402017 LO FillerOrderNumberImagingServiceRequest
0040A043 SQ ConceptNameCodeSequence
0040A375 SQ CurrentRequestedProcedureEvidenceSequence
0040A491 CS CompletionFlag
0040A493 CS VerificationFlag
00420010 ST DocumentTitle
00700080 CS ContentLabel
"""


def _element(row: str) -> Element:
    tag, vr, keyword = row.split()
    return Element(keyword, int(tag, 16), vr)


ELEMENTS: Mapping[str, Element] = {
    element.keyword: element for element in map(_element, _ROWS.strip().splitlines())
}
"""Every element that pacsbridge reads, by keyword, in tag order (PS3.6 chapter 6)."""

BY_TAG: Mapping[int, Element] = {element.tag: element for element in ELEMENTS.values()}
"""The same rows by tag."""
