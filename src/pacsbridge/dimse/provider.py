"""The thread of one connection: pynetdicom's state machine, driven by events instead of by polling.

pynetdicom runs two threads an association, each waking every millisecond. Here one thread waits in `poll` for
the peer, feeds association control to the state machine of PS3.8 9.2, and answers requests itself: P-DATA
never passes through pynetdicom's message classes.
"""

import time
from typing import Any, cast

import structlog
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import TRANSITION_TABLE
from pynetdicom.pdu_primitives import A_ABORT, A_ASSOCIATE, A_P_ABORT, A_RELEASE

from pacsbridge.bridge import association_log
from pacsbridge.dimse.account import account, wall
from pacsbridge.dimse.admission import admit
from pacsbridge.dimse.line import Notice
from pacsbridge.dimse.pdu import (
    ABORT,
    ASSOCIATE_RQ,
    INVALID_VALUE,
    NOT_SPECIFIED,
    P_DATA_TF,
    Inbound,
    Violation,
    check_associate,
    header,
    known_abort,
    p_data,
    pdvs,
)
from pacsbridge.dimse.receive import Receiver
from pacsbridge.dimse.register import Register
from pacsbridge.dimse.settings import MIB
from pacsbridge.dimse.status import origin
from pacsbridge.dimse.transport import Connection
from pacsbridge.tls.failures import why

log = structlog.get_logger("pacsbridge.dimse")

AWAITING_REQUEST, ESTABLISHED, AWAITING_CLOSE = "Sta2", "Sta6", "Sta13"
LOCAL_EVENTS = frozenset({"Evt7", "Evt8", "Evt9", "Evt11", "Evt14", "Evt15"})
"""Events that stand for a primitive of ours at the head of `to_provider_queue`."""
_LAST_WORD = header(ABORT, 4) + bytes((0, 0, 2, NOT_SPECIFIED))


