"""What apps are told about tokens (SMART App Launch 2.0, "conformance"): only what is so.

Where people log in and tokens are given out stands in the configuration, or the issuer says it itself
(OpenID Connect Discovery 1.0, 4).
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
import structlog

from pacsbridge.access.keys import remote_settings
from pacsbridge.access.scopes import supported
from pacsbridge.access.settings import AccessSettings
from pacsbridge.errors import BadAnswer, Misconfigured, PacsbridgeError
from pacsbridge.remote.client import JSON, Client, origin_of

_AGAIN_SECONDS = 3600.0
_SOON_SECONDS = 60.0
"""When the issuer is asked again: after an answer, and after none."""

_TEXTS = (
    "authorization_endpoint",
    "token_endpoint",
    "jwks_uri",
    "revocation_endpoint",
    "registration_endpoint",
)
_LISTS = (
    "grant_types_supported",
    "response_types_supported",
    "code_challenge_methods_supported",
    "token_endpoint_auth_methods_supported",
)
"""What is passed on of the issuer's own words."""

_CAPABILITIES = ("permission-patient", "permission-user", "permission-v1", "permission-v2")
"""What this server does itself; launches and kinds of clients are the issuer's."""

_CODING = {
    "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
    "code": "SMART-on-FHIR",
}
_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"

_log = structlog.get_logger("pacsbridge.access")


class Smart:
    """The description of who gives out tokens."""

    def __init__(self, settings: AccessSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._told: Mapping[str, Any] = {}
        self._again = float("-inf")

    def configuration(self) -> dict[str, Any]:
        """The document `.well-known/smart-configuration`; blocks while the issuer is asked."""
        settings = self._settings
        own = {
            "issuer": settings.issuer,
            "jwks_uri": settings.jwks_url,
            "authorization_endpoint": settings.authorization_endpoint,
            "token_endpoint": settings.token_endpoint,
            "introspection_endpoint": settings.introspection_url,
        }
        return {
            **self._discovered(),
            **{name: text for name, text in own.items() if text is not None},
            "scopes_supported": supported(),
            "capabilities": list(_CAPABILITIES),
        }

    def security(self) -> dict[str, Any]:
        """CapabilityStatement.rest.security, with what the configuration says of endpoints."""
        settings = self._settings
        found = {"service": [{"coding": [_CODING], "text": "bearer tokens with SMART scopes"}]}
        uris = {"authorize": settings.authorization_endpoint, "token": settings.token_endpoint}
        given = [{"url": name, "valueUri": uri} for name, uri in uris.items() if uri is not None]
        if settings.token_endpoint is not None:
            return {"extension": [{"url": _OAUTH_URIS, "extension": given}], **found}
        return found

    def _discovered(self) -> Mapping[str, Any]:
        """What the issuer says, as far as it is understood; nothing where it cannot be asked."""
        with self._lock:
            if self._clock() >= self._again:
                try:
                    self._told = discovered(self._settings)
                    self._again = self._clock() + _AGAIN_SECONDS
                except PacsbridgeError as exc:
                    _log.warning("issuer not described", reason=str(exc))
                    self._again = self._clock() + _SOON_SECONDS
            return self._told


def discovered(settings: AccessSettings) -> Mapping[str, Any]:
    """What the issuer says of itself. Raises Unavailable, BadAnswer."""
    if not settings.issuer.startswith(("https://", "http://")):
        return {}
    url = settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
    try:
        client = Client(remote_settings(url, settings))
        document = orjson.loads(client.get(url, accept=JSON).body)
    except (orjson.JSONDecodeError, Misconfigured, ValueError) as exc:
        raise BadAnswer("the issuer's description cannot be read") from exc
    if not isinstance(document, dict) or document.get("issuer") != settings.issuer:
        raise BadAnswer("the issuer's description is of another issuer")
    lists = {name: document[name] for name in _LISTS if _is_list(document.get(name))}
    return {**_endpoints(document, settings), **lists}


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and all(isinstance(one, str) for one in value)


def _endpoints(document: Mapping[str, Any], settings: AccessSettings) -> Mapping[str, str]:
    """The endpoints that a description names and the settings do not, as far as they are fit."""
    found: dict[str, str] = {}
    for name in _TEXTS:
        url = document.get(name)
        if not isinstance(url, str) or getattr(settings, name, None) is not None:
            continue
        why = _unfit(name, url, settings.issuer)
        if why is None:
            found[name] = url
        else:
            _log.warning("endpoint not taken", reason=f"the issuer's {name}: {why}")
    return found


def _unfit(name: str, url: str, issuer: str) -> str | None:
    """Why an endpoint is not taken: what is sent there could be read on the way, or is for the issuer alone.

    The configuration lets an issuer be asked by http only on loopback, or where it allows that.
    """
    try:
        there, own = origin_of(url), origin_of(issuer)
    except ValueError:
        return "no URL"
    if not there.host or there.scheme not in ("https", own.scheme):
        return "not https"
    if name == "token_endpoint" and there != own:
        return "elsewhere than the issuer; should that be right, name it as auth.token_endpoint"
    return None
