"""What one key says about another, and what follows from the others where it is not given."""

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace

from pacsbridge.config.schema import Config
from pacsbridge.errors import Misconfigured
from pacsbridge.kernel.publication import EndpointSpec, Publication

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 (recognised, not listened on)


def faults_between(config: Config) -> Iterator[str]:
    """Every contradiction, in words that name the keys."""
    for check in _CHECKS:
        yield from check(config)


def with_derived(config: Config) -> Config:
    """The same with `fhir.base_url` and `dicomweb.base_url` filled in."""
    fhir = config.fhir.base_url or f"http://{_in_url(config.fhir.host)}:{config.fhir.port}/fhir"
    dicomweb = config.dicomweb.base_url or f"{fhir.removesuffix('/fhir')}/dicomweb"
    return replace(
        config,
        fhir=replace(config.fhir, base_url=fhir),
        dicomweb=replace(config.dicomweb, base_url=dicomweb),
    )


def endpoint_specs(config: Config) -> tuple[EndpointSpec, ...]:
    """The configured `[[endpoint]]` tables. Raises Misconfigured for what the kinds cannot see."""
    return tuple(EndpointSpec(**asdict(one)) for one in config.endpoints)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; a name counts as reachable, `localhost` aside."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _exposed(config: Config) -> Iterator[str]:
    if config.allow_insecure_listen:
        return
    for name, host in (("dimse.host", config.dimse.host), ("fhir.host", config.fhir.host)):
        if not is_loopback(host):
            yield (
                f"{name}: {host} can be reached from other machines, and nobody has to authenticate; "
                "listen on 127.0.0.1, or set allow_insecure_listen = true if the network in front is trusted"
            )


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
        if missing := sorted(set(peer.services) - set(config.dimse.services)):
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


_CHECKS: tuple[Callable[[Config], Iterator[str]], ...] = (
    _exposed,
    _without_name,
    _without_port,
    _same_port,
    _orders,
    _unserved,
    _peers_twice,
    _password_of_a_file,
    _publication,
)
