"""Ways to go about a search: whichever is taken, the answer is the same."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from pacsbridge.kernel.model import Facts
from pacsbridge.kernel.query import Query
from pacsbridge.kernel.query_parsing import SearchSettings, parse
from pacsbridge.store import planning
from pacsbridge.store.planning import Counts, Plan, Planner
from pacsbridge.store.records import Arrival, Draft, Page
from pacsbridge.store.store import Store

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND
SETTINGS = SearchSettings("http://fhir.example/fhir")

WAYS = {"rare": (planning.FEW, planning.VALUES), "common": (1, planning.VALUES), "many values": (1, 0)}
"""How many resources are few, and how many values of a parameter are not too many."""


def to(name: str) -> dict[str, str]:
    """A reference."""
    return {"reference": name}


def study(number: int, subject: str, codes: str, **content: Any) -> Draft:
    """A study with a series of each modality."""
    series = [
        {
            "uid": f"1.{number}",
            "modality": {"system": "urn:dcm", "code": code},
            "bodySite": {"system": "urn:ct", "code": "1", "display": "Chest wall"},
            "instance": [{"uid": f"1.{number}.1", "sopClass": {"system": "urn:oids", "code": "urn:oid:1.2"}}],
        }
        for code in codes.split()
    ]
    body = {"resourceType": "ImagingStudy", "id": f"s{number}", "status": "available", "subject": to(subject)}
    return Draft("ImagingStudy", f"s{number}", {**body, **({"series": series} if series else {}), **content})


def identifiers(*names: tuple[str, str]) -> dict[str, Any]:
    """Identifiers by system and value, of a type."""
    type_ = {"coding": [{"system": "urn:types", "code": "ACSN"}]}
    found = [{"value": value, "type": type_, **({"system": s} if s else {})} for s, value in names]
    return {"identifier": found}


def patient(number: int, **content: Any) -> Draft:
    """A Patient."""
    return Draft("Patient", f"p{number}", {"resourceType": "Patient", "id": f"p{number}", **content})


PEOPLE = [
    patient(1, name=[{"family": "Smith", "given": ["Ann"]}], gender="male", birthDate="1970-01-02"),
    patient(2, name=[{"family": "Smithers"}, {"text": "Bo Blacksmith"}], gender="female", birthDate="1980"),
    patient(3, **identifiers(("urn:ids", "1"))),
    patient(4, name=[{"family": "Smith"}], gender="male"),
]

PLACES = [
    Draft("Endpoint", id_, {"resourceType": "Endpoint", "id": id_, "status": status, "name": name})
    for id_, status, name in (("e1", "active", "Main"), ("e2", "off", "Other"))
]

STUDIES = [
    study(1, "Patient/p1", "CT", started="2024-02-01T10:00:00Z", **identifiers(("urn:ids", "A1"))),
    study(2, "Patient/p1", "MR", started="2024-02-29", **identifiers(("urn:ids", "A1"), ("", "A1"))),
    study(3, "Patient/p2", "CT MR", started="2024", status="cancelled", endpoint=[to("Endpoint/e1")]),
    study(4, "Patient/p3", "", **identifiers(("urn:other", "A1"), ("urn:ids", "A2"))),
    study(5, "Patient/p4", "US", started="2023-06-01T00:00:00+02:00", endpoint=[to("Endpoint/e2")]),
    study(6, "http://other.example/Patient/p1", "CT CT", started="2024-03-01T00:30:00+01:00"),
    study(7, "Patient/p1", "CT", started="2024-02-01T10:00:00Z", **identifiers(("urn:ids", "A1"))),
    study(8, "Patient/p2", "MR US", started="2024-02-29T23:30:00-05:00", endpoint=[to("Endpoint/e1")]),
]

SEARCHES: dict[str, str] = {
    "": "s8 s6 s5 s4 s3 s2 s1",
    "_id=s1,s7,s8": "s8 s1",
    "_id:not=s1,s8": "s6 s5 s4 s3 s2",
    "_lastUpdated=gt2020": "s8 s6 s5 s4 s3 s2 s1",
    "_lastUpdated=lt2020": "",
    "identifier=A1": "s4 s2 s1",
    "identifier=urn:ids|A1": "s2 s1",
    "identifier=|A1": "s2",
    "identifier=urn:ids|": "s4 s2 s1",
    "identifier=A1,A2": "s4 s2 s1",
    "identifier:of-type=urn:types|ACSN|A2": "s4",
    "identifier:missing=true": "s8 s6 s5 s3",
    "identifier:missing=false": "s4 s2 s1",
    "patient=p1": "s2 s1",
    "patient=Patient/p1,Patient/p2": "s8 s3 s2 s1",
    "subject=http://other.example/Patient/p1": "s6",
    "patient=p9": "",
    "modality=CT": "s6 s3 s1",
    "modality=urn:dcm|CT,MR": "s8 s6 s3 s2 s1",
    "modality=urn:dcm|": "s8 s6 s5 s3 s2 s1",
    "modality:not=CT": "s8 s5 s4 s2",
    "modality:not=CT,US": "s4 s2",
    "modality:not=urn:dcm|CT": "s8 s5 s4 s2",
    "modality:not=CT,MR,US": "s4",
    "modality:missing=true": "s4",
    "modality:missing=false": "s8 s6 s5 s3 s2 s1",
    "status:not=cancelled": "s8 s6 s5 s4 s2 s1",
    "bodysite:text=chest": "s8 s6 s5 s3 s2 s1",
    "instance=1.1.1,1.7.1": "s1",
    "instance:not=1.1.1": "s8 s6 s5 s4 s3 s2",
    "instance:missing=false": "s8 s6 s5 s3 s2 s1",
    "series=1.3,1.4": "s3",
    "dicom-class=1.2": "s8 s6 s5 s3 s2 s1",
    "endpoint=e1": "s8 s3",
    "started=2024-02-29": "s8 s2",
    "started=2024-02": "s8 s2 s1",
    "started=ge2024-02-29T00:00:00Z": "s8 s6 s3 s2",
    "started=lt2024-02-29": "s5 s3 s1",
    "started=ge2024-02-01&started=lt2024-03-01": "s8 s3 s2 s1",
    "started=ne2024-02": "s6 s5 s3",
    "started=sa2024-02": "s6",
    "started=eb2024-02": "s5",
    "started=2023,2024-03-01": "s6 s5",
    "started:missing=true": "s4",
    "started:missing=false": "s8 s6 s5 s3 s2 s1",
    "patient.name=smith": "s8 s3 s2 s1",
    "patient.name:exact=Smith": "s2 s1",
    "patient.name:contains=cksm": "s8 s3",
    "patient.gender:not=male": "s8 s4 s3",
    "patient.gender:missing=true": "s4",
    "patient.birthdate=1980": "s8 s3",
    "patient.birthdate:missing=false": "s8 s3 s2 s1",
    "patient.identifier=1": "s4",
    "patient._id=p1,p4": "s2 s1",
    "endpoint.status=active": "s8 s3",
    "endpoint.name=other": "s5",
    "modality=CT&status=available": "s6 s1",
    "modality=CT&modality=MR": "s3",
    "modality=MR&patient=p2&started=ge2024-02": "s8 s3",
    "modality:not=CT&status:not=cancelled": "s8 s5 s4 s2",
    "patient.name=smith&modality=CT&identifier:missing=true": "s3",
    "started=gt2024-02-01&modality:not=US": "s6 s3 s2",
    "endpoint=e1&_id:not=s3": "s8",
}
"""Search → the studies that it finds, as they came, the newest first."""

ORDERS: dict[str, str] = {
    "_sort=started": "s4 s5 s3 s1 s2 s6 s8",
    "_sort=-started": "s8 s6 s2 s1 s3 s5 s4",
    "_sort=_id": "s1 s2 s3 s4 s5 s6 s8",
    "_sort=-_id": "s8 s6 s5 s4 s3 s2 s1",
    "_sort=_lastUpdated": "s1 s2 s3 s4 s5 s6 s8",
    "_sort=-_lastUpdated": "s8 s6 s5 s4 s3 s2 s1",
}
"""Order → all studies in it."""


@pytest.fixture
def filled(store: Store) -> Store:
    """A store with studies and what they name; one study and one Patient have been deleted."""
    arrivals = []
    for number in range(1, 9):
        uids = {"series_uid": f"1.{number}", "uid": f"1.{number}.1"}
        facts = Facts(
            {"key": "k"},
            {"uid": f"0.{number}"},
            {"uid": uids["series_uid"]},
            {"uid": uids["uid"], "sop_class": "1.2"},
        )
        arrivals.append(Arrival(facts, "urn:x", NOW, "1.2", "0:0", 1, sha256(b"").digest()))
    store.put(arrivals, {}, NOW)
    store.hasten(NOW)
    rows = {due.uid: due.pk for due in store.due(NOW + SECOND)}
    store.publish([*PEOPLE, *PLACES], NOW)
    for number, one in enumerate(STUDIES, 1):
        store.publish([replace(one, study=rows[f"0.{number}"])], NOW + number * SECOND)
    gone = [Draft("ImagingStudy", "s7", None, rows["0.7"]), Draft("Patient", "p4", None)]
    store.publish(gone, NOW + 60 * SECOND)
    return store


def asked(text: str, **options: Any) -> Query:
    """A search of studies."""
    parts = [part.split("=", 1) for part in text.split("&") if part]
    return replace(
        parse("ImagingStudy", [(name, value) for name, value in parts], SETTINGS, strict=True), **options
    )


def ids(page: Page) -> list[str]:
    """The ids of a page."""
    return [entry.id for entry in page.entries]


def go(store: Store, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Go about searches in one of the ways from here on."""
    few, values = WAYS[way]
    monkeypatch.setattr(planning, "FEW", few)
    monkeypatch.setattr(planning, "VALUES", values)
    monkeypatch.setattr(store, "_counts", Counts())


