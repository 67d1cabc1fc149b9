"""AuditEvents to a FHIR server (IHE ATNA, ITI-20 by FHIR: a create each)."""

from collections.abc import Sequence
from typing import Any

import orjson
import structlog

from pacsbridge import metrics
from pacsbridge.errors import BadAnswer
from pacsbridge.remote.client import Client
from pacsbridge.remote.settings import ArchiveSettings
from pacsbridge.store.audit import Record

log = structlog.get_logger("pacsbridge.audit")

_FHIR_JSON = "application/fhir+json"
_UNFIT = (400, 413, 422)
"""Statuses that are about the AuditEvent itself."""

_SAID = {
    403: "; it shows us no AuditEvents (HTTP 403): whether it takes any is not tried",
    404: "; AuditEvents are not searched there: whether it takes any is not tried",
}
_NOT_SHOWN = (400, 403, 404, 405)
"""Statuses of a search by who takes AuditEvents and shows none."""


class Repository:
    """A FHIR server that keeps AuditEvents; for one thread."""

    def __init__(self, settings: ArchiveSettings) -> None:
        self._client = Client(settings)
        self._taken = 0

    def send(self, records: Sequence[Record]) -> None:
        """Create an AuditEvent for each record. Raises Unavailable, BadAnswer.

        One that the server finds wrong as it is would be so for ever: it is passed over, counted and logged
        by its number, and stays in the log.
        """
        for record in records:
            if record.number > self._taken:
                self._create(record)
                self._taken = record.number

    def try_out(self) -> str:
        """Read its CapabilityStatement, and search for no AuditEvent, with our credentials.

        Returns what to say of it. Raises Unavailable, BadAnswer, Declined.
        """
        if _type_of(self._client.get("/metadata", accept=_FHIR_JSON).body) != "CapabilityStatement":
            raise BadAnswer("what it answers for /metadata is no CapabilityStatement")
        asked = self._client.get("/AuditEvent", (("_summary", "count"),), _FHIR_JSON, allowed=_NOT_SHOWN)
        return "answers as a FHIR server" + _SAID.get(asked.status, "")

    def _create(self, record: Record) -> None:
        body = orjson.dumps(_created(record))
        answer = self._client.post("/AuditEvent", body, _FHIR_JSON, allowed=_UNFIT)
        if answer.status in _UNFIT:
            metrics.AUDIT_EVENTS.labels("declined").inc()
            log.error("audit_event_declined", count=record.number, status=answer.status)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _type_of(body: bytes) -> str:
    """The type of the resource that a body holds; "" where it holds none."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    return str(found.get("resourceType", "")) if isinstance(found, dict) else ""


def _created(record: Record) -> dict[str, Any]:
    """The AuditEvent as it is created: its id and version are the other server's."""
    resource = {name: value for name, value in record.resource.items() if name != "id"}
    profiles = resource["meta"].get("profile")
    resource["meta"] = {"profile": profiles} if profiles else {}
    return {name: value for name, value in resource.items() if value}
