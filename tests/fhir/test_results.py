"""What comes back with a search: forms of resources, includes, orders, pages to and fro."""

from collections.abc import Callable
from typing import Any

import fhirkit
import pytest

from pacsbridge.store.sql import Patience
from pacsbridge.turns import Turn

BASE = "http://fhir.example/fhir"
SUBSETTED = "SUBSETTED"
ENDPOINT: dict[str, Any] = {
    "resourceType": "Endpoint",
    "status": "active",
    "connectionType": {"code": "dicom-wado-rs"},
    "payloadType": [{"text": "DICOM"}],
    "address": "http://pacs.example/dicom-web",
}


def entries(bundle: dict[str, Any], mode: str = "match") -> list[dict[str, Any]]:
    """The resources of a mode, in their order."""
    return [e["resource"] for e in bundle.get("entry", ()) if e["search"]["mode"] == mode]


def ids(bundle: dict[str, Any], mode: str = "match") -> list[str]:
    """Their ids."""
    return [resource["id"] for resource in entries(bundle, mode)]


def links(bundle: dict[str, Any]) -> dict[str, str]:
    """Relation → path below the base."""
    return {link["relation"]: link["url"].removeprefix(BASE) for link in bundle["link"]}


def tags(resource: dict[str, Any]) -> list[str]:
    """The codes of its tags."""
    return [tag["code"] for tag in resource["meta"].get("tag", ())]


@pytest.fixture
def linked(store: Any, study: Callable[..., Any]) -> None:
    """A study with an endpoint here, one of a series, one elsewhere, and one inside."""
    elsewhere = {"reference": "http://else/Endpoint/e3"}
    store.add({**ENDPOINT, "id": "e2", "status": "off", "name": "second"})
    store.add(
        study(
            "1.2.4",
            endpoint=[{"reference": "Endpoint/e1"}, elsewhere, {"reference": "#inside"}],
            contained=[{**ENDPOINT, "id": "inside"}],
            series=[
                {"uid": "1.2.4.1", "modality": {"code": "CT"}, "endpoint": [{"reference": "Endpoint/e2"}]}
            ],
            referrer={"reference": "Practitioner/x", "display": "Dr X"},
        )
    )


# forms


def test_a_summary_leaves_out_the_instances(fhir: Any) -> None:
    """All of R4's summary elements are there, series too, but no instance; the resource is tagged."""
    [found] = entries(fhir("/ImagingStudy?_id=1.2.1&_summary=true").json())
    [series] = found["series"]
    assert set(series) == {"uid", "modality"}
    assert found["subject"]["reference"] == "Patient/p1"
    assert (tags(found), found["meta"]["versionId"]) == ([SUBSETTED], "2")


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ("_summary=text", {"status", "subject"}),
        ("_summary=data", {"status", "subject", "identifier", "description", "series"}),
        ("_elements=identifier", {"status", "subject", "identifier"}),
        ("_elements=series,status", {"status", "subject", "series"}),
        ("_elements=id,meta", {"status", "subject"}),
    ],
)
@pytest.mark.parametrize("path", ["/ImagingStudy/1.2.1", "/ImagingStudy/1.2.1/_history/2", "/ImagingStudy"])
def test_forms(fhir: Any, path: str, asked: str, kept: set[str]) -> None:
    """Reads, versioned reads and searches give the elements asked for, and the mandatory ones, tagged."""
    response = fhir(f"{path}?{asked}" + ("&_id=1.2.1" if path == "/ImagingStudy" else ""))
    found = response.json()
    resource = entries(found)[0] if found["resourceType"] == "Bundle" else found
    assert fhirkit.validate(response.content) == []
    assert set(resource) == {"resourceType", "id", "meta"} | kept
    assert tags(resource) == [SUBSETTED]
    assert "instance" in str(resource) if "series" in kept else "instance" not in str(resource)


def test_the_whole_is_not_tagged(fhir: Any) -> None:
    """`_summary=false` is the stored document."""
    assert fhir("/ImagingStudy/1.2.1?_summary=false").content == fhir("/ImagingStudy/1.2.1").content


@pytest.mark.parametrize("path", ["/ImagingStudy/1.2.1", "/ImagingStudy/1.2.1/_history/1"])
def test_a_summary_of_one_resource(fhir: Any, path: str) -> None:
    """Current or earlier, with its own validators."""
    response = fhir(f"{path}?_summary=true")
    assert "instance" not in response.json()["series"][0]
    assert tags(response.json()) == [SUBSETTED]
    assert response.headers["ETag"] == f'W/"{response.json()["meta"]["versionId"]}"'


