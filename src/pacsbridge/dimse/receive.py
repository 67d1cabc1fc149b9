"""DIMSE messages of one association: fragments in, answers out, an instance in memory or in a spool."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import structlog

from pacsbridge import errors, metrics
from pacsbridge.blobs.spool import Spool
from pacsbridge.bridge.commitment import Request
from pacsbridge.dimse import actions, command, commitment, operations
from pacsbridge.dimse.command import Command
from pacsbridge.dimse.dataset import DataSet, in_memory
from pacsbridge.dimse.line import AssociationLine, Notices
from pacsbridge.dimse.negotiation import Held
from pacsbridge.dimse.operations import Broken, Operation, Running
from pacsbridge.dimse.pdu import INVALID_VALUE, UNEXPECTED_PARAMETER, Pdv, Violation
from pacsbridge.dimse.settings import Limits, Peer
from pacsbridge.dimse.status import (
    SOP_CLASS_NOT_SUPPORTED,
    SUCCESS,
    UNRECOGNISED_OPERATION,
    comment_of,
    origin,
    status_of,
)

log = structlog.get_logger("pacsbridge.dimse")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who pushes: AE titles of the association, address (host, port), the configured peer if there is one."""

    calling_ae: str
    called_ae: str
    address: tuple[str, int]
    peer: Peer | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """One instance as it came by C-STORE: the bare data set, and what the command and the context say of it.

    The UIDs are the command's: digits and dots, and nobody has compared them with the data set yet.
    A spool belongs to whoever takes the instance; if that fails with an exception it is discarded here.
    """

    dataset: bytearray | Spool
    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    calling_ae: str
    called_ae: str
    address: tuple[str, int]
    peer: Peer | None


@dataclass(frozen=True, slots=True)
class Context:
    """An accepted presentation context: its transfer syntax, and the service that it is of.

    `relational`, `combined_times`: what was agreed on about queries (PS3.4 C.5.2.1). `provided`: the peer
    takes C-STORE requests of ours in it.
    """

    transfer_syntax: str
    service: str | None
    abstract_syntax: str = ""
    relational: bool = False
    combined_times: bool = False
    provided: bool = False


Refusals = Callable[[Caller, str | None, Exception], object]
"""Hears who sent what, as far as the command said it, and what was wrong."""


