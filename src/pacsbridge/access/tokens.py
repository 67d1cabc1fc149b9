"""Bearer tokens that carry their own proof: JWTs of a trusted issuer (RFC 7519, RFC 8725, RFC 9068)."""

from collections.abc import Mapping
from typing import Any

import jwt

from pacsbridge.access.keys import KeyRing
from pacsbridge.access.settings import AccessSettings
from pacsbridge.errors import Unauthenticated

Claims = Mapping[str, Any]

_REQUIRED = ["exp", "iss", "aud"]

_WORDS: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "the token has expired"),
    (jwt.ImmatureSignatureError, "the token is not valid yet"),
    (jwt.InvalidIssuerError, "the token is of another issuer"),
    (jwt.InvalidAudienceError, "the token is for another audience"),
    (jwt.MissingRequiredClaimError, "the token lacks exp, iss or aud"),
    (jwt.InvalidSignatureError, "the token's signature is wrong"),
)
"""The library's errors in our words: its own may quote the token."""


class Jwts:
    """Verifies tokens by the keys of their issuer."""

    def __init__(self, settings: AccessSettings, keys: KeyRing) -> None:
        self._settings = settings
        self._keys = keys

    def ready(self, token: str) -> bool:
        """Whether `claims` can be had without waiting. Raises Unauthenticated."""
        return self._keys.ready(_kid(_head(token)))

    def prepare(self, _token: str) -> None:
        """Look for newer keys; blocks."""
        self._keys.refresh()

    def claims(self, token: str) -> Claims:
        """What a good token says. Raises Unauthenticated, and Unavailable where no keys are to be had."""
        head = _head(token)
        key = self._keys.of(_kid(head))
        if key is None:
            raise Unauthenticated("the token's key is not known")
        if head.get("alg") not in key.algorithms:
            raise Unauthenticated("the token's algorithm is not allowed")
        try:
            found: Claims = jwt.decode(
                token,
                key.public,
                algorithms=[str(head["alg"])],
                issuer=self._settings.issuer,
                audience=self._settings.audience,
                leeway=self._settings.leeway_seconds,
                options={"require": _REQUIRED},
            )
        except Exception as exc:
            raise Unauthenticated(_word(exc)) from None
        return found


def _head(token: str) -> Mapping[str, Any]:
    """The header, which nothing has verified yet."""
    try:
        return jwt.get_unverified_header(token)
    except Exception:
        raise Unauthenticated("the token cannot be read") from None


def _kid(head: Mapping[str, Any]) -> str | None:
    kid = head.get("kid")
    return None if kid is None else str(kid)


def _word(exc: Exception) -> str:
    return next((word for kind, word in _WORDS if isinstance(exc, kind)), "the token cannot be verified")
