"""Reading resources: bodies, validators, conditions, deletions."""

import gzip
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import fhirkit
import pytest
import requests


def outcome(response: requests.Response, status: int, code: str) -> dict[str, Any]:
    """The only issue of an OperationOutcome that is valid R4 and has this status and code."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/fhir+json; charset=utf-8"
    assert fhirkit.validate(response.content) == []
    [issue] = response.json()["issue"]
    assert (issue["severity"], issue["code"]) == ("error", code)
    return dict(issue)


def test_a_read_answers_the_stored_bytes(fhir: Any, store: Any) -> None:
    """The body is what was published, byte for byte."""
    response = fhir("/ImagingStudy/1.2.1")
    assert response.status_code == 200
    assert response.content == store.current("ImagingStudy", "1.2.1").body
    assert response.headers["Content-Type"] == "application/fhir+json; charset=utf-8"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/Patient/p1", "/Endpoint/e1"])
def test_every_type_is_read(fhir: Any, path: str) -> None:
    """Patients and endpoints are read as studies are."""
    assert fhir(path).json()["id"] == path.rpartition("/")[2]


@pytest.mark.parametrize("embedded", [True, False])
def test_a_read_works_on_and_off_the_loop(fhir: Any, store: Any, embedded: bool) -> None:
    """A database behind a network is asked in the executor, an embedded one at once."""
    store.away = not embedded
    assert fhir("/Patient/p1").status_code == 200


def test_validators_name_the_version(fhir: Any, store: Any) -> None:
    """ETag has the version, Last-Modified its second."""
    found = store.current("ImagingStudy", "1.2.1")
    response = fhir("/ImagingStudy/1.2.1")
    assert response.headers["ETag"] == 'W/"2"'
    assert parsedate_to_datetime(response.headers["Last-Modified"]) == found.updated.replace(microsecond=0)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": 'W/"2"'}, 304),
        ({"If-None-Match": '"2"'}, 304),
        ({"If-None-Match": '"1", W/"2"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": 'W/"1"'}, 200),
        ({"If-None-Match": "garbage"}, 200),
        ({"If-Modified-Since": "Sun, 01 Mar 2026 12:07:00 GMT"}, 304),
        ({"If-Modified-Since": "Sun, 01 Mar 2026 12:06:59 GMT"}, 200),
        ({"If-Modified-Since": "garbage"}, 200),
        ({"If-None-Match": 'W/"1"', "If-Modified-Since": "Sun, 01 Mar 2026 12:07:00 GMT"}, 200),
    ],
)
def test_conditions(fhir: Any, store: Any, headers: dict[str, str], status: int) -> None:
    """The tag decides before the date does; what cannot be read is no condition."""
    response = fhir("/ImagingStudy/1.2.1", headers=headers)
    assert response.status_code == status
    assert response.headers["ETag"] == 'W/"2"'
    assert store.bodies_fetched == (0 if status == 304 else 1)
    assert bool(response.content) == (status == 200)


def test_a_condition_does_not_hide_what_is_missing(fhir: Any) -> None:
    """404, 410 and 406 go before 304."""
    any_ = {"If-None-Match": "*"}
    outcome(fhir("/Patient/p9", headers=any_), 404, "not-found")
    outcome(fhir("/ImagingStudy/1.2.9", headers=any_), 410, "deleted")
    outcome(fhir("/Patient/p1", headers=any_ | {"Accept": "application/fhir+xml"}), 406, "not-supported")


def test_head_is_get_without_its_body(fhir: Any) -> None:
    """Status and headers are the same, but for what is made anew for each request."""
    full, head = fhir("/ImagingStudy/1.2.1"), fhir("/ImagingStudy/1.2.1", method="HEAD")
    own = ("X-Request-Id", "Date")
    assert head.content == b""
    assert {n: v for n, v in head.headers.items() if n not in own} == {
        n: v for n, v in full.headers.items() if n not in own
    }


def test_versions_are_read(fhir: Any) -> None:
    """Each version under its number; others are not there, and a deletion is gone."""
    assert "description" not in fhir("/ImagingStudy/1.2.1/_history/1").json()
    assert fhir("/ImagingStudy/1.2.1/_history/2").headers["ETag"] == 'W/"2"'
    for number in ("0", "3", "9" * 18):
        outcome(fhir(f"/ImagingStudy/1.2.1/_history/{number}"), 404, "not-found")
    outcome(fhir("/ImagingStudy/1.2.9/_history/2"), 410, "deleted")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/ImagingStudy/1.2.8", 404, "not-found"),
        ("/ImagingStudy/1.2.9", 410, "deleted"),
        ("/ImagingStudy/" + "1" * 65, 404, "not-found"),
        ("/ImagingStudy/a%20b", 404, "not-found"),
        ("/ImagingStudy/%00", 404, "not-found"),
        ("/ImagingStudy/..%2f..", 404, "not-found"),
        ("/ImagingStudy/%ff", 400, "value"),
        ("/Observation/1", 404, "not-found"),
        ("/imagingstudy/1.2.1", 404, "not-found"),
        ("/ImagingStudy/1.2.1/series", 404, "not-found"),
        ("/ImagingStudy/1.2.8/_history", 404, "not-found"),
        ("/ImagingStudy/1.2.1/_history/x", 404, "not-found"),
        ("/.well-known/smart-configuration", 404, "not-found"),
        ("/", 405, "not-supported"),
    ],
)
def test_what_is_not_there(fhir: Any, path: str, status: int, code: str) -> None:
    """Absent, deleted, no id, another type, a path that is not served, one that cannot be decoded."""
    outcome(fhir(path), status, code)


def test_the_body_can_be_pretty(fhir: Any) -> None:
    """`_pretty=true` indents and changes nothing else."""
    plain, pretty = fhir("/ImagingStudy/1.2.1"), fhir("/ImagingStudy/1.2.1?_pretty=true")
    assert pretty.json() == plain.json()
    assert pretty.content.count(b"\n") > 10
    assert "_pretty" in outcome(fhir("/ImagingStudy/1.2.1?_pretty=very"), 400, "value")["diagnostics"]


@pytest.mark.parametrize("length", [2000, 200_000])
def test_long_bodies_are_compressed(fhir: Any, store: Any, length: int) -> None:
    """From 1 KiB on, where the client takes gzip; the larger one is compressed off the loop."""
    resource = {"resourceType": "Endpoint", "id": "e2", "name": "x" * length}
    stored = store.add(resource)
    raw = fhir("/Endpoint/e2", headers={"Accept-Encoding": "gzip"}, stream=True)
    assert raw.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in raw.headers["Vary"]
    assert gzip.decompress(raw.raw.read()) == stored.body


@pytest.mark.parametrize(
    ("path", "encoding"), [("/Endpoint/e1", "gzip"), ("/metadata", "identity"), ("/metadata", "gzip;q=0")]
)
def test_other_bodies_are_not_compressed(fhir: Any, path: str, encoding: str) -> None:
    """Short ones, and those of clients that do not take it."""
    assert "Content-Encoding" not in fhir(path, headers={"Accept-Encoding": encoding}).headers


def test_the_capability_statement(fhir: Any) -> None:
    """Valid R4, and it names the base, the version, each type and each search parameter."""
    response = fhir("/metadata")
    assert fhirkit.validate(response.content) == []
    statement = response.json()
    assert statement["implementation"]["url"] == "http://fhir.example/fhir"
    assert statement["software"]["version"] == "1.2"
    resources = {resource["type"]: resource for resource in statement["rest"][0]["resource"]}
    assert set(resources) == {"ImagingStudy", "Patient", "Endpoint"}
    assert {"_id", "_lastUpdated", "identifier", "patient"} <= {
        parameter["name"] for parameter in resources["ImagingStudy"]["searchParam"]
    }


def test_what_is_declared_is_answered(fhir: Any) -> None:
    """Every parameter of the CapabilityStatement is understood by a strict search."""
    values = {"token": "x", "reference": "x", "date": "2024", "string": "x", "uri": "urn:x"}
    for resource in fhir("/metadata").json()["rest"][0]["resource"]:
        for parameter in resource["searchParam"]:
            path = f"/{resource['type']}?{parameter['name']}={values[parameter['type']]}&_count=0"
            assert fhir(path, headers={"Prefer": "handling=strict"}).status_code == 200, path


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST"])
def test_writing_is_not_allowed(fhir: Any, method: str) -> None:
    """405 says which methods are allowed."""
    response = fhir("/ImagingStudy/1.2.1", method=method)
    outcome(response, 405, "not-supported")
    assert set(response.headers["Allow"].replace(" ", "").split(",")) == {"GET", "HEAD"}


def test_a_store_that_is_away(fhir: Any, failing: Callable[[BaseException], None]) -> None:
    """503 tells the client to come back, on reads, conditional reads and searches."""
    from pacsbridge.errors import Unavailable

    failing(Unavailable("the database is away"))
    for path, headers in (("/Patient/p1", {}), ("/Patient/p1", {"If-None-Match": "*"}), ("/Patient", {})):
        response = fhir(path, headers=headers)
        outcome(response, 503, "transient")
        assert int(response.headers["Retry-After"]) > 0
