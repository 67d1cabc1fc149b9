"""What one key says about another, and what follows from the others where it is not given."""

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import NamedTuple
from urllib.parse import urlsplit

from pacsbridge.config.schema import Audit, Auth, Config, Endpoint, Source
from pacsbridge.errors import Misconfigured
from pacsbridge.kernel.publication import EndpointSpec, Publication

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 (recognised, not listened on)
_CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})
"""HTTP fields that let whoever reads them ask in our name."""

_PORTS = {"http": 80, "https": 443}


def faults_between(config: Config) -> Iterator[str]:
    """Every contradiction, in words that name the keys."""
    for check in _CHECKS:
        yield from check(config)


def with_derived(config: Config) -> Config:
    """The same with `fhir.base_url`, `dicomweb.base_url` and the services of peers filled in.

    So are the bytes of the watermark of `[blobs]`.
    """
    scheme = "http" if config.fhir.tls.certificate is None else "https"
    fhir = config.fhir.base_url or f"{scheme}://{_in_url(config.fhir.host)}:{config.fhir.port}/fhir"
    dicomweb = config.dicomweb.base_url or f"{fhir.removesuffix('/fhir')}/dicomweb"
    services = config.dimse.services
    peers = (
        replace(one, services=services if one.services is None else one.services) for one in config.peers
    )
    blobs, reject = config.blobs, config.blobs.reject_free_bytes
    return replace(
        config,
        blobs=replace(blobs, reject_free_bytes=2 * blobs.min_free_bytes if reject is None else reject),
        peers=tuple(peers),
        fhir=replace(config.fhir, base_url=fhir),
        dicomweb=replace(config.dicomweb, base_url=dicomweb),
    )


def endpoint_specs(config: Config) -> tuple[EndpointSpec, ...]:
    """The configured `[[endpoint]]` tables. Raises Misconfigured for what the kinds cannot see."""
    return _specs(config.endpoints)


def source_endpoint_specs(source: Source) -> tuple[EndpointSpec, ...]:
    """Those of one `[[source]]`: its own tables, else the archive itself. Raises Misconfigured likewise."""
    return _specs(source.endpoints) or (EndpointSpec(address=source.url),)


def _specs(tables: Iterable[Endpoint]) -> tuple[EndpointSpec, ...]:
    return tuple(EndpointSpec(**asdict(one)) for one in tables)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; a name counts as reachable, `localhost` aside."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class Exposure(NamedTuple):
    """A port that other machines reach although something is lacking; `excused`: there is a word for it."""

    port: str
    host: str
    lacks: Sequence[str]
    excused: bool

    @property
    def told(self) -> str:
        """What is the matter."""
        return f"{self.host} can be reached from other machines, and {' and '.join(self.lacks)}"


def exposures(config: Config) -> Iterator[Exposure]:
    """The ports of which a security officer would want to know."""
    ports = (
        ("dimse", config.dimse.host, list(_open_to_callers(config)), config.insecure_dimse),
        ("fhir", config.fhir.host, list(_open(config)), config.insecure_fhir),
    )
    for port, host, lacks, excused in ports:
        if lacks and not is_loopback(host):
            yield Exposure(port, host, lacks, excused)


def _exposed(config: Config) -> Iterator[str]:
    for one in exposures(config):
        if not one.excused:
            yield (
                f"{one.port}.host: {one.told}; listen on 127.0.0.1, or set {one.port}.allow_insecure_listen"
                " = true if the network in front is trusted"
            )


def _open_to_callers(config: Config) -> Iterator[str]:
    """What others on the network could do with the DIMSE port."""
    if config.dimse.tls.ca is None:
        yield "DIMSE callers don't authenticate (dimse.tls with ca)"


def _open(config: Config) -> Iterator[str]:
    """What others on the network could do with the HTTP port."""
    if not config.auth.on:
        yield "nobody has to authenticate ([auth])"
    if config.fhir.tls.certificate is None and not config.fhir.trusted_proxies:
        yield "nothing is encrypted (fhir.tls, fhir.trusted_proxies)"


def _without_name(config: Config) -> Iterator[str]:
    if config.fhir.host in _EVERYWHERE and not config.fhir.base_url:
        yield f"fhir.base_url must be given where fhir.host is {config.fhir.host}: links need a name"


def _without_port(config: Config) -> Iterator[str]:
    if config.fhir.port == 0 and not config.fhir.base_url:
        yield "fhir.base_url must be given where fhir.port is 0: links need a port"


def _same_port(config: Config) -> Iterator[str]:
    if config.dimse.port == config.fhir.port != 0:
        yield f"dimse.port and fhir.port are both {config.fhir.port}"


