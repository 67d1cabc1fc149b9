"""The server over either database finds what walking the JSON by R4 finds."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from operator import itemgetter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import fhirkit
import pytest
from fhir.conftest import BASE, Server
from fhir.evaluator import PARAMETERS, Malformed, find, read_date
from fhir.search_cases import CASES, CT, MALFORMED, RESOURCES, ROOT, as_served, published
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from pacsbridge.kernel.model import Facts
from pacsbridge.store.records import Arrival, Draft, microseconds
from pacsbridge.store.store import Store

SERVED = [as_served(number) for number in range(len(RESOURCES))]
BY_TYPE = {type_: [r for r in SERVED if r["resourceType"] == type_] for type_ in PARAMETERS}
ALL = "_count=1000"

Pairs = Sequence[tuple[str, str]]


def pairs_of(query: str) -> list[tuple[str, str]]:
    """The pairs of a query string."""
    return parse_qsl(query, keep_blank_values=True)


def expected(type_: str, query: str) -> set[str]:
    """What the evaluator finds."""
    return find(SERVED, type_, pairs_of(query), BASE)


def ids_of(bundle: Any) -> list[str]:
    """The ids of the matches of a bundle, in their order."""
    return [e["resource"]["id"] for e in bundle.get("entry", ()) if e["search"]["mode"] == "match"]


def studies(*numbers: int) -> set[str]:
    """The ids of numbered studies."""
    return {f"{ROOT}.{number}" for number in numbers}


class Searches:
    """Searches of one server, by their query strings."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def bundle(self, path: str, **options: Any) -> Any:
        """The answer to a search that must succeed."""
        response = self.server(path, **options)
        assert response.status_code == 200, (path, response.text)
        return response.json()

    def ids(self, type_: str, query: str) -> list[str]:
        """What a search finds, on one page, without repeats."""
        found = ids_of(self.bundle(f"/{type_}?{query}&{ALL}"))
        assert len(found) == len(set(found)), found
        return found

    def pages(self, type_: str, query: str, count: int) -> list[str]:
        """What a search finds, by pages."""
        found: list[str] = []
        path = f"/{type_}?{query}&_count={count}"
        while path:
            bundle = self.bundle(path)
            page = ids_of(bundle)
            assert len(page) <= count
            found += page
            following = [link["url"] for link in bundle["link"] if link["relation"] == "next"]
            assert len(page) == count or not following
            path = following[0].removeprefix(BASE) if following else ""
        return found

    def fault(self, type_: str, query: str, **options: Any) -> str:
        """Which parameter is to blame for a refusal."""
        response = self.server(f"/{type_}?{query}", **options)
        assert response.status_code == 400, (query, response.text)
        outcome = response.json()
        assert (outcome["resourceType"], outcome["issue"][0]["severity"]) == ("OperationOutcome", "error")
        (expression,) = outcome["issue"][0]["expression"]
        return str(expression)


def row_of(store: Store, resource: Any, now: int) -> int | None:
    """Index the instances of a study, as if they had arrived; returns its row, if it has any."""
    uid = resource["id"]
    arrivals = [
        Arrival(
            Facts({}, {"uid": uid}, {"uid": series["uid"]}, {"uid": instance["uid"], "sop_class": CT}),
            source="urn:dicom:ae:CT1",
            received=now,
            transfer_syntax="1.2.840.10008.1.2.1",
            location="nowhere",
            size=1,
            sha256=sha256(instance["uid"].encode()).digest(),
        )
        for series in resource.get("series", ())
        for instance in series.get("instance", ())
    ]
    store.put(arrivals, {}, now)
    return next((due.pk for due in store.due(now + 10**12) if due.uid == uid), None)


@pytest.fixture(scope="module")
def sqlite_url() -> str:
    """The address that stands for a database in the data folder."""
    return "sqlite"


@pytest.fixture(scope="module")
def separate_postgresql_url(postgresql_url: str) -> str:
    """A database of its own, which other tests don't empty."""
    import psycopg

    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS search_cases")
        connection.execute("CREATE DATABASE search_cases")
    return make_url(postgresql_url).set(database="search_cases").render_as_string(hide_password=False)


@pytest.fixture(
    scope="module", params=["sqlite_url", "separate_postgresql_url"], ids=["sqlite", "postgresql"]
)
def searches(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searches]:
    """A server over a database that holds `RESOURCES`."""
    folder: Path = tmp_path_factory.mktemp("search")
    store = Store(request.getfixturevalue(request.param), folder)
    store.migrate()
    for number, resource in enumerate(RESOURCES):
        now = microseconds(published(number))
        draft = Draft(resource["resourceType"], resource["id"], resource, row_of(store, resource, now))
        assert store.publish([draft], now) == 1
    server = Server(store)
    yield Searches(server)
    server.close()
    store.close()


