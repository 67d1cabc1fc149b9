"""FHIR search parameters → Query: what is understood, what is left out, what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.errors import NotSupported, NotUnderstood
from pacsbridge.kernel.cursors import Cursor, Order
from pacsbridge.kernel.query import (
    ChainValue,
    Clause,
    Form,
    Include,
    Kind,
    PresentValue,
    Query,
    ReferenceValue,
    StringValue,
    TokenValue,
)
from pacsbridge.kernel.query_parsing import CURSOR, SearchSettings, parse
from pacsbridge.kernel.search_parameters import PARAMETERS

SETTINGS = SearchSettings("http://fhir.example/fhir", default_count=50, max_count=1000, secret=b"secret")
UID = TokenValue("urn:dicom:uid", "urn:oid:1.2.3")
PLACE = Cursor((("pk", True),), (17,), 0)

Pairs = tuple[tuple[str, str], ...]


def query(*pairs: tuple[str, str], type_: str = "ImagingStudy", strict: bool = False) -> Query:
    """What a search asks for."""
    return parse(type_, pairs, SETTINGS, strict=strict)


def token(param: str, *values: tuple[str | None, str | None], negated: bool = False) -> Clause:
    """A clause about tokens."""
    return Clause(param, Kind.TOKEN, tuple(TokenValue(*value) for value in values), negated=negated)


def text(param: str, *values: str, anywhere: bool = False) -> Clause:
    """A clause about texts."""
    return Clause(param, Kind.STRING, tuple(StringValue(value, anywhere=anywhere) for value in values))


def chain(param: str, type_: str, clause: Clause) -> Clause:
    """A clause about what a reference names."""
    return Clause(param, Kind.CHAIN, (ChainValue(type_, clause),))


def present(param: str, rows: Kind | None) -> Clause:
    """A clause that wants an element to be there."""
    return Clause(param, Kind.PRESENT, (PresentValue(rows),))


@pytest.mark.parametrize(
    ("name", "value", "clause"),
    [
        ("_id:not", "a", Clause("_id", Kind.ID, (TokenValue(None, "a"),), negated=True)),
        ("_id", "a,b", Clause("_id", Kind.ID, (TokenValue(None, "a"), TokenValue(None, "b")))),
        ("identifier", "A1", token("identifier", (None, "A1"))),
        ("identifier", "1.2.3", token("identifier", (None, "1.2.3"), UID)),
        ("identifier", "urn:dicom:uid|urn:oid:1.2.3", token("identifier", UID)),
        ("identifier", "|1.2.3", token("identifier", ("", "1.2.3"))),
        ("identifier", "s|", token("identifier", ("s", None))),
        ("identifier:not", "A1", token("identifier", (None, "A1"), negated=True)),
        ("identifier:of-type", "s|T|1", token("identifier:of-type", ("s", "T|1"))),
        ("identifier:missing", "true", token("identifier:missing", (None, "true"))),
        ("identifier:missing", "false", present("identifier", Kind.TOKEN)),
        ("patient", "p1", Clause("patient", Kind.REFERENCE, (ReferenceValue("Patient", "p1"),))),
        ("subject", "p1", Clause("subject", Kind.REFERENCE, (ReferenceValue(None, "p1"),))),
        ("subject:Patient", "p1", Clause("subject", Kind.REFERENCE, (ReferenceValue("Patient", "p1"),))),
        ("patient:identifier", "s|1", token("patient:identifier", ("s", "1"))),
        ("patient:missing", "true", token("patient:missing", (None, "true"))),
        ("patient:missing", "false", present("patient", Kind.REFERENCE)),
        ("based-on:identifier", "s|1", token("basedon:identifier", ("s", "1"))),
        ("based-on:missing", "false", present("basedon", Kind.REFERENCE)),
        ("reason:text", "Pain", text("reason:text", "pain")),
        ("series", "urn:oid:1.2.3", token("series", (None, "1.2.3"))),
        ("series:not", "1.2.3", token("series", (None, "1.2.3"), negated=True)),
        ("instance", "urn:dicom:uid|1.2.3", Clause("instance", Kind.HELD, (TokenValue(None, "1.2.3"),))),
        (
            "instance:not",
            "1.2.3",
            Clause("instance", Kind.HELD, (TokenValue(None, "1.2.3"),), negated=True),
        ),
        ("instance:missing", "true", token("instance:missing", (None, "true"))),
        ("instance:missing", "false", present("instance", None)),
        ("started:missing", "true", token("started:missing", (None, "true"))),
        ("started:missing", "false", present("started", None)),
        ("_id:missing", "false", present("_id", None)),
        ("_lastUpdated:missing", "false", present("_lastUpdated", None)),
        ("dicom-class", "1.2.3", token("dicom-class", (None, "urn:oid:1.2.3"))),
        ("_source", "urn:a|b", token("_source", (None, "urn:a|b"))),
        ("_tag", "s|a", token("_tag", ("s", "a"))),
        ("_security", "a", token("_security", (None, "a"))),
    ],
)
def test_a_parameter_becomes_a_clause(name: str, value: str, clause: Clause) -> None:
    """Each kind of parameter and modifier, and the aliases of UIDs."""
    found = query((name, value))
    assert found.clauses == (clause,)
    assert found.understood == ((name, value),)


@pytest.mark.parametrize(
    ("name", "value", "clause"),
    [
        ("name", "Ünal,O'Neil", text("name", "unal", "oneil")),
        ("name:contains", "Na", text("name", "na", anywhere=True)),
        ("name:exact", "Ünal", token("name:exact", ("", "Ünal"))),
        ("given:exact", r"a\,b", token("given:exact", ("", "a,b"))),
        ("family:missing", "true", token("family:missing", (None, "true"))),
        ("family:missing", "false", present("family", Kind.STRING)),
        ("birthdate:missing", "false", present("birthdate", None)),
    ],
)
def test_a_text_becomes_a_clause(name: str, value: str, clause: Clause) -> None:
    """The beginning, a part, the whole as it is written; and whether there is any."""
    assert query((name, value), type_="Patient").clauses == (clause,)


NAMED = text("name", "x")


@pytest.mark.parametrize(
    ("name", "value", "clause"),
    [
        ("patient.name", "X", chain("patient", "Patient", NAMED)),
        ("subject.name", "X", chain("subject", "Patient", NAMED)),
        ("subject:Patient.name", "X", chain("subject", "Patient", NAMED)),
        ("patient:Patient.name", "X", chain("patient", "Patient", NAMED)),
        ("patient.name:contains", "X", chain("patient", "Patient", text("name", "x", anywhere=True))),
        ("patient.name:exact", "X", chain("patient", "Patient", token("name:exact", ("", "X")))),
        ("patient.identifier", "s|1", chain("patient", "Patient", token("identifier", ("s", "1")))),
        (
            "patient.gender:not",
            "male",
            chain("patient", "Patient", token("gender", (None, "male"), negated=True)),
        ),
        ("patient.birthdate:missing", "false", chain("patient", "Patient", present("birthdate", None))),
        ("patient._id", "p", chain("patient", "Patient", Clause("_id", Kind.ID, (TokenValue(None, "p"),)))),
        ("endpoint.status", "off", chain("endpoint", "Endpoint", token("status", (None, "off")))),
        ("endpoint:Endpoint.name", "X", chain("endpoint", "Endpoint", NAMED)),
    ],
)
def test_a_chain_becomes_a_clause(name: str, value: str, clause: Clause) -> None:
    """What the resource that is referred to must satisfy, with all that its parameters take."""
    found = query((name, value), strict=True)
    assert found.clauses == (clause,)
    assert found.understood == ((name, value),)


@pytest.mark.parametrize(
    ("type_", "name", "value"),
    [
        ("ImagingStudy", "subject:Group.name", "x"),
        ("ImagingStudy", "patient:Group.name", "x"),
        ("ImagingStudy", "patient:missing.name", "true"),
        ("ImagingStudy", "patient:identifier.name", "x"),
        ("ImagingStudy", "patient.colour", "x"),
        ("ImagingStudy", "patient.name:not", "x"),
        ("ImagingStudy", "patient._has:ImagingStudy:patient:status", "x"),
        ("ImagingStudy", "patient._sort", "name"),
        ("ImagingStudy", "patient.organization.name", "x"),
        ("ImagingStudy", "endpoint.organization.name", "x"),
        ("ImagingStudy", "encounter.identifier", "x"),
        ("ImagingStudy", "modality.code", "x"),
        ("ImagingStudy", "identifier.value", "x"),
        ("Endpoint", "organization.name", "x"),
        ("Patient", "identifier:exact", "x"),
        ("Patient", "name:not", "x"),
        ("Patient", "name:text", "x"),
        ("ImagingStudy", "status:in", "x"),
        ("ImagingStudy", "modality:above", "x"),
        ("ImagingStudy", "performer.name", "x"),
        ("ImagingStudy", "_id:text", "a"),
        ("ImagingStudy", "started:not", "2024"),
        ("ImagingStudy", "_has:Observation:subject:code", "x"),
        ("ImagingStudy", "_list", "x"),
        ("ImagingStudy", "_filter", "status eq available"),
        ("ImagingStudy", "_query", "x"),
        ("ImagingStudy", "_text", "x"),
        ("ImagingStudy", "_content", "x"),
        ("ImagingStudy", "_include:iterate", "ImagingStudy:patient"),
        ("ImagingStudy", "_sort:missing", "started"),
    ],
)
def test_what_would_filter_and_is_not_offered_is_refused(type_: str, name: str, value: str) -> None:
    """Chains, modifiers and FHIR's own filters: leaving one out would return what was to be left out."""
    with pytest.raises(NotSupported) as caught:
        query((name, value), type_=type_)
    assert caught.value.parameter == name


