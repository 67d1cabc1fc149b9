"""Who may have what of the FHIR API: scopes held against interactions, and one patient's compartment."""

import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from token_issuer import Issuer

from pacsbridge.access.gate import gate

ENDPOINT = [{"reference": "Endpoint/e1"}]
P1, P2 = ({"reference": f"Patient/{id_}"} for id_ in ("p1", "p2"))
FOREIGN = ("Patient/p2", '"p2"', '"1.2.2"', '"1.2.5"', '"1.2.8"', "Zweitname")
"""What would give the other patient away."""


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """An authorization server on loopback."""
    running = Issuer()
    yield running
    running.close()


@pytest.fixture
def guarded(store: Any, study: Any, serve: Callable[..., Any], issuer: Issuer) -> Iterator[Any]:
    """A server that asks for tokens; 1.2.4 was p2's before it was p1's, 1.2.5 the other way."""
    store.add({"resourceType": "Patient", "id": "p2", "name": [{"family": "Zweitname"}]})
    store.add(study("1.2.2", subject=P2, endpoint=ENDPOINT))
    store.add(study("1.2.1", endpoint=ENDPOINT))
    for uid, before, after in (("1.2.4", P2, P1), ("1.2.5", P1, P2)):
        store.add(study(uid, subject=before))
        store.add(study(uid, subject=after))
    store.add(study("1.2.8", subject=P2))
    store.add(None, "ImagingStudy", "1.2.8")
    guarding = gate(issuer.settings())
    yield serve(gate=guarding)
    guarding.close()


def ask(server: Any, issuer: Issuer, path: str, scope: str, **more: Any) -> requests.Response:
    """A request with a good token of patient p1."""
    method = more.pop("method", "GET")
    found: requests.Response = server(path, method, headers=issuer.bearer(scope, patient="p1"), **more)
    return found


READS = ("/ImagingStudy/1.2.1", "/ImagingStudy/1.2.1/_history/1", "/ImagingStudy/1.2.1/_history")
SEARCHES = ("/ImagingStudy?modality=CT", "/ImagingStudy/_history")

MATRIX: dict[str, tuple[bool, bool, bool, bool]] = {
    "": (False, False, False, False),
    "openid fhirUser": (False, False, False, False),
    "system/*.read": (True, True, True, True),
    "user/*.*": (True, True, True, True),
    "user/*.rs": (True, True, True, True),
    "patient/*.read": (True, True, True, True),
    "user/ImagingStudy.r": (True, False, False, False),
    "user/ImagingStudy.s": (False, True, False, False),
    "system/ImagingStudy.rs": (True, True, False, False),
    "patient/ImagingStudy.rs": (True, True, False, False),
    "patient/ImagingStudy.rs patient/Patient.rs": (True, True, True, False),
    "user/ImagingStudy.rs user/Patient.r": (True, True, False, False),
    "user/*.write": (False, False, False, False),
    "user/ImagingStudy.cud": (False, False, False, False),
    "user/ImagingStudy.rs?modality=CT": (False, False, False, False),
    "system/Patient.rs system/Endpoint.rs": (False, False, False, False),
}
"""Scopes → whether they allow reads, searches, a search chained to Patient, the history of everything."""