# the table and its judge


def test_the_resources_are_r4() -> None:
    """Nobody searches for what can't be."""
    assert [issue for resource in SERVED for issue in fhirkit.validate(resource)] == []


def test_the_table_is_not_vacuous() -> None:
    """Most cases find something and leave something out; none stands there twice."""
    telling = [case for case in CASES if 0 < len(expected(*case)) < len(BY_TYPE[case[0]])]
    assert len(CASES) >= 250
    assert len(CASES) == len(set(CASES))
    assert len(telling) >= 0.8 * len(CASES)


@pytest.mark.parametrize(
    ("type_", "code"), [(type_, code) for type_, parameters in PARAMETERS.items() for code in parameters]
)
def test_every_parameter_is_asked_with_every_modifier(type_: str, code: str) -> None:
    """No row of the evaluator's table goes untried."""
    asked = {name for of, query in CASES if of == type_ for name, _ in pairs_of(query)}
    modifiers = PARAMETERS[type_][code].modifiers
    assert {code, *(f"{code}:{modifier}" for modifier in modifiers)} <= asked


@pytest.mark.parametrize("type_", ["Patient", "Endpoint"])
def test_every_parameter_ends_a_chain(type_: str) -> None:
    """Whatever a patient or an endpoint is found by, a study is found by through its reference."""
    start = type_.lower()
    asked = {name.partition(":")[0] for of, query in CASES if of != type_ for name, _ in pairs_of(query)}
    codes = {code for code in PARAMETERS[type_] if code == "_id" or not code.startswith("_")}
    assert {f"{start}.{code}" for code in codes} <= asked


HAND_MADE: Sequence[tuple[str, str, set[str]]] = (
    ("ImagingStudy", "identifier=A1", studies(1, 2, 15)),
    ("ImagingStudy", "identifier=%7CA1", studies(2)),
    ("ImagingStudy", "identifier=1.2.840.99.1", studies(1) | {"order-Q7"}),
    ("ImagingStudy", "modality=CT&modality=MR", studies(7)),
    ("ImagingStudy", "modality=%7CCT", studies(4)),
    ("ImagingStudy", "bodysite:text=chest", studies(1, 3, 10, 19)),
    ("ImagingStudy", "reason:text=cough", studies(1, 2, 22)),
    ("ImagingStudy", "patient=pat-1", studies(1, 15, 19, 21) | {"order-Q7"}),
    ("ImagingStudy", "patient:missing=true", studies(7, 8, 9, 13) | {"bare"}),
    ("ImagingStudy", "subject:Device=pat-1", studies(13)),
    ("ImagingStudy", "endpoint=ep-3", studies(3, 5)),
    ("ImagingStudy", "patient.family=o%27neil,yamada", studies(2, 5, 16, 20, 22)),
    ("ImagingStudy", "patient.identifier:missing=true", studies(5)),
    ("ImagingStudy", "patient.birthdate=1970-01-31", studies(1, 5, 15, 19, 21) | {"order-Q7"}),
    ("ImagingStudy", "endpoint.status=off,test", studies(3, 5, 19)),
    ("ImagingStudy", "started=2024-02-29T23:30:00", studies(1, 7, 20)),
    ("ImagingStudy", "started=2024-02-29T23:30:00Z", studies(7, 11, 20)),
    ("ImagingStudy", "started=2024-03-01", studies(2, 3, 10, 22)),
    ("ImagingStudy", "started=2024-03-01T04:30:00Z", studies(1)),
    ("ImagingStudy", "started=lt0001-01-02", studies(17)),
    ("ImagingStudy", "started=gt2024", studies(13, 18)),
    ("Patient", "name=oneil", {"pat-2", "pat-7"}),
    ("Patient", "name:exact=anna", {"pat-5"}),
    ("Patient", "name=100", {"pat-7", "pat-8"}),
    ("Patient", "name:missing=true", {"pat-6"}),
    ("Patient", "birthdate=le1970-02-15", {"pat-1", "pat-2", "pat-5", "pat-8"}),
    ("Patient", "identifier:not=12345", {"pat-3", "pat-4", "pat-5", "pat-6", "pat-7", "pat-8"}),
    ("Endpoint", "organization:missing=true", {"ep-2"}),
    ("Endpoint", "name:contains=ARCHIVE", {"ep-1", "ep-2", "ep-4"}),
    ("Endpoint", "payload-type=%7Cdicom", {"ep-3"}),
)


