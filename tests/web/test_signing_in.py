"""Signing in and out, on record: who, from where, what came of it, once each; and what is kept meanwhile."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from audit_receivers import Receiver, Server
from page_site import CT, Site, site, words
from r4_validation import assert_r4
from token_issuer import AUDIENCE, CLIENT, SECRET, Issuer

from pacsbridge import logs
from pacsbridge.access import sessions
from pacsbridge.access.sessions import CROWDED, Sessions
from pacsbridge.auditing import Audit
from pacsbridge.errors import NotUnderstood
from pacsbridge.kernel.audit import Event, Who
from pacsbridge.web.oauth import SECONDS, CodeFlow
from pacsbridge.web.service import SERVICE

ALL = "user/ImagingStudy.rs user/Patient.rs user/Endpoint.rs pacsbridge/metrics"
WHO = {"sub": "dr.who", "client_id": "pages"}
LONG = 30


class Record:
    """What has been recorded of signing in and out since it was made, and of who was turned away."""

    def __init__(self, of: Site) -> None:
        assert of.running.audit is not None
        self._log = of.running.audit.log
        self._after = self._number_of(Event("verify", details={"mark": token_hex(8)}), of.running.audit)

    def _number_of(self, mark: Event, audit: Audit) -> int:
        """Record a mark, and wait for its number: what tests before this one did is on record then."""
        pause, deadline = threading.Event(), time.monotonic() + LONG
        audit.recorder.record(mark)
        while time.monotonic() < deadline:
            for one in self._log.following(0, 100_000):
                if one.event.details == mark.details:
                    return one.number
            pause.wait(0.01)
        raise AssertionError("nothing is recorded")

    def events(self) -> list[Event]:
        """In their order."""
        kept = [one.event for one in self._log.following(self._after, 10_000)]
        return [one for one in kept if one.kind in ("login", "logout", "refused")]

    def told(self) -> list[tuple[str, str, str]]:
        """The same in short."""
        return [(one.kind, one.outcome, one.reason or one.details.get("end", "")) for one in self.events()]


@pytest.fixture
def record(behind: Site) -> Record:
    """The events of one test."""
    return Record(behind)


@pytest.fixture
def fresh(behind: Site) -> Site:
    """The bridge behind a gate, and a browser of its own."""
    other = Site(behind.running)
    other.browser = requests.Session()
    return other


def sign_in(behind: Site, token: str) -> requests.Response:
    """By a token in the form."""
    return behind.post("/login", {"token": token, "next": "/"}, "/login", allow_redirects=False)


def away(behind: Site, goes_to: str = "/") -> dict[str, str]:
    """To the issuer: what it is asked."""
    answer = behind.get("/login/start", params={"next": goes_to}, allow_redirects=False)
    asked = parse_qs(urlsplit(answer.headers["Location"]).query)
    return {name: value for name, [value] in asked.items()}


def test_in_and_out_with_a_token(
    fresh: Site, issuer: Issuer, record: Record, wait_until: Callable[..., None]
) -> None:
    """Login and logout, of the person, from the browser's address, once; nothing of the token."""
    token = issuer.token(ALL, **WHO)
    assert sign_in(fresh, token).status_code == 303
    name = fresh.browser.cookies.get_dict().popitem()[1]
    for _twice in range(2):
        fresh.browser.post(f"{fresh.root}/logout", {"csrf": seal(fresh)}, timeout=LONG)
    wait_until(lambda: len(record.told()) >= 2, LONG)
    assert record.told() == [("login", "0", ""), ("logout", "0", "asked for")]
    login, logout = record.events()
    assert login.who == logout.who == Who("127.0.0.1", client="pages", user="dr.who", issuer=issuer.url)
    assert login.details["by"] == "token"
    ends = time.strptime(login.details["until"][:19], "%Y-%m-%dT%H:%M:%S")
    assert abs(time.mktime(ends) - time.mktime(time.gmtime()) - 330) < 120
    kept = repr([one.as_dict() for one in record.events()])
    assert token not in kept
    assert name not in kept


def seal(of: Site) -> str:
    """What the forms of this browser carry now."""
    found = re.search(r'name="csrf" value="([^"]+)"', of.get("/login").text)
    assert found is not None
    return found[1]


