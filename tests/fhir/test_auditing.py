"""The FHIR API and the audit log: what requests come to, and who may search what came of them."""

import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from r4_validation import assert_r4
from token_issuer import Issuer

from pacsbridge.access.auditing import Witness
from pacsbridge.access.gate import gate
from pacsbridge.kernel.audit import Event, Who
from pacsbridge.kernel.query import Query
from pacsbridge.store.audit import AuditLog
from pacsbridge.store.records import Page

AT = 1_700_000_000_000_000


@pytest.fixture
def events() -> list[Event]:
    """What has been told, in order."""
    return []


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AuditLog]:
    """A log with an event about each of two patients, and one about nobody."""
    made = AuditLog("sqlite", tmp_path)
    made.migrate()
    who = Who("10.0.0.5", client="viewer")
    for id_ in ("p1", "p2"):
        made.append([Event("read", who=who, resource="ImagingStudy/1", patient=f"Patient/{id_}")], AT)
    made.append([Event("search", who=who, query="AAAA")], AT)
    yield made
    made.close()


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """An authorization server on loopback."""
    running = Issuer()
    yield running
    running.close()


@pytest.fixture
def watched(serve: Callable[..., Any], log: AuditLog, events: list[Event]) -> Any:
    """A server that everybody may use."""
    return serve(audit=(Witness(events.append), log))


@pytest.fixture
def guarded(serve: Callable[..., Any], log: AuditLog, events: list[Event], issuer: Issuer) -> Iterator[Any]:
    """A server that asks for tokens."""
    guarding = gate(issuer.settings())
    yield serve(audit=(Witness(events.append), log), gate=guarding)
    guarding.close()


def test_interactions_are_told(watched: Any, events: list[Event]) -> None:
    """Each by its kind, with the resource, whose it is, the query as it was sent, and what came of it."""
    watched("/ImagingStudy/1.2.2", headers={"X-Request-Id": "r-1"})
    watched("/Patient/p1/_history/1")
    watched("/ImagingStudy?patient.name=%C3%BCnal&_count=1")
    watched("/ImagingStudy/_search", "POST", data={"modality": "CT"})
    watched("/ImagingStudy/1.2.1/_history")
    watched("/ImagingStudy/9.9")
    watched("/ImagingStudy?started=x")
    found = [(one.kind, one.outcome, one.resource, one.patient) for one in events]
    assert found == [
        ("read", "0", "ImagingStudy/1.2.2", "Patient/p2"),
        ("vread", "0", "Patient/p1", "Patient/p1"),
        ("search", "0", "", ""),
        ("search", "0", "", ""),
        ("history", "0", "ImagingStudy/1.2.1", "Patient/p1"),
        ("read", "4", "ImagingStudy/9.9", ""),
        ("search", "4", "", ""),
    ]
    assert (events[0].request_id, events[0].who) == ("r-1", Who("127.0.0.1"))
    assert b64decode(events[2].query) == b"ImagingStudy?patient.name=%C3%BCnal&_count=1"
    assert b64decode(events[3].query) == b"ImagingStudy?modality=CT"
    assert events[5].reason == "HTTP 404"


def test_what_shows_nobodys_data_is_not_told(watched: Any, events: list[Event]) -> None:
    """Descriptions, and paths that are nothing here."""
    for path in ("/metadata", "/openapi.json", "/nothing/here/at/all"):
        watched(path)
    assert events == []


def test_a_batch_is_told_entry_by_entry(watched: Any, events: list[Event]) -> None:
    """Each with its own outcome; one that cannot be taken as a whole is one event."""
    urls = ["ImagingStudy/1.2.1", "ImagingStudy?modality=CT", "metadata", "ImagingStudy/9.9", "x/y/z"]
    entries = [{"request": {"method": "GET", "url": url}} for url in urls]
    watched("", "POST", json={"resourceType": "Bundle", "type": "batch", "entry": entries})
    assert [(one.kind, one.outcome, one.patient) for one in events] == [
        ("read", "0", "Patient/p1"),
        ("search", "0", ""),
        ("read", "4", ""),
        ("batch", "4", ""),
    ]
    events.clear()
    watched("", "POST", json={"resourceType": "Patient"})
    assert [(one.kind, one.outcome) for one in events] == [("batch", "4")]


def test_callers_and_refusals(guarded: Any, events: list[Event], issuer: Issuer) -> None:
    """Who calls is known by its token, which is nowhere in the event; 401 and 403 are serious."""
    token = issuer.token("user/ImagingStudy.r", sub="dr.who", client_id="viewer")
    headers = {"Authorization": f"Bearer {token}"}
    guarded("/ImagingStudy/1.2.1", headers=headers)
    guarded("/ImagingStudy?modality=CT", headers=headers)
    guarded("/ImagingStudy/1.2.1")
    guarded("/nothing/here/at/all")
    assert [(one.kind, one.outcome, one.reason) for one in events] == [
        ("read", "0", ""),
        ("search", "8", "HTTP 403"),
        ("read", "8", "HTTP 401"),
        ("refused", "8", "HTTP 401"),
    ]
    assert events[0].who == Who("127.0.0.1", client="viewer", user="dr.who", issuer=issuer.url)
    assert events[2].who == Who("127.0.0.1")
    assert token not in json.dumps([one.as_dict() for one in events])