@pytest.mark.parametrize(("type_", "query", "found"), HAND_MADE)
def test_the_evaluator_agrees_with_people(type_: str, query: str, found: set[str]) -> None:
    """Some of the cases, worked out by reading the resources."""
    assert expected(type_, query) == found
    assert (type_, query) in CASES


@pytest.mark.parametrize(("type_", "query", "name"), MALFORMED)
def test_the_evaluator_refuses(type_: str, query: str, name: str) -> None:
    """The evaluator blames the parameter that the table blames."""
    with pytest.raises(Malformed) as refused:
        expected(type_, query)
    assert refused.value.name == name


# the server


@pytest.mark.parametrize(("type_", "query"), CASES)
def test_a_search_finds_what_r4_says(searches: Searches, type_: str, query: str) -> None:
    """One case of the table."""
    assert set(searches.ids(type_, query)) == expected(type_, query)


@pytest.mark.parametrize(("type_", "query", "name"), MALFORMED)
def test_a_malformed_search_is_refused(searches: Searches, type_: str, query: str, name: str) -> None:
    """400, and the outcome names the parameter as it was sent; being lenient is no excuse."""
    assert searches.fault(type_, query) == f"http.{name}"
    assert searches.fault(type_, query, headers={"Prefer": "handling=lenient"}) == f"http.{name}"


@pytest.mark.parametrize("name", ["colour", "Modality", "foo:missing", "foo.bar"])
def test_unknown_parameters(searches: Searches, name: str) -> None:
    """Reported by a lenient server, which takes the rest; refused by a strict one."""
    query = f"modality=CT&{name}=true"
    outcomes = [
        entry["resource"]
        for entry in searches.bundle(f"/ImagingStudy?{query}")["entry"]
        if entry["search"]["mode"] == "outcome"
    ]
    assert len(outcomes) == 1
    assert name in str(outcomes[0])
    assert set(searches.ids("ImagingStudy", query)) == expected("ImagingStudy", "modality=CT")
    strict = searches.fault("ImagingStudy", query, headers={"Prefer": "handling=strict"})
    assert strict == f"http.{name}"


# what holds for any searches


def conjunctions(most: int) -> st.SearchStrategy[tuple[str, list[str]]]:
    """A type and a few of its cases."""
    return st.sampled_from(sorted(PARAMETERS)).flatmap(
        lambda type_: st.tuples(
            st.just(type_),
            st.lists(
                st.sampled_from([query for of, query in CASES if of == type_]), min_size=1, max_size=most
            ),
        )
    )


@given(conjunctions(3))
def test_together_they_find_what_each_finds(searches: Searches, asked: tuple[str, list[str]]) -> None:
    """A&B finds the intersection of what A finds and what B finds, and the evaluator thinks so too."""
    type_, queries = asked
    together = set(searches.ids(type_, "&".join(queries)))
    assert together == set.intersection(*(set(searches.ids(type_, query)) for query in queries))
    assert together == expected(type_, "&".join(queries))


@given(conjunctions(2))
def test_posting_is_getting(searches: Searches, asked: tuple[str, list[str]]) -> None:
    """A form finds the same in the same order, whole or beside a part in the URL."""
    type_, queries = asked
    form = {"headers": {"Content-Type": "application/x-www-form-urlencoded"}, "method": "POST"}
    found = searches.ids(type_, "&".join(queries))
    whole = searches.bundle(f"/{type_}/_search", data="&".join([*queries, ALL]), **form)
    assert ids_of(whole) == found
    first, *others = [*queries, ALL]
    parted = searches.bundle(f"/{type_}/_search?{first}", data="&".join(others), **form)
    assert ids_of(parted) == found


@given(conjunctions(2))
def test_counting_is_finding(searches: Searches, asked: tuple[str, list[str]]) -> None:
    """The total is that of the ids, whichever way it is asked for."""
    type_, query = asked[0], "&".join(asked[1])
    total = len(searches.ids(type_, query))
    counted = searches.bundle(f"/{type_}?{query}&_summary=count")
    assert (counted["total"], ids_of(counted)) == (total, [])
    assert searches.bundle(f"/{type_}?{query}&_count=0")["total"] == total
    assert searches.bundle(f"/{type_}?{query}&_total=accurate&_count=1")["total"] == total


@given(conjunctions(1))
def test_pages_concatenate(searches: Searches, asked: tuple[str, list[str]]) -> None:
    """Pages of three are the whole list, in its order."""
    type_, query = asked[0], "&".join(asked[1])
    assert searches.pages(type_, query, 3) == searches.ids(type_, query)