def test_in_by_a_code(
    fresh: Site, issuer: Issuer, record: Record, wait_until: Callable[..., None], capsys: Any
) -> None:
    """A code of the issuer leaves one login; the address that brought it, seen again, one that failed."""
    logs.configure("info")
    asked = away(fresh, f"/studies/{CT}?series=1")
    issuer.codes["good"] = (asked["code_challenge"], issuer.token(ALL, **WHO))
    back = {"code": "good", "state": asked["state"]}
    answer = fresh.get("/login/done", params=back)
    assert answer.status_code == 200, words(answer)
    assert f'content="0; url=/studies/{CT}?series=1"' in answer.text
    assert fresh.get("/login/done", params=back).status_code == 400
    wait_until(lambda: len(record.told()) >= 2, LONG)
    assert [one.details["by"] for one in record.events()] == ["code", "code"]
    assert [(one.outcome, one.who) for one in record.events()] == [
        ("0", Who("127.0.0.1", client="pages", user="dr.who", issuer=issuer.url)),
        ("8", Who("127.0.0.1")),
    ]
    said = repr([one.as_dict() for one in record.events()]) + capsys.readouterr().err
    assert asked["state"] not in said
    assert asked["code_challenge"] not in said


def wrong_state(fresh: Site, _issuer: Issuer) -> requests.Response:
    """Somebody else's state comes back."""
    away(fresh)
    return fresh.get("/login/done", params={"code": "secret-code", "state": "x" * 40})


def no_sign_in(fresh: Site, _issuer: Issuer) -> requests.Response:
    """A code comes to a browser that asked for none."""
    return fresh.get("/login/done", params={"code": "secret-code", "state": "x" * 40})


def forged_state(fresh: Site, _issuer: Issuer) -> requests.Response:
    """A cookie and a state that fit each other, and were not made here."""
    away(fresh)
    cookie = next(iter(fresh.browser.cookies))
    forged = f"{int(time.time()) + 300}.nonce.seal"
    fresh.browser.cookies.set(cookie.name, f"{forged}!%2F", domain=cookie.domain, path=cookie.path)
    return fresh.get("/login/done", params={"code": "secret-code", "state": forged})


def refused_code(fresh: Site, _issuer: Issuer) -> requests.Response:
    """The issuer does not know the code."""
    return fresh.get("/login/done", params={"code": "secret-code", "state": away(fresh)["state"]})


def refused_consent(fresh: Site, _issuer: Issuer) -> requests.Response:
    """The person, or the issuer, has said no."""
    return fresh.get("/login/done", params={"error": "access_denied", "state": away(fresh)["state"]})


def odd_refusal(fresh: Site, _issuer: Issuer) -> requests.Response:
    """The issuer's word is none that issuers have: it could be anybody's."""
    return fresh.get("/login/done", params={"error": "secret-code", "state": away(fresh)["state"]})


def bad_token(fresh: Site, _issuer: Issuer) -> requests.Response:
    """What is in the form is no token."""
    return sign_in(fresh, "secret-code")


def old_token(fresh: Site, issuer: Issuer) -> requests.Response:
    """It has ended."""
    return sign_in(fresh, issuer.token(ALL, exp=int(time.time()) - 600, **WHO))


def powerless_token(fresh: Site, issuer: Issuer) -> requests.Response:
    """A good token that opens no page."""
    return sign_in(fresh, issuer.token("user/Patient.rs", **WHO))


def powerless_code(fresh: Site, issuer: Issuer) -> requests.Response:
    """The same by way of the issuer."""
    asked = away(fresh)
    issuer.codes["weak"] = (asked["code_challenge"], issuer.token("user/Patient.rs", **WHO))
    return fresh.get("/login/done", params={"code": "weak", "state": asked["state"]})


FAILURES: list[tuple[Callable[[Site, Issuer], requests.Response], int, str, str]] = [
    (wrong_state, 400, "this sign-in was not begun in this browser: sign in again", ""),
    (no_sign_in, 400, "this sign-in was not begun in this browser: sign in again", ""),
    (forged_state, 400, "this sign-in is not known here any more: sign in again", ""),
    (refused_code, 401, "the issuer has given no token for this sign-in", ""),
    (refused_consent, 401, "the issuer has refused: access_denied", ""),
    (odd_refusal, 401, "the issuer has refused: it sent no code", ""),
    (bad_token, 401, "the token cannot be read", ""),
    (old_token, 401, "the token has expired", ""),
    (powerless_token, 403, "the token has none of the scopes that pages need", "dr.who"),
    (powerless_code, 403, "the token has none of the scopes that pages need", "dr.who"),
]


