"""Tables of the DICOM Conformance Statement (PS3.2) about associations and DIMSE services."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pacsbridge import __version__, errors
from pacsbridge.bridge import commitment as committing
from pacsbridge.config.schema import ENTRIES
from pacsbridge.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from pacsbridge.dicomweb import receipt
from pacsbridge.dimse import admission, commitment, find, negotiation, requestor, retrieval, status
from pacsbridge.dimse.settings import Limits
from pacsbridge.kernel.finding import MOST_VALUES
from pacsbridge.kernel.uids import names
from pacsbridge.manual import tables
from pacsbridge.manual.tables import code, mebibytes, numbered, sentence, table

_TRANSFER_SYNTAXES = "1.2.840.10008.1.2"

_SERVICES: Mapping[str, tuple[str, str, str]] = {
    "echo": ("Verification", "yes, by `pacsbridge check`", "yes"),
    "store": ("Storage", "yes, for C-GET and C-MOVE", "yes"),
    "commitment": ("Storage Commitment, push model", "no", "yes"),
    "find": ("Query", "no", "yes"),
    "get": ("Retrieve by C-GET", "no", "yes"),
    "move": ("Retrieve by C-MOVE", "no", "yes"),
}
"""Service → its name, whether we are its user, whether we are its provider."""


class Answer(NamedTuple):
    """A status that a service answers with: the standard's word for it, when."""

    status: int
    term: str
    when: str


_TERMS: Mapping[int, str] = {
    status.SUCCESS: "Success",
    status.PROCESSING_FAILURE: "Failure: processing failure",
    status.NO_SUCH_INSTANCE: "Failure: no such SOP instance",
    status.INVALID_ARGUMENT: "Failure: invalid argument value",
    status.NO_SUCH_CLASS: "Failure: no such SOP class",
    status.SOP_CLASS_NOT_SUPPORTED: "Refused: SOP class not supported",
    status.NO_SUCH_ACTION: "Failure: no such action",
    status.NOT_AUTHORIZED: "Refused: not authorized",
    status.UNRECOGNISED_OPERATION: "Refused: unrecognized operation",
    status.RESOURCE_LIMITATION: "Failure: resource limitation",
    0xA700: "Refused: out of resources",
    0xA900: "Error: data set does not match SOP class",
}

_FIND = (
    Answer(find.PENDING, "Pending", "A match; every key that was asked for is supported."),
    Answer(find.PENDING_WITHOUT_KEYS, "Pending", "A match; a key that was asked for is not supported."),
    Answer(status.SUCCESS, "Success", "There are no more matches."),
    Answer(find.CANCELLED, "Cancel", "A C-CANCEL came. It is heeded at once."),
    Answer(find.LIMITED, "Warning", "There are more matches than `dimse.find_limit`; these were the first."),
)

_RETRIEVE = (
    Answer(retrieval.PENDING, "Pending", "Sub-operations are under way; their numbers so far."),
    Answer(status.SUCCESS, "Success", "All have been performed, or there was nothing to send."),
    Answer(retrieval.SOME_FAILED, "Warning", "Some have failed, or were answered with a warning."),
    Answer(retrieval.NONE_SENT, "Refused", "None could be performed."),
    Answer(retrieval.NOT_COUNTED, "Refused", "The number of matches cannot be told: the index is away."),
    Answer(
        retrieval.UNKNOWN_DESTINATION,
        "Refused",
        "C-MOVE: the destination is no `[[peer]]`, or has no single host.",
    ),
    Answer(retrieval.CANCELLED, "Cancel", "A C-CANCEL came while instances were left to send."),
)

_EVENT_REASONS: Mapping[int, str] = {
    committing.PROCESSING_FAILURE: "The stored bytes are not those that were received.",
    committing.NO_SUCH_INSTANCE: "It is not here.",
    committing.CLASS_INSTANCE_CONFLICT: "It is here, of another SOP class.",
    committing.RESOURCE_LIMITATION: "It cannot be read at the moment.",
}


_QUERY_TERMS: Mapping[int, str] = {0xA900: "Error: identifier does not match SOP class"}


def _term(number: int, others: str = "Error: cannot understand") -> str:
    return _TERMS.get(number, others)


When = Mapping[type[errors.PacsbridgeError], str]
"""Error → when a service meets it; what is not there is told in the words of the error itself."""

_OURS = "A fault of our own; the log says where."

