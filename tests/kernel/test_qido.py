"""QIDO-RS parameters: what they ask for, and which of them are refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.errors import NotUnderstood
from pacsbridge.kernel.matching import Between, Item, Like, Named, OneOf
from pacsbridge.kernel.model import Level
from pacsbridge.kernel.qido import DEFAULTS, Search, search
from pacsbridge.kernel.query_keys import BY_TAG, KEYS, RETRIEVE_URL, TAGS

MOST = 1000


def asked(text: str, level: Level = Level.STUDY, **named: str) -> Search:
    """The search that a query string makes, `=` and `&` as they stand."""
    pairs = [tuple(part.split("=", 1)) for part in text.split("&") if part]
    return search(level, pairs, {Level(name): uid for name, uid in named.items()}, MOST)  # type: ignore[misc]


@pytest.mark.parametrize("name", ["PatientID", "00100020"])
def test_an_attribute_is_named_by_keyword_or_tag(name: str) -> None:
    """Both forms are one key."""
    assert asked(f"{name}=7").find.conditions == {"00100020": OneOf(frozenset({"7"}))}


@pytest.mark.parametrize(
    "name",
    ["RequestAttributesSequence.ScheduledProcedureStepID", "00400275.00400009"],
)
def test_an_attribute_in_a_sequence_has_a_path(name: str) -> None:
    """Keywords and tags with dots between."""
    found = asked(f"{name}=S1", Level.SERIES).find.conditions
    assert found == {"00400275": Item({"00400009": OneOf(frozenset({"S1"}))})}


def test_paths_into_one_sequence_are_keys_of_one_item() -> None:
    """Two paths do not make two questions."""
    text = "RequestAttributesSequence.ScheduledProcedureStepID=S1&00400275.RequestedProcedureID=P1"
    [item] = asked(text, Level.SERIES).find.conditions.values()
    assert isinstance(item, Item)
    assert set(item.conditions) == {"00400009", "00401001"}


def test_each_kind_of_value() -> None:
    """Names, wildcards, ranges and lists."""
    found = asked(
        "PatientName=Do*&StudyDescription=He?d&StudyDate=20200101-&StudyInstanceUID=1.2,1.3&"
        "ModalitiesInStudy=CT\\MR"
    ).find.conditions
    assert found == {
        "00100010": Named("do*"),
        "00081030": Like("He?d"),
        "00080020": Between("DA", ((20200101, 99999999),)),
        "0020000D": OneOf(frozenset({"1.2", "1.3"})),
        "00080061": OneOf(frozenset({"CT", "MR"})),
    }


def test_ranges_of_date_and_time_are_one() -> None:
    """PS3.4 C.2.2.2.5 without negotiation."""
    find = asked("StudyDate=20200101-20200102&StudyTime=2200-0600").find
    assert not find.conditions
    assert len(find.moments) == 1


def test_what_is_returned() -> None:
    """The level's own attributes, those asked for, those matched by; above them what the path leaves open."""
    plain = asked("", Level.SERIES, study="1.2")
    assert plain.fields == set(DEFAULTS[Level.SERIES]) | {TAGS["StudyInstanceUID"]}
    everywhere = asked("", Level.SERIES)
    assert everywhere.fields == {*DEFAULTS[Level.SERIES], *DEFAULTS[Level.STUDY]}
    more = asked("includefield=PatientAge,00102160&includefield=Occupation&AdmissionID=7")
    assert more.fields - set(DEFAULTS[Level.STUDY]) == {
        TAGS[name] for name in ("PatientAge", "EthnicGroup", "Occupation", "AdmissionID")
    }
    every = asked("includefield=all", Level.INSTANCE)
    assert every.fields == {*BY_TAG, RETRIEVE_URL}


def test_what_changes_nothing_is_taken() -> None:
    """Defaults that clients spell out."""
    found = asked(
        "emptyvaluematching=false&multiplevaluematching=true&fuzzymatching=false&includefield=all,KVP"
    )
    assert not found.find.conditions
    assert not found.warnings


def test_a_field_that_is_not_kept_is_a_warning() -> None:
    """The others are returned."""
    found = asked("includefield=KVP&includefield=Rows")
    assert len(found.warnings) == 2


def test_limits() -> None:
    """A limit is kept, and never above what one answer may have."""
    assert (asked("limit=7&offset=3").limit, asked("limit=7&offset=3").offset) == (7, 3)
    assert asked("limit=5000").limit == MOST
    assert asked("").limit == MOST


def test_a_path_confines_the_search() -> None:
    """A parameter cannot lead out of the study in the path."""
    inside = asked("StudyInstanceUID=1.2,1.3", Level.SERIES, study="1.2").find.conditions
    assert inside["0020000D"] == OneOf(frozenset({"1.2"}))
    outside = asked("StudyInstanceUID=1.3", Level.SERIES, study="1.2").find.conditions
    assert not outside["0020000D"].holds(["1.2"])
    assert not outside["0020000D"].holds(["1.3"])


@pytest.mark.parametrize(
    ("text", "level", "named"),
    [
        ("KVP=120", Level.STUDY, "KVP"),
        ("00180060=120", Level.STUDY, "00180060"),
        ("Rows=512", Level.STUDY, "Rows"),
        ("SeriesNumber=1", Level.STUDY, "SeriesNumber"),
        ("PatientNam=x", Level.STUDY, "PatientNam"),
        ("<b>=x", Level.STUDY, "b"),
        ("StudyDate=soon", Level.STUDY, "StudyDate"),
        ("StudyInstanceUID=x", Level.STUDY, "StudyInstanceUID"),
        ("PatientID=1&PatientID=2", Level.STUDY, "PatientID"),
        ("PatientID=1&00100020=2", Level.STUDY, "00100020"),
        ("limit=-1", Level.STUDY, "limit"),
        ("limit=ten", Level.STUDY, "limit"),
        ("limit=1&limit=2", Level.STUDY, "limit"),
        ("offset=٣", Level.STUDY, "offset"),
        ("offset=99999999999999999999999", Level.STUDY, "offset"),
        ("emptyvaluematching=true", Level.STUDY, "emptyvaluematching"),
        ("fuzzymatching=maybe", Level.STUDY, "fuzzymatching"),
        ("PatientID.00100020=1", Level.STUDY, "PatientID.00100020"),
        ("RequestAttributesSequence=1", Level.SERIES, "RequestAttributesSequence"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(text: str, level: Level, named: str) -> None:
    """Nobody takes everything for what was asked."""
    with pytest.raises(NotUnderstood) as caught:
        asked(text, level)
    assert caught.value.parameter == named


NAMES = st.one_of(st.sampled_from([*KEYS, *BY_TAG, "limit", "offset", "includefield"]), st.text(max_size=12))


@given(st.lists(st.tuples(NAMES, st.text(max_size=20)), max_size=4), st.sampled_from([*DEFAULTS]))
def test_any_parameters_are_a_search_or_refused(pairs: list[tuple[str, str]], level: Level) -> None:
    """Nothing but NotUnderstood comes out of what clients may send."""
    with contextlib.suppress(NotUnderstood):
        assert search(level, pairs, {}, MOST).limit <= MOST