@pytest.mark.parametrize(
    ("fail", "status", "why", "user"), FAILURES, ids=[row[0].__name__ for row in FAILURES]
)
def test_a_sign_in_that_fails(
    fresh: Site,
    issuer: Issuer,
    record: Record,
    wait_until: Callable[..., None],
    capsys: Any,
    fail: Callable[[Site, Issuer], requests.Response],
    status: int,
    why: str,
    user: str,
) -> None:
    """One event with its reason in our words, who it was where that is known, and no session."""
    logs.configure("info")
    answer = fail(fresh, issuer)
    assert answer.status_code == status
    assert why in words(answer)
    assert fresh.get("/", allow_redirects=False).status_code == 303
    wait_until(record.told, LONG)
    assert record.told() == [("login", "8", why)]
    [event] = record.events()
    assert event.who is not None
    assert (event.who.address, event.who.user) == ("127.0.0.1", user)
    assert "secret-code" not in repr(event.as_dict()) + capsys.readouterr().err


def test_an_issuer_that_is_away(
    fresh: Site, issuer: Issuer, record: Record, wait_until: Callable[..., None]
) -> None:
    """503, and a sign-in that has failed."""
    asked = away(fresh)
    issuer.status = 500
    try:
        answer = fresh.get("/login/done", params={"code": "x", "state": asked["state"]})
    finally:
        issuer.status = 200
    assert answer.status_code in (401, 503)
    wait_until(record.told, LONG)
    assert [(one.kind, one.outcome) for one in record.events()] == [("login", "8")]


def test_a_form_that_is_not_ours_is_no_sign_in(
    fresh: Site, issuer: Issuer, record: Record, wait_until: Callable[..., None]
) -> None:
    """It is turned away before anybody looks at its token, whatever a browser adds by itself."""
    fields = {"token": issuer.token(ALL), "csrf": "0" * 64}
    headers = {"Authorization": "Basic dTpw"}
    for more in ({}, headers):
        answer = fresh.browser.post(f"{fresh.root}/login", fields, headers=more, timeout=LONG)
        assert answer.status_code == 403
    wait_until(lambda: len(record.told()) >= 2, LONG)
    assert record.told() == [("refused", "8", "HTTP 403")] * 2
    assert not fresh.browser.cookies


def test_a_second_sign_in_ends_the_first(
    fresh: Site, issuer: Issuer, record: Record, wait_until: Callable[..., None]
) -> None:
    """By the form and by way of the issuer: the name that the browser had opens nothing any more."""
    sign_in(fresh, issuer.token(ALL, **WHO))
    for again in (lambda: sign_in(fresh, issuer.token(ALL, **WHO)), lambda: away(fresh)):
        [cookie] = [one for one in fresh.browser.cookies if not one.name.endswith("-login")]
        again()
        old = {cookie.name: cookie.value or ""}
        answer = requests.get(f"{fresh.root}/", cookies=old, timeout=LONG, allow_redirects=False)
        assert answer.status_code == 303
    wait_until(lambda: len(record.told()) >= 4, LONG)
    end = ("logout", "0", "another sign-in in the same browser")
    assert record.told() == [("login", "0", ""), end, ("login", "0", ""), end]


def test_signing_out_forgets_what_was_searched_for(fresh: Site, issuer: Issuer) -> None:
    """A name that was typed is not kept beyond the session; what others asked for is."""
    sign_in(fresh, issuer.token(ALL))
    [name] = fresh.browser.cookies.get_dict().values()
    assert "?search=" in fresh.post("/", {"name": "muster"}).url
    runner = fresh.running.http._runner
    assert runner is not None
    kept = runner.app[SERVICE].kept
    others = kept.keep("somebody else", (("name", "x"),))
    assert [session for session, _search in kept._searches if session == name]
    fresh.browser.post(f"{fresh.root}/logout", {"csrf": seal(fresh)}, timeout=LONG)
    assert not [session for session, _search in kept._searches if session == name]
    assert kept.pairs("somebody else", others)


def test_a_name_that_the_browser_came_with_is_not_taken(fresh: Site, issuer: Issuer) -> None:
    """Somebody may have put it there: the session has a new one, and that one opens nothing."""
    fixed = {f"pacsbridge-{urlsplit(fresh.root).port}": "chosen-by-somebody-else"}
    fresh.browser.cookies.update(fixed)
    assert sign_in(fresh, issuer.token(ALL)).status_code == 303
    answer = requests.get(f"{fresh.root}/", cookies=fixed, timeout=LONG, allow_redirects=False)
    assert answer.status_code == 303