@pytest.mark.parametrize(
    "asked", ["_summary=count", "_summary=some", "_elements=colour", "_elements=series.uid"]
)
def test_forms_that_cannot_be_read(fhir: Any, asked: str) -> None:
    """A read refuses what a search would: 400, the parameter named."""
    response = fhir(f"/ImagingStudy/1.2.1?{asked}")
    assert response.status_code == 400
    assert response.json()["issue"][0]["expression"] == [f"http.{asked.partition('=')[0]}"]


def test_contained_endpoints_stay_with_their_references(fhir: Any, linked: None) -> None:
    """Nothing that is returned refers to what was cut away."""
    [found] = entries(fhir("/ImagingStudy?_id=1.2.4&_elements=endpoint").json())
    assert found["contained"][0]["id"] == "inside"
    assert fhirkit.validate(found) == []


# includes


@pytest.mark.parametrize(
    ("asked", "included"),
    [
        ("_include=ImagingStudy:endpoint", ["e1", "e2"]),
        ("_include=ImagingStudy:endpoint:Endpoint", ["e1", "e2"]),
        ("_include=ImagingStudy:endpoint:Patient", []),
        ("_include=ImagingStudy:patient", ["p1"]),
        ("_include=ImagingStudy:subject:Patient", ["p1"]),
        ("_include=ImagingStudy:referrer", []),
        ("_include=ImagingStudy:endpoint&_include=ImagingStudy:patient", ["e1", "e2", "p1"]),
        ("_include=*", ["e1", "e2", "p1"]),
        ("_include=ImagingStudy:*", ["e1", "e2", "p1"]),
    ],
)
def test_what_matches_refer_to(fhir: Any, linked: None, asked: str, included: list[str]) -> None:
    """References to resources that are here, each once; the total counts matches alone."""
    response = fhir(f"/ImagingStudy?_id=1.2.4&{asked}")
    bundle = response.json()
    assert fhirkit.validate(response.content) == []
    assert (ids(bundle), sorted(ids(bundle, "include")), bundle["total"]) == (["1.2.4"], included, 1)


def test_includes_are_whole_and_come_once(fhir: Any) -> None:
    """Two studies of one patient bring the patient once, also where the studies are shortened."""
    bundle = fhir("/ImagingStudy?patient=p1&_include=ImagingStudy:patient&_summary=true").json()
    assert len(ids(bundle)) == 2
    [patient] = entries(bundle, "include")
    assert tags(patient) == []


@pytest.mark.parametrize(
    ("search", "included"),
    [
        ("/Patient?_revinclude=ImagingStudy:patient", ["1.2.1", "1.2.3", "1.2.4"]),
        ("/Patient?_revinclude=ImagingStudy:subject:Patient", ["1.2.1", "1.2.3", "1.2.4"]),
        ("/Patient?_revinclude=ImagingStudy:*", ["1.2.1", "1.2.3", "1.2.4"]),
        ("/Endpoint?_id=e2&_revinclude=ImagingStudy:endpoint", ["1.2.4"]),
        ("/Endpoint?_id=e1,e2&_revinclude=ImagingStudy:endpoint", ["1.2.4"]),
    ],
)
def test_what_refers_to_matches(fhir: Any, linked: None, search: str, included: list[str]) -> None:
    """From Patient and Endpoint to their studies; deleted ones are not there."""
    assert sorted(ids(fhir(search).json(), "include")) == included


@pytest.mark.parametrize(
    "asked",
    [
        "_include=ImagingStudy:colour",
        "_include=Patient:link",
        "_revinclude=Observation:subject",
        "_sort=modality",
    ],
)
def test_results_that_are_not_offered(fhir: Any, asked: str) -> None:
    """Ignored and named, or refused under strict handling."""
    name = asked.partition("=")[0]
    [outcome] = entries(fhir(f"/ImagingStudy?{asked}").json(), "outcome")
    assert outcome["issue"][0]["expression"] == [f"http.{name}"]
    response = fhir(f"/ImagingStudy?{asked}", headers={"Prefer": "handling=strict"})
    assert (response.status_code, response.json()["issue"][0]["expression"]) == (400, [f"http.{name}"])


