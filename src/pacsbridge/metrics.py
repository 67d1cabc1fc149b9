"""What is counted and timed: every metric stands here, once, and is served under `/metrics`.

Labels are few and closed (a status, a route's pattern, a reason from a table): never a UID, an AE title or
anything else that a peer chooses; a source is named by the configuration.
"""

from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics import MetricWrapperBase

REGISTRY = CollectorRegistry(auto_describe=True)
"""Our own: libraries that register in the global one don't appear."""

disable_created_metrics()  # type: ignore[no-untyped-call]
ProcessCollector(namespace="pacsbridge", registry=REGISTRY)

_QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_SLOW = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

DIMSE_ASSOCIATIONS = Gauge(
    "pacsbridge_dimse_associations", "Associations that are established now.", registry=REGISTRY
)
DIMSE_REJECTED = Counter(
    "pacsbridge_dimse_rejected",
    "Associations and connections refused, by reason.",
    ["reason"],
    registry=REGISTRY,
)
STORES = Counter(
    "pacsbridge_dimse_stores",
    "C-STORE requests answered, by status (PS3.4 B.2.3).",
    ["status"],
    registry=REGISTRY,
)
OPERATIONS = Counter(
    "pacsbridge_dimse_operations",
    "C-FIND, C-GET and C-MOVE requests answered, by service and last status (PS3.4 C.4).",
    ["service", "status"],
    registry=REGISTRY,
)
INTAKE_SECONDS = Histogram(
    "pacsbridge_intake_seconds",
    "From a whole instance to its durability.",
    buckets=_QUICK,
    registry=REGISTRY,
)
INSTANCES_INDEXED = Counter(
    "pacsbridge_instances_indexed", "Instances that the index has taken as new or changed.", registry=REGISTRY
)
INDEX_BACKLOG = Gauge(
    "pacsbridge_index_backlog", "Instances that are durable and wait for the index.", registry=REGISTRY
)
STUDIES_PUBLISHED = Counter(
    "pacsbridge_studies_published", "Revisions of studies rendered and published.", registry=REGISTRY
)
PUBLISH_SECONDS = Histogram(
    "pacsbridge_publish_seconds", "One round of publishing what is due.", buckets=_SLOW, registry=REGISTRY
)
HTTP_REQUESTS = Counter(
    "pacsbridge_http_requests",
    "HTTP requests answered, by route pattern, method and status.",
    ["route", "method", "status"],
    registry=REGISTRY,
)
HTTP_SECONDS = Histogram(
    "pacsbridge_http_seconds",
    "Time to the answer's end, by route pattern.",
    ["route"],
    buckets=_QUICK,
    registry=REGISTRY,
)
HTTP_DROPPED = Counter(
    "pacsbridge_http_dropped",
    "HTTP connections closed early, by reason: slow head, slow reader, replaced, too many, malformed.",
    ["reason"],
    registry=REGISTRY,
)
AUDIT_EVENTS = Counter(
    "pacsbridge_audit_events",
    "Audit events, by outcome: recorded, lost, declined (by the FHIR repository).",
    ["outcome"],
    registry=REGISTRY,
)
AUDIT_BACKLOG = Gauge("pacsbridge_audit_backlog", "Audit events that wait to be recorded.", registry=REGISTRY)
AUDIT_UNSENT = Gauge(
    "pacsbridge_audit_unsent",
    "Audit records that a repository does not have yet, by service: syslog, fhir.",
    ["service"],
    registry=REGISTRY,
)
TLS_NOT_AFTER = Gauge(
    "pacsbridge_tls_not_after_seconds",
    "When the first certificate or revocation list of a file ends, in seconds since 1970, by key and source.",
    ["certificate", "source"],
    registry=REGISTRY,
)
TLS_RENEWALS = Counter(
    "pacsbridge_tls_renewals",
    "How often certificates were read anew, by what for (dimse, calling, http) and outcome: renewed, failed.",
    ["use", "outcome"],
    registry=REGISTRY,
)
TLS_FAILURES = Counter(
    "pacsbridge_tls_failures",
    "TLS handshakes of callers that came to nothing, by port (dimse, http) and reason.",
    ["port", "reason"],
    registry=REGISTRY,
)
PROXIED = Counter(
    "pacsbridge_dicomweb_proxied",
    "Requests answered from archives, by outcome: passed, left (by the client), or the name of the fault.",
    ["outcome"],
    registry=REGISTRY,
)
ARCHIVE_STUDIES = Counter(
    "pacsbridge_archive_studies",
    "Studies that archives were asked for, by configured source and outcome: taken, failed, gone.",
    ["source", "outcome"],
    registry=REGISTRY,
)
ARCHIVE_UP = Gauge(
    "pacsbridge_archive_up",
    "Whether the last round with an archive came to its end.",
    ["source"],
    registry=REGISTRY,
)
ARCHIVE_LOADED = Gauge(
    "pacsbridge_archive_loaded",
    "Whether the first load of an archive is complete.",
    ["source"],
    registry=REGISTRY,
)
ARCHIVE_FRONTIER = Gauge(
    "pacsbridge_archive_frontier_seconds",
    "The day from which on the first load has everything, in seconds since 1970.",
    ["source"],
    registry=REGISTRY,
)
RENDERS = Counter(
    "pacsbridge_renders",
    "Pictures asked of the decoding children, by outcome: rendered, refused, failed, late, busy.",
    ["outcome"],
    registry=REGISTRY,
)
RENDER_SECONDS = Histogram(
    "pacsbridge_render_seconds",
    "From asking for a picture to having it, waiting included.",
    buckets=_QUICK,
    registry=REGISTRY,
)


class Described(NamedTuple):
    """A metric as it is served: name, type of Prometheus, labels, meaning."""

    name: str
    type: str
    labels: tuple[str, ...]
    meaning: str


def described() -> Iterator[Described]:
    """Every metric of this module, in its order; counters with the ending that they are served with."""
    for one in list(globals().values()):
        if isinstance(one, MetricWrapperBase):
            family = next(iter(one.describe()))
            ending = "_total" if family.type == "counter" else ""
            labels = one._labelnames  # noqa: SLF001 - they are told nowhere else
            yield Described(family.name + ending, family.type, labels, family.documentation)
