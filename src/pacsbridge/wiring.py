"""What a configuration means to the parts: sources and their contexts, publication, limits."""

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import replace
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pacsbridge import __version__, config, datadir
from pacsbridge.access.gate import gate
from pacsbridge.access.settings import AccessSettings
from pacsbridge.blobs.space import Watermark
from pacsbridge.bridge.sources import Source, Sources
from pacsbridge.config import Config
from pacsbridge.config.checks import endpoint_specs, source_endpoint_specs
from pacsbridge.config.schema import Peer
from pacsbridge.config.sources import Source as Archive
from pacsbridge.connections import Patience
from pacsbridge.dicom.limits import Limits
from pacsbridge.dicomweb.service import DicomwebSettings
from pacsbridge.dimse.settings import DimseSettings
from pacsbridge.dimse.settings import Limits as DimseLimits
from pacsbridge.dimse.settings import Peer as DimsePeer
from pacsbridge.fhir.service import FhirSettings
from pacsbridge.httpd import Front
from pacsbridge.kernel.identity import Context, fetched_uri, source_uri
from pacsbridge.kernel.publication import EndpointSpec, Publication
from pacsbridge.render.pool import Limits as RenderLimits
from pacsbridge.web.operations import Peer as ShownPeer


def header_limits(settings: Config) -> Limits:
    """How much of a header is read."""
    limits = settings.limits
    return Limits(
        window=limits.header_bytes,
        elements=limits.header_elements,
        items=limits.items,
        nesting=limits.nesting,
        inflated=limits.inflated_bytes,
    )


def watermark(settings: Config) -> Watermark:
    """From where on nobody should begin to send."""
    return Watermark(settings.blobs.reject_free_bytes or 0, settings.blobs.reject_used_percent)


def render_limits(settings: Config) -> RenderLimits | None:
    """What may be taken to make pictures; None where they are switched off."""
    dicomweb = settings.dicomweb
    if not dicomweb.render:
        return None
    return RenderLimits(
        dicomweb.render_children,
        dicomweb.render_seconds,
        dicomweb.render_memory_bytes,
        dicomweb.render_pixels,
    )


def sources(settings: Config) -> Sources:
    """The configured peers as sources; whoever is not listed has the defaults."""
    charset = settings.mapping.charset
    peers = (
        Source(source_uri(peer.ae_title), peer.ae_title, peer.charset or charset, _context(settings, peer))
        for peer in settings.peers
    )
    archives = [archive_source(settings, one) for one in settings.sources]
    fetched = (replace(one, uri=fetched_uri(one.uri)) for one in archives)
    return Sources(Source("", "", charset, _context(settings, None)), (*peers, *archives, *fetched))


def archive_source(settings: Config, one: Archive) -> Source:
    """An archive as a source of studies: its URL names it."""
    return Source(one.url, one.name, one.charset or settings.mapping.charset, _context(settings, one))


def _context(settings: Config, peer: Peer | Archive | None) -> Context:
    systems, choices = settings.systems, settings.mapping
    zone = (peer.timezone if peer else None) or choices.timezone
    return Context(
        zone=ZoneInfo(zone) if zone else None,
        patient_systems=systems.patient,
        accession_systems=systems.accession,
        encounter_systems=systems.encounter,
        specimen_systems=systems.specimen,
        coding_systems=systems.coding,
        patient_system=(peer.patient_system if peer else None) or systems.patient_default,
        accession_system=(peer.accession_system if peer else None) or systems.accession_default,
        study_id_system=(peer.study_id_system if peer else None) or systems.study_id,
        r4_laterality=choices.r4_laterality,
        study_comments=choices.study_comments,
        device_performer=choices.device_performer,
    )


def publication(settings: Config, id_key: bytes) -> Publication:
    """How resources are published under a configuration."""
    own = EndpointSpec(settings.dicomweb.base_url, name="pacsbridge")
    return Publication(
        base_url=settings.fhir.base_url,
        id_key=id_key,
        id_form="hash" if settings.fhir.id_form == "hash" else "uid",
        endpoints={
            one.url: (own,)
            if settings.dicomweb.proxy_sources and not one.endpoints
            else source_endpoint_specs(one)
            for one in settings.sources
        },
        default_endpoints=(own, *endpoint_specs(settings)),
        patient_authority=settings.fhir.patient_authority,
        patient_system=settings.systems.patient_default,
        procedure_reference=settings.fhir.procedure_reference,
        reason_reference=settings.fhir.reason_reference,
    )


def fhir_settings(settings: Config, cursor_secret: bytes) -> FhirSettings:
    """The settings of the FHIR API; `cursor_secret` seals its links."""
    return FhirSettings(
        settings.fhir.base_url,
        __version__,
        default_count=settings.fhir.default_count,
        max_count=settings.fhir.max_count,
        max_body=settings.limits.http_body_bytes,
        body_seconds=settings.limits.http_body_seconds,
        access_log=settings.log.requests,
        cursor_secret=cursor_secret,
    )