def _orders(config: Config) -> Iterator[str]:
    pairs = (
        ("fhir.default_count", config.fhir.default_count, "fhir.max_count", config.fhir.max_count),
        (
            "fhir.quiet_seconds",
            config.fhir.quiet_seconds,
            "fhir.max_wait_seconds",
            config.fhir.max_wait_seconds,
        ),
        ("dimse.max_pdu", config.dimse.max_pdu, "limits.pdu_bytes", config.limits.pdu_bytes),
        ("dimse.spool_bytes", config.dimse.spool_bytes, "limits.object_bytes", config.limits.object_bytes),
    )
    for low, small, high, large in pairs:
        if small > large:
            yield f"{low} ({small}) must not be above {high} ({large})"


def _unserved(config: Config) -> Iterator[str]:
    for peer in config.peers:
        if missing := sorted(set(peer.services or ()) - set(config.dimse.services)):
            yield f"peer {peer.ae_title}: {', '.join(missing)} is not among dimse.services"


def _peers_twice(config: Config) -> Iterator[str]:
    counts = Counter(peer.ae_title.strip() for peer in config.peers)
    for title, count in counts.items():
        if count > 1:
            yield f"peer {title}: the same ae_title stands in {count} [[peer]] tables"


def _password_of_a_file(config: Config) -> Iterator[str]:
    if config.store.password_file is not None and config.store.url == "sqlite":
        yield "store.password_file: SQLite has no password"


def _publication(config: Config) -> Iterator[str]:
    fhir = config.fhir
    try:
        endpoint_specs(config)
        Publication(procedure_reference=fhir.procedure_reference, reason_reference=fhir.reason_reference)
    except Misconfigured as exc:
        yield str(exc)


def _sources_twice(config: Config) -> Iterator[str]:
    names = Counter(source.name for source in config.sources)
    for name, count in names.items():
        if count > 1:
            yield f"source {name}: the same name stands in {count} [[source]] tables"
    first: dict[tuple[str, ...], str] = {}
    for source in config.sources:
        if (other := first.setdefault(_place(source.url), source.name)) != source.name:
            yield f"source {source.name}: its url {source.url} is that of source {other}"


def _place(url: str) -> tuple[str, ...]:
    """What is the same for two ways of writing one URL."""
    parts = urlsplit(url)
    return parts.scheme, str(parts.hostname), str(parts.port or _PORTS[parts.scheme]), parts.path


def _sources(config: Config) -> Iterator[str]:
    for source in config.sources:
        for check in _SOURCE_CHECKS:
            yield from (f"source {source.name}: {fault}" for fault in check(source))


def _authentications(source: Source) -> list[str]:
    """The kinds of authentication that are configured, each by the key that asks for it."""
    asked = {
        "headers (Authorization)": any(name.lower() == "authorization" for name in source.headers),
        "username": source.username is not None,
        "bearer_token_file": source.bearer_token_file is not None,
        "oauth2_token_url": source.oauth2_token_url is not None,
    }
    return [key for key, given in asked.items() if given]


def _one_authentication(source: Source) -> Iterator[str]:
    if len(given := _authentications(source)) > 1:
        yield f"{' and '.join(given)} are kinds of authentication of which one can be used"


def _basic(source: Source) -> Iterator[str]:
    passwords = [source.password, source.password_file]
    if None not in passwords:
        yield "password and password_file are both given"
    elif source.username is not None and passwords == [None, None]:
        yield "username needs password or password_file"
    elif source.username is None and passwords != [None, None]:
        yield "password needs username" if source.password else "password_file needs username"


def _oauth2(source: Source) -> Iterator[str]:
    needed = {
        "oauth2_token_url": source.oauth2_token_url,
        "oauth2_client_id": source.oauth2_client_id,
        "oauth2_client_secret_file": source.oauth2_client_secret_file,
    }
    given = {"oauth2_scope": source.oauth2_scope, **needed}
    missing = [key for key, value in needed.items() if value is None]
    if missing and (first := next((key for key, value in given.items() if value is not None), None)):
        yield f"{first} needs {' and '.join(missing)}"


def _tls(source: Source) -> Iterator[str]:
    if source.key is not None and source.certificate is None:
        yield "key needs certificate"
    if source.ca is not None and not source.verify_tls:
        yield "ca says nothing where verify_tls is false"


def _in_the_clear(source: Source) -> Iterator[str]:
    """Credentials go to `url`, those of OAuth 2 to the token server before."""
    if source.allow_plain_http:
        return
    secret_fields = [name for name in source.headers if name.lower() in _CREDENTIALS]
    if _is_readable(source.url) and (_authentications(source) or secret_fields):
        yield _without_tls("url", source.url)
    if source.oauth2_token_url is not None and _is_readable(source.oauth2_token_url):
        yield _without_tls("oauth2_token_url", source.oauth2_token_url)


