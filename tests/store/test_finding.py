"""C-FIND and QIDO-RS queries on both engines, against a plain look at every record."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pacsbridge.bridge.querying import first, matches
from pacsbridge.kernel.attributes import Attributes
from pacsbridge.kernel.finding import Asked, Find, understood
from pacsbridge.kernel.matching import satisfies
from pacsbridge.kernel.model import Level
from pacsbridge.kernel.query_keys import TAGS, Record
from pacsbridge.kernel.zones import in_zone, offset_of
from pacsbridge.store.finding import is_exact
from pacsbridge.store.records import Listing
from pacsbridge.store.sql import Sql, sql
from pacsbridge.store.store import Store

CT = "1.2.840.10008.5.1.4.1.1.2"
NOW = 1_800_000_000_000_000

NAMES = ("Müller^Jörg", "MULLER^Anna", "Yamada^Tarou=山田^太郎", "O'Neil^Pat_rick", "100%^A", "")
IDS = ("A_1", "A%1", "a_1", "B*", "", "C\\1")
DATES = ("20200131", "20200201", "2020", "", "20191231")
TIMES = ("1015", "235959.5", "", "00")
MODALITIES = ("CT", "MR", "XCT", "SR")
ZONES = ("+0100", "", "-0930", "+1400", "Z", "+0100", "-1200")


def headers() -> Iterator[Attributes]:
    """Instances of studies that differ in everything that is queried."""
    for number, (name, patient) in enumerate(product(NAMES, IDS), 1):
        for series in range(1 + number % 3):
            texts = {
                "StudyInstanceUID": f"1.2.{number}",
                "SeriesInstanceUID": f"1.3.{number}.{series}",
                "SOPInstanceUID": f"1.4.{number}.{series}",
                "SOPClassUID": CT,
                "PatientName": name,
                "PatientID": patient and f"{patient}{number % 4}",
                "PatientSex": "FMO"[number % 3],
                "PatientBirthDate": "19700101",
                "StudyDate": DATES[number % len(DATES)],
                "StudyTime": TIMES[number % len(TIMES)],
                "TimezoneOffsetFromUTC": ZONES[number % len(ZONES)],
                "AccessionNumber": f"ACC{number:03}",
                "StudyID": f"S{number % 5}",
                "StudyDescription": ("Head", "head CT", "Thorax_1")[number % 3],
                "Modality": MODALITIES[(number + series) % len(MODALITIES)],
                "SeriesNumber": str(series + 1),
                "InstanceNumber": str(number),
                "Rows": str(512 + series),
            }
            yield Attributes({keyword: (text,) for keyword, text in texts.items() if text})


@pytest.fixture
def filled(make_published: Callable[..., Store]) -> Store:
    """A store in which all of them are published."""
    return make_published(headers(), NOW)


def found(store: Store, find: Find) -> list[Record]:
    """All records that the store finds."""
    return [record for some in matches(store, find) for record in some]


def find(level: Level, **keys: str) -> Find:
    """The query that values by keyword make."""
    asked = {TAGS[keyword]: Asked(keyword, (value,)) for keyword, value in keys.items()}
    return understood(level, asked, combined_times=True).find


def plainly(store: Store, asked: Find) -> list[Record]:
    """All records of the level, one by one looked at."""
    every = found(store, Find(asked.level, {}))
    return [
        one
        for one in every
        if satisfies(one, asked.conditions) and all(moment.holds(one) for moment in asked.moments)
    ]


QUERIES: Sequence[dict[str, str]] = [
    {},
    {"PatientName": "muller*"},
    {"PatientName": "*jörg"},
    {"PatientName": "山田*"},
    {"PatientName": "山*郎"},
    {"PatientName": "YAMADA^TAROU"},
    {"PatientName": "o'neil^pat_rick"},
    {"PatientName": "100%^*"},
    {"PatientName": "=山田*"},
    {"PatientName": "o'neil^patXrick"},
    {"PatientName": "100%*"},
    {"PatientName": "*"},
    {"PatientName": "??????^*"},
    {"PatientID": "A_11"},
    {"PatientID": "A*"},
    {"PatientID": "a*"},
    {"PatientID": "?_1?"},
    {"PatientID": "A%*"},
    {"PatientID": "C*"},
    {"PatientID": "*1"},
    {"StudyDate": "20200131"},
    {"StudyDate": "20200101-20200131"},
    {"StudyDate": "-20200101"},
    {"StudyDate": "20200101-"},
    {"StudyTime": "10-11"},
    {"StudyTime": "0000"},
    {"StudyDate": "20200131-20200201", "StudyTime": "1015-1016"},
    {"AccessionNumber": "ACC007"},
    {"AccessionNumber": "ACC0*", "PatientSex": "M"},
    {"StudyID": "S3"},
    {"StudyDescription": "head*"},
    {"StudyDescription": "Thorax?1"},
    {"ModalitiesInStudy": "CT"},
    {"ModalitiesInStudy": "ct"},
    {"ModalitiesInStudy": "*CT"},
    {"StudyInstanceUID": "1.2.7"},
    {"NumberOfStudyRelatedSeries": "2"},
    {"PatientBirthDate": "19700101", "PatientName": "muller*", "ModalitiesInStudy": "MR"},
]

DEEPER: Sequence[dict[str, str]] = [
    {"Modality": "CT"},
    {"Modality": "?R"},
    {"SeriesInstanceUID": "1.3.8.1"},
    {"SeriesNumber": "2", "PatientName": "muller*"},
    {"NumberOfSeriesRelatedInstances": "1", "StudyInstanceUID": "1.2.8"},
]

DEEPEST: Sequence[dict[str, str]] = [
    {"SOPInstanceUID": "1.4.8.1"},
    {"Rows": "513"},
    {"InstanceNumber": "8", "Modality": "MR"},
]


def test_every_query_finds_what_a_plain_look_finds(filled: Store) -> None:
    """At each level, in the same order; and the plain look finds something, or the case says nothing."""
    cases = [
        *(product((Level.STUDY, Level.SERIES, Level.INSTANCE), QUERIES)),
        *(product((Level.SERIES, Level.INSTANCE), DEEPER)),
        *(product((Level.INSTANCE,), DEEPEST)),
    ]
    barren = []
    for level, keys in cases:
        asked = find(level, **keys)
        expected = plainly(filled, asked)
        assert found(filled, asked) == expected, (level, keys)
        barren += [keys] if not expected else []
    assert {value for keys in barren for value in keys.values()} == {"o'neil^patXrick", "ct"}


@pytest.mark.parametrize("level", [Level.STUDY, Level.SERIES, Level.INSTANCE])
@pytest.mark.parametrize(
    "keys",
    [
        {"StudyDate": "20200131"},
        {"StudyDate": "-20200131"},
        {"StudyDate": "20200201", "StudyTime": "00-06"},
        {"StudyTime": "2330-"},
        {"StudyDate": "20200131-20200201", "StudyTime": "1200-0300"},
        {"StudyDate": "20200130-20200131", "PatientName": "m*"},
        {},
    ],
)
def test_a_query_in_a_time_zone(filled: Store, level: Level, keys: dict[str, str]) -> None:
    """Dates and times of the query and of the answers are in its zone; others were found in other zones."""
    every = found(filled, find(level))
    unlike = 0
    for zone in ("+0000", "+0545", "-1200", "+1400"):
        asked = find(level, **keys, TimezoneOffsetFromUTC=zone)
        moved = [in_zone(one, offset_of("", zone)) for one in every]
        expected = [
            one
            for one in moved
            if satisfies(one, asked.conditions) and all(moment.holds(one) for moment in asked.moments)
        ]
        assert found(filled, asked) == expected
        unlike += {str(one) for one in expected} != {str(one) for one in found(filled, find(level, **keys))}
    assert unlike


def test_an_empty_time_zone_is_a_key_to_be_returned(filled: Store) -> None:
    """Nothing is moved, nothing left out."""
    assert found(filled, find(Level.STUDY, TimezoneOffsetFromUTC="")) == found(filled, find(Level.STUDY))


TEXTS = st.text(alphabet="aAmulö_%*?\\^=ck1.", max_size=5)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(["PatientName", "PatientID", "StudyDescription", "AccessionNumber"]), TEXTS)
def test_any_pattern_finds_what_a_plain_look_finds(filled: Store, keyword: str, text: str) -> None:
    """LIKE and its escapes say the same as matching does, where they say they do."""
    asked = find(Level.STUDY, **{keyword: text})
    assert found(filled, asked) == plainly(filled, asked)


def test_pages_concatenate_to_the_whole(filled: Store) -> None:
    """By limit and offset, whether the database counts off or not."""
    for keys in ({}, {"StudyDescription": "head*"}, {"PatientName": "mu*r*"}):
        asked = find(Level.SERIES, **keys)
        whole = found(filled, asked)
        pages, more, offset = list[Record](), True, 0
        while more:
            page, more = first(filled, asked, 7, offset)
            pages += page
            offset += 7
        assert pages == whole
    assert is_exact(find(Level.SERIES))
    assert not is_exact(find(Level.SERIES, StudyDescription="head*"))


def test_the_newest_come_first(filled: Store) -> None:
    """Studies without a date last."""
    days = [record.get(TAGS["StudyDate"], [""])[0] for record in found(filled, find(Level.STUDY))]
    assert days == sorted(days, reverse=True)


def test_patients_are_found_once(filled: Store) -> None:
    """With the numbers of what is known of them."""
    counts = (
        "NumberOfPatientRelatedStudies",
        "NumberOfPatientRelatedSeries",
        "NumberOfPatientRelatedInstances",
    )
    asked = find(Level.PATIENT, PatientID="A_1*", **dict.fromkeys(counts, ""))
    records = found(filled, asked)
    ids = [one[TAGS["PatientID"]][0] for one in records]
    assert len(ids) == len(set(ids)) > 1
    studies = found(filled, find(Level.STUDY, PatientID="A_1*"))
    for record in records:
        own = [one for one in studies if one[TAGS["PatientID"]] == record[TAGS["PatientID"]]]
        assert record[TAGS[counts[0]]] == [str(len(own))]
        series = sum(int(one[TAGS["NumberOfStudyRelatedSeries"]][0]) for one in own)
        assert record[TAGS[counts[1]]] == [str(series)]


def test_lists_of_any_length(filled: Store) -> None:
    """More UIDs than a statement takes are looked at one by one."""
    uids = tuple(f"1.2.{number}" for number in range(3, 3000))
    asked = understood(Level.STUDY, {TAGS["StudyInstanceUID"]: Asked("uid", uids)}, combined_times=False).find
    assert found(filled, asked) == plainly(filled, asked)


def test_what_is_withdrawn_is_not_found(filled: Store) -> None:
    """A study whose instances have gone is no answer any more."""
    [record] = found(filled, find(Level.STUDY, StudyInstanceUID="1.2.7"))
    assert record
    row = filled._database.one(_study("1.2.7"))[0][0]
    filled.publish([], NOW, (), [Listing(row, None)])
    assert not found(filled, find(Level.STUDY, StudyInstanceUID="1.2.7"))
    assert not found(filled, find(Level.SERIES, StudyInstanceUID="1.2.7"))


def _study(uid: str) -> Sql:
    return sql("SELECT pk FROM study WHERE uid = ?", uid)