def test_repeated_parameters_all_hold() -> None:
    """Commas mean OR inside a clause, repeats mean AND between clauses."""
    found = query(("modality", "CT,MR"), ("modality", "SR"))
    assert [len(clause.values) for clause in found.clauses] == [2, 1]


@pytest.mark.parametrize(
    ("pairs", "count", "only_counts", "shown"),
    [
        ((), 50, False, ()),
        ((("_count", "7"),), 7, False, (("_count", "7"),)),
        ((("_count", "0"),), 0, True, (("_count", "0"),)),
        ((("_count", "1001"),), 1000, False, (("_count", "1000"),)),
        ((("_count", "9" * 5000),), 1000, False, (("_count", "1000"),)),
        (
            (("_summary", "count"), ("_count", "7")),
            7,
            True,
            (("_summary", "count"), ("_count", "7")),
        ),
    ],
)
def test_the_count(pairs: Pairs, count: int, only_counts: bool, shown: Pairs) -> None:
    """The default, what was asked, the maximum, a summary that only counts; `self` shows what was done."""
    found = query(*pairs)
    assert (found.count, found.only_counts, found.understood) == (count, only_counts, shown)


@pytest.mark.parametrize(
    ("type_", "value", "order"),
    [
        ("ImagingStudy", "started", (("low", False),)),
        ("ImagingStudy", "-started", (("low", True),)),
        ("ImagingStudy", "_id", (("id", False),)),
        ("ImagingStudy", "-_lastUpdated", (("updated", True),)),
        ("ImagingStudy", "-started,_lastUpdated,-_id", (("low", True), ("updated", False), ("id", True))),
        ("Patient", "birthdate", (("low", False),)),
        ("Endpoint", "_lastUpdated", (("updated", False),)),
    ],
)
def test_a_sort_becomes_an_order(type_: str, value: str, order: Order) -> None:
    """What can be sorted by, both ways, the most significant first."""
    found = query(("_sort", value), type_=type_, strict=True)
    assert (found.sort, found.understood) == (order, (("_sort", value),))