@pytest.mark.parametrize("scope", MATRIX)
def test_scopes_and_interactions(guarded: Any, issuer: Issuer, scope: str) -> None:
    """What is allowed is answered; all else is 403 with the scope that would do."""
    reads, searches, chains, everything = MATRIX[scope]
    expected = (
        *((path, reads) for path in READS),
        *((path, searches) for path in SEARCHES),
        ("/ImagingStudy?patient.name=x", chains),
        ("/_history", everything),
    )
    for path, allowed in expected:
        answer = ask(guarded, issuer, path, scope)
        assert answer.status_code == (200 if allowed else 403), path
        if not allowed:
            assert answer.json()["issue"][0]["code"] == "forbidden"
            assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    ("headers", "status", "error"),
    [
        ({}, 401, None),
        ({"Authorization": "Basic YTpi"}, 401, None),
        ({"Authorization": "Bearer"}, 401, "invalid_token"),
        ({"Authorization": "Bearer a.b.c"}, 401, "invalid_token"),
    ],
)
def test_without_a_good_token(guarded: Any, headers: dict[str, str], status: int, error: str | None) -> None:
    """401 for every path that is not public, with an OperationOutcome and a challenge."""
    for path, method in (
        ("/ImagingStudy", "GET"),
        ("/ImagingStudy/1.2.1", "HEAD"),
        ("", "POST"),
        ("/x", "GET"),
    ):
        answer = guarded(path, method, headers=headers)
        assert answer.status_code == status
        challenge = answer.headers["WWW-Authenticate"]
        assert challenge.startswith('Bearer realm="pacsbridge"')
        assert ("error=" in challenge) is (error is not None) and (error or "") in challenge
        if method != "HEAD":
            assert answer.json()["issue"][0]["code"] == "login"


def test_a_token_in_the_url_is_none(guarded: Any, issuer: Issuer) -> None:
    """URLs are written into logs: a token there is not looked at."""
    token = issuer.token("system/*.*")
    assert guarded(f"/ImagingStudy?access_token={token}").status_code == 401
    assert guarded("/ImagingStudy/_search", "POST", data={"access_token": token}).status_code == 401


def test_two_tokens_are_none(guarded: Any, issuer: Issuer) -> None:
    """Nobody can say which of them counts."""
    raw = (
        f"GET /fhir/ImagingStudy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: Bearer {issuer.token('')}\r\n"
        f"Authorization: Bearer {issuer.token('system/*.*')}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", guarded.port), timeout=10) as client:
        client.sendall(raw.encode())
        assert client.recv(100).startswith(b"HTTP/1.1 400")


PUBLIC = ("/metadata", "/openapi.json", "/.well-known/smart-configuration")


@pytest.mark.parametrize("path", PUBLIC)
def test_what_is_public(guarded: Any, path: str) -> None:
    """Whoever wants a token can learn where to get one."""
    assert guarded(path).status_code == 200


ALL = "patient/*.read"

ESCAPES: dict[str, tuple[str, int]] = {
    "read": ("/ImagingStudy/1.2.2", 403),
    "read of what was mine": ("/ImagingStudy/1.2.5", 403),
    "vread of what was mine": ("/ImagingStudy/1.2.5/_history/1", 403),
    "vread of what was another's": ("/ImagingStudy/1.2.4/_history/1", 403),
    "vread": ("/ImagingStudy/1.2.2/_history/1", 403),
    "history": ("/ImagingStudy/1.2.2/_history", 403),
    "deleted": ("/ImagingStudy/1.2.8", 403),
    "history of a deletion": ("/ImagingStudy/1.2.8/_history", 403),
    "patient": ("/Patient/p2", 403),
    "patient's history": ("/Patient/p2/_history", 403),
    "unknown patient": ("/Patient/nobody", 403),
    "by patient": ("/ImagingStudy?patient=p2", 403),
    "by subject": ("/ImagingStudy?subject=Patient/p2", 403),
    "by patient's URL": ("/ImagingStudy?patient=http://fhir.example/fhir/Patient/p2", 403),
    "among several": ("/ImagingStudy?patient=p1,p2", 403),
    "by id": ("/Patient?_id=p2", 403),
    "by chained id": ("/ImagingStudy?patient._id=p2", 403),
    "revinclude by endpoint": ("/Endpoint?_revinclude=ImagingStudy:endpoint", 403),
    "absent": ("/ImagingStudy/9.9", 404),
    "own deletion": ("/ImagingStudy/1.2.9", 410),
}


@pytest.mark.parametrize("case", ESCAPES)
@pytest.mark.parametrize("conditional", [False, True])
def test_another_patient_is_refused(guarded: Any, issuer: Issuer, case: str, conditional: bool) -> None:
    """403, not an empty answer, whole or conditional, GET or HEAD; nothing of it is said."""
    path, status = ESCAPES[case]
    headers = issuer.bearer(ALL, patient="p1") | ({"If-None-Match": "*"} if conditional else {})
    for method in ("GET", "HEAD"):
        answer = guarded(path, method, headers=headers)
        assert answer.status_code == status
        assert not any(name in answer.text for name in FOREIGN)


