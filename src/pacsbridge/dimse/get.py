"""C-GET as an SCP: instances go to the caller on his own association (PS3.4 C.4.3, PS3.7 9.1.3)."""

from collections.abc import Generator
from dataclasses import dataclass
from itertools import count

from pacsbridge.bridge.retrieving import Match, Retrieval
from pacsbridge.dimse import command
from pacsbridge.dimse.operations import Exchange, Step, Steps
from pacsbridge.dimse.retrieval import Report, find, prepared, wanted
from pacsbridge.errors import PacsbridgeError, reason

_ANSWER = command.C_STORE_RQ | command.RESPONSE


@dataclass(frozen=True, slots=True)
class Getter:
    """Answers C-GET requests."""

    retrieval: Retrieval

    def get(self, exchange: Exchange) -> Steps:
        """The operation of `dimse.operations`."""
        sought = wanted(exchange)
        found = yield from find(self.retrieval, sought)
        report = Report(exchange, found)
        numbers = count()
        for match in found.each():
            if exchange.cancelled:
                break
            if match is not None:
                yield from _send(exchange, report, match, next(numbers) % 0xFFFF + 1)
            yield report.pulse()
        yield report.end()


def _send(exchange: Exchange, report: Report, match: Match, number: int) -> Steps:
    """One sub-operation; it fails where the caller has no context for exactly this encoding."""
    context = exchange.storage.get((match.sop_class_uid, match.transfer_syntax_uid))
    if context is None:
        report.failed(match.sop_uid, "no presentation context")
        return
    encoded = command.store_request(number, match.sop_class_uid, match.sop_uid)
    try:
        instance, steps = prepared(match, context, encoded, exchange.max_length)
    except (PacsbridgeError, OSError) as fault:
        report.failed(match.sop_uid, reason(fault))
        return
    yield from steps
    report.answered(instance, (yield from _status(exchange, number)))


def _status(exchange: Exchange, number: int) -> Generator[Step, None, int]:
    """The caller's answer to a request of ours; others are passed over."""
    while True:
        while exchange.answers:
            said = exchange.answers.popleft()
            if (said.field, said.answers) == (_ANSWER, number):
                return said.status
        yield None
