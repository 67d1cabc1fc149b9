"""Bearer tokens that only their issuer can read: it is asked about them (RFC 7662)."""

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from pacsbridge.access.keys import remote_settings
from pacsbridge.access.settings import AccessSettings
from pacsbridge.errors import BadAnswer, Unauthenticated, Unavailable
from pacsbridge.remote.auth import basic
from pacsbridge.remote.outcomes import Answer
from pacsbridge.remote.transport import Transport


class Introspection:
    """Asks about tokens; every question blocks."""

    def __init__(self, settings: AccessSettings) -> None:
        self._settings = settings
        self._url = settings.introspection_url or ""
        self._transport = Transport(remote_settings(self._url, settings))
        self._headers = {
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
            "Authorization": basic(
                quote(settings.client_id or "", safe=""), quote(settings.client_secret or "", safe="")
            ),
        }

    def ready(self, _token: str) -> bool:
        """Never: the answer is somewhere else."""
        return False

    def prepare(self, _token: str) -> None:
        """There is nothing to fetch beforehand."""

    def claims(self, token: str) -> Mapping[str, Any]:
        """What the issuer says of an active token. Raises Unauthenticated, Unavailable."""
        body = urlencode({"token": token, "token_type_hint": "access_token"}).encode()
        try:
            answer = self._transport.send("POST", self._url, self._headers, body)
        except BadAnswer as exc:
            raise Unavailable(f"introspection: {exc}") from exc
        claims = _claims(answer)
        if claims.get("active") is not True:
            raise Unauthenticated("the token is not active")
        self._check(claims)
        return claims

    def _check(self, claims: Mapping[str, Any]) -> None:
        """What is stated has to fit; RFC 7662 2.2 asks the issuer for no more than `active`.

        Without an end a token is believed as long as any answer is; for an audience see `require_audience`.
        """
        now, leeway = time.time(), self._settings.leeway_seconds
        if not _number(claims.get("nbf", 0)) - leeway <= now < _number(claims.get("exp", now + 1)) + leeway:
            raise Unauthenticated("the token has expired, or is not valid yet")
        if claims.get("iss", self._settings.issuer) != self._settings.issuer:
            raise Unauthenticated("the token is of another issuer")
        if self._settings.require_audience and "aud" not in claims:
            raise Unauthenticated("the issuer does not say whom the token is for")
        audience = claims.get("aud", self._settings.audience)
        if self._settings.audience not in (audience if isinstance(audience, list) else [audience]):
            raise Unauthenticated("the token is for another audience")


def _claims(answer: Answer) -> Mapping[str, Any]:
    if answer.status != 200:
        raise Unavailable(f"introspection: HTTP {answer.status}")
    try:
        claims = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        claims = None
    if not isinstance(claims, dict):
        raise Unavailable("introspection: the answer is no JSON object")
    return claims


def _number(given: object) -> float:
    if isinstance(given, int | float) and not isinstance(given, bool):
        return float(given)
    raise Unauthenticated("the token's times are no numbers")
