"""FHIR search parameters → Query: what is understood, what is left out, what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.errors import NotUnderstood
from pacsbridge.kernel.query import (
    Clause,
    Cursor,
    Kind,
    MissingValue,
    Query,
    ReferenceValue,
    StringValue,
    TokenValue,
)
from pacsbridge.kernel.query_parsing import CURSOR, SearchSettings, parse
from pacsbridge.kernel.search_parameters import PARAMETERS

SETTINGS = SearchSettings("http://fhir.example/fhir", default_count=50, max_count=1000)
UID = TokenValue("urn:dicom:uid", "urn:oid:1.2.3")


def query(*pairs: tuple[str, str], type_: str = "ImagingStudy", strict: bool = False) -> Query:
    return parse(type_, pairs, SETTINGS, strict=strict)


@pytest.mark.parametrize(
    ("name", "text", "clause"),
    [
        ("_id", "a,b", Clause("_id", Kind.ID, None, (TokenValue(None, "a"), TokenValue(None, "b")))),
        ("identifier", "A1", Clause("identifier", Kind.TOKEN, None, (TokenValue(None, "A1"),))),
        ("identifier", "1.2.3", Clause("identifier", Kind.TOKEN, None, (TokenValue(None, "1.2.3"), UID))),
        ("identifier", "urn:dicom:uid|urn:oid:1.2.3", Clause("identifier", Kind.TOKEN, None, (UID,))),
        ("identifier", "|1.2.3", Clause("identifier", Kind.TOKEN, None, (TokenValue("", "1.2.3"),))),
        ("identifier:not", "A1", Clause("identifier", Kind.TOKEN, "not", (TokenValue(None, "A1"),))),
        (
            "identifier:of-type",
            "s|T|1",
            Clause("identifier:of-type", Kind.TOKEN, None, (TokenValue("s", "T|1"),)),
        ),
        ("patient", "p1", Clause("subject", Kind.REFERENCE, None, (ReferenceValue("Patient", "p1"),))),
        ("subject", "p1", Clause("subject", Kind.REFERENCE, None, (ReferenceValue(None, "p1"),))),
        (
            "subject:Patient",
            "p1",
            Clause("subject", Kind.REFERENCE, None, (ReferenceValue("Patient", "p1"),)),
        ),
        (
            "patient:identifier",
            "s|1",
            Clause("subject:identifier", Kind.TOKEN, None, (TokenValue("s", "1"),)),
        ),
        (
            "patient:missing",
            "true",
            Clause("subject", Kind.REFERENCE, "missing", (MissingValue(missing=True),)),
        ),
        (
            "based-on:identifier",
            "s|1",
            Clause("basedon:identifier", Kind.TOKEN, None, (TokenValue("s", "1"),)),
        ),
        ("reason:text", "Pain", Clause("reason:text", Kind.STRING, None, (StringValue("pain"),))),
        ("series", "urn:oid:1.2.3", Clause("series", Kind.TOKEN, None, (TokenValue(None, "1.2.3"),))),
        (
            "instance",
            "urn:dicom:uid|1.2.3",
            Clause("instance", Kind.HELD, None, (TokenValue(None, "1.2.3"),)),
        ),
        (
            "dicom-class",
            "1.2.3",
            Clause("dicom-class", Kind.TOKEN, None, (TokenValue(None, "urn:oid:1.2.3"),)),
        ),
        ("_source", "urn:a|b", Clause("_source", Kind.TOKEN, None, (TokenValue(None, "urn:a|b"),))),
    ],
)
def test_a_parameter_becomes_a_clause(name: str, text: str, clause: Clause) -> None:
    """Each kind of parameter and modifier, and the aliases of UIDs."""
    found = query((name, text))
    assert found.clauses == (clause,)
    assert found.understood == ((name, text),)


def test_repeated_parameters_all_hold() -> None:
    """Commas mean OR inside a clause, repeats mean AND between clauses."""
    found = query(("modality", "CT,MR"), ("modality", "SR"))
    assert [len(clause.values) for clause in found.clauses] == [2, 1]


@pytest.mark.parametrize(
    ("pairs", "count", "shown"),
    [
        ((), 50, ()),
        ((("_count", "7"),), 7, (("_count", "7"),)),
        ((("_count", "0"),), 0, (("_count", "0"),)),
        ((("_count", "1001"),), 1000, (("_count", "1000"),)),
        ((("_count", "9" * 5000),), 1000, (("_count", "1000"),)),
        ((("_summary", "count"), ("_count", "7")), 0, (("_count", "0"), ("_summary", "count"))),
    ],
)
def test_the_count(
    pairs: tuple[tuple[str, str], ...], count: int, shown: tuple[tuple[str, str], ...]
) -> None:
    """The default, what was asked, the maximum, a summary that only counts; `self` shows what was done."""
    found = query(*pairs)
    assert (found.count, found.understood) == (count, shown)


def test_a_cursor_goes_on_and_is_not_part_of_the_question() -> None:
    """The cursor is decoded, and left out of what was understood."""
    found = query((CURSOR, Cursor((17,)).encode()), ("_total", "accurate"))
    assert (found.after, found.total, found.understood) == (
        Cursor((17,)),
        "accurate",
        (("_total", "accurate"),),
    )


def test_unknown_parameters_are_named() -> None:
    """Lenient handling leaves them out and says so; the edge's own parameters are neither."""
    found = query(("colour", "red"), ("_format", "json"), ("_sort", "started"), ("status", "available"))
    assert found.ignored == ("colour", "_sort")
    assert found.understood == (("status", "available"),)