@pytest.mark.parametrize(
    "goes_to",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "/" + "a" * 6000,
        "/%0d%0aX:y",
        "/ü?a=!b",
    ],
)
def test_the_way_by_the_issuer_leads_nowhere_else(fresh: Site, issuer: Issuer, goes_to: str) -> None:
    """Only paths of ours are gone on to, and only such as a cookie holds."""
    asked = away(fresh, goes_to)
    issuer.codes["next"] = (asked["code_challenge"], issuer.token(ALL))
    answer = fresh.get("/login/done", params={"code": "next", "state": asked["state"]})
    assert answer.status_code == 200
    found = re.search(r'content="0; url=([^"]*)"', answer.text)
    assert found is not None
    assert found[1] == (goes_to if goes_to in ("/ü?a=!b", "/%0d%0aX:y") else "/")


def test_many_who_begin_push_nobody_out(issuer: Issuer) -> None:
    """A stranger may begin as many sign-ins as he likes: of those under way nothing is kept, for any time."""
    now = [1000.0]
    flow = CodeFlow(issuer.settings(client_id="pages"), ALL, "https://pacs.example", lambda: now[0])
    first = flow.begin()
    others = [flow.begin() for _one in range(2_000)]
    assert len({one.state for one in others}) == 2_000
    assert len({parse_qs(urlsplit(one.url).query)["code_challenge"][0] for one in others}) == 2_000
    flow.check(first.state)
    now[0] += SECONDS
    for bad in (first.state, "", "x", "1.2.3", f"9{others[0].state}", others[0].state + "x"):
        with pytest.raises(NotUnderstood):
            flow.check(bad)


def test_nobody_pushes_out_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one caller there are only so many sessions; what is pushed out is told, what is over is not."""
    monkeypatch.setattr(sessions, "MOST_OF_ONE", 2)
    monkeypatch.setattr(sessions, "MOST", 4)
    now, told = [0.0], list[tuple[str, str]]()
    kept = Sessions(lambda: now[0])
    kept.tell = lambda who, why: told.append((who.user, why))
    mine, other = Who(user="me", issuer="i"), Who(user="other", issuer="i")
    theirs = kept.begin("t0", other)
    own = [kept.begin(f"t{number}", mine, 60) for number in range(1, 5)]
    assert kept.token(theirs) == "t0"
    assert [kept.token(name) for name in own] == [None, None, "t3", "t4"]
    assert told == [("me", CROWDED)] * 2
    now[0] = 60
    assert kept.token(own[2]) is None
    kept.end(own[3], "asked for")
    kept.begin("t5", Who(user="a"))
    assert told == [("me", CROWDED)] * 2
    kept.begin("t6", Who(user="b"))
    kept.begin("t7")
    kept.begin("t8")
    assert told[2:] == [("other", CROWDED)]


def test_a_browser_that_nobody_uses_is_signed_out(
    fresh: Site,
    issuer: Issuer,
    record: Record,
    wait_until: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An hour after the last use, which pages that refresh themselves are not; as nobody did it, no event."""
    gate = fresh.running.http._front.gate
    assert gate is not None
    later = [0.0]
    monkeypatch.setattr(gate.sessions, "_clock", lambda: time.monotonic() + later[0])
    sign_in(fresh, issuer.token(ALL, exp=int(time.time()) + 40_000))
    later[0] += 3_000
    assert fresh.get("/sources", allow_redirects=False).status_code == 200
    for _refresh in range(2):
        later[0] += 1_700
        live = fresh.get("/sources", headers={"X-Pacsbridge-Live": "1"}, allow_redirects=False)
        assert live.status_code == 200
    later[0] += 300
    assert fresh.get("/sources", allow_redirects=False).status_code == 303
    fresh.browser.post(f"{fresh.root}/logout", {"csrf": seal(fresh)}, timeout=LONG)
    assert sign_in(fresh, "x").status_code == 401
    wait_until(
        lambda: [(one.kind, one.outcome) for one in record.events()] == [("login", "0"), ("login", "8")], LONG
    )


@pytest.fixture
def repositories() -> Iterator[tuple[Receiver, Server]]:
    """Who is sent the audit log: by syslog, and by FHIR."""
    syslog, fhir = Receiver(), Server()
    yield syslog, fhir
    syslog.close()
    fhir.close()


