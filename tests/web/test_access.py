"""Who may have pages: tokens, sessions of browsers, forms, names of hosts."""

import re
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from page_site import CT, Site, site, words
from token_issuer import Issuer

from pacsbridge import errors
from pacsbridge.access import sessions
from pacsbridge.access.sessions import Sessions
from pacsbridge.web.faults import FAULTS, local

ALL = "user/ImagingStudy.rs user/Patient.rs user/Endpoint.rs pacsbridge/metrics"


def browser(behind: Site) -> Site:
    """The same bridge with a browser of its own."""
    other = Site(behind.running)
    other.browser = requests.Session()
    return other


def signed_in(behind: Site, token: str) -> Site:
    """A browser that has signed in."""
    found = browser(behind)
    answer = found.post("/login", {"token": token, "next": "/"}, "/login")
    assert answer.status_code == 200, words(answer)
    return found


def test_whoever_is_not_known_is_asked_to_sign_in(behind: Site) -> None:
    """A page leads to /login and on to where it was; nothing of the studies is told."""
    fresh = browser(behind)
    answer = fresh.get(f"/studies/{CT}?series=1")
    assert answer.url.startswith(f"{behind.root}/login?next=%2Fstudies%2F")
    assert "Muster" not in answer.text
    assert "Dead letters" not in words(answer)
    live = fresh.get("/sources", headers={"X-Pacsbridge-Live": "1"}, allow_redirects=False)
    assert live.status_code == 401


def test_a_bearer_token_works_as_for_the_api(behind: Site, issuer: Issuer) -> None:
    """Without cookies; a bad one is 401 with the challenge, and no way to the form."""
    good = requests.get(f"{behind.root}/", headers=issuer.bearer(ALL), timeout=30)
    assert good.status_code == 200
    assert "Muster" in good.text
    bad = requests.get(f"{behind.root}/", headers={"Authorization": "Bearer x.y.z"}, timeout=30)
    assert bad.status_code == 401
    assert "invalid_token" in bad.headers["WWW-Authenticate"]


def test_a_browser_signs_in_and_out(behind: Site, issuer: Issuer) -> None:
    """The cookie is no token, and no script gets at it; once out, it opens nothing."""
    token = issuer.token(ALL)
    opened = signed_in(behind, token)
    [cookie] = opened.browser.cookies
    assert token not in (cookie.value or "")
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "Strict"
    for path in ("/", f"/studies/{CT}", "/sources", f"/fhir/ImagingStudy/{CT}", "/metrics"):
        assert opened.get(path).status_code == 200, path
    assert opened.get(f"/dicomweb/studies/{CT}/thumbnail").status_code == 200
    kept = cookie.value or ""
    opened.post("/logout", {})
    again = requests.get(f"{behind.root}/", cookies={cookie.name: kept}, timeout=30, allow_redirects=False)
    assert again.status_code == 303


def test_two_bridges_on_one_host_are_signed_in_side_by_side(
    behind: Site, issuer: Issuer, tmp_path: Path
) -> None:
    """Browsers send a cookie to every port of a host: each bridge has one of its own name."""
    keys = {"AUTH__JWKS_URL": f"{issuer.url}/jwks", "AUTH__ISSUER": issuer.url}
    keys["AUTH__AUDIENCE"] = "https://pacs.example/fhir"
    with site(tmp_path, samples=False, **keys) as second:
        first = signed_in(behind, issuer.token(ALL))
        second.browser = first.browser
        answer = second.post("/login", {"token": issuer.token(ALL), "next": "/"}, "/login")
        assert "Nothing has arrived yet" in words(answer)
        assert "Muster" in words(first.get("/"))
        second.post("/logout", {})
        assert first.get("/", allow_redirects=False).status_code == 200
        assert second.get("/", allow_redirects=False).status_code == 303


def test_a_search_is_kept_for_who_made_it(behind: Site, issuer: Issuer) -> None:
    """Its address opens nothing for anybody else, whatever he may see."""
    made = signed_in(behind, issuer.token(ALL)).post("/", {"name": "muster"})
    assert "Muster" in words(made)
    assert "?search=" in made.url
    path = made.url.removeprefix(behind.root)
    assert signed_in(behind, issuer.token(ALL)).get(path).status_code == 404


def test_a_session_reads_the_api_and_changes_nothing_there(behind: Site, issuer: Issuer) -> None:
    """The API's own posts need the token itself."""
    opened = signed_in(behind, issuer.token(ALL))
    answer = opened.browser.post(f"{behind.root}/fhir/ImagingStudy/_search", {"modality": "CT"}, timeout=30)
    assert answer.status_code == 401


