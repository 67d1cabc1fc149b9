"""Resources that go with a page: those that matches name, and those that name a match."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from pacsbridge.kernel.query import Form, Query
from pacsbridge.kernel.query_parsing import SearchSettings, parse
from pacsbridge.store import search
from pacsbridge.store.records import Draft, Page
from pacsbridge.store.store import Store

NOW = 1_700_000_000_000_000
SETTINGS = SearchSettings("http://fhir.example/fhir")


def to(*names: str) -> list[dict[str, str]]:
    """References."""
    return [{"reference": name} for name in names]


def draft(type_: str, id_: str, **content: Any) -> Draft:
    """A resource."""
    return Draft(type_, id_, {"resourceType": type_, "id": id_, **content})


def study(number: int, patient: str, *endpoints: str, **content: Any) -> Draft:
    """A study of a Patient; its series has an Endpoint of its own."""
    series = [{"uid": "1", "endpoint": to("Endpoint/e9"), "instance": [{"uid": "2"}]}]
    return draft(
        "ImagingStudy",
        f"s{number}",
        subject=to(patient)[0],
        endpoint=to(*endpoints),
        series=series,
        **content,
    )


@pytest.fixture
def filled(store: Store) -> Store:
    """A store with studies that name Patients, Endpoints and what is not there."""
    people = [draft("Patient", f"p{number}") for number in range(1, 5)]
    places = [draft("Endpoint", name) for name in ("e1", "e2", "e9")]
    studies = [
        study(1, "Patient/p1", "Endpoint/e1", status="available"),
        study(2, "Patient/p1", "Endpoint/e1", "Endpoint/e2"),
        study(3, "Patient/p2", "Endpoint/lost", encounter=to("Encounter/p1")[0]),
        study(4, "http://other.example/fhir/Patient/p1", "#e1"),
        study(5, "Group/p3", basedOn=to("ServiceRequest/p1")),
        study(6, "Patient/p4"),
    ]
    store.publish([*people, *places, *studies], NOW)
    store.publish([Draft("Patient", "p4", None)], NOW)
    return store


def asked(type_: str, *pairs: tuple[str, str]) -> Query:
    """A search."""
    return parse(type_, pairs, SETTINGS, strict=True)


def included(page: Page) -> set[str]:
    """The resources that go with a page, each once."""
    found = [entry.id for entry in page.included]
    assert len(set(found)) == len(found)
    return set(found)


@pytest.mark.parametrize(
    ("ids", "links", "found"),
    [
        ("s1", ["ImagingStudy:patient"], "p1"),
        ("s1,s2,s3", ["ImagingStudy:patient"], "p1 p2"),
        ("s1,s2,s3", ["ImagingStudy:subject:Patient"], "p1 p2"),
        ("s1", ["ImagingStudy:endpoint"], "e1 e9"),
        ("s2,s3", ["ImagingStudy:endpoint"], "e1 e2 e9"),
        ("s2", ["ImagingStudy:endpoint", "ImagingStudy:patient"], "e1 e2 e9 p1"),
        ("s2", ["*"], "e1 e2 e9 p1"),
        ("s2", ["ImagingStudy:*"], "e1 e2 e9 p1"),
        ("s2", ["ImagingStudy:*:Endpoint"], "e1 e2 e9"),
        ("s4,s5,s6", ["*"], "e9"),
        ("s4", ["ImagingStudy:subject"], ""),
        ("s3", ["ImagingStudy:encounter"], ""),
        ("s0", ["*"], ""),
    ],
)
def test_includes(filled: Store, ids: str, links: Sequence[str], found: str) -> None:
    """What matches name, once; what is elsewhere, of another type, deleted or lost does not come."""
    query = asked("ImagingStudy", ("_id", ids), *(("_include", link) for link in links))
    page = filled.search(query)
    assert included(page) == set(found.split())
    assert {entry.id for entry in page.entries} == set(ids.split(",")) - {"s0"}
    assert not page.cut


@pytest.mark.parametrize(
    ("type_", "ids", "links", "found"),
    [
        ("Patient", "p1", ["ImagingStudy:patient"], "s1 s2"),
        ("Patient", "p1,p2", ["ImagingStudy:subject"], "s1 s2 s3"),
        ("Patient", "p3", ["ImagingStudy:subject"], ""),
        ("Patient", "p1", ["ImagingStudy:*"], "s1 s2"),
        ("Patient", "p4", ["ImagingStudy:patient"], ""),
        ("Endpoint", "e1", ["ImagingStudy:endpoint"], "s1 s2"),
        ("Endpoint", "e9", ["ImagingStudy:endpoint"], "s1 s2 s3 s4 s5 s6"),
        ("Endpoint", "e1,e2,e9", ["ImagingStudy:endpoint"], "s1 s2 s3 s4 s5 s6"),
    ],
)
def test_revincludes(filled: Store, type_: str, ids: str, links: Sequence[str], found: str) -> None:
    """What names a match, once; what names another of the same id, or one that is deleted, does not come."""
    query = asked(type_, ("_id", ids), *(("_revinclude", link) for link in links))
    assert included(filled.search(query)) == set(found.split())


def test_includes_are_of_the_page(filled: Store) -> None:
    """Each page brings what its own matches name."""
    query = asked("ImagingStudy", ("_include", "ImagingStudy:patient"), ("_sort", "_id"), ("_count", "2"))
    page = filled.search(query)
    assert included(page) == {"p1"}
    assert page.next is not None
    assert included(filled.search(replace(query, after=page.next))) == {"p2"}


def test_includes_follow_what_is_published(filled: Store) -> None:
    """A study that names another Patient now; a study that is deleted; a Patient that comes back."""
    by_study = asked("ImagingStudy", ("_id", "s1,s6"), ("_include", "ImagingStudy:patient"))
    by_patient = asked("Patient", ("_id", "p1,p2"), ("_revinclude", "ImagingStudy:patient"))
    filled.publish([study(1, "Patient/p2"), Draft("ImagingStudy", "s2", None), draft("Patient", "p4")], NOW)
    assert included(filled.search(by_study)) == {"p2", "p4"}
    assert included(filled.search(by_patient)) == {"s1", "s3"}


def test_included_resources_are_whole(filled: Store) -> None:
    """Also beside matches in summary; with only a count none come."""
    pairs = (("_id", "p1"), ("_revinclude", "ImagingStudy:patient"))
    page = filled.search(asked("Patient", *pairs, ("_summary", "true")))
    assert all(b'"instance"' in entry.body for entry in page.included)
    assert included(filled.search(replace(asked("Patient", *pairs), form=Form.COUNT))) == set()


def test_a_match_is_not_included(filled: Store) -> None:
    """What is a match already does not come twice."""
    query = asked("ImagingStudy", ("_id", "s1"), ("_include", "ImagingStudy:patient"))
    link = replace(query, type="Patient", clauses=(), include=query.include, revinclude=())
    assert included(filled.search(link)) == set()


@pytest.mark.parametrize(("most", "cut"), [(1, True), (2, True), (5, True), (6, False), (7, False)])
def test_there_is_a_limit(filled: Store, monkeypatch: pytest.MonkeyPatch, most: int, cut: bool) -> None:
    """As many as a page may have, and that there were more; what names a match, the newest first."""
    monkeypatch.setattr(search, "MOST_INCLUDED", most)
    page = filled.search(asked("Endpoint", ("_id", "e1,e9"), ("_revinclude", "ImagingStudy:endpoint")))
    expected = [f"s{number}" for number in range(6, 0, -1)]
    assert ([entry.id for entry in page.included], page.cut) == (expected[:most], cut)
    page = filled.search(asked("ImagingStudy", ("_include", "*"), ("_include", "ImagingStudy:patient")))
    assert (len(page.included), page.cut) == (min(most, 5), most < 5)
