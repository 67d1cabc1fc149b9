"""The certificates of a configuration: which files it names, and the TLS that is made of them."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pacsbridge.config import Config
from pacsbridge.config.dimse import Peer
from pacsbridge.config.sources import Source
from pacsbridge.tls import contexts
from pacsbridge.tls.certificates import Identity, ListPlace, Place, certificates, check_key
from pacsbridge.tls.contexts import Files, Renewable
from pacsbridge.tls.revocation import revocations


@dataclass(frozen=True, slots=True)
class Secured:
    """TLS of everything that runs: of the DIMSE port, of the HTTP port, with each peer that is called by it.

    None: without TLS.
    """

    dimse: Renewable | None = None
    http: Renewable | None = None
    peers: dict[str, Renewable] = field(default_factory=dict)

    @property
    def contexts(self) -> list[Renewable]:
        """All of them."""
        listening = (one for one in (self.dimse, self.http) if one is not None)
        return [*listening, *set(self.peers.values())]


def secured(settings: Config) -> Secured:
    """TLS of a configuration. Raises Misconfigured, for files of other tables too."""
    for files in _others(settings):
        _check(files)
    return Secured(dimse_tls(settings), http_tls(settings), _calling(settings))


def _calling(settings: Config) -> dict[str, Renewable]:
    """By AE title; peers that are known by the same certificates share what they are called by."""
    made: dict[tuple[str, ...], Renewable] = {}
    found = {}
    for peer in settings.peers:
        if peer.tls:
            found[peer.ae_title] = made.get(peer.certificates) or calling_tls(settings, peer)
            made[peer.certificates] = found[peer.ae_title]
    return found


def dimse_tls(settings: Config) -> Renewable | None:
    """TLS of the DIMSE port (PS3.15 B.12); None: there is none. Raises Misconfigured."""
    return _listening("dimse", _dimse_files(settings))


def http_tls(settings: Config) -> Renewable | None:
    """TLS of the HTTP port; None: there is none. Raises Misconfigured."""
    return _listening("http", _http_files(settings))


def _listening(use: str, files: Files) -> Renewable | None:
    return None if files.own is None else Renewable(use, files, partial(contexts.server, files))


def calling_tls(settings: Config, peer: Peer) -> Renewable:
    """TLS with a peer that we call. Raises Misconfigured.

    It has to show a certificate for the host that is called, where `dimse.tls.match_names` does not say
    otherwise, or one of those that it is known by.
    """
    files, names = _dimse_files(settings), settings.dimse.tls.match_names
    make = partial(contexts.client, files, names=names, pins=frozenset(peer.certificates))
    return Renewable("calling", files, make)


def syslog_tls(settings: Config) -> ssl.SSLContext:
    """TLS with the receiver of audit messages. Raises Misconfigured."""
    return contexts.client(_syslog_files(settings))


def check_source(source: Source) -> None:
    """Whether the files of an archive can be used. Raises Misconfigured."""
    _check(_source_files(source))


def all_files(settings: Config) -> Iterator[Files]:
    """Every certificate, key and revocation list that the configuration names."""
    yield _dimse_files(settings)
    yield _http_files(settings)
    yield from _others(settings)


def places(settings: Config) -> list[Place]:
    """Every file of certificates and of revocation lists among them."""
    return [place for files in all_files(settings) for place in files.places]


def _others(settings: Config) -> Iterator[Files]:
    """The files of what calls by HTTP and syslog: they are opened anew for each connection."""
    yield _syslog_files(settings)
    for key, path in (("audit.fhir_ca", settings.audit.fhir_ca), ("auth.ca", settings.auth.ca)):
        yield Files(trusted=_trusted(key, path))
    for source in settings.sources:
        yield _source_files(source)


def _dimse_files(settings: Config) -> Files:
    tls = settings.dimse.tls
    own, trusted = _own("dimse.tls.", tls.certificate, tls.key), _trusted("dimse.tls.ca", tls.ca)
    return Files(own, trusted, _revoked("dimse.tls.crl", tls.crl, trusted))


def _http_files(settings: Config) -> Files:
    tls = settings.fhir.tls
    own, trusted = _own("fhir.tls.", tls.certificate, tls.key), _trusted("fhir.tls.ca", tls.ca)
    return Files(own, trusted, _revoked("fhir.tls.crl", tls.crl, trusted))


def _syslog_files(settings: Config) -> Files:
    audit = settings.audit
    own = _own("audit.syslog_", audit.syslog_certificate, audit.syslog_key)
    trusted = _trusted("audit.syslog_ca", audit.syslog_ca)
    return Files(own, trusted, _revoked("audit.syslog_crl", audit.syslog_crl, trusted))


def _source_files(source: Source) -> Files:
    own = _own("source.", source.certificate, source.key, source.name)
    return Files(own, _trusted("source.ca", source.ca, source.name))


def _own(prefix: str, certificate: Path | None, key: Path | None, source: str = "") -> Identity | None:
    """A certificate of ours; the file may hold its key too."""
    if certificate is None:
        return None
    place = Place(f"{prefix}certificate", certificate, source)
    return Identity(place, place if key is None else Place(f"{prefix}key", key, source))


def _trusted(key: str, path: Path | None, source: str = "") -> Place | None:
    return None if path is None else Place(key, path, source, trusted=True)


def _revoked(key: str, path: Path | None, issuers: Place | None) -> ListPlace | None:
    """Lists say nothing without the authorities whose they are."""
    return None if path is None or issuers is None else ListPlace(key, path, issuers=issuers)


def _check(files: Files) -> None:
    if files.own is not None:
        check_key(files.own)
    if files.trusted is not None:
        certificates(files.trusted)
    if files.revoked is not None:
        revocations(files.revoked)