Commit = Callable[[Request, AssociationLine], object]
"""Takes a storage commitment request, and the association to report on."""


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where instances and requests go: the callables that the listener was given, see `DimseServer`.

    `operations`: service → what answers its requests. `syntaxes`: how instances of SOP classes are encoded.
    """

    adopt: Callable[[Stored], object]
    spool: Callable[[str, str, str], Spool]
    refused: Refusals | None = None
    commit: Commit | None = None
    ae_title: str = ""
    operations: Mapping[str, Operation] = field(default_factory=dict)
    syntaxes: Callable[[Sequence[str]], Held] | None = None


class Receiver:
    """The requests of one association, one after the other (no asynchronous operations: PS3.7 D.3.3.3).

    `feed` blocks while an instance is being stored, and nothing is read from the peer meanwhile: the kernel's
    socket buffer is all that can pile up behind a slow store.
    """

    def __init__(
        self,
        contexts: Mapping[int, Context],
        caller: Caller,
        outlet: Outlet,
        limits: Limits,
        max_length: int = 0,
        wake: Callable[[], object] = bool,
    ) -> None:
        self._contexts = contexts
        self.caller = caller
        self._outlet = outlet
        self._limits = limits
        self.max_length = max_length
        """Longest P-DATA-TF body that the peer takes, 0 for any (PS3.8 D.1)."""
        self.notices = Notices(wake)
        """What is to be told to the peer unasked."""
        self._encoded = bytearray()
        self._context_id = 0
        self._request: Command | None = None
        self._data: DataSet | None = None
        self._running: Running | None = None
        self.statuses: dict[int, int] = {}
        """Status → number of C-STORE requests that were answered with it."""
        self.bytes = 0

    @property
    def at_rest(self) -> bool:
        """Whether no message has been begun, and none is owed."""
        return self._running is None and self._between_messages

    @property
    def _between_messages(self) -> bool:
        return not self._encoded and self._request is None

    @property
    def busy(self) -> bool:
        """Whether an operation is under way, which `advance` takes on."""
        return self._running is not None

    def discard(self) -> None:
        """The association has ended: forgets a message that will never be whole."""
        self.notices.close()
        self._end_operation()
        if self._data is not None:
            self._data.discard()
        self._clear()

    def _clear(self) -> None:
        self._encoded = bytearray()
        self._request = self._data = None

    def feed(self, pdv: Pdv) -> bytes | None:
        """Takes the next fragment; the encoded command set that answers, once a request is whole (PS3.8 E.2).

        Violation if it does not fit what came before it.
        """
        self._check_context(pdv.context_id)
        if pdv.control & 1:
            self._take_command(pdv)
        else:
            self._take_data(pdv)
        return self._answer() if self._complete(pdv) else None

    def _check_context(self, context_id: int) -> None:
        if context_id not in self._contexts:
            raise Violation(f"presentation context {context_id} has not been accepted", INVALID_VALUE)
        if not self._between_messages and context_id != self._context_id:
            raise Violation("a message that changes its presentation context", INVALID_VALUE)
        self._context_id = context_id

    def _take_command(self, pdv: Pdv) -> None:
        if self._request is not None:
            raise Violation("a command within a data set", UNEXPECTED_PARAMETER)
        if len(self._encoded) + len(pdv.fragment) > self._limits.command:
            raise Violation(f"a command set longer than {self._limits.command} bytes", INVALID_VALUE)
        self._encoded += pdv.fragment
        if pdv.control & 2:
            self._request = command.decode(self._encoded)

    def _take_data(self, pdv: Pdv) -> None:
        if self._request is None or not self._request.has_data_set:
            raise Violation("a data set without a command", UNEXPECTED_PARAMETER)
        if self._data is None:
            self._data = self._new_data(self._request, self._context)
        if self._data is not None:
            self._data.write(pdv.fragment)

    def _new_data(self, request: Command, context: Context) -> DataSet | None:
        """Where a data set is kept that somebody wants."""
        if request.field == command.C_STORE_RQ and context.service == "store":
            return DataSet(partial(self._new_spool, request), self._limits)
        if request.field == command.N_ACTION_RQ and context.service == "commitment":
            return in_memory(self._limits, commitment.BYTES)
        if request.field in operations.SERVICES:
            return in_memory(self._limits, operations.BYTES)
        return None

    def _complete(self, pdv: Pdv) -> bool:
        """Whether this fragment was the last of its message."""
        if self._request is None:
            return False
        return bool(pdv.control & 2) and not (pdv.control & 1 and self._request.has_data_set)

    def _answer(self) -> bytes | None:
        request, data = self._request, self._data
        self._clear()
        if self._running is not None:
            self._hear_meanwhile(self._running, cast(Command, request))
            return None
        if request is None or request.field == command.C_CANCEL_RQ:
            return None  # nothing is under way that could be cancelled
        if request.field & command.RESPONSE:
            self._hear(request)
            return None
        if request.field in operations.SERVICES:
            return self._begin(request, data)
        if request.field == command.C_ECHO_RQ:
            return command.response(request, SUCCESS)
        return command.response(request, *self._outcome(request, data))

    def _outcome(self, request: Command, data: DataSet | None) -> tuple[int, str]:
        """Status and Error Comment of a request that is answered at once."""
        if request.field == command.C_STORE_RQ:
            return self._store(request, data)
        if request.field == command.N_ACTION_RQ and self._context.service == "commitment":
            return self._act(request, data)
        return UNRECOGNISED_OPERATION, ""

    @property
    def _context(self) -> Context:
        return self._contexts[self._context_id]

    def _begin(self, request: Command, data: DataSet | None) -> bytes | None:
        """Begin an operation, or answer that it cannot be."""
        context, service = self._context, operations.SERVICES[request.field]
        if context.service != service:
            return command.response(request, UNRECOGNISED_OPERATION)
        try:
            identifier = operations.identifier(data)
        except Exception as fault:
            return command.response(request, *operations.refuse(service, fault, self.caller.calling_ae))
        exchange = operations.Exchange(
            request,
            identifier,
            self._context_id,
            context.transfer_syntax,
            context.abstract_syntax,
            self.caller.calling_ae,
            context.relational,
            context.combined_times,
            self.max_length,
            _provided(self._contexts),
            address=self.caller.address,
        )
        self._running = Running(self._outlet.operations[service], exchange)
        return None

    def advance(self) -> bytes | None:
        """What the operation under way has to send now; None: it waits for the peer."""
        running = cast(Running, self._running)
        try:
            step = running.advance()
        except Broken:
            raise
        except Exception as fault:
            step = operations.failed(running.exchange, fault)
            running.ended = True
        if running.ended:
            self._end_operation()
        return step

    def _end_operation(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.close()

    def _hear_meanwhile(self, running: Running, said: Command) -> None:
        if not running.hear(said):
            raise Violation("a request while another one is being answered", UNEXPECTED_PARAMETER)

    def _hear(self, answer: Command) -> None:
        """The answer to a report; nothing else of ours is under way."""
        if answer.field == command.N_EVENT_REPORT_RSP:
            self.notices.answered(answer.answers, answer.status)

    def _act(self, request: Command, data: DataSet | None) -> tuple[int, str]:
        """Status and Error Comment of an N-ACTION."""
        syntax = self._context.transfer_syntax
        line = AssociationLine(self.notices, self._context_id, syntax, self._outlet.ae_title)
        calling_ae = self.caller.calling_ae
        try:
            asked = actions.request(request, data, syntax, calling_ae)
            cast(Commit, self._outlet.commit)(asked, line)
        except Exception as fault:
            return actions.refuse(fault, calling_ae)
        log.info(
            "commitment requested",
            calling_ae=calling_ae,
            uid=asked.transaction_uid,
            instances=len(asked.references),
        )
        return SUCCESS, ""

    def _store(self, request: Command, data: DataSet | None) -> tuple[int, str]:
        """Status and Error Comment of a C-STORE. The one place where any exception becomes an answer."""
        if self._context.service != "store":
            return self._counted(SOP_CLASS_NOT_SUPPORTED), "not a storage presentation context"
        try:
            self._hand_over(request, data)
        except Exception as fault:
            self._log_refusal(request, fault)
            return self._counted(status_of(fault)), comment_of(fault)
        return self._counted(SUCCESS), ""

    def _hand_over(self, request: Command, data: DataSet | None) -> None:
        """To `adopt`; nothing is kept when that fails, and what `adopt` never saw is told to `refused`."""
        try:
            stored = self._stored(request, data)
        except Exception as fault:
            if self._outlet.refused is not None:
                self._outlet.refused(self.caller, command.uid(request.sop_instance_uid), fault)
            raise
        try:
            self._outlet.adopt(stored)
        except BaseException:
            if data is not None:
                data.discard()
            raise

    def _stored(self, request: Command, data: DataSet | None) -> Stored:
        """The instance; raises whatever prevented it from being whole."""
        if data is None:
            raise errors.NotUnderstood("a C-STORE request without a data set")
        self.bytes += data.size
        names = _names(request)
        caller = self.caller
        transfer_syntax = self._context.transfer_syntax
        content = data.content()
        return Stored(
            content, transfer_syntax, *names, caller.calling_ae, caller.called_ae, caller.address, caller.peer
        )

    def _new_spool(self, request: Command) -> Spool:
        return self._outlet.spool(*_names(request), self._context.transfer_syntax)

    def _counted(self, status: int) -> int:
        self.statuses[status] = self.statuses.get(status, 0) + 1
        metrics.STORES.labels(f"0x{status:04X}").inc()
        return status

    def report(self, outcome: str) -> None:
        """The association's last line in the log: how it ended, and what it brought."""
        log.info(
            "association ended",
            outcome=outcome,
            calling_ae=self.caller.calling_ae,
            address=self.caller.address[0],
            stored=self.statuses.get(SUCCESS, 0),
            refused={f"0x{status:04X}": n for status, n in self.statuses.items() if status != SUCCESS},
            bytes=self.bytes,
        )

    def _log_refusal(self, request: Command, fault: Exception) -> None:
        """On record: whose instance, which one, why; a stranger's message may quote patient data."""
        known = isinstance(fault, errors.PacsbridgeError)
        (log.warning if known else log.error)(
            "instance refused",
            calling_ae=self.caller.calling_ae,
            sop_instance_uid=command.uid(request.sop_instance_uid),
            status=f"0x{status_of(fault):04X}",
            reason=str(fault) if known else origin(fault),
        )


def _provided(contexts: Mapping[int, Context]) -> dict[tuple[str, str], int]:
    """SOP class and transfer syntax → context, of those in which the peer takes instances."""
    return {(one.abstract_syntax, one.transfer_syntax): n for n, one in contexts.items() if one.provided}


def _names(request: Command) -> tuple[str, str]:
    """SOP Class and SOP Instance UID, mandatory in a C-STORE request (PS3.7 9.1.1.1); NotUnderstood."""
    uids = (command.uid(request.sop_class_uid), command.uid(request.sop_instance_uid))
    if None in uids:
        raise errors.NotUnderstood("the command does not name its SOP class and instance by UIDs")
    return cast(tuple[str, str], uids)
