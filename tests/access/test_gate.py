"""Tokens, good and forged, at the gate; the keys come from a real server."""

import asyncio
import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from token_issuer import AUDIENCE, OTHER, WEAK, Issuer, private, public

from pacsbridge import config, wiring
from pacsbridge.access import keys
from pacsbridge.access.gate import Gate, gate
from pacsbridge.access.introspection import Introspection
from pacsbridge.access.keys import KeyRing, key_ring
from pacsbridge.access.rights import Access, Right
from pacsbridge.access.settings import ALGORITHMS
from pacsbridge.access.tokens import Jwts
from pacsbridge.errors import Unauthenticated, Unavailable

SCOPE = "system/ImagingStudy.r"


def ask(guarding: Gate, *tokens: str) -> list[Access | type[Exception] | str]:
    """What each token gives access to, one after the other; in words where it is refused."""

    async def run() -> list[Access | type[Exception] | str]:
        found: list[Access | type[Exception] | str] = []
        for token in tokens:
            try:
                found.append(await guarding.access(token))
            except Unauthenticated as exc:
                found.append(str(exc))
            except Unavailable:
                found.append(Unavailable)
        return found

    return asyncio.run(run())


def one(issuer: Issuer, token: str, **settings: Any) -> Access | type[Exception] | str:
    """The same of one token at a new gate."""
    guarding = gate(issuer.settings(**settings))
    try:
        return ask(guarding, token)[0]
    finally:
        guarding.close()


@pytest.mark.parametrize("by", ["r1", "e1"])
def test_a_good_token(issuer: Issuer, by: str) -> None:
    """Its scopes and its patient are those of its claims."""
    found = one(issuer, issuer.token("user/Patient.r patient/ImagingStudy.r", by=by, patient="p1"))
    assert found == Access(
        frozenset({Right("Patient", "r")}), frozenset({Right("ImagingStudy", "r")}), "Patient/p1"
    )


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": ["system/ImagingStudy.r", 7]}, 1),
        ({"scope": None, "scp": "system/ImagingStudy.r"}, 1),
        ({"scope": 7}, 0),
        ({"scope": None}, 0),
    ],
)
def test_where_scopes_stand(issuer: Issuer, claims: dict[str, Any], scopes: int) -> None:
    """In scope or scp, as a text or a list; anything else grants nothing."""
    found = one(issuer, issuer.token(**{"scope": "", **claims}))
    assert isinstance(found, Access) and len(found.everywhere) == scopes


@pytest.mark.parametrize("patient", [None, "", 7, "../Patient/1", "a" * 65, "https://x/Patient/1", ["p1"]])
def test_without_a_patient_there_is_no_compartment(issuer: Issuer, patient: object) -> None:
    """Scopes for the patient grant nothing where the token names none that could be."""
    found = one(issuer, issuer.token("patient/*.*", patient=patient))
    assert found == Access(frozenset(), frozenset(), None)


def test_patients_of_another_server(issuer: Issuer) -> None:
    """With an authority for patients the reference is the one that studies have."""
    found = one(issuer, issuer.token("patient/*.r", patient="4711"), patient_base="https://ehr.example/fhir")
    assert isinstance(found, Access) and found.patient == "https://ehr.example/fhir/Patient/4711"


def encoded(part: Any) -> str:
    """JSON in base64url."""
    return urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def signed_with_the_public_key(issuer: Issuer) -> str:
    """HS256, its secret the PEM that everybody may have."""
    pem = private().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    content = f"{encoded({'alg': 'HS256', 'kid': 'r1'})}.{encoded(issuer.claims(SCOPE))}"
    seal = hmac.new(pem, content.encode(), hashlib.sha256).digest()
    return f"{content}.{urlsafe_b64encode(seal).decode().rstrip('=')}"


def unsigned(issuer: Issuer, algorithm: str) -> str:
    """A token without a signature."""
    return f"{encoded({'alg': algorithm, 'kid': 'r1'})}.{encoded(issuer.claims(SCOPE))}."


def headed(issuer: Issuer, **head: Any) -> str:
    """A token that is signed well, with a header of its own."""
    return jwt.encode(issuer.claims(SCOPE), private(), "RS256", headers={"kid": "r1", **head})


def tampered(issuer: Issuer) -> str:
    """Other claims under the old signature."""
    head, _claims, seal = issuer.token(SCOPE).split(".")
    return f"{head}.{encoded(issuer.claims('system/*.*'))}.{seal}"


NOW = int(time.time())
"""When the tests were collected: hours may pass before they run."""

ALGORITHM, KEY = "the token's algorithm is not allowed", "the token's key is not known"
READ, LACKS = "the token cannot be read", "the token lacks exp, iss or aud"
CUT = "the token cannot be verified"