FINDS: dict[str, tuple[str, set[str]]] = {
    "all": ("/ImagingStudy", {"ImagingStudy/1.2.1", "ImagingStudy/1.2.3", "ImagingStudy/1.2.4"}),
    "own patient": ("/ImagingStudy?patient=p1&modality=MR", {"ImagingStudy/1.2.3"}),
    "by another's identifier": ("/ImagingStudy?identifier=urn:oid:1.2.2", set()),
    "by another's name": ("/ImagingStudy?patient.name=zweitname", set()),
    "patients": ("/Patient", {"Patient/p1"}),
    "patients by name": ("/Patient?name=zweitname", set()),
    "include": ("/ImagingStudy?_id=1.2.1&_include=*", {"ImagingStudy/1.2.1", "Patient/p1", "Endpoint/e1"}),
    "revinclude": (
        "/Patient?_revinclude=ImagingStudy:patient",
        {"Patient/p1", "ImagingStudy/1.2.1", "ImagingStudy/1.2.3", "ImagingStudy/1.2.4"},
    ),
    "endpoints": ("/Endpoint", {"Endpoint/e1"}),
}


@pytest.mark.parametrize("case", FINDS)
def test_searches_are_confined(guarded: Any, issuer: Issuer, case: str) -> None:
    """The result and its total are those of the patient."""
    path, expected = FINDS[case]
    bundle = ask(guarded, issuer, path + ("&" if "?" in path else "?") + "_total=accurate", ALL).json()
    entries = bundle.get("entry", [])
    assert {f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in entries} == expected
    assert bundle["total"] == sum(e["search"]["mode"] == "match" for e in entries)


def test_includes_need_their_own_scope(guarded: Any, issuer: Issuer) -> None:
    """What no scope covers is left out."""
    found = ask(
        guarded, issuer, "/ImagingStudy?_id=1.2.1&_include=*", "user/ImagingStudy.rs user/Endpoint.rs"
    )
    assert [e["resource"]["resourceType"] for e in found.json()["entry"]] == ["ImagingStudy", "Endpoint"]
    everywhere = "user/ImagingStudy.rs patient/Patient.rs"
    found = ask(guarded, issuer, "/ImagingStudy?_include=ImagingStudy:patient&_id=1.2.1,1.2.2", everywhere)
    assert {e["resource"]["id"] for e in found.json()["entry"]} == {"1.2.1", "1.2.2", "p1"}


def test_histories_are_confined(guarded: Any, issuer: Issuer) -> None:
    """Versions of the patient's own, without those that were about somebody else."""
    own = {"ImagingStudy/1.2.1", "ImagingStudy/1.2.3", "ImagingStudy/1.2.4"}
    for path, expected in (
        ("/ImagingStudy/_history", own),
        ("/Patient/_history", {"Patient/p1"}),
        ("/_history", own | {"Patient/p1", "Endpoint/e1"}),
        ("/ImagingStudy/1.2.4/_history", {"ImagingStudy/1.2.4"}),
    ):
        answer = ask(guarded, issuer, path, ALL)
        ids = {e["fullUrl"].partition("/fhir/")[2] for e in answer.json()["entry"]}
        assert ids == expected
        assert not any(name in answer.text for name in FOREIGN), path


def test_a_batch_is_held_to_scopes_entry_by_entry(guarded: Any, issuer: Issuer) -> None:
    """Each has its own status; a batch asks for nothing that a request could not."""
    urls = ["ImagingStudy/1.2.1", "ImagingStudy/1.2.2", "Endpoint/e1", "ImagingStudy?patient=p2", "metadata"]
    batch = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"request": {"method": "GET", "url": url}} for url in urls],
    }
    answer = ask(guarded, issuer, "", "patient/ImagingStudy.rs", method="POST", json=batch)
    statuses = [entry["response"]["status"][:3] for entry in answer.json()["entry"]]
    assert statuses == ["200", "403", "403", "403", "200"]