_STORE_WHEN: When = {
    errors.Unavailable: "No room on the disk, the database is away, or the service stops: send it later.",
    errors.Mismatch: "The data set is of another SOP class or instance than the command names.",
    errors.NotUnderstood: "The data set cannot be read as DICOM, or it or the command lacks a UID.",
    errors.TooLarge: "Beyond one of the limits of length, elements and nesting.",
    errors.Conflicting: "Other content is held under this UID, and `store.on_conflict` is `refuse`.",
    errors.PacsbridgeError: _OURS,
}

_QUERY_WHEN: When = {
    errors.Unavailable: "The database is away: ask later.",
    errors.Mismatch: "The level is missing or not one of the information model, or a unique key is missing.",
    errors.NotUnderstood: "The identifier cannot be read, or a value is none of its VR.",
    errors.TooLarge: "The identifier is too long, or has too many values.",
    errors.PacsbridgeError: _OURS,
}

_ACTION_WHEN: When = {
    errors.Unavailable: "The request cannot be kept at the moment: ask later.",
    errors.TooLarge: f"More than {numbered(commitment.MOST)} references.",
    errors.Refused: "The data set lacks its Transaction UID or its references, or cannot be read.",
}


def _of_errors(statuses: Mapping[type[errors.PacsbridgeError], int], when: When) -> Iterator[Answer]:
    told = {statuses[kind] for kind in when}
    for kind, number in statuses.items():
        if kind in when or number not in told:
            yield Answer(number, _term(number), when.get(kind, sentence(kind.__doc__)))


def answers(*groups: Iterable[Answer]) -> str:
    """Statuses in the order of their numbers, each once."""
    found: dict[tuple[int, str], list[str]] = {}
    for one in (answer for group in groups for answer in group):
        found.setdefault((one.status, one.term), []).append(one.when)
    rows = ((tables.status(number), term, " ".join(when)) for (number, term), when in sorted(found.items()))
    return table(("Status", "Meaning in the standard", "When"), rows)


def _store_statuses() -> str:
    own = (
        Answer(status.SUCCESS, "Success", "The instance is on disk, whole, and will be indexed."),
        Answer(
            status.SOP_CLASS_NOT_SUPPORTED,
            _term(status.SOP_CLASS_NOT_SUPPORTED),
            "A C-STORE request on a presentation context of another service.",
        ),
    )
    return answers(own, _of_errors(status.STATUSES, _STORE_WHEN))


def _refused_queries() -> Iterator[Answer]:
    not_asked = (
        errors.Conflicting, errors.Denied, errors.Absent, errors.BadAnswer, errors.Misconfigured,
    )  # fmt: skip
    asked = {kind: one for kind, one in status.STATUSES.items() if kind not in not_asked}
    for one in _of_errors(asked, _QUERY_WHEN):
        term = _QUERY_TERMS.get(one.status, _term(one.status, "Failed: unable to process"))
        yield one._replace(term=term)
    when = "A request on a presentation context of another service."
    yield Answer(status.UNRECOGNISED_OPERATION, _term(status.UNRECOGNISED_OPERATION), when)


def _action_statuses() -> str:
    own = (
        Answer(status.SUCCESS, "Success", "The request is kept; the report follows."),
        *(
            Answer(number, _term(number), when)
            for number, when in (
                (status.NO_SUCH_CLASS, "Another SOP class than storage commitment."),
                (status.NO_SUCH_INSTANCE, "Another than the well-known SOP instance."),
                (status.NO_SUCH_ACTION, "Another Action Type ID than 1."),
                (status.PROCESSING_FAILURE, _OURS),
            )
        ),
    )
    return answers(own, _of_errors(status.ACTION_STATUSES, _ACTION_WHEN))


def _stow_reasons() -> str:
    return answers(_of_errors(receipt.REASONS, _STORE_WHEN))


def _failure_reasons() -> str:
    rows = ((tables.status(number), when) for number, when in _EVENT_REASONS.items())
    return table(("Failure Reason (0008,1197)", "When"), rows)


def _services() -> str:
    rows = ((name, user, provider, code(service)) for service, (name, user, provider) in _SERVICES.items())
    return table(("Service", "User (SCU)", "Provider (SCP)", "`dimse.services`"), rows)


def _classes(*services: str) -> Callable[[], str]:
    return lambda: _uids(uid for uid in names() if negotiation.service_of(uid) in services)


def _uids(uids: Iterable[str]) -> str:
    return table(("Name", "UID"), ((names().get(uid, ""), code(uid)) for uid in uids))


def _is_transfer_syntax(uid: str) -> bool:
    return uid == _TRANSFER_SYNTAXES or uid.startswith(f"{_TRANSFER_SYNTAXES}.")