FORGED: dict[str, tuple[Callable[[Issuer], str], str]] = {
    "alg none": (lambda i: unsigned(i, "none"), ALGORITHM),
    "alg None": (lambda i: unsigned(i, "None"), ALGORITHM),
    "no alg": (lambda i: f"{encoded({'kid': 'r1'})}.{encoded(i.claims(SCOPE))}.x", READ),
    "HS256 by the public key": (signed_with_the_public_key, ALGORITHM),
    "another key": (
        lambda i: jwt.encode(i.claims(SCOPE), OTHER, "RS256", headers={"kid": "r1"}),
        "the token's signature is wrong",
    ),
    "tampered": (tampered, "the token's signature is wrong"),
    "key of another kind": (lambda i: headed(i, kid="e1"), ALGORITHM),
    "own key": (lambda i: headed(i, kid="x", jwk=public("x", private())), KEY),
    "key elsewhere": (lambda i: headed(i, kid="x", jku="http://127.0.0.1:9/jwks"), KEY),
    "no kid among several": (
        lambda i: jwt.encode(i.claims(SCOPE), private(), "RS256"),
        KEY,
    ),
    "critical extension": (
        lambda i: headed(i, crit=["b64"], b64=True),
        READ,
    ),
    "expired": (lambda i: i.token(SCOPE, exp=NOW - 120), "the token has expired"),
    "not yet": (lambda i: i.token(SCOPE, nbf=NOW + 36_000), "the token is not valid yet"),
    "no end": (lambda i: i.token(SCOPE, exp=None), LACKS),
    "no issuer": (lambda i: i.token(SCOPE, iss=None), LACKS),
    "no audience": (lambda i: i.token(SCOPE, aud=None), LACKS),
    "another issuer": (lambda i: i.token(SCOPE, iss=f"{i.url}/"), "the token is of another issuer"),
    "another audience": (lambda i: i.token(SCOPE, aud="x"), "the token is for another audience"),
    "audiences of others": (lambda i: i.token(SCOPE, aud=["x"]), "the token is for another audience"),
    "bound to a key": (
        lambda i: i.token(SCOPE, cnf={"jkt": "x"}),
        "a token that is bound to a key is not taken as a bearer token",
    ),
    "oversized": (lambda i: i.token(SCOPE, more="x" * 9000), READ),
    "not a token": (lambda i: "abc", READ),
    "five parts": (lambda i: "a.b.c.d.e", READ),
    "white space": (lambda i: f"{i.token(SCOPE)} x", READ),
    "not ASCII": (lambda i: "é.é.é", READ),
    "header is a list": (lambda i: f"{encoded([1])}.{encoded({})}.x", READ),
    "endless exp": (
        lambda i: jwt.encode({**i.claims(SCOPE), "exp": "never"}, private(), "RS256", headers={"kid": "r1"}),
        CUT,
    ),
}


@pytest.mark.parametrize("forged", FORGED)
def test_a_token_that_is_not_good(issuer: Issuer, forged: str) -> None:
    """It is refused, in our words, and none of it is said again."""
    make, word = FORGED[forged]
    assert one(issuer, make(issuer)) == word


@pytest.mark.parametrize(
    "claims",
    [
        lambda: {"exp": int(time.time()) - 10},
        lambda: {"nbf": int(time.time()) + 10},
        lambda: {"aud": ["x", "https://pacs.example/fhir"]},
    ],
    ids=["just expired", "nearly valid", "one of several"],
)
def test_clocks_and_audiences_with_leeway(issuer: Issuer, claims: Callable[[], dict[str, Any]]) -> None:
    """Clocks may differ a little, and we may be one of several audiences."""
    assert isinstance(one(issuer, issuer.token(SCOPE, **claims())), Access)


def test_an_algorithm_that_is_not_configured(issuer: Issuer) -> None:
    """A good signature does not help."""
    assert one(issuer, issuer.token(SCOPE), algorithms=("ES256",)) == ALGORITHM
    assert not [name for name in ALGORITHMS if name.startswith("HS") or name == "none"]


@pytest.mark.parametrize(
    "unfit",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "r1"},
        {**public("r1", private()), "use": "enc"},
        {**public("r1", private()), "alg": "HS256"},
        {**public("r1", private()), "n": "!"},
        public("r1", WEAK),
        {"kid": "r1"},
        "r1",
    ],
    ids=["secret", "for encryption", "for HMAC", "broken", "short", "nothing", "no object"],
)
def test_keys_that_verify_nothing(issuer: Issuer, unfit: Any) -> None:
    """Secrets, keys for other uses and weak ones are passed over, the others used."""
    issuer.keys[0] = unfit
    assert one(issuer, issuer.token(SCOPE)) == KEY
    assert isinstance(one(issuer, issuer.token(SCOPE, by="e1")), Access)


