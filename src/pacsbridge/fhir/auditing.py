"""What requests of the FHIR API come to, for the audit log: interactions, and what was refused."""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urlencode

from aiohttp import web

from pacsbridge.access.auditing import TURNED_AWAY, caller
from pacsbridge.access.guard import access_of
from pacsbridge.access.rights import Access, Right
from pacsbridge.fhir.observing import REQUEST_ID, route_of
from pacsbridge.fhir.routes import ROUTES
from pacsbridge.fhir.service import SERVICE, Answer, Asked
from pacsbridge.kernel.audit import LONGEST_QUERY, SERIOUS, SUCCESS, Event, outcome_of, subject_in

FORM = web.RequestKey("pacsbridge_form", tuple)
"""The parameters of a search that came in a body."""

ENTRIES = web.RequestKey("pacsbridge_entries", list[Event])
"""The events of a batch, one for each entry."""

KINDS: Mapping[str, str] = {
    "read": "read",
    "vread": "vread",
    "history-instance": "history",
    "history-type": "history",
    "history-system": "history",
    "search-type": "search",
    "batch": "batch",
}
"""Interaction → the kind of its event; what is not here shows nobody's data."""

_LOG_KINDS: Mapping[str, str] = {"read": "log-read", "vread": "log-read", "search": "log-search"}

_CODES: Mapping[str, str] = {
    **{f"/fhir{route.path}": route.code for route in ROUTES},
    "/fhir": "batch",
    "/fhir/": "batch",
}
"""The pattern of a route, as it is mounted → its interaction."""


def told(request: web.Request, response: web.StreamResponse | None) -> Iterable[Event]:
    """The events of a request."""
    status = None if response is None else response.status
    code = _CODES.get(route_of(request), "")
    if code not in KINDS:
        return _of_stranger(request, status)
    entries: list[Event] | None = request.get(ENTRIES)
    if entries:
        return entries
    return (_event(request, response, code, status),)


def _of_stranger(request: web.Request, status: int | None) -> Iterator[Event]:
    """A path that is nothing here counts where its caller was turned away."""
    if status in TURNED_AWAY:
        server = request.app[SERVICE].settings.base_url
        yield Event("refused", SERIOUS, caller(request), server, reason=f"HTTP {status}")


def _event(request: web.Request, response: web.StreamResponse | None, code: str, status: int | None) -> Event:
    named = request.match_info
    type_, id_ = named.get("type", ""), named.get("id", "")
    resource, outcome = f"{type_}/{id_}" if id_ else "", outcome_of(status)
    body = response.body if isinstance(response, web.Response) and isinstance(response.body, bytes) else b""
    return Event(
        _kind(code, type_),
        outcome,
        caller(request),
        request.app[SERVICE].settings.base_url,
        _patient(outcome, access_of(request), type_, resource, body),
        resource,
        query="" if id_ else _searched(type_, _query(request)),
        request_id="" if response is None else response.headers.get(REQUEST_ID, ""),
        reason="" if status is None or status < 400 else f"HTTP {status}",
    )


def _query(request: web.Request) -> str:
    """The parameters as they were sent."""
    form = request.get(FORM)
    return request.rel_url.raw_query_string if form is None else urlencode(form)


def _kind(code: str, type_: str) -> str:
    kind = KINDS[code]
    return _LOG_KINDS.get(kind, kind) if type_ == "AuditEvent" else kind


def _searched(type_: str, query: str) -> str:
    """A search as it was sent, below the base (IHE BALP: base64)."""
    text = f"{type_}?{query}" if type_ else query
    return b64encode(text.encode("utf-8", "replace")[:LONGEST_QUERY]).decode("ascii")


def _patient(outcome: str, access: Access | None, type_: str, resource: str, body: bytes) -> str:
    """Whom a success was about: the patient read, that of the study read, or of the token that ends there."""
    if outcome != SUCCESS:
        return ""
    if resource:
        return resource if type_ == "Patient" else subject_in(body) if type_ == "ImagingStudy" else ""
    confined = access is not None and Right(type_, "s") not in access.everywhere
    return (access.patient or "") if access is not None and confined else ""


def of_entry(
    request: web.Request, code: str, asked: Asked, status: int, answer: Answer | None
) -> Iterator[Event]:
    """The event of one entry of a batch; none of what shows nobody's data."""
    if code not in KINDS:
        return
    type_ = asked.type or ""
    resource, outcome = f"{type_}/{asked.id}" if asked.id else "", outcome_of(status)
    body = b"" if answer is None else answer.body
    yield Event(
        _kind(code, type_),
        outcome,
        caller(request),
        request.app[SERVICE].settings.base_url,
        _patient(outcome, asked.access, type_, resource, body),
        resource,
        query="" if resource else _searched(type_, urlencode(asked.pairs)),
        reason=f"HTTP {status}" if status >= 400 else "",
    )
