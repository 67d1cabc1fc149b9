"""Batches: reads and searches in one request, each answered as it would be alone."""

from typing import Any

import fhirkit
import orjson
import pytest
import requests

BASE = "http://fhir.example/fhir"


def entry(url: str, method: str = "GET", **more: Any) -> dict[str, Any]:
    """One entry of a batch."""
    return {"request": {"method": method, "url": url, **more}}


def send(fhir: Any, *entries: Any, type_: str = "batch", **options: Any) -> requests.Response:
    """A batch as a request."""
    bundle = {"resourceType": "Bundle", "type": type_, "entry": list(entries)}
    headers = {"Content-Type": "application/fhir+json", **options.pop("headers", {})}
    response: requests.Response = fhir(
        "", method="POST", data=orjson.dumps(bundle), headers=headers, **options
    )
    return response


def test_each_entry_is_answered_as_it_would_be_alone(fhir: Any) -> None:
    """The same bytes, status, tag and moment, in the order of the entries."""
    urls = ["Patient/p1", "ImagingStudy?patient=p1&_count=1", "/ImagingStudy/1.2.1/_history/1", "metadata"]
    urls += [f"{BASE}/Endpoint/e1", "ImagingStudy/_history", "Patient?name=%C3%BCnal"]
    response = send(fhir, *map(entry, urls))
    bundle = response.json()
    assert fhirkit.validate(response.content) == []
    assert (bundle["type"], len(bundle["entry"])) == ("batch-response", len(urls))
    for url, answered in zip(urls, bundle["entry"], strict=True):
        alone = fhir("/" + url.removeprefix(BASE).lstrip("/"))
        assert answered["resource"] == alone.json()
        assert answered["response"]["status"] == "200 OK"
        assert answered["response"].get("etag") == alone.headers.get("ETag")


def test_faults_stay_in_their_place(fhir: Any) -> None:
    """What is wrong with one entry is said there; the others are answered."""
    cases: list[tuple[Any, str, str]] = [
        (entry("Patient/p9"), "404", "not-found"),
        (entry("ImagingStudy/1.2.9"), "410", "deleted"),
        (entry("ImagingStudy?started=x"), "400", "value"),
        (entry("Observation/1"), "404", "not-found"),
        (entry("Patient/%ff"), "400", "value"),
        (entry("Patient/p1", "DELETE"), "400", "not-supported"),
        (entry("Patient", "POST"), "400", "not-supported"),
        ({}, "400", "value"),
        (7, "400", "value"),
        ({"request": {"method": "GET"}}, "400", "value"),
        ({"request": {"method": "GET", "url": 7}}, "400", "value"),
        (entry("openapi.json"), "404", "not-found"),
        (entry("ImagingStudy/_search?patient=p1"), "404", "not-found"),
    ]
    response = send(fhir, entry("Patient/p1"), *(case[0] for case in cases), entry("Patient/p1"))
    assert fhirkit.validate(response.content) == []
    first, *faults, last = response.json()["entry"]
    assert first == last
    for (_asked, status, code), answered in zip(cases, faults, strict=True):
        assert answered["response"]["status"].split()[0] == status
        assert answered["response"]["outcome"]["issue"][0]["code"] == code
        assert "resource" not in answered


def test_conditions_of_an_entry(fhir: Any) -> None:
    """ifNoneMatch and ifModifiedSince save the resource; what cannot be read is no condition."""
    conditions = [
        {"ifNoneMatch": 'W/"2"'},
        {"ifModifiedSince": "2026-03-01T12:07:00Z"},
        {"ifNoneMatch": 'W/"1"'},
        {"ifModifiedSince": "yesterday"},
    ]
    response = send(fhir, *(entry("ImagingStudy/1.2.1", **condition) for condition in conditions))
    found = [(e["response"]["status"], "resource" in e) for e in response.json()["entry"]]
    assert found == [("304 Not Modified", False)] * 2 + [("200 OK", True)] * 2


def test_strict_handling_holds_for_every_entry(fhir: Any) -> None:
    """The header of the request is that of its entries."""
    for handling, status in (("strict", "400 Bad Request"), ("lenient", "200 OK")):
        response = send(fhir, entry("Patient?colour=red"), headers={"Prefer": f"handling={handling}"})
        assert response.json()["entry"][0]["response"]["status"] == status


def test_an_empty_batch(fhir: Any) -> None:
    """Nothing asked, nothing answered."""
    assert send(fhir).json()["type"] == "batch-response"


@pytest.mark.parametrize(
    ("body", "type_", "status", "code"),
    [
        (b"{", "application/fhir+json", 400, "value"),
        (b"[]", "application/fhir+json", 400, "value"),
        (b'{"resourceType":"Patient"}', "application/fhir+json", 400, "value"),
        (b'{"resourceType":"Bundle","type":"transaction"}', "application/fhir+json", 400, "not-supported"),
        (b'{"resourceType":"Bundle","type":"batch","entry":{}}', "application/json", 400, "value"),
        (
            b'{"resourceType":"Bundle","type":"batch","entry":[' + b"[" * 5000,
            "application/json",
            400,
            "value",
        ),
        (b"<Bundle/>", "application/fhir+xml", 415, "not-supported"),
        (b" " * (2 << 20), "application/fhir+json", 413, "too-long"),
    ],
    ids=["cut", "list", "patient", "transaction", "entry", "deep", "xml", "long"],
)
def test_bodies_that_cannot_be_used(fhir: Any, body: bytes, type_: str, status: int, code: str) -> None:
    """The whole request is refused, and the server goes on."""
    response = fhir("/", method="POST", data=body, headers={"Content-Type": type_})
    assert (response.status_code, response.json()["issue"][0]["code"]) == (status, code)
    assert send(fhir, entry("Patient/p1")).status_code == 200


def test_a_batch_is_bounded(serve: Any) -> None:
    """More entries than a batch may have are refused together."""
    server = serve(max_batch=3)
    assert send(server, *[entry("Patient/p1")] * 3).status_code == 200
    assert send(server, *[entry("Patient/p1")] * 4).status_code == 413
