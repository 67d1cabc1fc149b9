"""Who pushes, one row each: the configured peers, and whoever else has called."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pacsbridge.bridge.association_log import Association, Associations, Caller
from pacsbridge.kernel.identity import source_uri
from pacsbridge.store.overview import Arrived
from pacsbridge.web.operations import Peer


class PeerRow(NamedTuple):
    """One AE title; `peer` is None for one that nobody configured.

    `connected` counts its associations now, `last` is when the latest ended (microseconds since 1970, 0: none
    since the process began). `stored` and `refused` count its C-STORE requests since then, `arrived` the
    instances that came from it in the hours shown, by `uri`.
    """

    ae_title: str
    peer: Peer | None
    connected: int
    last: int
    address: str
    stored: int
    refused: int
    arrived: int
    uri: str


def rows(peers: Sequence[Peer], seen: Associations, arrivals: Iterable[Arrived]) -> Iterator[PeerRow]:
    """The configured peers in their order, then the others by name."""
    arrived = Counter[str]()
    for one in arrivals:
        arrived[one.source] += one.instances
    callers = _with_living(seen)
    known = {peer.ae_title.strip(): peer for peer in reversed(peers)}
    for title in [*dict.fromkeys(peer.ae_title.strip() for peer in peers), *sorted(callers.keys() - known)]:
        caller = callers.get(title, Caller())
        connected = sum(one.calling_ae == title for one in seen.now)
        uri = source_uri(title)
        yield PeerRow(
            title,
            known.get(title),
            connected,
            caller.last,
            caller.address,
            caller.stored,
            caller.refused,
            arrived[uri],
            uri,
        )


def _with_living(seen: Associations) -> Mapping[str, Caller]:
    """The sums of each caller, those of its associations that go on among them."""
    found = dict(seen.callers)
    for one in seen.now:
        found[one.calling_ae] = _sum(found.get(one.calling_ae, Caller()), one)
    return found


def _sum(caller: Caller, one: Association) -> Caller:
    return Caller(
        caller.associations + 1,
        caller.stored + one.stored,
        caller.refused + one.refused,
        caller.last,
        one.address,
    )
