"""The keys of HTTP access: TLS and tokens; part of the table of `schema`."""

from dataclasses import dataclass
from pathlib import Path

from pacsbridge.access.settings import ALGORITHMS
from pacsbridge.config import kinds
from pacsbridge.config.table import key


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTls:
    """TLS on the HTTP port; without a certificate there is none."""

    certificate: Path | None = key(
        kinds.PATH, None, "Our certificate and those between it and its authority, in PEM.", example="tls.pem"
    )
    ca: Path | None = key(
        kinds.PATH,
        None,
        "The authorities of client certificates, which every client then needs.",
        example="clients.pem",
    )
    crl: Path | None = key(
        kinds.PATH,
        None,
        "Their revocation lists, in PEM: refused is what is on one, and all of an authority without one.",
        example="clients.crl.pem",
    )
    key: Path | None = key(kinds.PATH, None, "The key of our certificate, in PEM.", example="tls.key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """Who may use HTTP: bearer tokens with SMART scopes. With none of the first three keys anybody may."""

    jwks_url: str | None = key(
        kinds.URL,
        None,
        "Where the keys are that sign tokens,",
        example="https://login.example/jwks.json",
    )
    jwks_file: Path | None = key(kinds.PATH, None, "or the file of them,", example="jwks.json")
    introspection_url: str | None = key(
        kinds.URL,
        None,
        "or where tokens are asked about (RFC 7662).",
        example="https://login.example/introspect",
    )
    client_id: str | None = key(
        kinds.TEXT,
        None,
        "Our name when people sign in for the pages, and when we ask about tokens,",
        example="pacsbridge",
    )
    client_secret_file: Path | None = key(
        kinds.PATH, None, "and the file with our secret.", example="/run/secrets/introspection"
    )
    issuer: str | None = key(
        kinds.TEXT, None, "The `iss` of tokens that are taken.", example="https://login.example"
    )
    audience: str | None = key(
        kinds.TEXT, None, "The `aud` that they must have.", example="https://pacs.example/fhir"
    )
    require_audience: bool = key(
        kinds.FLAG,
        True,
        "Refuse also those whose `aud` an issuer that is asked about them leaves out. JWTs always need one.",
    )
    algorithms: tuple[str, ...] = key(
        kinds.list_of(kinds.choice(*ALGORITHMS), "signature algorithms"),
        ALGORITHMS,
        "How they may be signed; a shared secret is no way.",
    )
    leeway_seconds: float = key(kinds.number(0, 60), 30.0, "How far the issuer's clock may be from ours.")
    patient_claim: str = key(
        kinds.TEXT, "patient", "The claim that names the Patient of `patient/` scopes, by its id."
    )
    token_seconds: float = key(
        kinds.number(0, 3600), 300.0, "How long a verified token is believed without looking again,"
    )
    introspection_seconds: float = key(kinds.number(0, 300), 30.0, "and how long where it was asked about.")
    jwks_seconds: float = key(kinds.number(1, 86400), 600.0, "How old keys may be until they are looked for,")
    jwks_stale_seconds: float = key(kinds.number(1, 604800), 86400.0, "and how old while they cannot be had.")
    authorization_endpoint: str | None = key(
        kinds.URL,
        None,
        "Where apps send people to log in; told in /fhir/.well-known/smart-configuration.",
        example="https://login.example/authorize",
        derived="what the issuer's own .well-known/openid-configuration says",
    )
    token_endpoint: str | None = key(
        kinds.URL,
        None,
        "Where apps get their tokens, likewise.",
        example="https://login.example/token",
        derived="likewise",
    )
    ca: Path | None = key(
        kinds.PATH,
        None,
        "The authorities that sign the certificate of whom we ask.",
        example="authority.pem",
        derived="those that are commonly trusted",
    )
    allow_plain_http: bool = key(
        kinds.FLAG, False, "Get keys and ask about tokens over http beyond loopback, where others may meddle."
    )

    @property
    def on(self) -> bool:
        """Whether callers need a token."""
        return any(one is not None for one in (self.jwks_url, self.jwks_file, self.introspection_url))
