"""Searching: bundles, pages, handling of what is not understood, by GET and by POST."""

import gzip
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import fhirkit
import pytest

BASE = "http://fhir.example/fhir"


def ids(bundle: dict[str, Any]) -> list[str]:
    """The ids of the matches of a bundle, in their order."""
    return [e["resource"]["id"] for e in bundle.get("entry", ()) if e["search"]["mode"] == "match"]


def link(bundle: dict[str, Any], relation: str) -> str | None:
    """The URL of a link."""
    return next((found["url"] for found in bundle["link"] if found["relation"] == relation), None)


def test_a_searchset(fhir: Any, store: Any) -> None:
    """Valid R4: total, self, and entries with their URL, mode and stored resource; newest first."""
    response = fhir("/ImagingStudy")
    bundle = response.json()
    assert fhirkit.validate(response.content) == []
    assert (bundle["resourceType"], bundle["type"], bundle["total"]) == ("Bundle", "searchset", 3)
    assert ids(bundle) == ["1.2.3", "1.2.2", "1.2.1"]
    assert bundle["link"] == [{"relation": "self", "url": f"{BASE}/ImagingStudy"}]
    assert bundle["entry"][2]["fullUrl"] == f"{BASE}/ImagingStudy/1.2.1"
    assert bundle["entry"][2]["resource"]["description"] == "corrected"
    assert store.current("ImagingStudy", "1.2.1").body in response.content


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("_id=1.2.1", ["1.2.1"]),
        ("_id=1.2.1,1.2.3,1.2.9", ["1.2.3", "1.2.1"]),
        ("identifier=urn:dicom:uid|urn:oid:1.2.2", ["1.2.2"]),
        ("identifier=urn:oid:1.2.2", ["1.2.2"]),
        ("identifier=1.2.2", ["1.2.2"]),
        ("identifier=urn:acc%7CA-1.2.1", ["1.2.1"]),
        ("identifier=urn:acc|", ["1.2.3", "1.2.2", "1.2.1"]),
        ("identifier=|A-1.2.1", []),
        ("identifier=A-1.2.1,A-1.2.2", ["1.2.2", "1.2.1"]),
        ("identifier=A-1.2.%25", []),
        ("patient=p1", ["1.2.3", "1.2.1"]),
        ("patient=Patient/p2", ["1.2.2"]),
        (f"patient={BASE}/Patient/p2", ["1.2.2"]),
        ("patient=http://else/Patient/p2", []),
        ("patient=p1&identifier=urn:oid:1.2.1", ["1.2.1"]),
        ("patient:identifier=urn:pat|1", ["1.2.3", "1.2.1"]),
        ("modality:not=CT", ["1.2.3"]),
        ("instance=urn:oid:1.2.1.1.1", ["1.2.1"]),
        ("basedon:missing=false", []),
        ("_lastUpdated=gt2026-03-01T12:03:00.123Z", ["1.2.1", "1.2.3"]),
        ("_lastUpdated=2026-03-01T12:05:00.123Z", ["1.2.3"]),
        ("_lastUpdated=lt2026-03-01T13:04:00%2B01:00", ["1.2.2"]),
        ("_lastUpdated=ge2026-03-01&_lastUpdated=le2026-03-01", ["1.2.3", "1.2.2", "1.2.1"]),
        ("_lastUpdated=ge2026-03-02", []),
    ],
)
def test_what_a_search_finds(fhir: Any, search: str, found: list[str]) -> None:
    """The parameters with their forms, alone, combined and repeated."""
    response = fhir(f"/ImagingStudy?{search}")
    assert response.status_code == 200, response.text
    assert ids(response.json()) == found


@pytest.mark.parametrize("type_", ["Patient", "Endpoint"])
def test_every_type_is_searched(fhir: Any, type_: str) -> None:
    """Patients and endpoints are found as studies are."""
    assert len(ids(fhir(f"/{type_}").json())) == 1


def test_names_are_found_by_their_beginning(fhir: Any) -> None:
    """Case and accents make no difference."""
    assert ids(fhir("/Patient?name=UNA").json()) == ["p1"]
    assert ids(fhir("/Patient?name=nal").json()) == []


def test_pages_concatenate_while_studies_arrive(fhir: Any, store: Any, study: Callable[..., Any]) -> None:
    """Following `next` meets everything that was there at first once, whatever arrives meanwhile."""
    seen, path = [], "/ImagingStudy?_count=1&status=available"
    for turn in range(3):
        bundle = fhir(path).json()
        assert "total" not in bundle
        seen += ids(bundle)
        store.add(study(f"1.3.{turn}"))
        path = (link(bundle, "next") or "").removeprefix(BASE)
    assert seen == ["1.2.3", "1.2.2", "1.2.1"]
    assert path == ""


