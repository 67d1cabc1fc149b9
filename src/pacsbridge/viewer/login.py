"""Signing in from the viewer: what OHIF's OpenID Connect client is told of the issuer of tokens.

The viewer is a public client (RFC 6749 2.1) that asks for a code with PKCE (RFC 7636); its tokens stay in the
browser, which sends them to DICOMweb on the viewer's own origin.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from pacsbridge.errors import Misconfigured

_SCOPES = "openid user/ImagingStudy.rs"
_NEEDED = ("issuer", "authorization_endpoint", "token_endpoint")
_PASSED_ON = (*_NEEDED, "end_session_endpoint", "jwks_uri", "userinfo_endpoint")


class Login(NamedTuple):
    """An issuer as it describes itself (OpenID Connect Discovery 3), our name there, the API asked for."""

    metadata: Mapping[str, str]
    client_id: str
    audience: str

    @property
    def settings(self) -> Mapping[str, object]:
        """What OHIF's client needs besides the addresses of its own pages."""
        return {
            "authority": self.metadata["issuer"],
            "metadata": self.metadata,
            "client_id": self.client_id,
            "response_type": "code",
            "scope": _SCOPES,
            "extraQueryParams": {"aud": self.audience},
            "revokeAccessTokenOnSignout": False,
        }

    @property
    def origins(self) -> Sequence[str]:
        """Whom the viewer's pages may ask besides their own origin: where tokens are got."""
        parts = urlsplit(self.metadata["token_endpoint"])
        return (f"{parts.scheme}://{parts.netloc}",)


def login(configuration: Mapping[str, object], client_id: str, audience: str) -> Login:
    """From the issuer's description. Raises Misconfigured where it lacks what signing in takes."""
    found = {name: text for name in _PASSED_ON if isinstance(text := configuration.get(name), str)}
    for name in _NEEDED:
        if name not in found:
            raise Misconfigured(
                f"auth.{name}: the viewer needs it to sign people in, and the issuer does not say"
            )
    return Login(found, client_id, audience)
