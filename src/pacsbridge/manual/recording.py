"""Tables of what is on record: events of the audit log, findings of `verify` and of `backup`."""

from collections.abc import Callable, Mapping

from pacsbridge.blobs import losses
from pacsbridge.bridge.verification import KINDS as FINDINGS
from pacsbridge.kernel.audit import KINDS as EVENTS
from pacsbridge.kernel.audit import Kind
from pacsbridge.manual.tables import code, table

MEANINGS: Mapping[str, str] = {
    "read": "a resource was read",
    "vread": "a version of a resource was read",
    "search": "a search by FHIR",
    "history": "versions were listed",
    "batch": "a batch; each of its entries is an event too",
    "log-read": "a record of the audit log was read",
    "log-search": "the audit log was searched",
    "log-pruned": "records were removed, as `audit.keep_days` says",
    "wado": "instances, metadata or pictures were fetched by WADO-RS",
    "qido": "a search by QIDO-RS",
    "stow": "instances came by STOW-RS",
    "store": "instances came by C-STORE: one event for each study of an association",
    "conflict": "other content under a known UID, or a study under another patient: what became of it",
    "find": "a C-FIND",
    "get": "instances were sent by C-GET",
    "move": "instances were sent by C-MOVE",
    "association": "an association was accepted",
    "login": "somebody signed in to the pages, or tried to",
    "logout": "a session of the pages ended before its time",
    "refused": "somebody was turned away",
    "page": "a page was looked at",
    "page-action": "something was set in motion on a page",
    "import": "`pacsbridge import`: one event for each study, one for the whole",
    "sync": "`pacsbridge sync`: one event for each archive",
    "backup": "`pacsbridge backup`",
    "deleted": "a study is no longer published: gone from its archive (`on_delete`), or expired by a note",
    "why": "`pacsbridge why`, with what was asked",
    "letters-retried": "`pacsbridge dead-letters retry`",
    "letters-discarded": "`pacsbridge dead-letters discard`",
    "migrate": "`pacsbridge migrate`",
    "reindex": "`pacsbridge reindex`",
    "verify": "`pacsbridge verify`, with the number of findings",
    "start": "the application started",
    "stop": "the application stopped",
    "settings": "the settings differ from those of the start before: which keys",
    "certificates": "certificates were read anew while it ran, or could not be: for a port, or for calls",
    "lost": "events could not be recorded",
}
"""Kind of event → what happened, for people."""

REMEDIES: Mapping[str, str] = {
    "damaged": "Look after the disk. Take the pack from a backup, or have the instance sent again.",
    "lost-pack": "Take it from a backup, then `pacsbridge reindex`.",
    "missing": "Take the pack from a backup, or have the instance sent again.",
    "differs": "Take the pack from a backup, or have the instance sent again.",
    "erased": "Have it sent again, if it is still wanted.",
    "origin": "`pacsbridge reindex`.",
    "not-indexed": "`pacsbridge reindex`.",
    "not-referenced": "Nothing is lost: it takes up room.",
    "not-published": "Look for a dead letter of the study; restart the service.",
    "contradicts": "`pacsbridge reindex`.",
    "dangling": "`pacsbridge reindex`.",
    "no-facts": "`pacsbridge reindex`.",
    "listing": "`pacsbridge reindex`.",
    "search": "`pacsbridge reindex`.",
    "reported": "`pacsbridge reindex`.",
    "encoding": "`pacsbridge reindex`.",
    "arrivals": "`pacsbridge reindex`.",
}
"""Kind of finding → what to do."""


def _events() -> str:
    head = ("What happened", "Type and subtype", "Action", "IHE BALP")
    return table(head, (_event(name, kind) for name, kind in EVENTS.items()))


def _event(name: str, kind: Kind) -> tuple[str, ...]:
    codings = (kind.type, *kind.subtypes)
    shown = ", ".join(f"{code(one['code'])} {one.get('display', '')}" for one in codings)
    return MEANINGS.get(name, name), shown, code(kind.action), kind.profile


def _findings() -> str:
    rows = ((code(name), meaning, REMEDIES.get(name, "")) for name, meaning in FINDINGS.items())
    return table(("Finding", "Meaning", "What to do"), rows)


def _losses() -> str:
    rows = ((code(name), meaning, losses.REMEDIES[name]) for name, meaning in losses.MEANINGS.items())
    return table(("Finding", "Meaning", "What to do"), rows)


BLOCKS: Mapping[str, Callable[[], str]] = {
    "audit-events": _events,
    "findings": _findings,
    "losses": _losses,
}
"""Placeholder → Markdown."""