def test_links_say_what_was_understood(fhir: Any) -> None:
    """`self` and `next` repeat the parameters that took effect, as effective, and parse back."""
    search = "patient=p1&colour=red&_count=1&_format=json&identifier=a%2Cb,1.2.3"
    bundle = fhir(f"/ImagingStudy?{search}").json()
    asked = parse_qsl(urlsplit(link(bundle, "self") or "").query)
    assert asked == [("patient", "p1"), ("_count", "1"), ("_format", "json"), ("identifier", "a,b,1.2.3")]
    again = fhir((link(bundle, "self") or "").removeprefix(BASE)).json()
    assert ids(again) == ids(bundle) == ["1.2.3"]


def test_a_count_of_nothing_only_counts(fhir: Any) -> None:
    """`_count=0` and `_summary=count` give the total alone."""
    for search in ("_count=0", "_summary=count"):
        response = fhir(f"/ImagingStudy?patient=p1&{search}")
        assert response.json()["total"] == 2
        assert "entry" not in response.json()
        assert fhirkit.validate(response.content) == []


def test_the_total_is_counted_on_request(fhir: Any) -> None:
    """A page of a longer result has a total only where one is asked for."""
    assert "total" not in fhir("/ImagingStudy?_count=1").json()
    assert fhir("/ImagingStudy?_count=1&_total=accurate").json()["total"] == 3


def test_the_page_size_has_a_default_and_a_maximum(serve: Any) -> None:
    """More than the maximum is the maximum, and `self` says so."""
    server = serve(default_count=1, max_count=2)
    assert len(ids(server("/ImagingStudy").json())) == 1
    bundle = server("/ImagingStudy?_count=50").json()
    assert len(ids(bundle)) == 2
    assert link(bundle, "self") == f"{BASE}/ImagingStudy?_count=2"


def test_what_is_left_out_is_named(fhir: Any) -> None:
    """An entry of mode outcome warns of each unknown parameter, after the matches."""
    response = fhir("/ImagingStudy?colour=red&_sort=modality&_id=1.2.1")
    assert fhirkit.validate(response.content) == []
    entry = response.json()["entry"]
    assert [e["search"]["mode"] for e in entry] == ["match", "outcome"]
    issues = entry[1]["resource"]["issue"]
    assert [issue["severity"] for issue in issues] == ["warning", "warning"]
    assert ["colour" in issues[0]["diagnostics"], "_sort" in issues[1]["diagnostics"]] == [True, True]


@pytest.mark.parametrize(
    "prefer", ["handling=strict", "return=minimal; handling=strict", 'handling="strict"']
)
def test_strict_handling(fhir: Any, prefer: str) -> None:
    """Then an unknown parameter is an error that names it."""
    response = fhir("/ImagingStudy?colour=red", headers={"Prefer": prefer})
    assert response.status_code == 400
    assert response.json()["issue"][0]["expression"] == ["http.colour"]


@pytest.mark.parametrize(
    ("search", "parameter"),
    [
        ("identifier=", "identifier"),
        ("identifier=a%5C", "identifier"),
        ("identifier:exact=a", "identifier:exact"),
        ("identifier=%00", "identifier"),
        ("patient=Group/1", "patient"),
        ("patient.colour=x", "patient.colour"),
        ("endpoint.organization.name=x", "endpoint.organization.name"),
        ("referrer.name=x", "referrer.name"),
        ("subject:Device.name=x", "subject:Device.name"),
        ("patient.birthdate=x", "patient.birthdate"),
        ("_lastUpdated=gtnow", "_lastUpdated"),
        ("_lastUpdated=2024-02-30", "_lastUpdated"),
        ("_id=a%20b", "_id"),
        ("_count=-1", "_count"),
        ("_count=1&_count=2", "_count"),
        ("_cursor=MQ==", "_cursor"),
        ("_total=some", "_total"),
        ("_sort=", "_sort"),
        ("_sort=started,-started", "_sort"),
        ("_summary=yes", "_summary"),
        ("_summary=text&_include=*", "_summary"),
        ("_elements=colour", "_elements"),
        ("_elements=status,", "_elements"),
        ("_include=endpoint", "_include"),
        ("_include=ImagingStudy:endpoint:Endpoint:x", "_include"),
        ("_revinclude=:patient", "_revinclude"),
        ("_pretty=1", "_pretty"),
    ],
)
def test_malformed_values(fhir: Any, search: str, parameter: str) -> None:
    """400, with the parameter named."""
    response = fhir(f"/ImagingStudy?{search}")
    assert response.status_code == 400
    assert fhirkit.validate(response.content) == []
    assert response.json()["issue"][0]["expression"] == [f"http.{parameter}"]