def test_a_search_within_one_patient_is_about_that_patient(
    guarded: Any, events: list[Event], issuer: Issuer
) -> None:
    """IHE BALP PatientQuery: the security context is limited to a patient."""
    guarded("/ImagingStudy?modality=CT", headers=issuer.bearer("patient/*.rs", patient="p1"))
    guarded("/ImagingStudy?modality=CT", headers=issuer.bearer("user/*.rs patient/*.rs", patient="p1"))
    assert [one.patient for one in events] == ["Patient/p1", ""]


def test_the_log_is_read_and_searched(watched: Any, events: list[Event]) -> None:
    """As other types are, legal R4; reading the log is on record too."""
    bundle = watched("/AuditEvent?patient=p1&_total=accurate").json()
    assert (bundle["total"], bundle["entry"][0]["resource"]["id"]) == (1, "1")
    assert_r4(bundle["entry"][0]["resource"])
    assert watched("/AuditEvent/2").json() == watched("/AuditEvent/2/_history/1").json()
    summary = watched("/AuditEvent/2?_summary=true").json()
    assert summary["meta"]["tag"][0]["code"] == "SUBSETTED"
    assert set(watched("/AuditEvent?_elements=outcome").json()["entry"][0]["resource"]) >= {"type", "agent"}
    assert watched("/AuditEvent/2", headers={"If-None-Match": 'W/"1"'}).status_code == 304
    assert watched("/AuditEvent/99").status_code == 404
    assert [one.kind for one in events] == ["log-search", *["log-read"] * 3, "log-search", *["log-read"] * 2]


def test_pages_of_the_log(watched: Any) -> None:
    """The links of a page lead through all of it."""
    found, url = [], "/AuditEvent?_count=1"
    while url:
        bundle = watched(url).json()
        found += [one["resource"]["id"] for one in bundle["entry"]]
        links = {one["relation"]: one["url"] for one in bundle["link"]}
        url = links.get("next", "").removeprefix("http://fhir.example/fhir")
    assert found == ["3", "2", "1"]


@pytest.mark.parametrize(
    "path",
    [
        "/AuditEvent/1/_history",
        "/AuditEvent/_history",
        "/AuditEvent?colour=red&_count=x",
        "/AuditEvent?date=x",
    ],
)
def test_what_the_log_does_not_offer(watched: Any, path: str) -> None:
    """What is never changed has no history; malformed searches are refused as elsewhere."""
    assert watched(path).status_code == 400


def test_the_log_is_never_written_by_clients(watched: Any) -> None:
    """No method but GET and HEAD."""
    for method in ("PUT", "DELETE", "PATCH"):
        assert watched("/AuditEvent/1", method).status_code == 405


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        ("system/AuditEvent.rs", 200),
        ("user/AuditEvent.read", 200),
        ("system/AuditEvent.r", 403),
        ("system/*.rs", 403),
        ("user/*.*", 403),
        ("user/ImagingStudy.rs", 403),
    ],
)
def test_a_scope_has_to_name_the_log(guarded: Any, issuer: Issuer, scope: str, status: int) -> None:
    """A star does not reach it."""
    assert guarded("/AuditEvent", headers=issuer.bearer(scope)).status_code == status


def test_a_patient_sees_nobody_else(guarded: Any, issuer: Issuer) -> None:
    """Of the log a token that ends with a patient has what is about that patient, however it is asked for."""
    own = issuer.bearer("patient/AuditEvent.rs patient/*.rs", patient="p1")
    for query in ("", "?_total=accurate", "?_id=1,2,3", "?patient:missing=true", "?action=R", "?_sort=date"):
        answer = guarded(f"/AuditEvent{query}", headers=own)
        assert answer.status_code == 200
        assert {one["resource"]["id"] for one in answer.json().get("entry", ())} <= {"1"}, query
        assert "p2" not in answer.text
    assert guarded("/AuditEvent?patient=p2", headers=own).status_code == 403
    reads = {id_: guarded(f"/AuditEvent/{id_}", headers=own).status_code for id_ in ("1", "2", "3", "9")}
    assert reads == {"1": 200, "2": 403, "3": 403, "9": 404}
    assert guarded("/AuditEvent/2/_history/1", headers=own).status_code == 403


def test_descriptions_of_the_log(watched: Any, fhir: Any) -> None:
    """It is described where there is one: without history; nowhere else is it offered."""
    described = {one["type"]: one for one in watched("/metadata").json()["rest"][0]["resource"]}
    log = described["AuditEvent"]
    assert {one["code"] for one in log["interaction"]} == {"read", "vread", "search-type"}
    assert {"date", "agent", "patient", "outcome"} <= {one["name"] for one in log["searchParam"]}
    paths = watched("/openapi.json").json()["paths"]
    assert "/AuditEvent" in paths and "/AuditEvent/_history" not in paths
    assert "AuditEvent" not in fhir("/metadata").text
    assert "AuditEvent" not in fhir("/openapi.json").text
    assert fhir("/AuditEvent").status_code == 404
    assert fhir("/AuditEvent/1").status_code == 404


def test_answers_are_kept_all_the_same(watched: Any, log: AuditLog, store: Any) -> None:
    """Recording events makes nothing look old: what was asked before is not asked of the store again."""
    asked: list[Query] = []
    search = store.search

    def counted(query: Query, seconds: float) -> Page:
        asked.append(query)
        found: Page = search(query, seconds)
        return found

    store.search = counted
    for _ in range(3):
        watched("/ImagingStudy?modality=CT")
        log.append([Event("read")], AT)
    assert len(asked) == 1
    first = watched("/AuditEvent?_total=accurate&_count=0").json()["total"]
    log.append([Event("read")], AT)
    assert watched("/AuditEvent?_total=accurate&_count=0").json()["total"] == first + 1