def test_a_session_ends_with_its_token(behind: Site, issuer: Issuer) -> None:
    """A token that is no longer good opens no page, though the cookie is still there."""
    token = issuer.token(ALL, exp=int(time.time()) - 28)
    opened = signed_in(behind, token)
    time.sleep(3)
    assert opened.get("/").url.startswith(f"{behind.root}/login")


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c", "x" * 9000, "ü"])
def test_a_bad_token_is_told_in_the_form(behind: Site, token: str) -> None:
    """401, the form again, and no session."""
    fresh = browser(behind)
    answer = fresh.post("/login", {"token": token}, "/login")
    assert answer.status_code == 401
    assert 'role="alert"' in answer.text
    assert not fresh.browser.cookies


@pytest.mark.parametrize(
    "goes_to", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:x"]
)
def test_signing_in_leads_nowhere_else(behind: Site, issuer: Issuer, goes_to: str) -> None:
    """Only paths of ours are gone on to."""
    fresh = browser(behind)
    fields = {"token": issuer.token(ALL), "next": goes_to}
    answer = fresh.post("/login", fields, "/login", allow_redirects=False)
    assert answer.headers["Location"] == "/"
    assert local("/studies/1.2?series=2") == "/studies/1.2?series=2"


@pytest.mark.parametrize(
    ("scope", "path", "status"),
    [
        ("user/ImagingStudy.rs user/Patient.rs user/Endpoint.rs", "/", 200),
        ("user/ImagingStudy.rs user/Endpoint.rs", f"/studies/{CT}", 200),
        ("user/ImagingStudy.rs", "/sources", 403),
        ("user/ImagingStudy.r", "/", 403),
        ("user/Patient.rs", f"/studies/{CT}", 403),
        ("pacsbridge/metrics", "/", 403),
        ("pacsbridge/metrics", "/sources", 200),
        ("user/ImagingStudy.rs", "/resources/Patient/x", 403),
        ("", "/", 403),
    ],
)
def test_each_page_needs_its_scopes(behind: Site, issuer: Issuer, scope: str, path: str, status: int) -> None:
    """As the API: 403 is a page that says which scope would do."""
    answer = requests.get(behind.root + path, headers=issuer.bearer(scope), timeout=30)
    assert answer.status_code == status
    if status == 403:
        assert "scope" in words(answer)


def test_a_name_needs_the_scope_for_patients(behind: Site, issuer: Issuer) -> None:
    """A search through patients is one of patients."""
    headers = issuer.bearer("user/ImagingStudy.rs user/Endpoint.rs")
    answer = requests.get(f"{behind.root}/?name=muster", headers=headers, timeout=30)
    assert answer.status_code == 403


def test_a_token_for_one_patient(behind: Site, issuer: Issuer) -> None:
    """That patient's studies in lists, pages, histories; another's are 403; nothing of how they came."""
    everything = requests.get(f"{behind.root}/fhir/ImagingStudy/{CT}", headers=issuer.bearer(ALL), timeout=30)
    own = everything.json()["subject"]["reference"]
    scope = "patient/ImagingStudy.rs patient/Patient.rs patient/Endpoint.rs"
    headers = issuer.bearer(scope, patient=own)

    def get(path: str) -> requests.Response:
        return requests.get(behind.root + path, headers=headers, timeout=30)

    listed = set(re.findall(r'href="/studies/([0-9.]+)"', get("/").text))
    assert CT in listed
    assert len(listed) == 2
    study = get(f"/studies/{CT}")
    assert study.status_code == 200
    assert "How it came here" not in words(study)
    assert get(f"/studies/{CT}/history").status_code == 200
    other = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"
    for path in (f"/studies/{other}", f"/studies/{other}/history", f"/resources/ImagingStudy/{other}"):
        assert get(path).status_code == 403, path
    assert get("/resources/Patient/dd9f01e2730588bef847bd02ec283ca0").status_code == 403


FORGED = {
    "without a seal": {"name": "x"},
    "another seal": {"csrf": "0" * 64},
    "not ASCII": {"csrf": "ü"},
}