def test_links_are_good_for_one_patient(guarded: Any, issuer: Issuer) -> None:
    """A page goes on for its own patient, and is refused to whoever has another."""
    first = ask(guarded, issuer, "/ImagingStudy?_count=1", ALL).json()
    [link] = [one["url"] for one in first["link"] if one["relation"] == "next"]
    path = link.removeprefix("http://fhir.example/fhir")
    assert ask(guarded, issuer, path, ALL).status_code == 200
    assert guarded(path, headers=issuer.bearer(ALL, patient="p2")).status_code == 400
    assert guarded(path, headers=issuer.bearer("system/*.read")).status_code == 400


def test_answers_are_kept_for_their_own_callers(guarded: Any, issuer: Issuer) -> None:
    """The same question of others, before and after, is another question."""
    seen = []
    for _ in range(2):
        for headers in (
            issuer.bearer("system/*.read"),
            issuer.bearer(ALL, patient="p1"),
            issuer.bearer(ALL, patient="p2"),
            issuer.bearer("user/ImagingStudy.s"),
        ):
            seen.append(guarded("/ImagingStudy?_total=accurate", headers=headers).json()["total"])
    assert seen == [5, 3, 2, 5] * 2
    assert guarded("/ImagingStudy/1.2.2", headers=issuer.bearer("system/*.read")).status_code == 200
    assert ask(guarded, issuer, "/ImagingStudy/1.2.2", ALL).status_code == 403
    assert ask(guarded, issuer, "/ImagingStudy/1.2.2", "user/ImagingStudy.s").status_code == 403


TYPES = ("ImagingStudy", "Patient", "Endpoint")
IDS = ("1.2.1", "1.2.2", "1.2.4", "1.2.5", "1.2.8", "1.2.9", "p1", "p2", "e1")
PARAMETERS = st.sampled_from(
    [
        *(
            f"{name}={id_}"
            for name in ("patient", "subject", "_id", "identifier", "patient._id")
            for id_ in IDS
        ),
        *(f"{name}=z" for name in ("patient.name", "name", "patient:missing", "_lastUpdated")),
        *(f"{way}={link}" for way in ("_include", "_revinclude") for link in ("*", "ImagingStudy:patient")),
        *(
            "_include=ImagingStudy:endpoint",
            "_revinclude=ImagingStudy:endpoint",
            "_revinclude=ImagingStudy:*",
        ),
        *(
            "_summary=true",
            "_summary=count",
            "_elements=subject",
            "_sort=-started",
            "_count=1",
            "_total=accurate",
        ),
        *("endpoint=e1", "endpoint.name=main", "status:not=unknown", "patient:missing=false", "_since=2020"),
        *("patient.identifier:not=1", "_id:not=p1", "started:missing=true", "patient:identifier=2"),
    ]
)
PATHS = st.one_of(
    st.tuples(st.sampled_from(TYPES), st.sampled_from(["", "/_history"])).map("/".join),
    st.tuples(
        st.sampled_from(TYPES), st.sampled_from(IDS), st.sampled_from(["", "/_history", "/_history/1"])
    ).map(lambda parts: f"{parts[0]}/{parts[1]}{parts[2]}"),
    st.just("_history"),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=PATHS, parameters=st.lists(PARAMETERS, max_size=4), form=st.booleans(), batched=st.booleans())
def test_nothing_names_another_patient(
    guarded: Any, issuer: Issuer, path: str, parameters: list[str], form: bool, batched: bool
) -> None:
    """Whatever is asked, however: no answer has a resource of another patient, and none is our fault."""
    query = "&".join(quote(one, safe="=:,.*") for one in parameters)
    target = f"{path.replace('//', '/')}?{query}"
    if batched:
        entry = {"request": {"method": "GET", "url": target}}
        bundle = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
        answer = ask(guarded, issuer, "", ALL, method="POST", json=bundle)
    elif form and path in TYPES:
        content = {"Content-Type": "application/x-www-form-urlencoded"}
        headers = issuer.bearer(ALL, patient="p1") | content
        answer = guarded(f"/{path}/_search", "POST", data=query, headers=headers)
    else:
        answer = ask(guarded, issuer, f"/{target}", ALL)
    assert answer.status_code < 500
    text = json.dumps(list(resources(answer.json())))
    assert not any(name in text for name in FOREIGN), text


