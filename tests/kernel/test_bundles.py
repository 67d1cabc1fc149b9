"""Bundles and OperationOutcomes: valid R4, each part where it belongs, links that lead where they say."""

import json
import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import fhirkit
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.kernel.bundles import CUT, Ends, PastEntry, batch_response, history, response, searchset
from pacsbridge.kernel.cursors import Cursor
from pacsbridge.kernel.histories import Past
from pacsbridge.kernel.outcomes import Code, Severity, ignored, issue, outcome
from pacsbridge.kernel.query import Query
from pacsbridge.kernel.query_parsing import SearchSettings

BASE = "http://fhir.example/fhir"
SETTINGS = SearchSettings(BASE, secret=b"secret")
QUERY = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-F]{2})*")
"""RFC 3986 3.4."""

PATIENT = {"resourceType": "Patient", "id": "p1"}
ENDS = Ends(None)


def place(number: int, *, back: bool = False) -> Cursor:
    """A cursor by row number."""
    return Cursor((("pk", True),), (number,), 0, back)


def sealed(cursor: Cursor, scope: str = "") -> str:
    """A cursor as it stands in a link."""
    return cursor.encode(SETTINGS.secret, scope)


def links(bundle: Any) -> dict[str, str]:
    """Relation → address of each link."""
    return {link["relation"]: link["url"] for link in bundle["link"]}


def codes(issues: list[dict[str, Any]]) -> list[str]:
    """The codes of issues."""
    return [one["code"] for one in issues]


def test_a_page_has_its_parts() -> None:
    """Total, links, the match with its URL and mode, what goes with it, and what was ignored, last."""
    query = Query("Patient", understood=(("name", "x"),), ignored=("colour", "colour", "size"), scope="scope")
    study = {"resourceType": "ImagingStudy", "id": "s", "status": "available"}
    study["subject"] = {"reference": "Patient/p1"}
    matches, included = [("Patient", "p1", PATIENT)], [("ImagingStudy", "s", study)]
    bundle = searchset(query, matches, included, SETTINGS, Ends(place(7)), 9)
    assert fhirkit.validate(json.dumps(bundle)) == []
    assert bundle["total"] == 9
    assert links(bundle) == {
        "self": f"{BASE}/Patient?name=x",
        "next": f"{BASE}/Patient?name=x&_cursor={sealed(place(7), 'scope')}",
    }
    first, second, last = bundle["entry"]
    assert first == {"fullUrl": f"{BASE}/Patient/p1", "resource": PATIENT, "search": {"mode": "match"}}
    assert second == {
        "fullUrl": f"{BASE}/ImagingStudy/s",
        "resource": study,
        "search": {"mode": "include"},
    }
    assert last["search"]["mode"] == "outcome"
    assert codes(last["resource"]["issue"]) == ["not-supported"] * 2


def test_included_resources_that_were_left_out_are_told() -> None:
    """A warning stands in the bundle, beside those about parameters."""
    query = Query("Patient", ignored=("colour",))
    bundle = searchset(query, [("Patient", "p1", PATIENT)], [], SETTINGS, ENDS, None, [CUT])
    assert fhirkit.validate(json.dumps(bundle)) == []
    issues = bundle["entry"][-1]["resource"]["issue"]
    assert codes(issues) == ["not-supported", "incomplete"]
    assert {one["severity"] for one in issues} == {"warning"}


def test_an_empty_answer_has_no_empty_list() -> None:
    """R4 allows no empty arrays."""
    bundle = searchset(Query("Patient"), [], [], SETTINGS, ENDS, 0)
    assert "entry" not in bundle
    assert fhirkit.validate(json.dumps(bundle)) == []


def test_self_of_a_later_page_names_its_place() -> None:
    """Reading `self` of the second page gives the second page; its neighbours and the first are named."""
    query = Query("Patient", after=place(7), understood=(("name", "x"),), scope="scope")
    bundle = searchset(query, [], [], SETTINGS, Ends(place(3), place(6, back=True)), None)
    assert "total" not in bundle
    start = f"{BASE}/Patient?name=x"
    assert links(bundle) == {
        "self": f"{start}&_cursor={sealed(place(7), 'scope')}",
        "next": f"{start}&_cursor={sealed(place(3), 'scope')}",
        "previous": f"{start}&_cursor={sealed(place(6, back=True), 'scope')}",
        "first": start,
    }
    assert fhirkit.validate(json.dumps(bundle)) == []


@pytest.mark.parametrize(
    ("after", "ends", "relations"),
    [
        (None, Ends(None), ["self"]),
        (None, Ends(place(3)), ["self", "next"]),
        (place(7), Ends(None, place(6, back=True)), ["self", "previous", "first"]),
        (place(6, back=True), Ends(place(5)), ["self", "next", "first"]),
    ],
)
def test_links_are_there_where_they_lead_on(after: Cursor | None, ends: Ends, relations: list[str]) -> None:
    """Nothing comes before the first page or behind the last, and the first needs no link to itself."""
    bundle = searchset(Query("Patient", after=after), [], [], SETTINGS, ends, None)
    assert [link["relation"] for link in bundle["link"]] == relations