REFERENCES = (
    "patient",
    "subject",
    "basedon",
    "encounter",
    "endpoint",
    "interpreter",
    "performer",
    "referrer",
)


@pytest.mark.parametrize(
    ("type_", "name", "value", "links"),
    [
        ("ImagingStudy", "_include", "ImagingStudy:patient", [("patient", None)]),
        ("ImagingStudy", "_include", "ImagingStudy:subject:Patient", [("subject", "Patient")]),
        ("ImagingStudy", "_include", "ImagingStudy:based-on", [("basedon", None)]),
        ("ImagingStudy", "_include", "*", [(param, None) for param in REFERENCES]),
        ("ImagingStudy", "_include", "ImagingStudy:*", [(param, None) for param in REFERENCES]),
        (
            "ImagingStudy",
            "_include",
            "ImagingStudy:*:Patient",
            [("patient", "Patient"), ("subject", "Patient"), ("performer", "Patient")],
        ),
        ("Endpoint", "_include", "Endpoint:organization", [("organization", None)]),
        ("Patient", "_revinclude", "ImagingStudy:patient", [("patient", "Patient")]),
        ("Patient", "_revinclude", "ImagingStudy:subject:Patient", [("subject", "Patient")]),
        (
            "Patient",
            "_revinclude",
            "ImagingStudy:*",
            [("patient", "Patient"), ("subject", "Patient"), ("performer", "Patient")],
        ),
        ("Endpoint", "_revinclude", "ImagingStudy:endpoint", [("endpoint", "Endpoint")]),
    ],
)
def test_an_include_becomes_links(
    type_: str, name: str, value: str, links: list[tuple[str, str | None]]
) -> None:
    """One reference, all of them, those to one type; and the other way round."""
    found = query((name, value), type_=type_, strict=True)
    source = value.partition(":")[0].replace("*", type_)
    expected = {Include(source, param, target) for param, target in links}
    assert {*(found.include if name == "_include" else found.revinclude)} == expected
    assert len(found.include) + len(found.revinclude) == len(links)


