"""What pages showed to whom, for the audit log."""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from http import HTTPStatus

from aiohttp import web

from pacsbridge.access.auditing import caller
from pacsbridge.kernel.audit import SERIOUS, Event, outcome_of
from pacsbridge.web.service import SERVICE

STUDY = web.RequestKey("pacsbridge_shown_study", str)
"""The Study Instance UID of the study that a page is about."""

QUERY = web.RequestKey("pacsbridge_shown_query", str)
"""What a page that lists what is known was asked: its fields, as in a URL."""

CHOICE = web.RequestKey("pacsbridge_chosen", dict[str, str])
"""What a button was about, by names: never what was typed, nor anything of a patient."""

ACTIONS: Mapping[str, str] = {
    "/sources/sync": "sync",
    "/dead-letters/all": "letters",
    "/dead-letters/{number}/retry": "retry",
    "/dead-letters/{number}/discard": "discard",
    "/studies/{uid}/try": "try-endpoint",
}
"""Route of a button → what it sets in motion."""

_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


def told(request: web.Request, response: web.StreamResponse | None) -> Iterator[Event]:
    """The event of a request, where it was about studies, or its caller was turned away."""
    status = None if response is None else response.status
    study, query = request.get(STUDY, ""), request.get(QUERY, "")
    server = request.app[SERVICE].settings.base_url
    action = _action(request)
    if action and status not in _REFUSED:
        details = {"action": action, **request.get(CHOICE, {})}
        yield Event("page-action", outcome_of(status), caller(request), server, study=study, details=details)
    elif study or query:
        asked = b64encode(query.encode()).decode()
        yield Event("page", outcome_of(status), caller(request), server, study=study, query=asked)
    elif status in _REFUSED:
        yield Event("refused", SERIOUS, caller(request), server, reason=f"HTTP {status}")


def _action(request: web.Request) -> str:
    """What the request sets in motion; "" where it only looks."""
    resource = request.match_info.route.resource
    return ACTIONS.get(resource.canonical, "") if request.method == "POST" and resource else ""