PAST = [
    PastEntry("Patient", "p1", PATIENT, 3, "2026-03-01T12:02:00.000Z"),
    PastEntry("Patient", "p1", None, 2, "2026-03-01T12:01:00.000Z"),
    PastEntry("Patient", "p1", PATIENT, 1, "2026-03-01T12:00:00.000Z"),
]


def test_a_history_tells_what_happened() -> None:
    """The requests that would have made the versions, numbers, moments; a deletion has no resource."""
    past = Past("Patient", "p1", understood=(("_since", "2024"),), scope="scope")
    bundle = history(past, PAST, SETTINGS, place(7), 3)
    assert fhirkit.validate(json.dumps(bundle)) == []
    assert (bundle["type"], bundle["total"]) == ("history", 3)
    assert links(bundle) == {
        "self": f"{BASE}/Patient/p1/_history?_since=2024",
        "next": f"{BASE}/Patient/p1/_history?_since=2024&_cursor={sealed(place(7), 'scope')}",
    }
    assert [one["request"] for one in bundle["entry"]] == [
        {"method": method, "url": "Patient/p1"} for method in ("PUT", "DELETE", "PUT")
    ]
    statuses = [one["response"]["status"] for one in bundle["entry"]]
    assert statuses == ["200 OK", "204 No Content", "201 Created"]
    assert [one["response"]["etag"] for one in bundle["entry"]] == ['W/"3"', 'W/"2"', 'W/"1"']
    assert [one["response"]["lastModified"] for one in bundle["entry"]] == [one.updated for one in PAST]
    assert [one.get("resource") for one in bundle["entry"]] == [PATIENT, None, PATIENT]
    assert {one["fullUrl"] for one in bundle["entry"]} == {f"{BASE}/Patient/p1"}


@pytest.mark.parametrize(
    ("past", "path"),
    [
        (Past(None, None), "_history"),
        (Past("Patient", None), "Patient/_history"),
        (Past("Patient", "p1"), "Patient/p1/_history"),
    ],
)
def test_a_history_stands_under_its_address(past: Past, path: str) -> None:
    """Of everything, of a type, of one resource; one without versions has no entries."""
    bundle = history(past, [], SETTINGS, None, None)
    assert links(bundle) == {"self": f"{BASE}/{path}"}
    assert "entry" not in bundle
    assert fhirkit.validate(json.dumps(bundle)) == []


def test_the_answers_of_a_batch() -> None:
    """Each with its status line; version, moment and fault where there are any."""
    fault = outcome(issue(Severity.ERROR, Code.NOT_FOUND, "gone"))
    entries = [
        {"resource": PATIENT, "response": response("200 OK", 2, "2026-03-01T12:00:00.000Z")},
        {"response": response("404 Not Found", fault=fault)},
    ]
    bundle = batch_response(entries)
    assert fhirkit.validate(json.dumps(bundle)) == []
    assert bundle["type"] == "batch-response"
    assert bundle["entry"][0]["response"] == {
        "status": "200 OK",
        "etag": 'W/"2"',
        "lastModified": "2026-03-01T12:00:00.000Z",
    }
    assert bundle["entry"][1]["response"] == {"status": "404 Not Found", "outcome": fault}


PAIRS = st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), max_size=4)


@given(PAIRS)
def test_links_carry_any_text(pairs: list[tuple[str, str]]) -> None:
    """Names and values come back from a link as they were understood."""
    bundle = searchset(Query("Patient", understood=tuple(pairs)), [], [], SETTINGS, ENDS, None)
    url = urlsplit(bundle["link"][0]["url"])
    assert parse_qsl(url.query, keep_blank_values=True) == pairs
    assert QUERY.fullmatch(url.query)


@pytest.mark.parametrize("character", [chr(number) for number in (*range(0x20, 0x7F), 0xE9, 0x1F600)])
def test_links_are_uris(character: str) -> None:
    """Whatever was searched for: only what may stand in a query, the rest under percent signs."""
    pairs = (("identifier", f"a{character}b"), ("patient:identifier", "urn:oid:1|b"))
    bundle = searchset(Query("Patient", understood=pairs), [], [], SETTINGS, ENDS, None)
    _, _, sent = bundle["link"][0]["url"].partition("?")
    assert QUERY.fullmatch(sent)
    assert parse_qsl(sent) == list(pairs)


@pytest.mark.parametrize("code", Code)
@pytest.mark.parametrize("severity", Severity)
def test_every_issue_is_valid(severity: Severity, code: Code) -> None:
    """All codes that are used stand in R4's value sets."""
    built = outcome(issue(severity, code, "why", "patient:identifier"))
    assert fhirkit.validate(json.dumps(built)) == []
    assert "patient:identifier" in built["issue"][0]["diagnostics"]


def test_ignored_parameters_are_warnings() -> None:
    """They are named once each, and no error."""
    found = ignored(("colour", "size", "colour"))
    assert [one["severity"] for one in found] == ["warning"] * 2
    assert [one["expression"] for one in found] == [["http.colour"], ["http.size"]]
