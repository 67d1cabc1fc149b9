"""What pages showed to whom, for the audit log."""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from aiohttp import web

from pacsbridge.access.auditing import TURNED_AWAY, caller
from pacsbridge.kernel.audit import MINOR, SERIOUS, SUCCESS, Event, Who, outcome_of
from pacsbridge.web.service import SERVICE

STUDY = web.RequestKey("pacsbridge_shown_study", str)
"""The Study Instance UID of the study that a page is about."""

QUERY = web.RequestKey("pacsbridge_shown_query", str)
"""What a page that lists what is known was asked: its fields, as in a URL."""

CHOICE = web.RequestKey("pacsbridge_chosen", dict[str, str])
"""What a button was about, by names: never what was typed, nor anything of a patient."""


class SignIn(NamedTuple):
    """A sign-in: by what (a token, or a code of the issuer), whose, until when, and why it has failed.

    `reason` is empty where it has not; never anything of the token or the code.
    """

    by: str
    who: Who
    until: str = ""
    reason: str = ""


SIGN_IN = web.RequestKey("pacsbridge_sign_in", SignIn)
"""There where somebody has tried to sign in."""

ACTIONS: Mapping[str, str] = {
    "/sources/sync": "sync",
    "/dead-letters/all": "letters",
    "/dead-letters/{number}/retry": "retry",
    "/dead-letters/{number}/discard": "discard",
    "/studies/{uid}/try": "try-endpoint",
}
"""Route of a button → what it sets in motion."""


def told(request: web.Request, response: web.StreamResponse | None) -> Iterator[Event]:
    """The event of a request: a sign-in, something about studies, or that its caller was turned away."""
    tried = request.get(SIGN_IN)
    if tried is None:
        yield from _shown(request, response)
    else:
        yield _signed_in(tried, request.app[SERVICE].settings.base_url, response)


def _signed_in(tried: SignIn, server: str, response: web.StreamResponse | None) -> Event:
    """PS3.15 A.5.3, User Authentication: Login, whether it has succeeded or not."""
    failed = MINOR if response is None else SERIOUS
    details = {"by": tried.by, "until": tried.until}
    outcome = failed if tried.reason else SUCCESS
    return Event("login", outcome, tried.who, server, reason=tried.reason, details=details)


def _shown(request: web.Request, response: web.StreamResponse | None) -> Iterator[Event]:
    """What a page was about, what a button set in motion, or that its caller was turned away."""
    status = None if response is None else response.status
    study, query = request.get(STUDY, ""), request.get(QUERY, "")
    server = request.app[SERVICE].settings.base_url
    action = _action(request)
    if action and status not in TURNED_AWAY:
        details = {"action": action, **request.get(CHOICE, {})}
        yield Event("page-action", outcome_of(status), caller(request), server, study=study, details=details)
    elif study or query:
        asked = b64encode(query.encode()).decode()
        yield Event("page", outcome_of(status), caller(request), server, study=study, query=asked)
    elif status in TURNED_AWAY:
        yield Event("refused", SERIOUS, caller(request), server, reason=f"HTTP {status}")


def _action(request: web.Request) -> str:
    """What the request sets in motion; "" where it only looks."""
    resource = request.match_info.route.resource
    return ACTIONS.get(resource.canonical, "") if request.method == "POST" and resource else ""
