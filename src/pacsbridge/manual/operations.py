"""Tables for those who run it: metrics, fields of the log, what is refused and why, limits."""

from collections.abc import Callable, Iterator, Mapping

from pacsbridge import errors, metrics
from pacsbridge.bridge.commitment import LETTER
from pacsbridge.config.schema import ENTRIES
from pacsbridge.dicomweb.faults import STATUS
from pacsbridge.fhir.faults import FAULTS
from pacsbridge.logs import FIELDS
from pacsbridge.manual.tables import code, codes, sentence, table
from pacsbridge.store.conflicts import ASIDE
from pacsbridge.store.store import ARCHIVE

LETTERS: Mapping[str, tuple[str, str, str]] = {
    "refused": (
        "An instance was refused on its way in, by C-STORE, STOW-RS or `import`",
        "its SOP Instance UID, or the file",
        "Mend what the reason says, then have the sender send it again; `retry` cannot, as nothing was kept.",
    ),
    ASIDE: (
        "Other content is held under the UID of an instance, which was put aside or refused",
        "its SOP Instance UID",
        "`retry UID` has it take the place of what is held, `retry all` does not; `discard` gives it up.",
    ),
    "index": (
        "An instance is stored, but its header could not be indexed",
        "its SOP Instance UID, or its place in the packs",
        "`retry` reads the stored bytes again: after an upgrade, or with higher `[limits]`.",
    ),
    "damaged": (
        "A record in a pack cannot be read: its bytes are not those that were written",
        "its place in the packs",
        "Look after the disk. Restore the pack from a backup and `retry`, or have the sender send it again.",
    ),
    "publish": (
        "A study could not be rendered as FHIR; the last published version stands",
        "its Study Instance UID",
        "It is tried again every five minutes, and at once by `retry`. Report it with the reason.",
    ),
    LETTER: (
        "A storage commitment report could not be delivered within a day, or was refused",
        "the Transaction UID",
        "Give the `[[peer]]` a host and port. The requester has to ask again.",
    ),
    ARCHIVE: (
        "A study of an archive could not be had (five times: it is parked), or too many vanished at once",
        "the Study Instance UID, or the source's name",
        "Mend the archive or the `[[source]]`; `retry` asks for the study again at the next round.",
    ),
}
"""Kind of dead letter → what happened, what it is kept under, what to do; a test holds it complete."""

FIELD_MEANINGS: Mapping[str, str] = {
    "event": "what happened, in words that do not change",
    "level": "`debug`, `info`, `warning`, `error`",
    "logger": "which part says so",
    "timestamp": "when, in UTC",
    "error": "the type of an exception; never its text",
    "at": "file and line where it was raised",
    "where": "file and line in a library that wrote a message",
    "trace": "the places that an exception went through",
    "reason": "why, in our own words",
    "address": "the network address of the caller",
    "calling_ae": "the AE title that a caller gives itself",
    "called_ae": "the AE title by which it calls us",
    "contexts": "presentation contexts accepted",
    "refused": "presentation contexts refused, or statuses and how often each was answered",
    "status": "of HTTP, or of a DIMSE response",
    "route": "the pattern of a path, without what stands in it",
    "milliseconds": "how long it took",
    "request_id": "the header X-Request-Id of an answer",
    "backlog": "how much waits",
    "source": "the archive or application entity, by its configured name or URI",
    "location": "the place in a pack",
    "server": "what TLS is for: the port (`dimse`, `http`), or `calling` peers",
    "certificate": "the key of the configuration that names its file",
    "until": "when the first certificate or revocation list of a file ends",
    "skipped": "how many like it were not told before, or were passed over",
}
"""Fields that do not explain themselves → what they hold."""


def _metrics() -> str:
    rows = ((code(one.name), one.type, codes(one.labels, ", "), one.meaning) for one in metrics.described())
    return table(("Metric", "Type", "Labels", "Meaning"), rows)


def _fields() -> str:
    return table(("Field", "What it holds"), ((code(name), text) for name, text in FIELD_MEANINGS.items()))


def _other_fields() -> str:
    return codes(sorted(FIELDS - FIELD_MEANINGS.keys()), ", ")


def _letters() -> str:
    rows = ((code(kind), f"{what}. Key: {key}.", do) for kind, (what, key, do) in LETTERS.items())
    return table(("Kind", "What happened", "What to do"), rows)


_WHEN: Mapping[type[errors.PacsbridgeError], str] = {
    errors.Refused: "The request is bad in another way.",
    errors.NotUnderstood: "A parameter, a header or a body cannot be read; the answer names it.",
    errors.NotSupported: "Legal, but not offered here; leaving it out would change the answer.",
    errors.Mismatch: "An instance contradicts the request that carried it.",
    errors.NotAcceptable: "None of the media types or transfer syntaxes in `Accept` can be had.",
    errors.Unauthenticated: "No token, or none that is good.",
    errors.Forbidden: "The scopes of the token do not go so far.",
    errors.Unavailable: "The disk is full, the database or an archive is away, or too much is asked at once.",
    errors.BadAnswer: "The answer of an archive cannot be used.",
    errors.Declined: "An archive refuses the question.",
    errors.WrongKind: "An archive answers with something else: a page to log in at, say.",
    errors.Misconfigured: "The operator has to mend the configuration.",
    errors.PacsbridgeError: "A fault of pacsbridge itself; the log says where.",
}
"""Error → when HTTP clients meet it; what is not there is told in the words of the error itself."""


def _faults() -> str:
    head = ("FHIR", "OperationOutcome", "DICOMweb", "When")
    return table(head, sorted((_fault(kind) for kind in FAULTS), key=lambda row: row[0]))


def _fault(kind: type[errors.PacsbridgeError]) -> tuple[str, ...]:
    fault, when = FAULTS[kind], _WHEN.get(kind, sentence(kind.__doc__))
    return str(int(fault.status)), code(fault.code.value), str(int(STATUS[kind])), when


def _faults_of_dicomweb() -> str:
    found: dict[int, list[str]] = {}
    for kind, status in STATUS.items():
        found.setdefault(int(status), []).append(_fault(kind)[-1])
    return table(
        ("Status", "When"), ((str(status), " ".join(when)) for status, when in sorted(found.items()))
    )


def _limits() -> str:
    return table(("Key", "Default", "What it bounds"), _bounds())


def _bounds() -> Iterator[tuple[str, ...]]:
    for entry in ENTRIES:
        if entry.path.startswith("limits.") or entry.path in _BOUNDS:
            default = entry.key.derived or f"{entry.default:,}".removesuffix(".0")
            yield code(entry.path), default, entry.key.meaning


_BOUNDS = frozenset(
    """
    dimse.max_associations dimse.max_waiting dimse.max_pdu dimse.spool_bytes dimse.find_limit
    fhir.max_count dicomweb.max_results dicomweb.metadata_jobs dicomweb.proxy_connections
    dicomweb.render_children dicomweb.render_memory_bytes dicomweb.render_pixels
    blobs.min_free_bytes blobs.reject_free_bytes blobs.reject_used_percent
    """.split()
)
"""Keys outside `[limits]` that bound what is taken or given."""


BLOCKS: Mapping[str, Callable[[], str]] = {
    "metrics": _metrics,
    "log-fields": _fields,
    "log-fields-others": _other_fields,
    "dead-letters": _letters,
    "faults": _faults,
    "faults-dicomweb": _faults_of_dicomweb,
    "limits": _limits,
}
"""Placeholder → Markdown."""
