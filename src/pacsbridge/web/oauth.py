"""Signing in at the issuer of tokens: the authorization code grant with PKCE (RFC 6749 4.1, RFC 7636).

Nothing is kept here of sign-ins under way, so that nobody who begins many of them pushes out those of others:
a state says itself how long it is good, is sealed, and its code verifier is made of it by a secret of ours.
"""

import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from secrets import token_bytes, token_urlsafe
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import orjson

from pacsbridge.access.keys import remote_settings
from pacsbridge.access.settings import AccessSettings
from pacsbridge.access.smart import Smart
from pacsbridge.errors import BadAnswer, NotUnderstood, Unauthenticated, Unavailable
from pacsbridge.remote.auth import basic
from pacsbridge.remote.outcomes import Answer
from pacsbridge.remote.transport import Transport

PATH = "/login/done"
"""Where the issuer sends the browser back to."""

SECONDS = 600
"""How long a sign-in may be under way."""


class Begun(NamedTuple):
    """A sign-in under way: where the browser goes, and the state that it brings back."""

    url: str
    state: str


class CodeFlow:
    """Sends browsers to the issuer and turns the codes they come back with into tokens; its methods block."""

    def __init__(
        self,
        settings: AccessSettings,
        scopes: str,
        origin: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._scopes = scopes
        self._redirect = origin + PATH
        self._smart = Smart(settings)
        self._clock = clock
        self._key = token_bytes(32)

    def begin(self) -> Begun:
        """Where to sign in. Raises Unavailable where the issuer does not say."""
        url = self._endpoint("authorization_endpoint")
        state = self._state()
        asked = {
            "response_type": "code",
            "client_id": self._settings.client_id or "",
            "redirect_uri": self._redirect,
            "scope": self._scopes,
            "state": state,
            "aud": self._settings.base_url,
            "code_challenge": _challenge(self._verifier(state)),
            "code_challenge_method": "S256",
        }
        return Begun(f"{url}{'&' if '?' in url else '?'}{urlencode(asked)}", state)

    def check(self, state: str) -> None:
        """Raises NotUnderstood unless a state is one of ours, and not too old."""
        named, _, seal = state.rpartition(".")
        ours = hmac.compare_digest(self._secret("state", named).encode(), seal.encode(errors="replace"))
        if not ours or self._clock() >= int(named.partition(".")[0]):
            raise NotUnderstood("this sign-in is not known here any more: sign in again")

    def finish(self, state: str, code: str) -> str:
        """The token for a code of a sign-in with a good state. Raises Unauthenticated, Unavailable."""
        return self._exchange(code, self._verifier(state))

    def _state(self) -> str:
        named = f"{int(self._clock()) + SECONDS}.{token_urlsafe(32)}"
        return f"{named}.{self._secret('state', named)}"

    def _verifier(self, state: str) -> str:
        """RFC 7636 4.1."""
        return self._secret("verifier", state)

    def _secret(self, use: str, text: str) -> str:
        """43 characters that nobody else can make of a text."""
        made = hmac.new(self._key, f"{use}:{text}".encode(errors="replace"), sha256).digest()
        return urlsafe_b64encode(made).rstrip(b"=").decode()

    def _exchange(self, code: str, verifier: str) -> str:
        url = self._endpoint("token_endpoint")
        settings = self._settings
        sent = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect,
            "client_id": settings.client_id or "",
            "code_verifier": verifier,
        }
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        if settings.client_secret is not None:
            headers["Authorization"] = basic(
                quote(settings.client_id or "", safe=""), quote(settings.client_secret, safe="")
            )
        try:
            transport = Transport(remote_settings(url, settings))
            answer = transport.send("POST", url, headers, urlencode(sent).encode())
        except BadAnswer as exc:
            raise Unavailable(f"the issuer of tokens: {exc}") from exc
        return _token(answer)

    def _endpoint(self, name: str) -> str:
        found = self._smart.configuration().get(name)
        if not isinstance(found, str):
            raise Unavailable(f"the issuer does not say its {name}")
        return found


def _challenge(verifier: str) -> str:
    """RFC 7636 4.2, S256."""
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _token(answer: Answer) -> str:
    """The access token of an answer (RFC 6749 5.1)."""
    found: Mapping[str, Any] = {}
    try:
        document = orjson.loads(answer.body)
        found = document if isinstance(document, dict) else {}
    except orjson.JSONDecodeError:
        pass
    token = found.get("access_token")
    if answer.status != 200 or not isinstance(token, str):
        raise Unauthenticated("the issuer has given no token for this sign-in", invalid=False)
    if str(found.get("token_type", "")).lower() != "bearer":
        raise Unauthenticated("the issuer's token is no bearer token", invalid=False)
    return token