@pytest.mark.parametrize("way", WAYS)
def test_every_way_finds_the_same(filled: Store, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """The resources that match, each once, and their number, in any order."""
    go(filled, monkeypatch, way)
    for text, listed in SEARCHES.items():
        expected = listed.split()
        query = asked(text)
        assert sorted(ids(filled.search(query)), reverse=True) == expected, text
        assert filled.search(replace(query, count=0)).total == len(expected), text
        for order, everything in ORDERS.items():
            page = filled.search(asked(f"{text}&{order}", counted=True))
            assert ids(page) == [one for one in everything.split() if one in expected], (text, order)
            assert page.total == len(expected), (text, order)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_kept_of_a_search_hides_nothing(
    filled: Store, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Asked again, it finds what has come since, though that has a value that nothing had before."""
    go(filled, monkeypatch, way)
    texts = [f"{text}&{order}" for text in SEARCHES for order in ("", *ORDERS)]
    for text in texts:
        filled.search(asked(text))
    newer = study(9, "Patient/p2", "NM", started="2024-02-29", status="registered")
    filled.publish([newer, replace(STUDIES[0], study=None)], NOW + 70 * SECOND)
    again = [ids(filled.search(asked(text))) for text in texts]
    monkeypatch.setattr(filled, "_counts", Counts())
    for text, found in zip(texts, again, strict=True):
        assert found == ids(filled.search(asked(text))), text


@pytest.mark.parametrize("way", WAYS)
def test_pages_of_every_way_join_to_the_same(
    filled: Store, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Pages of two go through what matches, and back."""
    go(filled, monkeypatch, way)
    for text in SEARCHES:
        query = asked(text, count=2)
        whole = ids(filled.search(replace(query, count=100)))
        page = filled.search(query)
        seen = [ids(page)]
        while page.next is not None:
            page = filled.search(replace(query, after=page.next))
            seen.append(ids(page))
        assert [one for found in seen for one in found] == whole, text
        while page.previous is not None:
            page = filled.search(replace(query, after=page.previous))
            seen.pop()
            assert ids(page) == seen[-1], text
        assert len(seen) == 1, text


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("other", WAYS)
def test_pages_go_on_though_the_way_changes(
    filled: Store, monkeypatch: pytest.MonkeyPatch, way: str, other: str
) -> None:
    """What was rare on the first page may be common on the next: the order of the first page stays."""
    for text in SEARCHES:
        for order in ("", "&_sort=-started"):
            query = asked(text + order, count=2)
            go(filled, monkeypatch, way)
            whole = ids(filled.search(replace(query, count=100)))
            page = filled.search(query)
            seen = ids(page)
            go(filled, monkeypatch, other)
            while page.next is not None:
                page = filled.search(replace(query, after=page.next))
                seen += ids(page)
            assert seen == whole, (text, order)


def planned(store: Store, text: str, counts: Counts | None = None) -> Plan:
    """How a search is gone about."""
    with store._database.asking() as ask:
        return Planner(ask, counts or Counts()).plan(asked(text))


@pytest.mark.parametrize(
    ("text", "rare", "common"),
    [
        ("modality=CT&patient=p1", ("pk", "DISTINCT"), ("pk", "search_token t")),
        ("modality:not=CT&status:not=cancelled", ("pk", ""), ("pk", "search_token t")),
        ("started=gt2023&modality=CT", ("pk", "DISTINCT"), ("local_low", "")),
        ("started=gt2023-01-01T00:00:00Z&modality=CT", ("pk", "DISTINCT"), ("low", "")),
        ("_lastUpdated=gt2022&modality=CT", ("pk", "DISTINCT"), ("updated", "")),
        ("modality=CT&_sort=-started", ("low", "DISTINCT"), ("low", "")),
        ("modality=CT&_sort=_id", ("id", "DISTINCT"), ("id", "")),
        ("_sort=_id", ("id", ""), ("id", "")),
        ("modality=CT", ("pk", "search_token t"), ("pk", "search_token t")),
    ],
)
def test_few_are_listed_and_many_walked_along(
    filled: Store,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    rare: tuple[str, str],
    common: tuple[str, str],
) -> None:
    """Where a clause lists few, from that; else along an index in the order of the result."""
    for way, (field, tables) in (("rare", rare), ("common", common)):
        go(filled, monkeypatch, way)
        plan = planned(filled, text)
        assert plan.order[0][0] == field
        found = [one.tables.text for one in plan.sources]
        assert all(tables in one and bool(tables) == bool(one) for one in found), (way, found)


def test_the_rarest_clause_leads(filled: Store) -> None:
    """It is not probed again; the others are."""
    plan = planned(filled, "modality=CT&patient.identifier=1&status=available")
    assert [clause.param for clause in plan.clauses] == ["modality", "status"]


def test_no_more_is_counted_than_matters(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is few needs no exact number, and one that is known no counting."""
    monkeypatch.setattr(planning, "FEW", 2)
    counted: list[int] = []
    asking = Planner._count
    monkeypatch.setattr(
        Planner, "_count", lambda planner, rows: counted.append(asking(planner, rows)) or counted[-1]
    )
    counts = Counts()
    for _time in range(3):
        planned(filled, "modality=CT&patient.identifier=1", counts)
    assert counted == [2, 1]


def test_counts_are_kept_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then they are counted again; what they take is bounded."""
    now = [0.0]
    counts = Counts(lambda: now[0])
    numbers = iter(range(10))
    for moment, expected in ((0, 0), (30, 0), (60, 0), (61, 1), (100, 1)):
        now[0] = moment
        assert counts.of("a", 1, lambda: next(numbers)) == expected
    monkeypatch.setattr(planning, "_COUNT_BYTES", 10_000)
    counts = Counts(lambda: 0)
    for key in range(10):
        assert counts.of(key, 2_500, lambda key=key: key) == key
    assert [key for key in range(10) if counts.get(key) is not None] == [8, 9]