def test_too_much_to_include_is_said(fhir: Any, store: Any, study: Any, monkeypatch: Any) -> None:
    """What goes with a page is bounded, and an entry of mode outcome says that there is more."""
    monkeypatch.setattr("pacsbridge.store.search.MOST_INCLUDED", 2)
    for number in range(5):
        store.add(study(f"1.5.{number}"))
    bundle = fhir("/Patient?_revinclude=ImagingStudy:patient").json()
    assert len(ids(bundle, "include")) == 2
    [outcome] = entries(bundle, "outcome")
    assert outcome["issue"][0]["code"] == "incomplete"


# orders and pages


def test_pages_go_back_as_they_came(fhir: Any) -> None:
    """`previous` and `first` lead to the pages that were read before; the first has neither."""
    for order in ("", "&_sort=_id", "&_sort=-started", "&_sort=-_lastUpdated"):
        path, pages = f"/ImagingStudy?_count=1{order}", []
        while path:
            bundle = fhir(path).json()
            pages.append(ids(bundle))
            back, path = links(bundle), links(bundle).get("next", "")
        assert len(pages) == 3
        assert ids(fhir(back["first"]).json()) == pages[0]
        second = fhir(back["previous"]).json()
        assert ids(second) == pages[1]
        first = fhir(links(second)["previous"]).json()
        assert ids(first) == pages[0]
        assert "previous" not in links(first)
        assert ids(fhir(links(first)["next"]).json()) == pages[1]
        assert not {"first", "previous"} & set(links(fhir(f"/ImagingStudy?_count=1{order}").json()))


def test_orders_can_be_combined(fhir: Any, store: Any, study: Any) -> None:
    """Equal under the first, the next one decides, each in its own direction."""
    for number, started in enumerate(("2024-01-02", "2024-01-01", "2024-01-02"), 1):
        store.add(study(f"1.6.{number}", started=started))
    found = fhir("/ImagingStudy?started=2024&_sort=started,-_id&_count=2").json()
    assert ids(found) == ["1.6.2", "1.6.3"]
    assert ids(fhir(links(found)["next"]).json()) == ["1.6.1"]


def test_a_cursor_is_good_for_its_own_search(fhir: Any, store: Any, study: Any) -> None:
    """Under other conditions, in another order, on another type, or changed by a letter it is refused."""
    cursor = links(fhir("/ImagingStudy?_count=1").json())["next"].partition("_cursor=")[2]
    assert fhir(f"/ImagingStudy?_count=2&_cursor={cursor}").status_code == 200
    changed = cursor[:-1] + ("A" if cursor[-1] != "A" else "B")
    for search in (
        f"/ImagingStudy?_cursor={cursor}&status=available",
        f"/ImagingStudy?_cursor={cursor}&_sort=_id",
        f"/Patient?_cursor={cursor}",
        f"/ImagingStudy?_cursor={changed}",
        "/ImagingStudy?_cursor=",
        "/ImagingStudy?_cursor=%C3%A4",
    ):
        response = fhir(search)
        assert (response.status_code, response.json()["issue"][0]["expression"]) == (400, ["http._cursor"])


def test_a_search_that_takes_too_long(fhir: Any, failing: Any) -> None:
    """503, and it is told apart from a store that is away."""
    from pacsbridge.errors import TooCostly

    failing(TooCostly("ask for less"))
    response = fhir("/ImagingStudy")
    assert (response.status_code, response.json()["issue"][0]["code"]) == (503, "too-costly")


@pytest.mark.parametrize(
    ("name", "value"),
    [("service.HURRIED", Turn(Patience(-1.0), hurried=True)), ("interactions.HURRIED_COUNT", 0)],
)
def test_what_cannot_hurry_goes_to_a_thread(fhir: Any, monkeypatch: Any, name: str, value: Any) -> None:
    """A search that would keep the loop is begun again elsewhere, and answered all the same."""
    import threading

    threads: set[str] = set()
    found = type(fhir.store).search

    def search(*arguments: Any) -> Any:
        page = found(*arguments)
        threads.add(threading.current_thread().name)
        return page

    monkeypatch.setattr(type(fhir.store), "search", search)
    expected = fhir("/ImagingStudy?_sort=_id").json()
    here = set(threads)
    monkeypatch.setattr(f"pacsbridge.fhir.{name}", value)
    monkeypatch.setattr("pacsbridge.store.readers._STEPS", 1)
    strictly = {"Prefer": "handling=strict"}  # another question: what was answered before would do
    assert fhir("/ImagingStudy?_sort=_id", headers=strictly).json() == expected
    assert len(here) == 1
    assert len(threads - here) == 1
