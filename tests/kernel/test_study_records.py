"""Records of queries: what of a study, its series and its instances is answered."""

from pacsbridge.kernel.attributes import Attributes
from pacsbridge.kernel.extract import extract
from pacsbridge.kernel.mapping import ATTRIBUTES, RULES
from pacsbridge.kernel.model import InstanceState, Level, SeriesState, StudyState, merge
from pacsbridge.kernel.query_keys import LONGEST, MOST_VALUES, TAGS, kept
from pacsbridge.kernel.study_records import instance_records, study_record
from pacsbridge.kernel.titles import RETENTION_EXPIRED

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


def instance(uid: str, sop_class: str = CT, **more: object) -> InstanceState:
    """One instance."""
    return InstanceState(uid, sop_class, **more)  # type: ignore[arg-type]


def state(*series: SeriesState, **study: object) -> StudyState:
    """A study of a patient with a name."""
    patient = {ATTRIBUTES: {TAGS["PatientName"]: ["Doe^Jane"], TAGS["PatientID"]: ["7"]}}
    return StudyState(patient, {"uid": "1.2", **study}, list(series))


def values(record: dict[str, list[str]], keyword: str) -> list[str]:
    """The values of an attribute."""
    return record.get(TAGS[keyword], [])


def test_a_study_has_its_patient_and_its_counts() -> None:
    """Modalities and SOP classes are those of all series, counts what is there."""
    record = study_record(
        state(
            SeriesState({"uid": "1.3", "modality": "CT"}, [instance("1.4"), instance("1.5")]),
            SeriesState({"uid": "1.6", "modality": "SR"}, [instance("1.7", MR)]),
        )
    )
    assert values(record.attributes, "PatientName") == ["Doe^Jane"]
    assert values(record.attributes, "ModalitiesInStudy") == ["CT", "SR"]
    assert values(record.attributes, "SOPClassesInStudy") == [CT, MR]
    assert values(record.attributes, "NumberOfStudyRelatedSeries") == ["2"]
    assert values(record.attributes, "NumberOfStudyRelatedInstances") == ["3"]
    assert values(record.attributes, "InstanceAvailability") == ["ONLINE"]
    assert [values(one, "NumberOfSeriesRelatedInstances") for one in record.series] == [["2"], ["1"]]


def test_what_an_archive_counts_counts() -> None:
    """Of a study that only an archive has, its own numbers hold."""
    record = study_record(state(SeriesState({"uid": "1.3"}), reported_series=4, reported_instances=90))
    assert (record.series_count, record.instance_count) == (4, 90)
    assert values(record.attributes, "NumberOfStudyRelatedInstances") == ["90"]


def test_what_a_note_has_expired_is_gone() -> None:
    """As in the ImagingStudy."""
    expired = instance("1.4", rejected=RETENTION_EXPIRED)
    record = study_record(state(SeriesState({"uid": "1.3"}, [expired, instance("1.5")])))
    assert record.instance_count == 1
    found = list(instance_records(state(SeriesState({"uid": "1.3"}, [expired, instance("1.5")]))))
    assert [values(own, "SOPInstanceUID") for _series, own in found] == [["1.5"]]


def test_the_best_availability_is_the_studys() -> None:
    """A study of which one part is online is online; each instance says its own."""
    one, other = instance("1.4", availability="OFFLINE"), instance("1.5", availability="NEARLINE")
    record = study_record(state(SeriesState({"uid": "1.3"}, [one, other])))
    assert values(record.attributes, "InstanceAvailability") == ["NEARLINE"]


def test_instances_come_in_the_order_of_their_numbers() -> None:
    """With what is known of each."""
    held = instance("1.5", number=2, transfer_syntax="1.2.840.10008.1.2.1", attributes={"00280010": ["512"]})
    found = list(instance_records(state(SeriesState({"uid": "1.3"}, [held, instance("1.4", number=1)]))))
    assert [values(own, "InstanceNumber") for _series, own in found] == [["1"], ["2"]]
    assert values(found[1][1], "Rows") == ["512"]
    assert values(found[1][1], "AvailableTransferSyntaxUID") == ["1.2.840.10008.1.2.1"]


def header(**values_: object) -> Attributes:
    """A header with the UIDs that every instance has."""
    uids = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.3", "SOPInstanceUID": "1.4", "SOPClassUID": CT}
    texts = {name: (value,) if isinstance(value, str) else value for name, value in (uids | values_).items()}
    return Attributes(texts)  # type: ignore[arg-type]


def test_attributes_stand_as_they_were_sent() -> None:
    """Names with all their groups, dates and times without zones: what FHIR has no room for."""
    facts = extract(header(PatientName="Yamada^Tarou=山田^太郎", StudyTime="1015", ProtocolName="T1"))
    assert facts.patient[ATTRIBUTES] == {TAGS["PatientName"]: ["Yamada^Tarou=山田^太郎"]}
    assert facts.study[ATTRIBUTES] == {TAGS["StudyTime"]: ["1015"]}
    assert facts.series[ATTRIBUTES] == {TAGS["ProtocolName"]: ["T1"]}


def test_sequences_are_kept_with_what_is_known_of_their_items() -> None:
    """An item's own attributes by tag."""
    item = Attributes({"ScheduledProcedureStepID": ("S1",), "ReasonForTheRequestedProcedure": ("pain",)})
    found = kept(header(RequestAttributesSequence=(item,)), Level.SERIES)
    assert found == {"00400275": [{"00400009": ["S1"], "00401002": ["pain"]}]}


def test_what_is_kept_is_bounded() -> None:
    """A header can make nothing grow without end."""
    found = kept(header(ImageType=("A" * 5000,) * 500), Level.INSTANCE)
    assert found is not None
    assert len(found["00080008"]) == MOST_VALUES
    assert {len(value) for value in found["00080008"]} == {LONGEST}


def test_a_later_header_adds_and_replaces_without_conflict() -> None:
    """Other facts tell conflicts; what a later header lacks stays."""
    before = extract(header(StudyTime="1015", StudyID="S")).study
    after = extract(header(StudyTime="1020")).study
    merged, conflicts = merge(Level.STUDY, RULES[Level.STUDY], before, after)
    assert merged[ATTRIBUTES] == {TAGS["StudyTime"]: ["1020"], TAGS["StudyID"]: ["S"]}
    assert not conflicts