@pytest.fixture
def second(tmp_path: Path, issuer: Issuer, repositories: tuple[Receiver, Server]) -> Iterator[Site]:
    """A bridge behind a proxy that asks its issuer about every token, and forwards its audit log."""
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    syslog, fhir = repositories
    keys = {
        "AUTH__INTROSPECTION_URL": f"{issuer.url}/introspect",
        "AUTH__INTROSPECTION_SECONDS": "0",
        "AUTH__ISSUER": issuer.url,
        "AUTH__AUDIENCE": AUDIENCE,
        "AUTH__CLIENT_ID": CLIENT,
        "AUTH__CLIENT_SECRET_FILE": str(secret),
        "AUDIT__SYSLOG_URL": f"tcp://127.0.0.1:{syslog.port}",
        "AUDIT__FHIR_URL": f"{fhir.url}/fhir",
    }
    proxies = "[fhir]\ntrusted_proxies = ['127.0.0.1']\n"
    with site(tmp_path / "bridge", samples=False, config=proxies, **keys) as running:
        running.browser.headers.update({"X-Forwarded-Proto": "https", "X-Forwarded-For": "10.1.2.3"})
        yield running


def cookies(answer: requests.Response) -> dict[str, set[str]]:
    """Name of each cookie that an answer sets → its attributes."""
    found = {}
    for one in answer.raw.headers.getlist("Set-Cookie"):
        name, *attributes = one.split("; ")
        found[name.partition("=")[0]] = {each.lower() for each in attributes}
    return found


def test_what_goes_to_the_repositories(
    second: Site,
    issuer: Issuer,
    repositories: tuple[Receiver, Server],
    wait_until: Callable[..., None],
) -> None:
    """A token that is taken back ends its session, once; all of it is found, legal, and forwarded.

    Cookies of a bridge behind a proxy are for its host and for https alone.
    """
    token = "opaque-and-secret"
    issuer.active[token] = {"active": True, "scope": f"{ALL} system/AuditEvent.rs", **WHO}
    address = {"Host": "pacs.example"}
    form = second.get("/login", headers=address)
    found = re.search(r'name="csrf" value="([^"]+)"', form.text)
    assert found is not None
    fields = {"token": token, "csrf": found[1]}
    answer = second.browser.post(
        f"{second.root}/login", fields, headers=address, timeout=LONG, allow_redirects=False
    )
    begun = second.get("/login/start", headers=address, allow_redirects=False)
    assert {name: given & {"secure", "httponly", "path=/", "samesite=strict", "samesite=lax"}
            for name, given in {**cookies(begun), **cookies(answer)}.items()} == {
        "__Host-pacsbridge": {"secure", "httponly", "path=/", "samesite=strict"},
        "__Host-pacsbridge-login": {"secure", "httponly", "path=/", "samesite=lax"},
    }  # fmt: skip
    jar = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}
    assert second.get("/sources", headers={**address, **jar}).status_code == 200
    search = "/fhir/AuditEvent?type=110114&_count=50&_sort=date"
    wait_until(lambda: second.get(search, headers={**address, **jar}).json()["total"] == 1, LONG)
    bearer = {"Authorization": f"Bearer {token}"}
    issuer.active[token] = {"active": False}
    for _twice in range(2):
        assert second.get("/", headers={**address, **jar}, allow_redirects=False).status_code == 303
    issuer.active[token] = {"active": True, "scope": "system/AuditEvent.rs"}
    subtypes = {"110122": "login", "110123": "logout"}

    def of(subtype: str) -> list[dict[str, Any]]:
        bundle = second.get(f"{search}&subtype={subtype}&address=10.1.2.3", headers=bearer).json()
        return [one["resource"] for one in bundle.get("entry", ())]

    wait_until(lambda: all(len(of(code)) == 1 for code in subtypes), LONG)
    for code in subtypes:
        [resource] = of(code)
        assert_r4(resource)
        assert (resource["type"]["code"], resource["action"], resource["outcome"]) == ("110114", "E", "0")
        [person] = [one for one in resource["agent"] if one["requestor"]]
        assert person["who"]["identifier"] == {"system": issuer.url, "value": "dr.who"}
        assert person["network"] == {"address": "10.1.2.3", "type": "2"}
    syslog, fhir = repositories
    wait_until(lambda: all(code in b"".join(syslog.messages).decode() for code in subtypes), LONG)
    wait_until(lambda: sum(one["type"]["code"] == "110114" for one in fhir.resources) == 2, LONG)
    assert token not in b"".join(syslog.messages).decode() + repr(fhir.resources)
