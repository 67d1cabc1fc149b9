"""Searchset bundles, OperationOutcomes and the CapabilityStatement: valid R4, each part where it belongs."""

import json
import re
from urllib.parse import parse_qsl, urlsplit

import fhirkit
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.kernel.bundles import Match, searchset
from pacsbridge.kernel.capability import capability_statement
from pacsbridge.kernel.outcomes import Code, Severity, ignored, issue, outcome
from pacsbridge.kernel.query import Cursor, Query

BASE = "http://fhir.example/fhir"
QUERY = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-F]{2})*")
"""RFC 3986 3.4."""

PATIENT = {"resourceType": "Patient", "id": "p1"}


def test_a_page_has_its_parts() -> None:
    """Total, links, the match with its URL and mode, and what was ignored, last."""
    query = Query("Patient", understood=(("name", "x"),), ignored=("colour", "colour", "size"))
    bundle = searchset(query, [Match("Patient", "p1", PATIENT)], BASE, Cursor((7,)), 9)
    assert fhirkit.validate(json.dumps(bundle)) == []
    assert bundle["total"] == 9
    assert [found["url"] for found in bundle["link"]] == [
        f"{BASE}/Patient?name=x",
        f"{BASE}/Patient?name=x&_cursor={Cursor((7,)).encode()}",
    ]
    assert bundle["entry"][0] == {
        "fullUrl": f"{BASE}/Patient/p1",
        "resource": PATIENT,
        "search": {"mode": "match"},
    }
    assert len(bundle["entry"][1]["resource"]["issue"]) == 2


def test_an_empty_answer_has_no_empty_list() -> None:
    """R4 allows no empty arrays."""
    bundle = searchset(Query("Patient"), [], BASE, None, 0)
    assert "entry" not in bundle
    assert fhirkit.validate(json.dumps(bundle)) == []


def test_self_of_a_later_page_names_its_place() -> None:
    """Reading `self` of the second page again gives the second page."""
    bundle = searchset(Query("Patient", after=Cursor((7,))), [], BASE, None, None)
    assert bundle["link"][0]["url"].endswith(f"?_cursor={Cursor((7,)).encode()}")
    assert "total" not in bundle


PAIRS = st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), max_size=4)


@given(PAIRS)
def test_links_carry_any_text(pairs: list[tuple[str, str]]) -> None:
    """Names and values come back from a link as they were understood."""
    bundle = searchset(Query("Patient", understood=tuple(pairs)), [], BASE, None, None)
    url = urlsplit(bundle["link"][0]["url"])
    assert parse_qsl(url.query, keep_blank_values=True) == pairs
    assert QUERY.fullmatch(url.query)


@pytest.mark.parametrize("character", [chr(number) for number in (*range(0x20, 0x7F), 0xE9, 0x1F600)])
def test_links_are_uris(character: str) -> None:
    """Whatever was searched for: only what may stand in a query, the rest under percent signs."""
    pairs = (("identifier", f"a{character}b"), ("patient:identifier", "urn:oid:1|b"))
    bundle = searchset(Query("Patient", understood=pairs), [], BASE, None, None)
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
    """They are named, and no error."""
    built = ignored(("colour",))
    assert built["issue"][0]["severity"] == "warning"
    assert "colour" in built["issue"][0]["diagnostics"]


def test_the_capability_statement_is_valid() -> None:
    """By the R4 definitions."""
    built = capability_statement(BASE, "1.2", "2026-03-01T12:00:00Z")
    assert fhirkit.validate(json.dumps(built)) == []
    assert built["fhirVersion"] == "4.0.1"
