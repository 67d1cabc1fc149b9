"""How callers are known, as one value."""

from dataclasses import dataclass, field
from pathlib import Path

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")
"""Signatures by key pairs (RFC 7518 3.1). What has a shared secret, or none, is not among them."""


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """Exactly one of `jwks_url`, `jwks_file` and `introspection_url` says how tokens are verified.

    `token_seconds` is how long a verified token is believed without looking again (`introspection_seconds`
    where it was asked about), `jwks_seconds` how old keys may be before they are fetched again, and
    `jwks_stale_seconds` how old while they cannot be. `patient_base`: the FHIR base of Patient references
    that are not our own. `base_url` is that of the FHIR API. `require_audience`: whether the issuer must say
    whom a token is for that it is asked about, as a JWT always has to.
    """

    issuer: str
    audience: str
    base_url: str
    jwks_url: str | None = None
    jwks_file: Path | None = None
    introspection_url: str | None = None
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    algorithms: tuple[str, ...] = ALGORITHMS
    leeway_seconds: float = 30.0
    require_audience: bool = True
    patient_claim: str = "patient"
    patient_base: str = ""
    token_seconds: float = 300.0
    introspection_seconds: float = 30.0
    jwks_seconds: float = 600.0
    jwks_stale_seconds: float = 86_400.0
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    verify: bool | Path = True
