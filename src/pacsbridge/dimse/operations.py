"""Requests that take many messages: queries and retrievals, one step at a time in the connection's thread.

An operation is a generator of what is to be sent, given an `Exchange`. Between two steps the connection looks
for what the peer says meanwhile: that it cancels (PS3.7 9.3.2.3), or its answers to requests of our own.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import cast

import structlog

from pacsbridge import metrics
from pacsbridge.dimse import command
from pacsbridge.dimse.command import Command
from pacsbridge.dimse.dataset import DataSet
from pacsbridge.dimse.pdu import COMMAND, DATA, fragments
from pacsbridge.dimse.status import comment_of, origin, status_of
from pacsbridge.errors import NotUnderstood, PacsbridgeError

log = structlog.get_logger("pacsbridge.dimse")

SERVICES: Mapping[int, str] = {
    command.C_FIND_RQ: "find",
    command.C_GET_RQ: "get",
    command.C_MOVE_RQ: "move",
}
"""Command Field → the service whose operation answers it."""

BYTES = 1 << 20
"""Bytes of an identifier; a list of 10,000 UIDs has 650,000."""

_CHUNK = 64 * 1024
"""Bytes that are gathered before they are sent."""

_SECONDS = 0.02
"""How long they are gathered: also how long a C-CANCEL may wait."""


@dataclass(slots=True)
class Exchange:
    """One request and what belongs to it. `max_length` is that of the peer's PDUs, 0 for any.

    `storage`: SOP class and transfer syntax → the presentation context in which the peer takes instances.
    `cancelled`: the peer wants no more. `answers`: its responses to requests of ours, the oldest first.
    `address`: where the peer calls from. `sent`, `failed`: instances of a retrieval so far.
    """

    request: Command
    identifier: bytes
    context_id: int
    transfer_syntax: str
    abstract_syntax: str
    calling_ae: str
    relational: bool = False
    combined_times: bool = False
    max_length: int = 0
    storage: Mapping[tuple[str, str], int] = field(default_factory=dict)
    cancelled: bool = False
    answers: deque[Command] = field(default_factory=deque)
    address: tuple[str, int] = ("", 0)
    sent: int = 0
    failed: int = 0

    def message(self, encoded: bytes, data: bytes | None = None, context_id: int | None = None) -> bytes:
        """A command set and its data set as P-DATA-TF PDUs; the context is the request's by default."""
        number = self.context_id if context_id is None else context_id
        pdus = [*fragments(number, encoded, self.max_length, COMMAND)]
        if data is not None:
            pdus += fragments(number, data, self.max_length, DATA)
        return b"".join(pdus)


class Broken(Exception):
    """A message has been begun that cannot be completed: the association has to end."""


Step = bytes | None
"""What is to be sent now; None: nothing before the peer has answered."""

Steps = Generator[Step, None, None]

Operation = Callable[[Exchange], Steps]
"""Answers a request. What it raises becomes the status of the last response; it is closed when nobody
listens any more."""


class Running:
    """An operation under way."""

    def __init__(self, operation: Operation, exchange: Exchange) -> None:
        self.exchange = exchange
        self._steps = operation(exchange)
        self._fault: Exception | None = None
        self.ended = False

    def advance(self) -> Step:
        """What is to be sent now, gathered; None: wait for the peer. Raises what the operation does.

        `ended` once there is no more.
        """
        if self._fault is not None:
            raise self._fault
        gathered: list[bytes] = []
        size, deadline = 0, time.monotonic() + _SECONDS
        while (step := self._next()) is not None:
            gathered.append(step)
            size += len(step)
            if size >= _CHUNK or time.monotonic() >= deadline:
                break
        return b"".join(gathered) if gathered or self.ended or self._fault else None

    def _next(self) -> Step:
        """The next step; a fault of the operation comes after what it has given before."""
        try:
            return next(self._steps)
        except StopIteration:
            self.ended = True
        except Exception as fault:
            self._fault = fault
        return None

    def hear(self, said: Command) -> bool:
        """What the peer says meanwhile; False where that is neither a cancel nor a response."""
        if said.field == command.C_CANCEL_RQ:
            self.exchange.cancelled |= said.answers == self.exchange.request.message_id
            return True
        if said.field & command.RESPONSE:
            self.exchange.answers.append(said)
            return True
        return False

    def close(self) -> None:
        """Nobody listens any more."""
        self._steps.close()


def identifier(data: DataSet | None) -> bytes:
    """The identifier of a request. Raises NotUnderstood where there is none, TooLarge."""
    if data is None:
        raise NotUnderstood("a request without an identifier")
    return bytes(cast(bytearray, data.content()))


def refuse(service: str, fault: Exception, calling_ae: str) -> tuple[int, str]:
    """Status and Error Comment for a request that cannot be answered; it is on record in the log."""
    status, known = status_of(fault), isinstance(fault, PacsbridgeError)
    (log.warning if known else log.error)(
        "request refused",
        type=service,
        calling_ae=calling_ae,
        status=f"0x{status:04X}",
        reason=type(fault).__name__ if known else origin(fault),
    )
    return counted(service, status), comment_of(fault)


def failed(exchange: Exchange, fault: Exception) -> bytes:
    """The last response to a request whose operation has failed."""
    outcome = refuse(SERVICES[exchange.request.field], fault, exchange.calling_ae)
    return exchange.message(command.response(exchange.request, *outcome))


def counted(service: str, status: int) -> int:
    """The status, counted: every operation ends with one."""
    metrics.OPERATIONS.labels(service, f"0x{status:04X}").inc()
    return status
