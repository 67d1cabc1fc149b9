"""Proxies in front of us: what they say of a request's origin is believed, and of nobody else."""

from collections.abc import Awaitable, Callable, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from aiohttp import web
from aiohttp.typedefs import Middleware

from pacsbridge.access.ways import WRONG, is_address
from pacsbridge.errors import Insecure

Network = IPv4Network | IPv6Network
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def behind(proxies: Iterable[str], *, plain: bool) -> Middleware:
    """The outermost layer: the caller's address and scheme as the proxies (addresses, networks) forward them.

    Unless `plain`, what comes from other machines without TLS is noted as Insecure: tokens and patients' data
    would travel for everybody to read.
    """
    networks = tuple(ip_network(one) for one in proxies)

    @web.middleware
    async def layer(request: web.Request, handler: Handler) -> web.StreamResponse:
        peer = request.remote or ""
        trusted = _within(peer, networks)
        scheme = _last(request, "X-Forwarded-Proto", request.scheme) if trusted else request.scheme
        exempt = plain or (_is_loopback(peer) and not trusted)
        if scheme != "https" and not exempt:
            request[WRONG] = Insecure("https is needed here")
        if not trusted:
            return await handler(request)
        return await handler(request.clone(scheme=scheme, remote=_caller(request, peer, networks)))

    return layer


def _last(request: web.Request, name: str, default: str) -> str:
    """What the nearest proxy wrote: it appends to what others may have sent."""
    return ",".join(request.headers.getall(name, (default,))).rpartition(",")[2].strip().lower()


def _caller(request: web.Request, peer: str, networks: tuple[Network, ...]) -> str:
    """The last address of X-Forwarded-For that is none of a proxy."""
    steps = ",".join(request.headers.getall("X-Forwarded-For", ())).split(",")
    for step in reversed(steps):
        text = step.strip()
        if not is_address(text):
            return peer
        if not _within(text, networks):
            return text
    return peer


def _within(text: str, networks: tuple[Network, ...]) -> bool:
    return is_address(text) and any(ip_address(text) in network for network in networks)


def _is_loopback(text: str) -> bool:
    return is_address(text) and ip_address(text).is_loopback