def test_undecodable_parameters(fhir: Any) -> None:
    """What is not UTF-8 under its percent signs is refused, and so are too many parameters."""
    assert fhir("/ImagingStudy?identifier=%ff").status_code == 400
    assert fhir("/ImagingStudy?" + "&".join(["status=a"] * 21)).status_code == 400
    assert fhir("/ImagingStudy?" + "&".join(["a=b"] * 1500)).status_code == 400


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("", "patient=p1&_count=1"),
        ("?patient=p1", "_count=1"),
        ("?patient=p1&_count=1", ""),
        ("", "patient=Patient%2Fp1&_count=1&_format=json&_pretty=true"),
    ],
)
def test_a_form_searches_as_a_url_does(fhir: Any, url: str, form: str) -> None:
    """Parameters of the URL and of the form make one search."""
    response = fhir(
        f"/ImagingStudy/_search{url}",
        method="POST",
        data=form,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert response.status_code == 200
    assert ids(response.json()) == ids(fhir("/ImagingStudy?patient=p1&_count=1").json()) == ["1.2.3"]
    assert (b"\n" in response.content) == ("_pretty" in form)


@pytest.mark.parametrize(
    ("body", "type_", "status"),
    [
        (b"identifier=%ff", "application/x-www-form-urlencoded", 400),
        (b"identifier=\xff", "application/x-www-form-urlencoded", 400),
        (b"identifier=" + b"a" * (1 << 20), "application/x-www-form-urlencoded", 413),
        (b"{}", "application/json", 415),
        (b"_format=xml", "application/x-www-form-urlencoded", 406),
    ],
)
def test_bodies_that_cannot_be_used(fhir: Any, body: bytes, type_: str, status: int) -> None:
    """Not UTF-8, too long, another media type, a format that is not served."""
    response = fhir("/ImagingStudy/_search", method="POST", data=body, headers={"Content-Type": type_})
    assert response.status_code == status
    assert response.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Encoding": "gzip"}, 400),
        ({"Content-Encoding": "deflate"}, 415),
        ({"Content-Encoding": "br"}, 415),
        ({"Content-Encoding": "zstd"}, 415),
        ({"Content-Encoding": "pigeon"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded; charset=pigeon"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded; charset=utf-16"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}, 200),
    ],
)
def test_codings_of_a_body(fhir: Any, headers: dict[str, str], status: int) -> None:
    """A body that is not what it claims, a coding or charset that is not taken: the client's fault."""
    plain = {"Content-Type": "application/x-www-form-urlencoded"}
    response = fhir("/ImagingStudy/_search", method="POST", data=b"status=available", headers=plain | headers)
    assert response.status_code == status
    assert response.json()["resourceType"] == ("Bundle" if status == 200 else "OperationOutcome")


def test_a_body_may_be_compressed(fhir: Any) -> None:
    """With gzip it searches as it does without."""
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": "gzip"}
    body = gzip.compress(b"patient=p1&_count=1")
    response = fhir("/ImagingStudy/_search", method="POST", data=body, headers=headers)
    assert ids(response.json()) == ["1.2.3"]


@pytest.mark.parametrize(
    "search",
    [
        "_has:Observation:subject:code=x", "_list=1", "_filter=status eq available", "_query=all",
        "_text=chest", "_content=chest", "patient.photo=x", "modality:above=CT", "_include:iterate=x:y",
    ],
)  # fmt: skip
def test_a_filter_that_is_not_offered_is_refused(fhir: Any, search: str) -> None:
    """Leaving it out would return everything: 400, even for a client that asks for leniency."""
    response = fhir(f"/ImagingStudy?{search}", headers={"Prefer": "handling=lenient"})
    assert (response.status_code, response.json()["issue"][0]["code"]) == (400, "not-supported")


def test_a_body_that_never_ends(serve: Any) -> None:
    """A client that does not send what it announced is answered 408 in time."""
    import socket

    server = serve(body_seconds=0.2)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as slow:
        slow.sendall(
            b"POST /fhir/ImagingStudy/_search HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n\r\npatient="
        )
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    ("path", "allowed"), [("/ImagingStudy/_search", {"POST"}), ("/metadata", {"GET", "HEAD"})]
)
def test_methods_that_are_not_allowed(fhir: Any, path: str, allowed: set[str]) -> None:
    """405 with Allow."""
    response = fhir(path, method="DELETE")
    assert response.status_code == 405
    assert set(response.headers["Allow"].replace(" ", "").split(",")) == allowed