def test_includes_add_up() -> None:
    """Includes are repeated, not listed."""
    found = query(("_include", "ImagingStudy:patient"), ("_include", "ImagingStudy:endpoint"))
    assert [link.param for link in found.include] == ["patient", "endpoint"]


@pytest.mark.parametrize(
    ("pairs", "form", "elements", "counted"),
    [
        ((), Form.WHOLE, "", False),
        ((("_summary", "true"), ("_total", "accurate")), Form.SUMMARY, "", True),
        ((("_summary", "text"), ("_total", "none")), Form.TEXT, "", False),
        ((("_summary", "data"), ("_total", "estimate")), Form.DATA, "", True),
        ((("_summary", "false"),), Form.WHOLE, "", False),
        ((("_elements", "status,series"),), Form.WHOLE, "status series", False),
    ],
)
def test_the_form_of_the_answer(pairs: Pairs, form: Form, elements: str, counted: bool) -> None:
    """How much of each resource, and whether all are counted."""
    found = query(*pairs, strict=True)
    assert (found.form, found.elements, found.counted) == (form, frozenset(elements.split()), counted)
    assert found.understood == pairs


@pytest.mark.parametrize(
    ("type_", "name", "value"),
    [
        ("ImagingStudy", "_sort", "status"),
        ("ImagingStudy", "_sort", "started,status"),
        ("ImagingStudy", "_sort", "colour"),
        ("Patient", "_sort", "name"),
        ("ImagingStudy", "_include", "Patient:link"),
        ("ImagingStudy", "_include", "ImagingStudy:modality"),
        ("ImagingStudy", "_include", "ImagingStudy:colour"),
        ("ImagingStudy", "_include", "ImagingStudy:patient:Group"),
        ("Patient", "_include", "*"),
        ("Patient", "_revinclude", "Observation:subject"),
        ("Patient", "_revinclude", "ImagingStudy:endpoint"),
        ("Patient", "_revinclude", "ImagingStudy:subject:Group"),
        ("ImagingStudy", "_revinclude", "ImagingStudy:patient"),
        ("ImagingStudy", "_contained", "both"),
        ("ImagingStudy", "_score", "x"),
        ("ImagingStudy", "colour", "red"),
        ("ImagingStudy", "colour.shade", "red"),
        ("Patient", "birthplace:exact", "x"),
    ],
)
def test_what_only_shapes_a_result_is_named_as_ignored(type_: str, name: str, value: str) -> None:
    """It is left out and named, or refused under strict handling."""
    found = query((name, value), type_=type_)
    assert (found.ignored, found.understood) == ((name,), ())
    assert (found.sort, found.include, found.revinclude) == ((), (), ())
    with pytest.raises(NotSupported) as caught:
        query((name, value), type_=type_, strict=True)
    assert caught.value.parameter == name


