"""What a configuration means to the parts: sources and their contexts, publication, limits."""

from zoneinfo import ZoneInfo

from pacsbridge import config, datadir
from pacsbridge.bridge.sources import Source, Sources
from pacsbridge.config import Config
from pacsbridge.config.checks import endpoint_specs, source_endpoint_specs
from pacsbridge.config.schema import Peer
from pacsbridge.config.sources import Source as Archive
from pacsbridge.dicom.limits import Limits
from pacsbridge.kernel.identity import Context, source_uri
from pacsbridge.kernel.publication import EndpointSpec, Publication


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


def sources(settings: Config) -> Sources:
    """The configured peers as sources; whoever is not listed has the defaults."""
    charset = settings.mapping.charset
    peers = (
        Source(source_uri(peer.ae_title), peer.ae_title, peer.charset or charset, _context(settings, peer))
        for peer in settings.peers
    )
    archives = (archive_source(settings, one) for one in settings.sources)
    return Sources(Source("", "", charset, _context(settings, None)), (*peers, *archives))


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
        endpoints={one.url: source_endpoint_specs(one) for one in settings.sources},
        default_endpoints=(own, *endpoint_specs(settings)),
        patient_authority=settings.fhir.patient_authority,
        patient_system=settings.systems.patient_default,
        procedure_reference=settings.fhir.procedure_reference,
        reason_reference=settings.fhir.reason_reference,
    )


def configured_id_key(settings: Config) -> bytes:
    """The secret of keyed ids without a store: the configured one, the directory's, or a fixed word."""
    if settings.fhir.id_key_file is not None:
        return config.secret(settings.fhir.id_key_file, "fhir.id_key_file")
    return (datadir.read_id_key(settings.data_dir) or "pacsbridge").encode()