@pytest.mark.parametrize("fields", FORGED.values(), ids=FORGED)
@pytest.mark.parametrize("path", ["/", "/logout", f"/studies/{CT}/try", "/sources/sync", "/login"])
def test_a_forged_form_does_nothing(looked_at: Site, fields: dict[str, str], path: str) -> None:
    """403, although nobody has to sign in here."""
    answer = requests.post(looked_at.root + path, fields, timeout=30)
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 200),
    ],
)
def test_a_form_comes_from_a_page_of_ours(looked_at: Site, headers: dict[str, str], status: int) -> None:
    """Whatever seal it has, a form that another site's page sends is refused."""
    answer = looked_at.post("/", {"id": "SYN-0001"}, headers=headers)
    assert answer.status_code == status


def test_a_seal_is_good_for_its_own_session(behind: Site, issuer: Issuer) -> None:
    """What one browser was given seals no form of another."""
    first, second = signed_in(behind, issuer.token(ALL)), signed_in(behind, issuer.token(ALL))
    seal = re.search(r'name="csrf" value="([^"]+)"', first.get("/").text)
    assert seal is not None
    fields = {"id": "SYN-0001", "csrf": seal[1]}
    assert first.browser.post(f"{behind.root}/", fields, timeout=30).status_code == 200
    assert second.browser.post(f"{behind.root}/", fields, timeout=30).status_code == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:8080", 200),
        ("[::1]:8080", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.nip.example", 421),
        ("", 421),
    ],
)
def test_open_pages_are_served_under_our_own_names(looked_at: Site, host: str, status: int) -> None:
    """A name that somebody else owns could be made to lead here, and his pages read ours."""
    answer = requests.get(f"{looked_at.root}/", headers={"Host": host}, timeout=30)
    assert answer.status_code == status
    assert ("Muster" in answer.text) is (status == 200)


@pytest.mark.parametrize("body", [b"a=%ff", b"x" * 70_000, b""], ids=["not UTF-8", "too long", "nothing"])
def test_a_bad_form_is_a_page(looked_at: Site, body: bytes) -> None:
    """400, 403 or 413, and never a stack trace."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = requests.post(f"{looked_at.root}/", body, headers=headers, timeout=30)
    assert answer.status_code in (400, 403, 413)
    assert "<h1>" in answer.text
    other = requests.post(f"{looked_at.root}/", json={}, timeout=30)
    assert other.status_code == 400


def test_every_error_has_a_page() -> None:
    """Each class of pacsbridge's errors stands in the table itself."""
    found = {one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, Exception)}
    assert set(FAULTS) == found


def test_sessions_are_few_and_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one used longest ago makes room; none outlives its hours."""
    monkeypatch.setattr(sessions, "MOST", 2)
    now = [0.0]
    kept = Sessions(lambda: now[0])
    first, second = kept.begin("one"), kept.begin("two")
    assert kept.token(first) == "one"
    third = kept.begin("three")
    assert [kept.token(name) for name in (first, second, third)] == ["one", None, "three"]
    now[0] = sessions.SECONDS
    assert kept.token(first) is None
    assert kept.token("") is None


def test_signing_in_at_the_issuer(behind: Site, issuer: Issuer) -> None:
    """Authorization code with PKCE and state: the code becomes a session, once, in this browser alone."""
    fresh = browser(behind)
    away = fresh.get(f"/login/start?next=/studies/{CT}", allow_redirects=False)
    asked = parse_qs(urlsplit(away.headers["Location"]).query)
    assert away.headers["Location"].startswith(f"{issuer.url}/authorize?")
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["redirect_uri"] == [f"{behind.root}/login/done"]
    back = {"code": "good", "state": asked["state"][0]}
    elsewhere = browser(behind).get("/login/done", params=back)
    assert elsewhere.status_code == 400
    issuer.codes["good"] = (asked["code_challenge"][0], issuer.token(ALL))
    answer = fresh.get("/login/done", params=back)
    assert answer.status_code == 200, words(answer)
    assert f'content="0; url=/studies/{CT}"' in answer.text
    assert "Muster" in fresh.get(f"/studies/{CT}").text
    assert fresh.get("/login/done", params=back).status_code == 400


@pytest.mark.parametrize("how", ["refused", "no token"])
def test_the_issuer_may_refuse(behind: Site, issuer: Issuer, how: str) -> None:
    """The form again, with what the issuer said, and no session."""
    fresh = browser(behind)
    away = fresh.get("/login/start", allow_redirects=False)
    state = parse_qs(urlsplit(away.headers["Location"]).query)["state"][0]
    back = {"error": "access_denied<b>"} if how == "refused" else {"code": "bad"}
    answer = fresh.get("/login/done", params={**back, "state": state})
    assert answer.status_code == 401
    assert "<b>" not in answer.text
    assert "Muster" not in fresh.get("/").text