SEARCH: Pairs = (("status", "available"), ("_sort", "-started"))


@pytest.mark.parametrize(
    "again",
    [
        SEARCH,
        SEARCH[::-1],
        (*SEARCH, ("_count", "3")),
        (*SEARCH, ("_format", "json"), ("_total", "accurate")),
        (*SEARCH, ("_summary", "true"), ("_include", "*")),
        (*SEARCH, ("colour", "red")),
    ],
)
def test_a_cursor_goes_on_and_is_not_part_of_the_question(again: Pairs) -> None:
    """It is good for the same conditions and order, in whatever form, and left out of what was understood."""
    text_ = PLACE.encode(SETTINGS.secret, query(*SEARCH).scope)
    found = query(*again, (CURSOR, text_))
    assert found.after == PLACE
    assert CURSOR not in dict(found.understood)


@pytest.mark.parametrize(
    ("type_", "pairs"),
    [
        ("ImagingStudy", ()),
        ("ImagingStudy", SEARCH[:1]),
        ("ImagingStudy", SEARCH[1:]),
        ("ImagingStudy", (*SEARCH, ("modality", "CT"))),
        ("ImagingStudy", (("status", "available"), ("_sort", "started"))),
        ("ImagingStudy", (("status:not", "available"), ("_sort", "-started"))),
        ("Endpoint", SEARCH[:1]),
    ],
)
def test_a_cursor_of_another_search_is_refused(type_: str, pairs: Pairs) -> None:
    """Other conditions, another order, another type."""
    text_ = PLACE.encode(SETTINGS.secret, query(*SEARCH).scope)
    with pytest.raises(NotUnderstood) as caught:
        query(*pairs, (CURSOR, text_), type_=type_)
    assert caught.value.parameter == CURSOR


def test_unknown_parameters_are_named() -> None:
    """Lenient handling leaves them out and says so; the edge's own parameters are neither."""
    found = query(("colour", "red"), ("_format", "json"), ("_sort", "status"), ("status", "available"))
    assert found.ignored == ("colour", "_sort")
    assert found.understood == (("_format", "json"), ("status", "available"))