def _is_readable(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(str(parts.hostname))


def _without_tls(key: str, url: str) -> str:
    return (
        f"{key}: {url} would get credentials over http, where others may read along; "
        "use https, or set allow_plain_http = true if the network between is trusted"
    )


def _source_endpoints(source: Source) -> Iterator[str]:
    try:
        source_endpoint_specs(source)
    except Misconfigured as exc:
        yield str(exc)


def _own_tls(config: Config) -> Iterator[str]:
    for name, tls in (("fhir.tls", config.fhir.tls), ("dimse.tls", config.dimse.tls)):
        if (tls.certificate is None) != (tls.key is None):
            yield f"{name}: certificate and key are given together"
        if tls.ca is not None and tls.certificate is None:
            yield f"{name}.ca needs {name}.certificate"
        if tls.crl is not None and tls.ca is None:
            yield f"{name}.crl needs {name}.ca, the authorities whose lists it holds"


def _known_by_certificates(config: Config) -> Iterator[str]:
    """What a peer may show is looked at only where it has to show one."""
    for peer in config.peers:
        if peer.certificates and config.dimse.tls.ca is None:
            yield f"peer {peer.ae_title}: certificates need dimse.tls.ca, without which callers show none"


def _auth(config: Config) -> Iterator[str]:
    """One way to verify tokens, and what it needs."""
    auth = config.auth
    ways = [name for name in _WAYS if getattr(auth, name) is not None]
    if len(ways) > 1:
        yield f"auth: {' and '.join(ways)} are ways to verify tokens of which one can be used"
    if not ways and auth != Auth():
        yield f"auth: one of {', '.join(_WAYS)} must say how tokens are verified"
    if ways:
        needed = ("issuer", "audience", *(_OF_INTROSPECTION if auth.introspection_url else ()))
        yield from (f"auth.{ways[0]} needs auth.{name}" for name in needed if getattr(auth, name) is None)
    if not auth.algorithms:
        yield "auth.algorithms: without any no token is good"


_WAYS = ("jwks_url", "jwks_file", "introspection_url")
_OF_INTROSPECTION = ("client_id", "client_secret_file")


def _auth_in_the_clear(config: Config) -> Iterator[str]:
    """Whoever can change keys on their way can sign tokens."""
    if config.auth.allow_plain_http:
        return
    for name in ("issuer", "jwks_url", "introspection_url", "authorization_endpoint", "token_endpoint"):
        url = getattr(config.auth, name)
        if url is not None and _is_readable(url):
            yield (
                f"auth.{name}: {url} is http, where others may meddle; use https, or set "
                "auth.allow_plain_http = true if the network between is trusted"
            )


def _audit(config: Config) -> Iterator[str]:
    audit = config.audit
    syslog = (audit.syslog_ca, audit.syslog_crl, audit.syslog_certificate, audit.syslog_key)
    if any(syslog) and not str(audit.syslog_url).startswith("tls:"):
        yield "audit.syslog_ca, syslog_crl, syslog_certificate and syslog_key are for a syslog_url of tls://"
    if audit.syslog_crl is not None and audit.syslog_ca is None:
        yield "audit.syslog_crl needs audit.syslog_ca, the authorities whose lists it holds"
    if audit.syslog_key is not None and audit.syslog_certificate is None:
        yield "audit.syslog_key needs audit.syslog_certificate"
    yield from _audit_repository(audit)


def _audit_repository(audit: Audit) -> Iterator[str]:
    """How the FHIR server that audit events go to is asked."""
    if (audit.fhir_username is None) != (audit.fhir_password_file is None):
        yield "audit.fhir_username and audit.fhir_password_file are given together"
    credentials = (audit.fhir_username, audit.fhir_bearer_token_file)
    if None not in credentials:
        yield "audit.fhir_username and audit.fhir_bearer_token_file: one kind of authentication can be used"
    if any((*credentials, audit.fhir_ca)) and audit.fhir_url is None:
        yield "audit: what is said of the FHIR server needs audit.fhir_url"
    if any(credentials) and audit.fhir_url is not None and _is_readable(audit.fhir_url):
        yield f"audit.fhir_url: {audit.fhir_url} would get credentials over http, where others may read along"


_SOURCE_CHECKS: tuple[Callable[[Source], Iterator[str]], ...] = (
    _one_authentication,
    _basic,
    _oauth2,
    _tls,
    _in_the_clear,
    _source_endpoints,
)

_CHECKS: tuple[Callable[[Config], Iterator[str]], ...] = (
    _exposed,
    _own_tls,
    _known_by_certificates,
    _auth,
    _auth_in_the_clear,
    _without_name,
    _without_port,
    _same_port,
    _orders,
    _unserved,
    _peers_twice,
    _sources_twice,
    _sources,
    _password_of_a_file,
    _publication,
    _audit,
)
