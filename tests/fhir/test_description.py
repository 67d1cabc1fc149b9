"""The OpenAPI description holds against the server: no request that it allows is answered otherwise."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pacsbridge.fhir.routes import ROUTES
from pacsbridge.kernel.search_parameters import PARAMETERS


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server over a few resources, for all requests of this module."""
    from fhir.conftest import ObservedStore, Server, study

    store = ObservedStore("sqlite", tmp_path_factory.mktemp("description"))
    store.add({"resourceType": "Patient", "id": "p1", "name": [{"family": "Ünal"}], "birthDate": "1970"})
    store.add(study("1.2.1", started="2024-01-01"))
    store.add(study("1.2.9"))
    store.add(None, "ImagingStudy", "1.2.9")
    server = Server(store)
    yield server
    server.close()
    store.close()


@pytest.fixture(scope="module")
def described(server: Any) -> Any:
    """The description as schemathesis reads it."""
    schemathesis = pytest.importorskip("schemathesis", reason="pip install schemathesis")
    document = server("/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=f"http://127.0.0.1:{server.port}/fhir")
    return schema


def test_the_description_is_of_all_routes(server: Any) -> None:
    """Every route, for every type, and every search parameter is there; a batch too."""
    document = server("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    paths = {
        route.path.replace("{type}", type_)
        for route in ROUTES
        for type_ in (PARAMETERS if "{type}" in route.path else [""])
    }
    assert set(document["paths"]) == paths | {"/"}
    for type_, parameters in PARAMETERS.items():
        named = {p["name"] for p in document["paths"][f"/{type_}"]["get"]["parameters"]}
        assert set(parameters) <= named


def test_operations_have_names_of_their_own(server: Any) -> None:
    """Generators of clients make a function of each."""
    operations = [
        operation["operationId"]
        for path in server("/openapi.json").json()["paths"].values()
        for operation in path.values()
    ]
    assert len(operations) == len(set(operations))


def test_every_allowed_request_is_answered_as_described(described: Any) -> None:
    """schemathesis: no server error, no undocumented status or media type, bodies as their schema says."""
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    checks = [
        not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance
    ]  # fmt: skip
    tried = 0
    for result in described.get_all_operations():
        operation = result.ok()

        @given(case=operation.as_strategy())
        @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        def attempt(case: Any) -> None:
            case.call_and_validate(checks=checks, timeout=10)

        attempt()
        tried += 1
    assert tried == sum(len(PARAMETERS) if "{type}" in route.path else 1 for route in ROUTES) + 1


CODES = [(type_, code) for type_, parameters in PARAMETERS.items() for code in parameters]
MODIFIERS = [
    "", ":not", ":missing", ":exact", ":contains", ":text", ":of-type", ":identifier", ":Patient", ":above",
    ":", ":not:not", ".name", ".identifier:of-type", ":Patient.birthdate", ".", "..",
]  # fmt: skip
PREFIXES = ["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap", "xx"]
ATOMS = st.one_of(
    st.sampled_from(
        [
            "true", "false", "2024", "2024-02-30", "2024-01-01T25:00", "9999-12-31T23:59:60Z", "0001",
            "0000",
            "1.2.1", "urn:oid:1.2.1", "Patient/p1", "http://x/Patient/p1", "Patient/", "/", "#p1", "-1",
            "%", "_",
            "\\", "\\,", "\\x", "|", "||", "a|b|c", ",", ",,", "a,",
            "$", "*", "?", "'", '"', ";", "(", "\u0000",
            "\ud83d\ude00", "\u202e", "e\u0301", "İ", "ß", "\uffff", " ", "+", "9" * 30, "x" * 2000,
        ]
    ),
    st.text(max_size=12),
)  # fmt: skip
CONTROLS = st.sampled_from(
    [
        ("_count", "0"), ("_count", "1"), ("_count", "99999999999999999999"), ("_count", "-1"),
        ("_count", "٣"),
        ("_sort", "started"), ("_sort", "-_id,started"), ("_sort", ","), ("_total", "accurate"),
        ("_summary", "count"), ("_summary", "text"), ("_elements", "id"), ("_elements", ","),
        ("_include", "*"), ("_include", "::"), ("_revinclude", "ImagingStudy:*"), ("_cursor", "AAAA"),
        ("_cursor", "é"), ("_format", "json"), ("_format", "xml"), ("_pretty", "true"), ("_pretty", "x"),
    ]
)  # fmt: skip


@st.composite
def searches(draw: st.DrawFn) -> tuple[str, list[tuple[str, str]]]:
    """A type, and parameters of any type with modifiers, prefixes, escapes and controls, good and bad."""
    type_ = draw(st.sampled_from(sorted(PARAMETERS)))
    pairs: list[tuple[str, str]] = []
    for _number in range(draw(st.integers(1, 4))):
        code = draw(st.sampled_from(CODES))[1]
        value = ",".join(draw(st.lists(ATOMS, min_size=1, max_size=3)))
        pairs.append((code + draw(st.sampled_from(MODIFIERS)), draw(st.sampled_from(PREFIXES)) + value))
    return type_, pairs + draw(st.lists(CONTROLS, max_size=3))


@given(search=searches(), strict=st.booleans())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_asked_is_answered(server: Any, search: Any, strict: bool) -> None:
    """A Bundle, or a fault of the client's that names a parameter which was sent; by GET as by a form."""
    type_, pairs = search
    handling = {"Prefer": "handling=strict"} if strict else {}
    encoded = [(name, value.encode("utf-8", "replace")) for name, value in pairs]
    got = server(f"/{type_}", params=encoded, headers=handling)
    posted = server(f"/{type_}/_search", method="POST", data=encoded, headers=handling)
    assert got.status_code in (200, 400, 406), got.text
    assert posted.status_code == got.status_code
    if got.status_code == 200:
        assert posted.json() == got.json()
    elif got.status_code == 400:
        [issue] = got.json()["issue"]
        [expression] = issue["expression"]
        assert expression.removeprefix("http.") in {name for name, _value in pairs}


@given(text=st.text(alphabet="ABCabc019-_=", max_size=80))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_cursor_can_be_made_up(server: Any, text: str) -> None:
    """400 on searches and histories alike."""
    for path in ("/ImagingStudy", "/ImagingStudy/_history"):
        assert server(path, params={"_cursor": text}).status_code == 400


def test_a_description_makes_a_client(server: Any, serve: Callable[..., Any]) -> None:
    """It says where the API is, and which media types it speaks."""
    document = server("/openapi.json").json()
    assert document["servers"] == [{"url": server.base}]
    answered = document["paths"]["/ImagingStudy"]["get"]["responses"]["200"]["content"]
    assert set(answered) == {"application/fhir+json", "application/json"}
