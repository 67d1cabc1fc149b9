"""Histories: of a resource, of a type, of everything; by time and by pages."""

from typing import Any

import fhirkit
import pytest

BASE = "http://fhir.example/fhir"


def versions(bundle: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Method, id and version of each entry, in their order."""
    return [
        (
            entry["request"]["method"],
            entry["request"]["url"].rpartition("/")[2],
            entry["response"]["etag"].strip('W/"'),
        )
        for entry in bundle.get("entry", ())
    ]


def pages(fhir: Any, path: str) -> list[list[tuple[str, str, str]]]:
    """The versions of all pages."""
    found = []
    while path:
        bundle = fhir(path).json()
        found.append(versions(bundle))
        following = [link["url"] for link in bundle["link"] if link["relation"] == "next"]
        path = following[0].removeprefix(BASE) if following else ""
    return found


def test_the_history_of_a_resource(fhir: Any) -> None:
    """Valid R4, newest first, with the resource as it was, its version, its moment and the total."""
    response = fhir("/ImagingStudy/1.2.1/_history")
    bundle = response.json()
    assert fhirkit.validate(response.content) == []
    assert (bundle["type"], bundle["total"]) == ("history", 2)
    assert versions(bundle) == [("PUT", "1.2.1", "2"), ("PUT", "1.2.1", "1")]
    newest, oldest = bundle["entry"]
    assert newest["resource"]["description"] == "corrected"
    assert "description" not in oldest["resource"]
    assert (oldest["response"]["status"], newest["response"]["status"]) == ("201 Created", "200 OK")
    assert newest["response"]["lastModified"] == newest["resource"]["meta"]["lastUpdated"]


def test_the_history_of_what_is_gone(fhir: Any) -> None:
    """A deletion is an entry without a resource; the history outlives it."""
    response = fhir("/ImagingStudy/1.2.9/_history")
    assert fhirkit.validate(response.content) == []
    deletion = response.json()["entry"][0]
    assert "resource" not in deletion
    assert (deletion["request"]["method"], deletion["response"]["status"]) == ("DELETE", "204 No Content")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/Patient/_history", [("PUT", "p1", "1")]),
        ("/Endpoint/_history", [("PUT", "e1", "1")]),
        (
            "/ImagingStudy/_history",
            [
                ("PUT", "1.2.1", "2"), ("DELETE", "1.2.9", "2"), ("PUT", "1.2.3", "1"),
                ("PUT", "1.2.9", "1"), ("PUT", "1.2.2", "1"), ("PUT", "1.2.1", "1"),
            ],
        ),
    ],
)  # fmt: skip
def test_the_history_of_a_type(fhir: Any, path: str, found: list[tuple[str, str, str]]) -> None:
    """All versions of all its resources, the newest first, on one page or on many."""
    assert versions(fhir(path).json()) == found
    assert [version for page in pages(fhir, f"{path}?_count=2") for version in page] == found


def test_the_history_of_everything(fhir: Any) -> None:
    """Every type together."""
    response = fhir("/_history")
    assert fhirkit.validate(response.content) == []
    assert len(versions(response.json())) == 8


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ("_since=2026-03-01T12:05:00.123Z", 3),
        ("_since=2026-03-01T13:05:00.124%2B01:00", 2),
        ("_since=2027", 0),
        ("_at=2026-03-01T12:03:30Z", 2),
        ("_at=2026-03-01T12:06:30Z", 4),
        ("_at=2025", 0),
        ("_at=2026-03-01", 6),
        ("_at=2027-01-01", 4),
        ("_since=2026-03-01T12:05:00Z&_at=2026-03-01T12:05:30Z", 1),
    ],
)
def test_by_time(fhir: Any, asked: str, count: int) -> None:
    """From a moment on; what was current within a period."""
    bundle = fhir(f"/ImagingStudy/_history?{asked}").json()
    assert len(versions(bundle)) == count
    assert asked.partition("=")[0] in bundle["link"][0]["url"]


def test_a_history_only_counted(fhir: Any) -> None:
    """`_count=0` gives the total alone."""
    bundle = fhir("/ImagingStudy/1.2.1/_history?_count=0").json()
    assert (bundle["total"], "entry" in bundle) == (2, False)


def test_pages_of_a_history_do_not_move(fhir: Any, store: Any, study: Any) -> None:
    """What is published meanwhile is newer than all that is still to be read."""
    first = fhir("/ImagingStudy/_history?_count=4").json()
    for number in range(3):
        store.add(study("1.2.2", description=f"correction {number}"))
    [following] = [link["url"] for link in first["link"] if link["relation"] == "next"]
    second = fhir(following.removeprefix(BASE)).json()
    assert versions(second) == [("PUT", "1.2.2", "1"), ("PUT", "1.2.1", "1")]


@pytest.mark.parametrize(
    ("asked", "name"),
    [("_since=now", "_since"), ("_at=2024-13", "_at"), ("_count=x", "_count"), ("_cursor=MQ", "_cursor")],
)
def test_malformed_parameters(fhir: Any, asked: str, name: str) -> None:
    """400, with the parameter named."""
    response = fhir(f"/ImagingStudy/_history?{asked}")
    assert (response.status_code, response.json()["issue"][0]["expression"]) == (400, [f"http.{name}"])


def test_other_parameters(fhir: Any) -> None:
    """Refused under strict handling; otherwise left out of what `self` says was understood."""
    strict = {"Prefer": "handling=strict"}
    assert fhir("/ImagingStudy/_history?colour=red", headers=strict).status_code == 400
    response = fhir("/ImagingStudy/_history?colour=red&_count=5000")
    assert response.json()["link"][0]["url"] == f"{BASE}/ImagingStudy/_history?_count=1000"


def test_a_history_of_nothing(fhir: Any) -> None:
    """404 for a resource that never was; an empty Bundle where no version is in the period."""
    assert fhir("/Patient/p9/_history").status_code == 404
    assert fhir("/Patient/p1/_history?_since=2030").json().get("entry", []) == []
