"""What is known of a study → the records that C-FIND and QIDO-RS answer from.

A record of a study has its patient's attributes too; one of a series or an instance has its own alone.
Counts and what remains after rejection notes are those of the ImagingStudy.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pacsbridge.kernel import series as series_of
from pacsbridge.kernel.mapping import ATTRIBUTES
from pacsbridge.kernel.model import InstanceState, SeriesState, StudyState
from pacsbridge.kernel.query_keys import TAGS, Record
from pacsbridge.kernel.reports import ONLINE

MOST_CLASSES = 64
"""SOP classes of a study that are named."""


class StudyRecord(NamedTuple):
    """A study and its series, in the order of their numbers; the counts are those of the ImagingStudy."""

    uid: str
    attributes: Record
    series: Sequence[Record]
    series_count: int
    instance_count: int


def study_record(state: StudyState) -> StudyRecord:
    """The record of a study that has a UID."""
    facts, living = state.study, series_of.living(state.series)
    records = [_series_record(one) for one in living]
    series_count = max(len(living), facts.get("reported_series", 0))
    known = sum(int(one[TAGS["NumberOfSeriesRelatedInstances"]][0]) for one in records)
    instance_count = max(known, facts.get("reported_instances", 0))
    attributes: Record = {
        **state.patient.get(ATTRIBUTES, {}),
        **facts.get(ATTRIBUTES, {}),
        TAGS["StudyInstanceUID"]: [facts["uid"]],
        TAGS["InstanceAvailability"]: [_availability(state, living)],
        TAGS["ModalitiesInStudy"]: _modalities(state, living),
        TAGS["SOPClassesInStudy"]: _classes(living),
        TAGS["NumberOfStudyRelatedSeries"]: [str(series_count)],
        TAGS["NumberOfStudyRelatedInstances"]: [str(instance_count)],
    }
    return StudyRecord(facts["uid"], _filled(attributes), records, series_count, instance_count)


def instance_records(state: StudyState) -> Iterable[tuple[Record, Record]]:
    """The record of each instance of a study, with that of its series; they need its `attributes`."""
    for one in series_of.living(state.series):
        record = _series_record(one)
        for instance in sorted(one.instances, key=_place):
            yield record, _instance_record(state, instance)


def _series_record(one: SeriesState) -> Record:
    count = max(len(one.instances), one.facts.get("reported_instances", 0))
    modality = {TAGS["Modality"]: [one.facts["modality"]]} if "modality" in one.facts else {}
    return {
        **one.facts.get(ATTRIBUTES, {}),
        **modality,
        TAGS["SeriesInstanceUID"]: [one.facts["uid"]],
        TAGS["NumberOfSeriesRelatedInstances"]: [str(count)],
    }


def _instance_record(state: StudyState, one: InstanceState) -> Record:
    syntax = [one.transfer_syntax] if one.transfer_syntax else []
    attributes: Record = {
        **one.attributes,
        TAGS["SOPInstanceUID"]: [one.uid],
        TAGS["SOPClassUID"]: [one.sop_class],
        TAGS["InstanceNumber"]: [] if one.number is None else [str(one.number)],
        TAGS["InstanceAvailability"]: [one.availability or state.availability or ONLINE],
        TAGS["AvailableTransferSyntaxUID"]: syntax,
    }
    return _filled(attributes)


def _filled(record: Record) -> Record:
    return {tag: values for tag, values in record.items() if values}


def _availability(state: StudyState, living: Sequence[SeriesState]) -> str:
    """The best of its instances; where none is known, what archives say."""
    said = {one.availability or state.availability or ONLINE for each in living for one in each.instances}
    if not said:
        return state.availability or ONLINE
    return min(said, key=_AVAILABILITY.index) if said <= set(_AVAILABILITY) else ONLINE


_AVAILABILITY = (ONLINE, "NEARLINE", "OFFLINE", "UNAVAILABLE")
"""The defined terms of (0008,0056), the best first (PS3.3 C.4.23.1.1)."""


def _modalities(state: StudyState, living: Iterable[SeriesState]) -> list[str]:
    own = {one.facts["modality"] for one in living if "modality" in one.facts}
    return sorted({*state.study.get("modalities", ()), *own})


def _classes(living: Iterable[SeriesState]) -> list[str]:
    found = {instance.sop_class for one in living for instance in one.instances}
    return sorted(found)[:MOST_CLASSES]


def _place(one: InstanceState) -> tuple[bool, int, str]:
    return (one.number is None, one.number or 0, one.uid)
