"""THE table of what C-FIND and QIDO-RS can ask for: attributes, their level, where their values come from.

Kept ones are taken from headers and archives' records as they stand; computed ones follow from what is known
of a study. A record maps an attribute's tag, eight hexadecimal digits, to its values: texts without padding,
items of a sequence as records of their own. What is absent has no key. (PS3.4 C.6, PS3.18 10.6.)
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from pacsbridge.kernel.attributes import ELEMENTS, Attributes
from pacsbridge.kernel.model import Level
from pacsbridge.kernel.values import clean

Record = dict[str, Any]
"""Tag → values of one patient, study, series or instance, or of one item of a sequence."""

MOST_VALUES = 64
"""Values or items of one attribute that are kept."""

LONGEST = 1024
"""Characters of one value that are kept (PS3.5 6.2: 64 in most, 10,240 in LT)."""

_NESTING = 4


class Key(NamedTuple):
    """One attribute: keyword, tag (eight hexadecimal digits), VR, the level it belongs to (PS3.4 C.6.1.1)."""

    keyword: str
    tag: str
    vr: str
    level: Level


_KEPT: Mapping[Level, str] = {
    Level.PATIENT: """
        PatientName PatientID IssuerOfPatientID PatientBirthDate PatientBirthTime PatientSex
        OtherPatientIDsSequence OtherPatientNames EthnicGroup PatientComments""",
    Level.STUDY: """
        StudyDate StudyTime AccessionNumber IssuerOfAccessionNumberSequence StudyID
        ReferringPhysicianName NameOfPhysiciansReadingStudy StudyDescription ProcedureCodeSequence
        AdmittingDiagnosesDescription AdmissionID PatientAge Occupation AdditionalPatientHistory
        TimezoneOffsetFromUTC""",
    Level.SERIES: """
        SeriesDate SeriesTime Modality Manufacturer ManufacturerModelName StationName InstitutionName
        InstitutionalDepartmentName SeriesDescription PerformingPhysicianName OperatorsName
        BodyPartExamined ProtocolName SeriesNumber Laterality
        PerformedProcedureStepStartDate PerformedProcedureStepStartTime PerformedProcedureStepID
        PerformedProcedureStepDescription RequestAttributesSequence""",
    Level.INSTANCE: """
        InstanceNumber ImageType ContentDate ContentTime AcquisitionDate
        AcquisitionTime AcquisitionDateTime AcquisitionNumber NumberOfFrames Rows Columns BitsAllocated
        ConceptNameCodeSequence DocumentTitle ContentLabel CompletionFlag VerificationFlag""",
}

_COMPUTED = """
00080016 UI instance SOPClassUID
00080018 UI instance SOPInstanceUID
00080054 AE study    RetrieveAETitle
00080056 CS study    InstanceAvailability
00080061 CS study    ModalitiesInStudy
00080062 UI study    SOPClassesInStudy
00083002 UI instance AvailableTransferSyntaxUID
0020000D UI study    StudyInstanceUID
0020000E UI series   SeriesInstanceUID
00201200 IS patient  NumberOfPatientRelatedStudies
00201202 IS patient  NumberOfPatientRelatedSeries
00201204 IS patient  NumberOfPatientRelatedInstances
00201206 IS study    NumberOfStudyRelatedSeries
00201208 IS study    NumberOfStudyRelatedInstances
00201209 IS series   NumberOfSeriesRelatedInstances
"""


def _kept() -> Sequence[Key]:
    return [
        Key(keyword, f"{ELEMENTS[keyword].tag:08X}", ELEMENTS[keyword].vr, level)
        for level, keywords in _KEPT.items()
        for keyword in keywords.split()
    ]


def _computed() -> Sequence[Key]:
    rows = (row.split() for row in _COMPUTED.strip().splitlines())
    return [Key(keyword, tag, vr, Level(level)) for tag, vr, level, keyword in rows]


KEYS: Mapping[str, Key] = {key.keyword: key for key in (*_kept(), *_computed())}
"""Every key by its keyword."""

BY_TAG: Mapping[str, Key] = {key.tag: key for key in KEYS.values()}
"""The same by tag."""

TAGS: Mapping[str, str] = {element.keyword: f"{element.tag:08X}" for element in ELEMENTS.values()} | {
    key.keyword: key.tag for key in KEYS.values()
}
"""Keyword → tag, of what stands in items of sequences too."""

QUERY_RETRIEVE_LEVEL, RETRIEVE_URL = "00080052", "00081190"
"""What stands in queries and answers beside the keys."""

VRS: Mapping[str, str] = (
    {QUERY_RETRIEVE_LEVEL: "CS", RETRIEVE_URL: "UR"}
    | {f"{element.tag:08X}": element.vr for element in ELEMENTS.values()}
    | {key.tag: key.vr for key in KEYS.values()}
)
"""Tag → VR of the same."""

UNIQUE: Mapping[Level, str] = {
    Level.PATIENT: TAGS["PatientID"],
    Level.STUDY: TAGS["StudyInstanceUID"],
    Level.SERIES: TAGS["SeriesInstanceUID"],
    Level.INSTANCE: TAGS["SOPInstanceUID"],
}
"""The unique key of each level (PS3.4 C.6.1.1.2 to 5)."""


def kept_keywords(level: Level) -> tuple[str, ...]:
    """What is kept of the attributes of a level."""
    return tuple(_KEPT[level].split())


_TAGGED: Mapping[Level, Sequence[tuple[str, str]]] = {
    level: [(keyword, TAGS[keyword]) for keyword in kept_keywords(level)] for level in Level
}


def kept(attributes: Attributes, level: Level) -> Record | None:
    """What is kept of one data set at a level; None when it has nothing of it."""
    found: Record = {}
    for keyword, tag in _present(tuple(attributes), level):
        if usable := _usable(attributes.values(keyword), 0):
            found[tag] = usable
    return found or None


@lru_cache(maxsize=512)
def _present(keywords: tuple[str, ...], level: Level) -> Sequence[tuple[str, str]]:
    """What is kept at a level of a data set with these keywords; instances of a series share theirs."""
    return [pair for pair in _TAGGED[level] if pair[0] in keywords]


def _usable(values: Sequence[str | Attributes], depth: int) -> list[Any]:
    """Values in bounds; none where all are blank, or nested too deep."""
    if len(values) == 1 and isinstance(values[0], str):
        text = _text(values[0])
        return [text] if text else []
    if isinstance(values[0], str):
        texts = [_text(value) for value in values[:MOST_VALUES] if isinstance(value, str)]
        return texts if any(texts) else []
    if depth == _NESTING:
        return []
    return [_item(item, depth + 1) for item in values[:MOST_VALUES] if isinstance(item, Attributes)]


def _text(value: str) -> str:
    return value if len(value) <= LONGEST and value.isprintable() else clean(value[:LONGEST])


def _item(item: Attributes, depth: int) -> Record:
    found = ((TAGS[keyword], _usable(item.values(keyword), depth)) for keyword in item)
    return {tag: values for tag, values in found if values}
