"""The gate as a layer round handlers: it puts into each request what its caller may have."""

from collections.abc import Awaitable, Callable, Collection

from aiohttp import web
from aiohttp.typedefs import Middleware

from pacsbridge.access.gate import Gate
from pacsbridge.access.rights import Access
from pacsbridge.access.sessions import LIVE, REFUSED, name_of
from pacsbridge.errors import NotUnderstood, Unauthenticated

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ACCESS = web.RequestKey("pacsbridge_access", Access)


def access_of(request: web.Request) -> Access | None:
    """What the caller may have; None: there is no authentication, and everybody may have everything."""
    return request.get(ACCESS)


async def identify(gate: Gate, request: web.Request) -> Access:
    """What the bearer of the request's token may have. Raises Unauthenticated, NotUnderstood, Unavailable.

    A token is taken from the header alone: URLs are written into logs (RFC 6750 5.3). Without one, who has
    signed in with a browser may read: its cookie is not sent along by other sites.
    """
    given = request.headers.getall("Authorization", ())
    if not given and request.method in ("GET", "HEAD") and name_of(request):
        return await signed_in(gate, request)
    if len(given) > 1:
        raise NotUnderstood("more than one Authorization header")
    scheme, _, token = (given[0] if given else "").partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated("a bearer token is needed", invalid=False)
    return await gate.access(token.strip())


async def signed_in(gate: Gate, request: web.Request) -> Access:
    """What the token of the request's session gives. Raises Unauthenticated, Unavailable."""
    name = name_of(request)
    token = gate.sessions.token(name, used=LIVE not in request.headers)
    if token is None:
        raise Unauthenticated("sign in first", invalid=False)
    try:
        return await gate.access(token)
    except Unauthenticated:
        gate.sessions.end(name, REFUSED, request.remote or "")
        raise


def guard(gate: Gate, unguarded: Collection[str] = ()) -> Middleware:
    """The layer for an application, inside the one that answers faults.

    The routes `unguarded`, named as their application is mounted, are for everybody.
    """

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        if resource is None or resource.canonical not in unguarded:
            request[ACCESS] = await identify(gate, request)
        return await handler(request)

    return guarded
