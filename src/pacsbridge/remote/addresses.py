"""Where a connection may lead to: names are resolved once, and what they resolve to is looked at first.

Whoever answers for a name (DNS, mDNS, a hosts file) could else have our credentials sent to a service that is
there for this machine alone, such as the one that gives a cloud's machines their secrets. An address that the
configuration names as it is has the operator's word. Loopback and private networks are fine for names, too.
"""

import socket
from collections.abc import Iterator
from errno import EACCES
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from requests.exceptions import ConnectTimeout

_BARRED = tuple(
    (ip_network(network), kind)
    for kind, networks in {
        "unspecified": ("0.0.0.0/8", "::/128"),
        "link-local": ("169.254.0.0/16", "fe80::/10"),
        "multicast": ("224.0.0.0/4", "ff00::/8"),
        "broadcast": ("255.255.255.255/32",),
        "a cloud's metadata": (
            *("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", "fd00:ec2::/32"),
            *("fd00:42::42/128", "fd00:c1::a9fe:a9fe/128", "fd20:ce::254/128"),
        ),
    }.items()
    for network in networks
)
"""Where no name may lead (RFC 1122 3.2.1.3, RFC 3927, RFC 4291 2.4). Of clouds what is not link-local."""

_NAT64 = IPv6Network("64:ff9b::/96")
"""RFC 6052 2.1: the last four bytes are an address of IPv4."""


class Barred(OSError):
    """A name leads where no name may lead."""

    def __init__(self, address: str, kind: str) -> None:
        said = f"its name leads to {address} ({kind}); only a URL with that address itself may"
        super().__init__(EACCES, said)


def connected(
    host: str, port: int, seconds: float | None, kind: socket.SocketKind = socket.SOCK_STREAM
) -> socket.socket:
    """A socket connected to the first of a host's addresses that takes it, in so many seconds each.

    Raises OSError: why the last one failed, Barred where a name leads where it may not.
    """
    fault = OSError("no address")
    named = _literal(host) is None
    for family, _kind, protocol, _name, place in socket.getaddrinfo(host, port, type=kind):
        try:
            if named:
                _check(str(place[0]))
            return _opened(socket.socket(family, kind, protocol), place, seconds)
        except OSError as exc:
            fault = exc
    raise fault


def _opened(made: socket.socket, place: tuple[Any, ...], seconds: float | None) -> socket.socket:
    try:
        made.settimeout(seconds)
        made.connect(place)
    except BaseException:
        made.close()
        raise
    return made


def guarded(connection: type[Any]) -> type[Any]:
    """A class of urllib3's connections that connects as `connected` does."""
    if hasattr(connection, "pacsbridge_guarded"):
        return connection

    def _new_conn(self: Any) -> socket.socket:
        try:
            made = connected(self._dns_host, self.port, self.timeout)
        except TimeoutError as exc:
            raise ConnectTimeout from exc
        for option in self.socket_options or ():
            made.setsockopt(*option)
        return made

    methods = {"_new_conn": _new_conn, "pacsbridge_guarded": True}
    return type(f"Guarded{connection.__name__}", (connection,), methods)


def _check(text: str) -> None:
    """Raises Barred."""
    address = ip_address(text)
    for one in (address, *_within(address)):
        for network, kind in _BARRED:
            if one in network:
                raise Barred(text, kind)


def _within(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address]:
    """The addresses of IPv4 that one of IPv6 stands for (RFC 4291 2.5.5.2, RFC 3056 2, RFC 6052 2.1)."""
    if isinstance(address, IPv6Address):
        yield from (one for one in (address.ipv4_mapped, address.sixtofour) if one is not None)
        if address in _NAT64:
            yield IPv4Address(address.packed[-4:])


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is written as; None for a name, as which numbers of other forms count."""
    try:
        return ip_address(host)
    except ValueError:
        return None