def dicomweb_settings(settings: Config) -> DicomwebSettings:
    """The settings of DICOMweb."""
    return DicomwebSettings(
        settings.dicomweb.base_url,
        settings.dicomweb.stall_seconds,
        settings.dicomweb.metadata_jobs,
        spool_bytes=settings.dimse.spool_bytes,
        object_bytes=settings.limits.object_bytes,
        max_results=settings.dicomweb.max_results,
        body_seconds=settings.limits.http_body_seconds,
        bytes_per_second=settings.limits.http_bytes_per_second,
        render=render_limits(settings),
    )


def front(settings: Config, tls: ssl.SSLContext | None) -> Front:
    """How the HTTP port is reached, and by whom. Raises Misconfigured."""
    known = access(settings)
    return Front(
        None if known is None else gate(known),
        tls,
        settings.fhir.trusted_proxies,
        plain=settings.insecure_fhir,
        names=frozenset(_names(settings)),
        patience=patience(settings),
    )


def _names(settings: Config) -> Iterator[str]:
    """The names of the HTTP port, in small letters."""
    yield settings.fhir.host.lower()
    yield from (name.lower() for name in settings.fhir.hosts)
    for url in (settings.fhir.base_url, settings.dicomweb.base_url):
        yield urlsplit(url).hostname or ""


def patience(settings: Config) -> Patience:
    """What connections to the HTTP port may cost."""
    limits = settings.limits
    return Patience(
        limits.http_connections,
        limits.http_bytes_per_second,
        limits.http_head_seconds,
        limits.http_idle_seconds,
        settings.dicomweb.stall_seconds,
    )


def access(settings: Config) -> AccessSettings | None:
    """How HTTP callers are known; None: not at all. Raises Misconfigured for files that cannot be read."""
    auth = settings.auth
    if not auth.on:
        return None
    if auth.jwks_file is not None:
        config.secret(auth.jwks_file, "auth.jwks_file")
    secret = auth.client_secret_file
    return AccessSettings(
        issuer=auth.issuer or "",
        audience=auth.audience or "",
        base_url=settings.fhir.base_url,
        jwks_url=auth.jwks_url,
        jwks_file=auth.jwks_file,
        introspection_url=auth.introspection_url,
        client_id=auth.client_id,
        client_secret=None if secret is None else config.secret(secret, "auth.client_secret_file").decode(),
        algorithms=auth.algorithms,
        leeway_seconds=auth.leeway_seconds,
        require_audience=auth.require_audience,
        patient_claim=auth.patient_claim,
        patient_base=settings.fhir.patient_authority or "",
        token_seconds=auth.token_seconds,
        introspection_seconds=auth.introspection_seconds,
        jwks_seconds=auth.jwks_seconds,
        jwks_stale_seconds=auth.jwks_stale_seconds,
        authorization_endpoint=auth.authorization_endpoint,
        token_endpoint=auth.token_endpoint,
        verify=auth.ca or True,
    )


def configured_id_key(settings: Config) -> bytes:
    """The secret of keyed ids without a store: the configured one, the directory's, or a fixed word."""
    if settings.fhir.id_key_file is not None:
        return config.secret(settings.fhir.id_key_file, "fhir.id_key_file")
    return (datadir.read_id_key(settings.data_dir) or "pacsbridge").encode()


def dimse_settings(settings: Config, tls: ssl.SSLContext | None) -> DimseSettings:
    """The listener's settings and limits."""
    dimse, limits = settings.dimse, settings.limits
    return DimseSettings(
        ae_title=dimse.ae_title,
        host=dimse.host,
        port=dimse.port,
        services=frozenset(dimse.services),
        max_associations=dimse.max_associations,
        max_pdu=dimse.max_pdu,
        require_called_ae=dimse.require_called_ae,
        tls=tls,
        limits=replace(
            DimseLimits(),
            pdu=limits.pdu_bytes,
            memory=dimse.spool_bytes,
            instance=limits.object_bytes,
            waiting=dimse.max_waiting,
            first_pdu=dimse.first_pdu_seconds,
            pdu_per_mib=dimse.pdu_seconds_per_mib,
            idle=dimse.network_timeout,
            send=dimse.send_seconds,
        ),
    )


def dimse_peers(settings: Config, tls: Mapping[str, ssl.SSLContext]) -> list[DimsePeer]:
    """Who may call, and who may be called: by the TLS that stands under its AE title."""
    return [
        DimsePeer(
            peer.ae_title,
            peer.host,
            frozenset(peer.services or ()),
            peer.port,
            tls.get(peer.ae_title),
            frozenset(peer.certificates),
        )
        for peer in settings.peers
    ]


def shown_peers(settings: Config) -> list[ShownPeer]:
    """The peers as pages show them."""
    return [
        ShownPeer(peer.ae_title, peer.host, peer.port, tuple(sorted(peer.services or ())))
        for peer in settings.peers
    ]
