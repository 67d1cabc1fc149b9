"""Who may have a page, and whose forms are taken."""

from collections.abc import Iterable

from aiohttp import web

from pacsbridge.access.gate import Gate
from pacsbridge.access.guard import ACCESS, Handler, identify, signed_in
from pacsbridge.access.rights import OPERATOR, Access, Right
from pacsbridge.access.sessions import name_of
from pacsbridge.access.ways import check_way
from pacsbridge.errors import Forbidden
from pacsbridge.web.forms import of_form, value
from pacsbridge.web.hosts import authority_of
from pacsbridge.web.routes import Route
from pacsbridge.web.service import SERVICE, Web
from pacsbridge.web.showing import SEAL, SIGNED_IN

_OURS = frozenset({"same-origin", "none"})
"""Values of Sec-Fetch-Site: a page of ours, or the person at the browser."""


def guarded(route: Route) -> Handler:
    """A route's handler behind everything that may turn a request away."""

    async def handle(request: web.Request) -> web.StreamResponse:
        service = request.app[SERVICE]
        check_way(request)
        if service.gate is not None and not route.everybody:
            request[ACCESS] = access = await _caller(service.gate, request)
            check_rights(access, route.rights)
        if route.method == "POST":
            await _check_form(service, request)
        return await route.handler(request)

    return handle


async def _caller(gate: Gate, request: web.Request) -> Access:
    """What the caller may have, by a token in the header or by a session. Raises as `Gate.access`."""
    if "Authorization" in request.headers:
        return await identify(gate, request)
    access = await signed_in(gate, request)
    request[SIGNED_IN] = True
    return access


def check_rights(access: Access, rights: Iterable[Right]) -> None:
    """Raises Forbidden unless a caller has them all; how far a right goes is for the page to heed."""
    for right in rights:
        if right == OPERATOR:
            access.need(right)
        else:
            access.reach((right,))


async def _check_form(service: Web, request: web.Request) -> None:
    """Raises Forbidden for a post that was not made on a page of ours.

    Whoever sends a good token in the header is no browser that somebody else's page makes use of; any other
    header there may be one that a browser adds by itself.
    """
    if ACCESS in request and SIGNED_IN not in request:
        return
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        ours = site in _OURS
    else:
        origin = request.headers.get("Origin")
        ours = origin is None or authority_of(origin) == request.host
    seal = value(await of_form(request, service.settings.body_seconds), SEAL)
    if not (ours and service.sessions.is_sealed(name_of(request), seal)):
        raise Forbidden(
            "this form was not made here, or before the service was restarted: load the page again"
        )