def test_strict_handling_refuses_unknown_parameters() -> None:
    """The first unknown parameter is named."""
    with pytest.raises(NotUnderstood) as caught:
        query(("status", "available"), ("colour", "red"), strict=True)
    assert caught.value.parameter == "colour"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("identifier", ""),
        ("identifier", "a|b|c"),
        ("identifier:exact", "a"),
        ("identifier:missing", "maybe"),
        ("instance:missing", "true"),
        ("_id:not", "a"),
        ("_id", "a b"),
        ("patient", "Group/1"),
        ("patient:Group", "1"),
        ("patient.name", "x"),
        ("subject:Patient.identifier", "x"),
        ("started", "yesterday"),
        ("started:not", "2024"),
        ("_lastUpdated", "gt"),
        ("_lastUpdated", "xx2024"),
        ("_count", "-1"),
        ("_count", "ten"),
        ("_count", ""),
        ("_count", "²"),
        ("_total", "all"),
        ("_summary", "much"),
        (CURSOR, "x"),
        (CURSOR, Cursor((0,)).encode()),
        (CURSOR, Cursor((1, 2)).encode()),
        ("identifier", "a\x00b"),
        ("identifier", "a\ud800"),
        ("identifier", ",".join(["a"] * 101)),
        ("", "x"),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_what_is_malformed_is_refused_by_name(name: str, text: str, strict: bool) -> None:
    """Malformed values, modifiers and chains that are not supported: strict or not, never everything."""
    with pytest.raises(NotUnderstood) as caught:
        query((name, text), strict=strict)
    assert caught.value.parameter == name
    assert text == "" or len(text) < 3 or text not in str(caught.value)


def test_a_control_is_given_once() -> None:
    """Two page sizes contradict each other."""
    with pytest.raises(NotUnderstood) as caught:
        query(("_count", "1"), ("_count", "2"))
    assert caught.value.parameter == "_count"


def test_a_search_has_a_limit_of_parameters() -> None:
    """Twenty parameters may be asked, one more may not."""
    assert len(query(*[("status", "available")] * 20).clauses) == 20
    with pytest.raises(NotUnderstood):
        query(*[("status", "available")] * 21)


NAMES = st.sampled_from(
    [code for type_ in PARAMETERS.values() for code in type_]
    + ["_count", "_total", "_summary", CURSOR, "_format", "based-on", "patient.name", "x"]
)
MODIFIERS = st.sampled_from(
    ["", ":not", ":missing", ":identifier", ":of-type", ":text", ":Patient", ":", ":x.y"]
)
TEXTS = st.text() | st.text(alphabet="ap|,\\$20-:TZ+. gt", max_size=20)


@given(
    st.sampled_from(sorted(PARAMETERS)),
    st.lists(st.tuples(NAMES, MODIFIERS, TEXTS), max_size=4),
    st.booleans(),
)
def test_parsing_is_total(type_: str, parts: list[tuple[str, str, str]], strict: bool) -> None:
    """Any parameters are a Query or NotUnderstood; each is a clause, a control, or named as left out."""
    pairs = [(name + modifier, text) for name, modifier, text in parts]
    try:
        found = parse(type_, pairs, SETTINGS, strict=strict)
    except NotUnderstood:
        return
    assert 0 <= found.count <= SETTINGS.max_count
    assert all(clause.values for clause in found.clauses)
    assert not (strict and found.ignored)


@given(st.text(min_size=1), st.text(min_size=1))
def test_nothing_is_silently_everything(name: str, text: str) -> None:
    """One parameter that is not refused either narrows the search, shapes it, or is reported."""
    try:
        found = query((name, text))
    except NotUnderstood:
        return
    assert (
        found.clauses
        or found.ignored
        or name in ("_format", "_pretty", "_summary", "_count", "_total", CURSOR)
    )