def test_strict_handling_refuses_unknown_parameters() -> None:
    """The first unknown parameter is named."""
    with pytest.raises(NotSupported) as caught:
        query(("status", "available"), ("colour", "red"), strict=True)
    assert caught.value.parameter == "colour"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("identifier", ""),
        ("identifier", "a|b|c"),
        ("identifier:exact", "a"),
        ("identifier:missing", "maybe"),
        ("_id:exact", "a"),
        ("_id", "a b"),
        ("patient", "Group/1"),
        ("patient:Group", "1"),
        ("patient.name", ""),
        ("patient.birthdate", "x"),
        ("patient.identifier", "a|b|c"),
        ("patient.name", ",".join(["a"] * 101)),
        ("started", "yesterday"),
        ("started:not", "2024"),
        ("_lastUpdated", "gt"),
        ("_lastUpdated", "xx2024"),
        ("_count", "-1"),
        ("_count", "ten"),
        ("_count", ""),
        ("_count", "²"),
        ("_total", "all"),
        ("_total", ""),
        ("_summary", "much"),
        ("_summary", ""),
        ("_elements", ""),
        ("_elements", "colour"),
        ("_elements", "status,"),
        ("_elements", "status, series"),
        ("_elements", "series.uid"),
        ("_elements", "birthDate"),
        ("_sort", ""),
        ("_sort", "-"),
        ("_sort", "started,"),
        ("_sort", "started,-started"),
        ("_include", ""),
        ("_include", "ImagingStudy"),
        ("_include", "ImagingStudy:"),
        ("_include", "ImagingStudy::Patient"),
        ("_include", "ImagingStudy:patient:Patient:x"),
        ("_revinclude", "*"),
        ("_revinclude", ":patient"),
        (CURSOR, "x"),
        (CURSOR, ""),
        (CURSOR, PLACE.encode(b"other", query().scope)),
        (CURSOR, PLACE.encode(SETTINGS.secret, "")),
        ("identifier", "a\x00b"),
        ("identifier", "a\ud800"),
        ("identifier", ",".join(["a"] * 101)),
        ("", "x"),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_what_is_malformed_is_refused_by_name(name: str, value: str, strict: bool) -> None:
    """Malformed values, modifiers and chains that are not supported: strict or not, never everything."""
    with pytest.raises(NotUnderstood) as caught:
        query((name, value), strict=strict)
    assert caught.value.parameter == name
    assert value == "" or len(value) < 3 or value not in str(caught.value)


@pytest.mark.parametrize("name", ["_include", "_revinclude"])
def test_a_summary_of_texts_has_no_includes(name: str) -> None:
    """R4 allows no includes with it."""
    value = {"_include": "ImagingStudy:patient", "_revinclude": "ImagingStudy:endpoint"}[name]
    with pytest.raises(NotUnderstood) as caught:
        query(
            (name, value), ("_summary", "text"), type_="Endpoint" if name == "_revinclude" else "ImagingStudy"
        )
    assert caught.value.parameter == "_summary"


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("_count", "1", "2"),
        ("_total", "none", "accurate"),
        ("_summary", "true", "false"),
        ("_elements", "status", "series"),
        ("_sort", "started", "_id"),
        ("_format", "json", "json"),
        (CURSOR, "x", "y"),
    ],
)
def test_a_control_is_given_once(name: str, one: str, other: str) -> None:
    """Two page sizes contradict each other."""
    with pytest.raises(NotUnderstood) as caught:
        query((name, one), (name, other))
    assert caught.value.parameter == name


def test_a_search_has_a_limit_of_parameters() -> None:
    """Twenty parameters may be asked, one more may not."""
    assert len(query(*[("status", "available")] * 20).clauses) == 20
    with pytest.raises(NotUnderstood):
        query(*[("status", "available")] * 21)


CONTROLS = (
    *("_count", "_total", "_summary", "_elements", "_sort", "_include", "_revinclude"),
    *(CURSOR, "_format", "_pretty"),
)

NAMES = st.sampled_from(
    [code for type_ in PARAMETERS.values() for code in type_]
    + [*CONTROLS, "based-on", "patient.name", "endpoint.status", "_has", "x"]
)
MODIFIERS = st.sampled_from(
    [
        "",
        ":not",
        ":missing",
        ":identifier",
        ":of-type",
        ":text",
        ":exact",
        ":contains",
        ":Patient",
        ":",
        ":x.y",
    ]
)
TEXTS = (
    st.text()
    | st.text(alphabet="ap|,\\$20-:TZ+. gt", max_size=20)
    | st.sampled_from(
        ["true", "-started,_id", "ImagingStudy:patient", "*", "status,id", "count", "text", "5"]
    )
)


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
    assert found.clauses or found.ignored or name in CONTROLS
