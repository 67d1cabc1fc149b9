"""The gate as a layer round handlers: it puts into each request what its caller may have."""

from collections.abc import Awaitable, Callable, Collection

from aiohttp import web
from aiohttp.typedefs import Middleware

from pacsbridge.access.gate import Gate
from pacsbridge.access.rights import Access
from pacsbridge.errors import NotUnderstood, Unauthenticated

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ACCESS = web.RequestKey("pacsbridge_access", Access)


def access_of(request: web.Request) -> Access | None:
    """What the caller may have; None: there is no authentication, and everybody may have everything."""
    return request.get(ACCESS)


async def identify(gate: Gate, request: web.Request) -> Access:
    """What the bearer of the request's token may have. Raises Unauthenticated, NotUnderstood, Unavailable.

    A token is taken from the header alone: URLs are written into logs (RFC 6750 5.3).
    """
    given = request.headers.getall("Authorization", ())
    if len(given) > 1:
        raise NotUnderstood("more than one Authorization header")
    scheme, _, token = (given[0] if given else "").partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated("a bearer token is needed", invalid=False)
    return await gate.access(token.strip())


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