def test_a_flood_of_unknown_keys(issuer: Issuer) -> None:
    """The server of keys is asked once for all of them, and good tokens go on."""
    guarding = gate(issuer.settings())
    flood = [jwt.encode(issuer.claims(""), OTHER, "RS256", headers={"kid": f"k{n}"}) for n in range(30)]
    assert isinstance(ask(guarding, issuer.token(SCOPE))[0], Access)
    assert set(ask(guarding, *flood)) == {KEY}
    assert issuer.asked["/jwks"] == 1
    assert isinstance(ask(guarding, issuer.token(SCOPE, jti="2"))[0], Access)
    guarding.close()


def test_many_callers_at_the_first_moment(issuer: Issuer) -> None:
    """All of them wait for the one look for keys."""
    issuer.seconds = 0.3
    guarding = gate(issuer.settings())
    tokens = [issuer.token(SCOPE, jti=str(number)) for number in range(12)]

    async def run() -> list[Access]:
        return await asyncio.gather(*map(guarding.access, tokens))

    assert len(asyncio.run(run())) == 12
    assert issuer.asked["/jwks"] == 1
    guarding.close()


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def ring(issuer: Issuer, clock: Clock) -> KeyRing:
    """The keys of an issuer under another clock."""
    real = key_ring(issuer.settings())
    return KeyRing(real._look, issuer.settings(), clock)


def test_new_keys_are_found(issuer: Issuer) -> None:
    """A token with a key that is not known leads to a look, a minute after the last one."""
    clock = Clock()
    guarding = Gate(issuer.settings(), Jwts(issuer.settings(), ring(issuer, clock)))
    assert isinstance(ask(guarding, issuer.token(SCOPE))[0], Access)
    issuer.keys = [public("n1", OTHER)]
    new = [jwt.encode(issuer.claims(SCOPE, jti=n), OTHER, "RS256", headers={"kid": "n1"}) for n in ("0", "1")]
    assert ask(guarding, new[0]) == [KEY]
    clock.now += keys.PAUSE_SECONDS
    assert isinstance(ask(guarding, new[1])[0], Access)
    assert ask(guarding, issuer.token(SCOPE, jti="old")) == [KEY]
    guarding.close()


def test_old_keys_outlive_their_server_for_a_while(issuer: Issuer) -> None:
    """While the server is away the keys stay good, until they are too old."""
    clock = Clock()
    settings = issuer.settings()
    guarding = Gate(settings, Jwts(settings, ring(issuer, clock)))
    assert isinstance(ask(guarding, issuer.token(SCOPE))[0], Access)
    issuer.status = 500
    clock.now += settings.jwks_seconds + 1
    assert isinstance(ask(guarding, issuer.token(SCOPE, jti="1"))[0], Access)
    clock.now += settings.jwks_stale_seconds
    assert ask(guarding, issuer.token(SCOPE, jti="2")) == [Unavailable]
    guarding.close()


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"keys": 7}', b'{"keys": "' + b"x" * 2_000_000])
def test_a_server_of_keys_that_talks_nonsense(issuer: Issuer, body: bytes) -> None:
    """Nobody gets in, and nobody is told that the token is bad."""
    issuer.body = body
    assert one(issuer, issuer.token(SCOPE)) is Unavailable


def test_keys_in_a_file(issuer: Issuer, tmp_path: Path) -> None:
    """They are used like those of a server, which is not asked."""
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": issuer.keys}))
    assert isinstance(one(issuer, issuer.token(SCOPE), jwks_file=file), Access)
    assert not issuer.asked


def test_a_verified_token_is_remembered_until_it_ends(issuer: Issuer) -> None:
    """The second time costs no signature; after its end it is refused all the same."""
    clock = Clock()
    clock.now = time.time()
    settings = issuer.settings(leeway_seconds=0)
    verifier = Jwts(settings, key_ring(settings))
    guarding = Gate(settings, verifier, clock)
    token = issuer.token(SCOPE, exp=int(clock.now) + 2)
    first = ask(guarding, token)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verifier, "claims", lambda _token: pytest.fail("verified again"))
        assert ask(guarding, token) == first
    time.sleep(2.1)
    clock.now += 2.1
    assert ask(guarding, token) == ["the token has expired"]
    guarding.close()


