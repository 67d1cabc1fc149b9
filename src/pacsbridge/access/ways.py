"""The way by which a request came, before anybody's rights: under which name, and whether others can read it.

The outermost layers note what is wrong with it; each application says so in its own protocol (`right_way`).
"""

from collections.abc import Awaitable, Callable
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from pacsbridge.errors import Misdirected, Refused

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

WRONG = web.RequestKey("pacsbridge_wrong_way", Refused)
"""What is wrong with the way; nothing where it is right."""


def named(names: frozenset[str]) -> Middleware:
    """The layer for a server that lets everybody in: under these names (in small letters), or by an address.

    A name can be made to lead here by whoever owns it, and pages of his, in a browser that reaches us, could
    then read what is ours; an address cannot.
    """

    @web.middleware
    async def layer(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_ours(request.host, names):
            request[WRONG] = Misdirected("nothing is served under this name (fhir.base_url, fhir.hosts)")
        return await handler(request)

    return layer


@lru_cache(maxsize=256)  # of every request, and mostly the same
def is_ours(authority: str, names: frozenset[str]) -> bool:
    """Whether `host:port` is one of these names, this machine, or an address."""
    host = host_of(authority)
    return host in names or host == "localhost" or host.endswith(".localhost") or is_address(host)


@web.middleware
async def right_way(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The layer of an application, inside the one that answers faults. Raises Misdirected, Insecure."""
    check_way(request)
    return await handler(request)


def check_way(request: web.Request) -> None:
    """Raise what is wrong with the way."""
    fault = request.get(WRONG)
    if fault is not None:
        raise fault


def host_of(authority: str) -> str:
    """The host of `host:port`, in small letters; empty where there is none, or it cannot be read."""
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return ""


def is_address(text: str) -> bool:
    """Whether a text is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