def _refusals() -> str:
    rows = ((reason, *_rejection(*codes)) for reason, codes in admission.REFUSALS.items())
    return table(("Why", "Result", "Source", "Reason/diagnostic"), rows)


_RESULTS: Mapping[int, str] = {1: "rejected-permanent", 2: "rejected-transient"}
_SOURCES: Mapping[int, str] = {
    1: "service-user",
    2: "service-provider (ACSE)",
    3: "service-provider (presentation)",
}
_DIAGNOSTICS: Mapping[tuple[int, int], str] = {
    (1, 3): "calling-AE-title-not-recognized",
    (1, 7): "called-AE-title-not-recognized",
    (3, 1): "temporary-congestion",
    (3, 2): "local-limit-exceeded",
}
"""PS3.8 Table 9-21."""


def _rejection(result: int, source: int, reason: int) -> Sequence[str]:
    return (
        f"{result} ({_RESULTS[result]})",
        f"{source} ({_SOURCES[source]})",
        f"{reason} ({_DIAGNOSTICS[source, reason]})",
    )


def _associations() -> str:
    rows = (
        ("AE title", code(str(_default("dimse.ae_title"))), "dimse.ae_title"),
        ("Implementation Class UID", code(IMPLEMENTATION_CLASS_UID), ""),
        ("Implementation Version Name", code(IMPLEMENTATION_VERSION_NAME), ""),
        ("Application context", code("1.2.840.10008.3.1.1.1"), ""),
        ("Associations at a time, as acceptor", _number("dimse.max_associations"), "dimse.max_associations"),
        ("Associations at a time, as initiator", "one for each C-MOVE, report and check", ""),
        ("Maximum PDU received, announced", _size("dimse.max_pdu"), "dimse.max_pdu"),
        ("Maximum PDU received, taken", _size("limits.pdu_bytes"), "limits.pdu_bytes"),
        ("Presentation contexts proposed at most", numbered(requestor.MOST_CONTEXTS), ""),
        ("Outstanding operations (asynchronous window)", "1; the window is not negotiated", ""),
        ("Largest instance", _size("limits.object_bytes"), "limits.object_bytes"),
        ("References of one storage commitment request", numbered(commitment.MOST), ""),
        ("UIDs in one key of a query or retrieval", numbered(MOST_VALUES), ""),
    )
    return table(("What", "Value", "Setting"), map(_set, rows))


def _timeouts() -> str:
    rows = (
        ("From the connection to a whole A-ASSOCIATE-RQ", "dimse.first_pdu_seconds"),
        ("From first to last byte of a PDU, for each MiB begun", "dimse.pdu_seconds_per_mib"),
        ("Silence on an association", "dimse.network_timeout"),
        ("Until a peer takes an answer", "dimse.send_seconds"),
        ("Each step with a destination of C-MOVE", "dimse.move_seconds"),
    )
    last = ("Until a peer has closed after our last PDU", f"{Limits().linger:g}", "")
    timed = [(what, f"{_default(key):g}", key) for what, key in rows]
    return table(("Time-out", "Seconds", "Setting"), map(_set, (*timed, last)))


def _default(path: str) -> Any:
    """What a key is without a configuration."""
    return next(entry.default for entry in ENTRIES if entry.path == path)


def _number(path: str) -> str:
    return numbered(_default(path))


def _size(path: str) -> str:
    return mebibytes(_default(path))


def _set(row: tuple[str, str, str]) -> Sequence[str]:
    """A row whose last cell is a key, if there is one."""
    what, value, key = row
    return what, value, code(key) if key else ""


def _version() -> str:
    return f"This statement is about pacsbridge {__version__}."


BLOCKS: Mapping[str, Callable[[], str]] = {
    "version": _version,
    "services": _services,
    "classes-storage": _classes("store"),
    "classes-query": _classes("find", "get", "move"),
    "classes-echo": _classes("echo"),
    "classes-commitment": _classes("commitment"),
    "transfer-syntaxes": lambda: _uids(filter(_is_transfer_syntax, names())),
    "transfer-syntaxes-read": lambda: _uids(negotiation.READABLE),
    "statuses-store": _store_statuses,
    "reasons-stow": _stow_reasons,
    "statuses-find": lambda: answers(_FIND, _refused_queries()),
    "statuses-retrieve": lambda: answers(_RETRIEVE, _refused_queries()),
    "statuses-action": _action_statuses,
    "failure-reasons": _failure_reasons,
    "refusals": _refusals,
    "associations": _associations,
    "timeouts": _timeouts,
}
"""Placeholder → Markdown."""