class Provider(DULServiceProvider):
    """Serves one connection from its acceptance to its end; see the module's docstring.

    `retire`, `sever`, `wake` and `send_pdu` may be called by other threads, all else belongs to this one.
    """

    def __init__(self, assoc: Association, register: Register) -> None:
        super().__init__(assoc)
        self.daemon = True
        self.name = "dimse-connection"
        self._register = register
        self._limits = register.settings.limits
        self._pdu_limit = max(self._limits.pdu, register.settings.max_pdu)
        self._inbound = Inbound()
        self._receiver: Receiver | None = None
        self._retiring = False
        self._outcome = ""
        self._since = self._began = time.monotonic()
        self._called = wall()
        self._ended: int | None = None

    def attach(self, connection: Connection) -> None:
        """Gives the provider its connection, which pynetdicom knows as `socket` until it has closed it."""
        self.socket = connection
        self._connection = connection

    def retire(self) -> None:
        """Ends the connection once the request in progress is answered; at once where it is not open."""
        self._retiring = True
        if self._connection.is_open:
            self._connection.wake()
        else:
            self._connection.sever()

    def sever(self) -> None:
        """Ends the connection now, whatever is in progress."""
        self._connection.sever()

    def wake(self) -> None:
        """Ends the wait that may be under way, for what there is to send."""
        self._connection.wake()

    def send_pdu(self, primitive: Any) -> None:
        """Queues a primitive for the peer, and ends the wait that may be under way."""
        super().send_pdu(primitive)
        self._connection.wake()

    def run_reactor(self) -> None:
        """The thread: open, turn until killed, give everything back. Nothing escapes."""
        try:
            self._open()
            while not self._kill_thread:
                self._turn()
        except Exception as fault:
            log.error("connection failed", reason=origin(fault))
            self._connection.send(_LAST_WORD)
        finally:
            self.give_back()

    def _open(self) -> None:
        try:
            self._connection.open()
        except OSError as fault:
            address, settings = self.assoc.requestor.address, self._register.settings
            if settings.tls is None:
                self._register.broken_off("connection not opened", address, type(fault).__name__)
            else:
                settings.strangers.note(address, fault)
                self._register.handshake_failed(address, why(fault))
            self._kill_thread = True

    def give_back(self) -> None:
        """The end: place, descriptors, a half-received instance, and the memory that a cycle would hold."""
        self._connection.dispose()
        self._inbound.release()
        if self._receiver is not None:
            self._receiver.discard()
            self._receiver.report(self._outcome or "ended")
            self._register.watch.ended(
                self._receiver.caller, self._receiver.statuses, self._outcome or "ended"
            )
        self._ended = wall()
        self._register.leave(self)

    def account(self) -> association_log.Association | None:
        """The association as it stands; None before there is one."""
        if self._receiver is None:
            return None
        return account(self._receiver, self._called, self._ended, self._outcome or "ended")

    def _turn(self) -> None:
        """One step: what the state machine has to do comes before what the peer has sent."""
        if not self.event_queue.empty() or self._process_recv_primitive():
            self._act(self.event_queue.get_nowait())
        elif self._retiring and self._at_rest():
            self._retiring = False
            self._abort(_user_abort(), "shutting down")
        elif self.state_machine.current_state == AWAITING_CLOSE:
            self._linger()
        elif (notice := self._notice()) is not None:
            self._notify(notice)
        elif self._receiver is not None and self._receiver.busy and self._established():
            self._operate(self._receiver)
        else:
            self._receive()

    def _established(self) -> bool:
        return bool(self.state_machine.current_state == ESTABLISHED)

    def _operate(self, receiver: Receiver) -> None:
        """The next step of the request being answered, and whatever the peer says meanwhile."""
        step = receiver.advance()
        if step:
            self._connection.send(step)
            self._since = time.monotonic()
        self._receive(wait=step is None)

    def _notice(self) -> Notice | None:
        """What is to be told to the peer now, which is neither within a message of its own nor unanswered."""
        if self._receiver is None or not self._established() or not self._at_rest():
            return None
        return self._receiver.notices.next()

    def _notify(self, notice: Notice) -> None:
        receiver = cast(Receiver, self._receiver)
        for pdu in notice.pdus(receiver.max_length):
            self._connection.send(pdu)
            if not self.event_queue.empty():  # the connection is lost
                return

    def _at_rest(self) -> bool:
        return not self._inbound and (self._receiver is None or self._receiver.at_rest)

    def _act(self, event: str) -> None:
        """Runs the state machine; an event without a transition, an answer after an abort say, is dropped."""
        before = self.state_machine.current_state
        if (event, before) not in TRANSITION_TABLE:
            if event in LOCAL_EVENTS and not self.to_provider_queue.empty():
                self.to_provider_queue.get_nowait()
            return
        self.state_machine.do_action(event)
        if self.state_machine.current_state != before:
            self._since = time.monotonic()
        primitive: object = self.receive_pdu(wait=False)
        if primitive is not None:
            self._attend(primitive)

    def _attend(self, primitive: object) -> None:
        """What the state machine tells the service user, which is us."""
        if isinstance(primitive, A_ASSOCIATE):
            certificate = self._connection.certificate
            self._receiver = admit(self.assoc, primitive, self._register, self, certificate)
        elif isinstance(primitive, A_RELEASE):
            self._outcome = "released"
            self.assoc.acse.send_release(is_response=True)
        elif not self._outcome:
            self._outcome = "aborted by the peer" if isinstance(primitive, A_ABORT) else "connection lost"

    def _receive(self, *, wait: bool = True) -> None:
        """Takes the next PDU that is there, or else waits for more, or only looks."""
        try:
            pdu = self._inbound.next(self._pdu_limit)
            if pdu is None and not wait:
                self._read(time.monotonic())
            elif pdu is None:
                self._fill()
            else:
                self._take(*pdu)
                self._since = time.monotonic()
        except Violation as fault:
            self._register.broken_off("protocol violation", self.assoc.requestor.address, str(fault))
            self._abort(_provider_abort(fault.reason), "protocol violation")

    def _fill(self) -> None:
        first = not self._inbound
        deadline = self._deadline()
        count = self._read(deadline)
        if count and first:
            self._since = time.monotonic()
        elif not count and time.monotonic() >= deadline:
            self._expire()

    def _read(self, deadline: float) -> int:
        """Bytes added to what is inbound; 0 when woken, late, or at the end of the connection (Evt17)."""
        try:
            count = self._connection.read(self._inbound.room(), deadline)
        except (OSError, EOFError):
            self.event_queue.put("Evt17")
            return 0
        self._inbound.filled(count)
        return count

    def _deadline(self) -> float:
        """When patience ends: for the first PDU, for the one in progress, or for any at all."""
        if self.state_machine.current_state == AWAITING_REQUEST:
            return self._began + self._limits.first_pdu
        if self._inbound:
            return self._since + self._limits.pdu_per_mib * (1 + self._inbound.wanted() // MIB)
        return self._since + self._limits.idle

    def _expire(self) -> None:
        """Past the deadline: a connection without association is closed (Evt18), an association aborted."""
        if self.state_machine.current_state == AWAITING_REQUEST:
            self.event_queue.put("Evt18")
        else:
            self._abort(_provider_abort(NOT_SPECIFIED), "timed out")

    def _abort(self, primitive: A_ABORT | A_P_ABORT, outcome: str) -> None:
        """Queues an A-ABORT; before the A-ASSOCIATE-RQ the state machine has one for an invalid PDU only."""
        self._outcome = self._outcome or outcome
        self.to_provider_queue.put(primitive)
        if self.state_machine.current_state == AWAITING_REQUEST:
            self.event_queue.put("Evt19")

    def _linger(self) -> None:
        """Reads and forgets until the peer closes: closing on unread data would destroy our last PDU.

        Who goes on sending is not listened to for ever.
        """
        self._inbound.release()
        deadline = self._since + self._limits.linger
        self._read(deadline)
        if time.monotonic() >= deadline:
            self.event_queue.put("Evt18")

    def _take(self, kind: int, body: memoryview) -> None:
        """One whole PDU: data to the receiver, all else to the state machine."""
        if (
            kind == P_DATA_TF
            and self._receiver is not None
            and self.state_machine.current_state == ESTABLISHED
        ):
            self._take_data(self._receiver, body)
        elif kind == P_DATA_TF:
            self.event_queue.put("Evt10")
        else:
            self._take_control(kind, body)

    def _take_data(self, receiver: Receiver, body: memoryview) -> None:
        for pdv in pdvs(body):
            answer = receiver.feed(pdv)
            if answer is not None:
                self._connection.send(p_data(pdv.context_id, answer, receiver.max_length))

    def _take_control(self, kind: int, body: memoryview) -> None:
        """Decodes a PDU of association control; Violation if pynetdicom cannot make sense of it."""
        if kind == ASSOCIATE_RQ:
            check_associate(body)
        known = known_abort(body) if kind == ABORT else body
        try:
            pdu, event = self._decode_pdu(bytearray(header(kind, len(body)) + known))
            if kind == ASSOCIATE_RQ:
                pdu.to_primitive()
        except Exception as fault:
            raise Violation(
                f"malformed PDU of type 0x{kind:02X} ({type(fault).__name__})", INVALID_VALUE
            ) from fault
        self._recv_pdu.put(pdu)
        self.event_queue.put(event)


def _provider_abort(reason: int) -> A_P_ABORT:
    """An A-ABORT with source 2, the service provider (PS3.8 Table 9-26)."""
    primitive = A_P_ABORT()
    primitive.provider_reason = reason
    return primitive


def _user_abort() -> A_ABORT:
    """An A-ABORT with source 0, the service user."""
    primitive = A_ABORT()
    primitive.abort_source = 0
    return primitive