def test_no_step_of_the_clock_prolongs_what_is_remembered(issuer: Issuer) -> None:
    """A day back: a token that was revoked is not believed a day longer, one refused is looked at again."""
    clock, timer = Clock(), Clock()
    clock.now = time.time()
    settings = issuer.settings(introspection_url=f"{issuer.url}/introspect")
    guarding = Gate(settings, Introspection(settings), clock, timer)
    known = {"active": True, **issuer.claims(SCOPE)}
    issuer.active["t"] = known
    assert isinstance(ask(guarding, "t")[0], Access)
    issuer.active.clear()
    clock.now -= 86_400
    timer.now += settings.introspection_seconds + 0.1
    assert ask(guarding, "t") == ["the token is not active"]
    issuer.active["t"] = known
    clock.now -= 86_400
    timer.now += 5.1
    assert isinstance(ask(guarding, "t")[0], Access)
    guarding.close()


ACTIVE: dict[str, tuple[dict[str, Any], str | None]] = {
    "active": ({"active": True}, None),
    "with everything": ({"active": True, "aud": ["https://pacs.example/fhir"], "exp": NOW + 36_000}, None),
    "inactive": ({"active": False}, "the token is not active"),
    "a text": ({"active": "true"}, "the token is not active"),
    "silent": ({}, "the token is not active"),
    "expired": ({"active": True, "exp": NOW - 120}, "the token has expired, or is not valid yet"),
    "not yet": ({"active": True, "nbf": NOW + 36_000}, "the token has expired, or is not valid yet"),
    "no time": ({"active": True, "exp": "soon"}, "the token's times are no numbers"),
    "another issuer": ({"active": True, "iss": "x"}, "the token is of another issuer"),
    "another audience": ({"active": True, "aud": "x"}, "the token is for another audience"),
    "other audiences": ({"active": True, "aud": ["x", 7, None]}, "the token is for another audience"),
    "no audience at all": ({"active": True, "aud": []}, "the token is for another audience"),
    "no word of an audience": (
        {"active": True, "aud": None},
        "the issuer does not say whom the token is for",
    ),
    "bound": ({"active": True, "cnf": {}}, "a token that is bound to a key is not taken as a bearer token"),
}


@pytest.mark.parametrize("case", ACTIVE)
def test_introspection(issuer: Issuer, case: str) -> None:
    """The issuer is asked with our credentials; only an active token that is for us is good."""
    claims, word = ACTIVE[case]
    issuer.active["opaque"] = {"scope": SCOPE, **claims}
    found = one(issuer, "opaque", introspection_url=f"{issuer.url}/introspect")
    assert found == (word or Access(frozenset({Right("ImagingStudy", "r")}), frozenset(), None))


@pytest.mark.parametrize(
    ("audience", "word"), [(None, None), (AUDIENCE, None), ("x", "the token is for another audience")]
)
def test_an_audience_may_be_left_out_where_that_is_allowed(
    issuer: Issuer, audience: str | None, word: str | None
) -> None:
    """Where the operator says so; one that is stated has to be ours all the same."""
    issuer.active["opaque"] = {"active": True, "scope": SCOPE, "aud": audience}
    more = {"introspection_url": f"{issuer.url}/introspect", "require_audience": False}
    found = one(issuer, "opaque", **more)
    assert found == (word or Access(frozenset({Right("ImagingStudy", "r")}), frozenset(), None))


@pytest.mark.parametrize(("line", "required"), [("", True), ("require_audience = false", False)])
def test_what_the_configuration_says_of_audiences(tmp_path: Path, line: str, required: bool) -> None:
    """They are asked for, unless it says otherwise."""
    file = tmp_path / "pacsbridge.toml"
    text = "[auth]\nissuer = 'https://a'\naudience = 'https://b'\njwks_url = 'https://a/keys'\n"
    file.write_text(text + line)
    access = wiring.access(config.load(file, {}))
    assert access is not None
    assert access.require_audience is required


def test_a_jwt_without_an_audience_is_never_good(issuer: Issuer) -> None:
    """Whatever is allowed for those that are asked about."""
    found = one(issuer, issuer.token(SCOPE, aud=None), require_audience=False)
    assert found == "the token lacks exp, iss or aud"


def test_introspection_is_remembered(issuer: Issuer) -> None:
    """Good and bad tokens are asked about once in a while."""
    issuer.active["good"] = {"active": True, "scope": SCOPE}
    guarding = gate(issuer.settings(introspection_url=f"{issuer.url}/introspect"))
    found = ask(guarding, "good", "bad", "good", "bad")
    assert found[0] == found[2] != found[1] == found[3]
    assert issuer.asked["/introspect"] == 2
    guarding.close()


@pytest.mark.parametrize("status", [401, 500, 302])
def test_introspection_that_fails(issuer: Issuer, status: int) -> None:
    """An issuer that does not answer has not said that the token is bad."""
    issuer.status = status
    assert one(issuer, "t", introspection_url=f"{issuer.url}/introspect") is Unavailable
