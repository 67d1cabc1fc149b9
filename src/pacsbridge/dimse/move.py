"""C-MOVE as an SCP: instances go to a configured peer on an association of ours (PS3.4 C.4.2, PS3.7 9.1.4).

An association proposes exactly what is to be sent: a context for each pair of SOP class and transfer syntax.
Where those are too many for one, or one turns up that nobody knew of, the next association follows.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from pacsbridge.bridge.retrieving import Match, Retrieval
from pacsbridge.dimse import command
from pacsbridge.dimse.operations import Broken, Exchange, Step, Steps
from pacsbridge.dimse.peers import Directory
from pacsbridge.dimse.requestor import MOST_CONTEXTS, Pair, Requestor, Ticks
from pacsbridge.dimse.retrieval import UNKNOWN_DESTINATION, Found, Report, find, prepared, wanted
from pacsbridge.dimse.settings import Place
from pacsbridge.dimse.status import Unfit
from pacsbridge.errors import PacsbridgeError, reason

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Mover:
    """Answers C-MOVE requests: to peers of the directory, who have `seconds` for each step.

    `ae_title` is ours.
    """

    retrieval: Retrieval
    ae_title: str
    directory: Directory
    seconds: float

    def move(self, exchange: Exchange) -> Steps:
        """The operation of `dimse.operations`."""
        sought = wanted(exchange)
        place = self._place(exchange.request.destination)
        found = yield from find(self.retrieval, sought)
        report, destination = Report(exchange, found), _Destination(self, exchange, place, found.held)
        try:
            numbers = count()
            for match in Found(destination.grouped(found.held), found.further).each():
                if exchange.cancelled or destination.lost:
                    break
                if match is not None:
                    yield from _driven(destination.send(report, match, next(numbers) % 0xFFFF + 1), report)
                yield report.pulse()
            yield from _driven(destination.release(), report)
        finally:
            destination.close()
        yield report.end(destination.lost) if destination.lost else report.end()

    def _place(self, title: str) -> Place:
        place = self.directory.place(title)
        if place is None:
            why = "has no single host" if self.directory.names(title) else "is not a configured peer"
            raise Unfit(f"the move destination {why}", UNKNOWN_DESTINATION)
        return place


def _driven(ticks: Ticks[T], report: Report) -> Generator[Step, None, T]:
    """Between two looks at the destination the requester is looked at, and told that we are alive."""
    while True:
        try:
            next(ticks)
        except StopIteration as end:
            value: T = end.value
            return value
        yield report.pulse()


class _Destination:
    """The peer that instances go to: one association after the other. `lost`: why no more can go there."""

    def __init__(self, mover: Mover, exchange: Exchange, place: Place, held: Sequence[Match]) -> None:
        self._mover = mover
        self._originator = (exchange.calling_ae, exchange.request.message_id)
        self._title = exchange.request.destination
        self._place = place
        self._places = {pair: place for place, pair in enumerate(dict.fromkeys(map(_pair, held)))}
        self._proposed: Sequence[Pair] = ()
        self._requestor = Requestor(mover.seconds)
        self.lost = ""

    def grouped(self, held: Sequence[Match]) -> Sequence[Match]:
        """The instances in their order, those of one association together."""
        return sorted(held, key=lambda one: self._places[_pair(one)] // MOST_CONTEXTS)

    def send(self, report: Report, match: Match, number: int) -> Ticks[None]:
        """One sub-operation; it fails where the destination does not accept exactly this encoding."""
        context = yield from self._context(_pair(match))
        if context is None:
            report.failed(match.sop_uid, self.lost or "the destination refuses the presentation context")
            return
        encoded = command.store_request(number, match.sop_class_uid, match.sop_uid, self._originator)
        try:
            instance, steps = prepared(match, context, encoded, self._requestor.max_length)
        except (PacsbridgeError, OSError) as fault:
            report.failed(match.sop_uid, reason(fault))
            return
        try:
            for step in steps:
                yield from self._requestor.send(step)
            report.answered(instance, (yield from self._requestor.status(number)))
        except PacsbridgeError as fault:
            self.lost = f"the destination {fault}"
            report.failed(match.sop_uid, self.lost)
        except Broken as fault:
            self._begin_anew()
            report.failed(match.sop_uid, str(fault))

    def release(self) -> Ticks[None]:
        """End the association in good order."""
        yield from self._requestor.release()

    def close(self) -> None:
        """End it now."""
        self._requestor.close()

    def _begin_anew(self) -> None:
        self._requestor.close()
        self._requestor, self._proposed = Requestor(self._mover.seconds), ()

    def _context(self, pair: Pair) -> Ticks[int | None]:
        """The context for a pair, on the next association if need be; None where there is none to be had."""
        if pair not in self._proposed:
            yield from self._requestor.release()
            proposals = self._proposals(pair)
            self._begin_anew()
            self._proposed = proposals
            try:
                yield from self._requestor.associate(
                    self._place, self._mover.ae_title, self._title, proposals
                )
            except PacsbridgeError as fault:
                self.lost = f"the destination {fault}"
        return self._requestor.contexts.get(pair)

    def _proposals(self, pair: Pair) -> Sequence[Pair]:
        """What is proposed together with a pair: those known to go with it, or what was proposed before."""
        if pair not in self._places:
            return [pair, *self._proposed][:MOST_CONTEXTS]
        start = self._places[pair] // MOST_CONTEXTS * MOST_CONTEXTS
        return [*self._places][start : start + MOST_CONTEXTS]


def _pair(match: Match) -> Pair:
    return match.sop_class_uid, match.transfer_syntax_uid
