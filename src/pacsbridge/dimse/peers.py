"""Who may call: the configured peers, by AE title and by where they call from."""

import ipaddress
import socket
from collections.abc import Iterable

import structlog

from pacsbridge.dimse.settings import OFFERED, Peer, Place

log = structlog.get_logger("pacsbridge.dimse")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Directory:
    """The configured peers. An empty directory knows nobody and lets everybody call."""

    def __init__(self, peers: Iterable[Peer] = ()) -> None:
        self._peers = tuple(peers)

    def find(self, ae_title: str, address: str) -> Peer | None:
        """The first peer of that AE title that may call from that IP address."""
        calling = _plain(address)
        return next(
            (p for p in self._peers if p.ae_title.strip() == ae_title and _matches(p.host, calling)), None
        )

    def names(self, ae_title: str) -> bool:
        """Whether a peer has that AE title, wherever it may call from."""
        return any(peer.ae_title.strip() == ae_title for peer in self._peers)

    def place(self, ae_title: str) -> Place | None:
        """Where the peer of that AE title listens; None where no single host is given."""
        for peer in self._peers:
            if peer.ae_title.strip() == ae_title and peer.host is not None and "/" not in peer.host:
                return Place(peer.host, peer.port, peer.tls)
        return None

    def admits(self, peer: Peer | None) -> bool:
        """Whether a caller who was found as `peer` may associate."""
        return peer is not None or not self._peers

    def services(self, peer: Peer | None) -> frozenset[str]:
        """What that caller may use."""
        return OFFERED if peer is None else peer.services


def _plain(address: str) -> Address:
    """An IP address, one of IPv4 in its own form even when it came over an IPv6 socket."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed


def _matches(host: str | None, address: Address) -> bool:
    """Whether `address` is the host's, or in the network that the host names; no host matches all."""
    return host is None or any(address in network for network in _networks(host))


def _networks(host: str) -> list[Network]:
    """An address or network as it is; a name by what it resolves to now, nothing if it does not."""
    try:
        return [ipaddress.ip_network(host, strict=False)]
    except ValueError:
        return _resolved(host)


def _resolved(name: str) -> list[Network]:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as fault:
        log.warning("peer name does not resolve", host=name, reason=str(fault))
        return []
    return [ipaddress.ip_network(_plain(str(address[0]))) for *_, address in found]