def resources(answer: Any) -> Iterator[Any]:
    """The resources in an answer, those of inner bundles too; faults aside."""
    if answer.get("resourceType") == "Bundle":
        for entry in answer.get("entry", []):
            yield from resources(entry.get("resource", {}))
            yield {"fullUrl": entry.get("fullUrl")}
    elif answer.get("resourceType") != "OperationOutcome":
        yield answer


def test_what_apps_are_told(guarded: Any, issuer: Issuer) -> None:
    """Endpoints as the issuer has them, and what this server does itself."""
    answer = guarded("/.well-known/smart-configuration")
    told = answer.json()
    assert answer.headers["Content-Type"].startswith("application/json")
    assert told["issuer"] == issuer.url and told["jwks_uri"] == f"{issuer.url}/jwks"
    assert told["token_endpoint"] == f"{issuer.url}/token"
    assert told["code_challenge_methods_supported"] == ["S256"]
    assert "service_documentation" not in told
    assert {"permission-v1", "permission-v2", "permission-patient"} <= set(told["capabilities"])
    assert "patient/ImagingStudy.rs" in told["scopes_supported"]


def test_what_descriptions_say(guarded: Any, fhir: Any) -> None:
    """The statement names SMART and the description tokens; neither does without authentication."""
    security = guarded("/metadata").json()["rest"][0]["security"]
    assert security["service"][0]["coding"][0]["code"] == "SMART-on-FHIR"
    described = guarded("/openapi.json").json()
    assert described["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert described["paths"]["/metadata"]["get"]["security"] == []
    assert "401" in described["paths"]["/_history"]["get"]["responses"]
    assert "security" not in fhir("/metadata").json()["rest"][0]
    assert "security" not in fhir("/openapi.json").json()
    assert fhir("/.well-known/smart-configuration").status_code == 404


def test_an_issuer_that_is_slow(store: Any, serve: Callable[..., Any]) -> None:
    """Anybody may ask what apps are told: however many do, searches go on meanwhile."""
    own = Issuer()
    guarding = gate(own.settings())
    fhir = serve(gate=guarding)
    assert fhir("/Patient", headers=own.bearer("system/*.rs")).status_code == 200  # its keys are known now
    own.seconds = 5
    with ThreadPoolExecutor(6) as clients:
        url = f"http://127.0.0.1:{fhir.port}/fhir/.well-known/smart-configuration"
        told = [clients.submit(requests.get, url, timeout=60) for _ in range(6)]
        while not own.asked["/.well-known/openid-configuration"]:
            assert not told[0].done()
        found = [fhir("/Patient?_total=accurate", headers=own.bearer("system/*.rs")) for _ in range(3)]
        assert [one.status_code for one in found] == [200] * 3
        assert [one.result().status_code for one in told] == [200] * 6
    guarding.close()
    own.close()


@pytest.mark.parametrize("fault", ["away", "elsewhere", "nonsense"])
def test_an_issuer_that_says_nothing(store: Any, serve: Callable[..., Any], fault: str) -> None:
    """What the configuration says is told all the same, and nothing that the issuer did not say."""
    own = Issuer()
    own.status = 503 if fault == "away" else 200
    own.body = {"elsewhere": b'{"issuer": "https://x", "token_endpoint": "https://x/t"}'}.get(fault, b"<p>")
    guarding = gate(own.settings(token_endpoint="https://login.example/t"))
    told = serve(gate=guarding)("/.well-known/smart-configuration").json()
    guarding.close()
    own.close()
    assert told["token_endpoint"] == "https://login.example/t"
    assert "authorization_endpoint" not in told