def started_instant(resource: Any) -> float:
    """When a study began, at the earliest; before everything for a study of which nobody knows."""
    began = read_date(resource["started"]) if "started" in resource else None
    return began.instants()[0] if began else -1


KEYS = {
    "started": started_instant,
    "_id": itemgetter("id"),
    "_lastUpdated": lambda resource: resource["meta"]["lastUpdated"],
}
ORDERS = [(code, sign) for code in KEYS for sign in ("", "-")]


@pytest.mark.parametrize(("code", "sign"), ORDERS)
@pytest.mark.parametrize("query", ["status:missing=false", "modality:not=CT", "patient=pat-1,pat-2"])
def test_the_order_is_the_one_asked_for(searches: Searches, code: str, sign: str, query: str) -> None:
    """Ascending or descending; what has no date comes first ascending and last descending."""
    by_id = {resource["id"]: resource for resource in SERVED}
    found = searches.ids("ImagingStudy", f"{query}&_sort={sign}{code}")
    keys = [KEYS[code](by_id[id_]) for id_ in found]
    assert set(found) == expected("ImagingStudy", query)
    assert keys == sorted(keys, reverse=bool(sign))


@pytest.mark.parametrize(("code", "sign"), ORDERS)
@pytest.mark.parametrize("count", [1, 3, 5, 24])
def test_pages_keep_the_order(searches: Searches, code: str, sign: str, count: int) -> None:
    """Sorted pages concatenate as well, through ties and through what has no date."""
    query = f"status:missing=false&_sort={sign}{code}"
    assert searches.pages("ImagingStudy", query, count) == searches.ids("ImagingStudy", query)


# what nobody has thought of

SPECIAL = ("\\", "\\,", "\\|", "\\\\", ",", "|", "$", "/", ".", " ", "%", "'")
WORDS = "ü A1 CT 1 Patient pat-1 urn:oid:1.9.7 urn:dicom:uid urn:oid: 1.2.840.99.1 12345 O neil true".split()
STARTS = ("", "", f"{BASE}/", "https://ris.example/fhir/")
PLAIN = st.lists(st.sampled_from([*SPECIAL, *(word for word in WORDS if ":" not in word)]), max_size=4)
REFERENCES = st.builds(lambda start, pieces: start + "".join(pieces), st.sampled_from(STARTS), PLAIN)
PIECES = st.lists(st.sampled_from([*SPECIAL, *WORDS, f"{BASE}/"]), max_size=5).map("".join)
CLOCK = r"T[0-2][0-9]:[0-6][0-9](:[0-6][0-9](\.[0-9]{1,7})?)?(Z|[+-][01][0-9]:[03]0)?"
DATES = st.from_regex(
    rf"\A(eq|ne|gt|lt|ge|le|sa|eb|ap)?20(23|24)(-[01][0-9](-[0-3][0-9]({CLOCK})?)?)?\Z",
    fullmatch=True,
)
NAMES = {
    "ImagingStudy": """
        identifier identifier:not identifier:of-type modality bodysite:text instance status:not
        patient:identifier _source _tag patient.name
        patient.name:exact patient.identifier endpoint.name:contains series:missing
    """,
    "Patient": "identifier name name:exact name:contains family given:contains gender _profile _tag:not",
    "Endpoint": "name name:exact organization:identifier payload-type status identifier:of-type",
}
ODD: st.SearchStrategy[tuple[str, tuple[str, str]]] = st.one_of(
    *(
        st.tuples(st.just(type_), st.tuples(st.sampled_from(names.split()), PIECES))
        for type_, names in NAMES.items()
    ),
    st.tuples(
        st.just("ImagingStudy"),
        st.tuples(st.sampled_from("patient subject basedon performer endpoint".split()), REFERENCES),
    ),
    st.tuples(st.just("ImagingStudy"), st.tuples(st.sampled_from(["started", "patient.birthdate"]), DATES)),
    st.tuples(st.just("Patient"), st.tuples(st.just("birthdate"), DATES)),
)


@given(ODD)
def test_odd_values_are_understood_alike(searches: Searches, asked: tuple[str, tuple[str, str]]) -> None:
    """Either both refuse a value, or both find the same by it."""
    type_, pair = asked
    query = urlencode([pair])
    server = searches.server(f"/{type_}?{query}&{ALL}")
    blamed = server.json()["issue"][0]["expression"] if server.status_code == 400 else []
    try:
        found = expected(type_, query)
    except Malformed as refused:
        found, name = set(), [f"http.{refused.name}"]
    else:
        name = []
    assert (blamed, set(ids_of(server.json()))) == (name, found)
