"""A small authorization server on loopback, with real keys: its JWKS, its introspection, its description."""

import json
import time
from base64 import b64encode, urlsafe_b64encode
from collections import Counter
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from loopback_http import LoopbackHttp

from pacsbridge.access.settings import AccessSettings

AUDIENCE = "https://pacs.example/fhir"
CLIENT, SECRET = "pacsbridge", "s:cret"
BASIC = "Basic " + b64encode(b"pacsbridge:s%3Acret").decode()

_RSA = rsa.generate_private_key(65537, 2048)
_EC = ec.generate_private_key(ec.SECP256R1())
OTHER = rsa.generate_private_key(65537, 2048)
WEAK = rsa.generate_private_key(65537, 1024)


class Issuer(LoopbackHttp):
    """`keys` is what it publishes, `active` what it says of tokens, `asked` counts requests by path.

    Of a token it says that it is for us, unless `active` has another `aud`, or None for none.

    `codes` are good once: a code → its S256 challenge (RFC 7636) and the token for it.
    `status` is what it answers with, `seconds` how late; `body` instead of what it should say.
    """

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = [public("r1", _RSA), public("e1", _EC)]
        self.active: dict[str, dict[str, Any]] = {}
        self.codes: dict[str, tuple[str, str]] = {}
        self.id_tokens: dict[str, str] = {}
        self.asked: Counter[str] = Counter()
        self.status = 200
        self.seconds = 0.0
        self.body: bytes | None = None
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.answer(self, b"")

            def do_POST(self) -> None:
                issuer.answer(self, self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *args: Any) -> None:
                pass

        super().__init__(Handler)

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        """Answer one request."""
        if request.path.startswith("/authorize?"):
            self._send_back(request, dict(parse_qsl(request.path.partition("?")[2])))
            return
        self.asked[request.path] += 1
        time.sleep(self.seconds)
        said = json.dumps(self._said(request, body)).encode() if self.body is None else self.body
        request.send_response(self.status)
        request.send_header("Content-Length", str(len(said)))
        request.send_header("Content-Type", "application/json")
        request.send_header("Access-Control-Allow-Origin", "*")
        request.end_headers()
        request.wfile.write(said)

    def _send_back(self, request: BaseHTTPRequestHandler, asked: dict[str, str]) -> None:
        """Whoever asks is known already: a code at once, for a token with the scopes asked for."""
        self.asked["/authorize"] += 1
        code = f"code-{self.asked['/authorize']}"
        self.codes[code] = asked["code_challenge"], self.token(asked["scope"])
        if "openid" in asked["scope"].split():
            more: dict[str, Any] = {"nonce": asked.get("nonce"), "sub": "somebody", "iat": int(time.time())}
            self.id_tokens[code] = self.token(aud=asked["client_id"], **more)
        request.send_response(302)
        back = urlencode({"code": code, "state": asked["state"]})
        request.send_header("Location", f"{asked['redirect_uri']}?{back}")
        request.send_header("Content-Length", "0")
        request.end_headers()

    def _said(self, request: BaseHTTPRequestHandler, body: bytes) -> dict[str, Any]:
        if request.path == "/jwks":
            return {"keys": self.keys}
        if request.path == "/introspect":
            assert request.headers["Authorization"] == BASIC
            told = self.active.get(parse_qs(body.decode())["token"][0], {"active": False})
            return {name: one for name, one in {"aud": AUDIENCE, **told}.items() if one is not None}
        if request.path == "/token":
            return self._exchanged({name: one for name, [one] in parse_qs(body.decode()).items()})
        return {
            "issuer": self.url,
            "token_endpoint": f"{self.url}/token",
            "authorization_endpoint": f"{self.url}/authorize",
            "code_challenge_methods_supported": ["S256"],
            "grant_types_supported": ["client_credentials"],
            "service_documentation": "not passed on",
        }

    def _exchanged(self, form: dict[str, str]) -> dict[str, Any]:
        """A token for a code whose verifier fits (RFC 7636 4.6)."""
        challenge, token = self.codes.pop(form.get("code", ""), ("", ""))
        digest = urlsafe_b64encode(sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        fits = form["grant_type"] == "authorization_code" and challenge == digest
        told = {
            "access_token": token,
            "token_type": "Bearer",
            "id_token": self.id_tokens.pop(form["code"], None),
        }
        return {name: one for name, one in told.items() if one} if fits else {"error": "invalid_grant"}

    def settings(self, **more: Any) -> AccessSettings:
        """The settings of a bridge that trusts this issuer."""
        ways = ("jwks_url", "jwks_file", "introspection_url")
        way = {} if any(name in more for name in ways) else {"jwks_url": f"{self.url}/jwks"}
        secrets = {"client_id": CLIENT, "client_secret": SECRET} if "introspection_url" in more else {}
        return AccessSettings(self.url, AUDIENCE, "http://fhir.example/fhir", **{**way, **secrets, **more})

    def claims(self, scope: str, **more: Any) -> dict[str, Any]:
        """Good claims; None takes one away."""
        now = int(time.time())
        found = {"iss": self.url, "aud": AUDIENCE, "exp": now + 300, "scope": scope, **more}
        return {name: value for name, value in found.items() if value is not None}

    def token(self, scope: str = "", *, by: str = "r1", **more: Any) -> str:
        """A good token."""
        keys: dict[str, tuple[Any, str]] = {"r1": (_RSA, "RS256"), "e1": (_EC, "ES256")}
        key, algorithm = keys[by]
        return jwt.encode(self.claims(scope, **more), key, algorithm, headers={"kid": by})

    def bearer(self, scope: str = "", **more: Any) -> dict[str, str]:
        """The header of a good token."""
        return {"Authorization": f"Bearer {self.token(scope, **more)}"}


def private() -> rsa.RSAPrivateKey:
    """The key that signs tokens of `r1`."""
    return _RSA


def public(kid: str, key: Any) -> dict[str, Any]:
    """The public half of a key, as a set of keys has it."""
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"}
