"""An association that we ask for to send instances (PS3.8 7.1, PS3.4 B), with a deadline for each step.

Whatever waits for the peer is a generator that yields between two short looks, so that whoever drives it can
look elsewhere meanwhile, and can end it at any of them by `close`.
"""

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import TypeVar

from pydicom.uid import UID
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import PresentationContext, build_context

from pacsbridge.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from pacsbridge.dimse import command
from pacsbridge.dimse.negotiation import ACCEPTED
from pacsbridge.dimse.pdu import ABORT, COMMAND, LAST, P_DATA_TF, Inbound, Violation, header, pdvs
from pacsbridge.dimse.settings import MIB, Place
from pacsbridge.dimse.transport import acknowledge
from pacsbridge.errors import BadAnswer, PacsbridgeError, Unavailable

T = TypeVar("T")
Ticks = Generator[None, None, T]
"""Yields while it waits, and returns what it waited for."""

Pair = tuple[str, str]
"""A SOP class and a transfer syntax."""

MOST_CONTEXTS = 128
"""Presentation contexts of one association: odd numbers below 256 (PS3.8 9.3.2.2)."""

_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
_ACCEPT, _REJECT, _RELEASE_RQ, _RELEASE_RP = 0x02, 0x03, 0x05, 0x06
_ANSWER = command.C_STORE_RQ | command.RESPONSE
_COMMAND_BYTES = 64 * 1024
_LOOK = 0.1
"""Seconds between two looks elsewhere."""

_NO_ROOM = (BlockingIOError, ssl.SSLWantWriteError)
_NOTHING_YET = (BlockingIOError, ssl.SSLWantReadError)

_RELEASE_SECONDS = 2.0
_OUR_LENGTH = 128 * 1024
_ENDINGS: Mapping[int, str] = {
    _REJECT: "rejects the association",
    ABORT: "aborts the association",
    _RELEASE_RQ: "releases the association",
}


class Requestor:
    """One association with a peer; `seconds` is the deadline of each step.

    Every method raises Unavailable or BadAnswer, whose message has the peer for its subject; then the
    association has ended.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._socket: socket.socket | None = None
        self._inbound = Inbound()
        self._encoded = bytearray()
        self.contexts: Mapping[Pair, int] = {}
        """SOP class and transfer syntax → context, of those that the peer has accepted."""
        self.max_length = 0
        """Longest P-DATA-TF body that the peer takes, 0 for any."""

    def associate(self, place: Place, calling_ae: str, called_ae: str, pairs: Sequence[Pair]) -> Ticks[None]:
        """Ask for an association with a context for each pair, 128 at most."""
        with self._ending():
            deadline = time.monotonic() + self._seconds
            yield from self._connect((place.host, place.port), deadline)
            if place.tls is not None:
                yield from self._shake_hands(place.tls, place.host, deadline)
            yield from self._send(_request(calling_ae, called_ae, pairs), deadline)
            kind, body = yield from self._read(deadline)
            if kind != _ACCEPT:
                raise Unavailable(_ENDINGS.get(kind, "answers with an unexpected PDU"))
            self.max_length, self.contexts = _accepted(header(kind, len(body)) + body, pairs)

    def send(self, data: bytes) -> Ticks[None]:
        """Have the peer take some PDUs."""
        with self._ending():
            yield from self._send(data, time.monotonic() + self._seconds)

    def status(self, message_id: int) -> Ticks[int]:
        """The status with which the peer answers a C-STORE request; other messages are passed over."""
        with self._ending():
            deadline = time.monotonic() + self._seconds
            while True:
                kind, body = yield from self._read(deadline)
                if kind != P_DATA_TF:
                    raise Unavailable(_ENDINGS.get(kind, "breaks the protocol"))
                for said in self._commands(body):
                    if (said.field, said.answers) == (_ANSWER, message_id):
                        return said.status

    def release(self) -> Ticks[None]:
        """End in good order, where the peer is quick to agree; end anyway."""
        deadline = time.monotonic() + min(self._seconds, _RELEASE_SECONDS)
        with contextlib.suppress(PacsbridgeError), self._ending():
            yield from self._send(header(_RELEASE_RQ, 4) + bytes(4), deadline)
            while (yield from self._read(deadline))[0] != _RELEASE_RP:
                pass
            self._forget()
        self.close()

    def close(self) -> None:
        """End now: the peer is told if it listens."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.send(header(ABORT, 4) + bytes(4))
        self._forget()

    def _forget(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self.contexts = None, {}

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        """Every fault ends the association, and is told in our words."""
        try:
            yield
        except ssl.SSLCertVerificationError as fault:
            self.close()
            raise Unavailable(f"shows a certificate that is not good ({fault.verify_message})") from fault
        except OSError as fault:
            self.close()
            raise Unavailable(f"cannot be reached ({type(fault).__name__})") from fault
        except Violation as fault:
            self.close()
            raise BadAnswer(f"breaks the protocol: {fault}") from fault
        except PacsbridgeError:
            self.close()
            raise

    def _connect(self, address: tuple[str, int], deadline: float) -> Ticks[None]:
        """To the first of the host's addresses that answers."""
        places = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
        for number, (family, kind, protocol, _name, place) in enumerate(places, 1):
            self._socket = sock = socket.socket(family, kind, protocol)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = sock.connect_ex(place)
            if code == 0:
                return
            yield from self._until(select.POLLOUT, deadline)
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                return
            sock.close()
            if number == len(places):
                self._socket = None
                raise Unavailable("cannot be reached")

    def _shake_hands(self, tls: ssl.SSLContext, host: str, deadline: float) -> Ticks[None]:
        """TLS from here on (PS3.15 B.12): the peer has shown who it is."""
        sock = tls.wrap_socket(self._open(), server_hostname=host, do_handshake_on_connect=False)
        self._socket = sock
        while True:
            try:
                return sock.do_handshake()
            except ssl.SSLWantReadError:
                yield from self._until(select.POLLIN, deadline)
            except ssl.SSLWantWriteError:
                yield from self._until(select.POLLOUT, deadline)

    def _open(self) -> socket.socket:
        if self._socket is None:
            raise Unavailable("is not connected")
        return self._socket

    def _until(self, event: int, deadline: float) -> Ticks[None]:
        """Until the socket is ready. Raises Unavailable at the deadline."""
        poller = select.poll()
        poller.register(self._open(), event)
        while not poller.poll(min(_LOOK, max(deadline - time.monotonic(), 0)) * 1000):
            if time.monotonic() >= deadline:
                raise Unavailable(f"takes longer than {self._seconds:g} s")
            yield

    def _send(self, data: bytes, deadline: float) -> Ticks[None]:
        sock, rest = self._open(), memoryview(data)
        while rest:
            try:
                rest = rest[sock.send(rest) :]
            except _NO_ROOM:
                yield from self._until(select.POLLOUT, deadline)

    def _read(self, deadline: float) -> Ticks[tuple[int, memoryview]]:
        """The next PDU, good until the next call. A peer that drips bytes is late all the same."""
        sock = self._open()
        while (pdu := self._inbound.next(MIB)) is None:
            try:
                count = sock.recv_into(self._inbound.room())
            except _NOTHING_YET:
                yield from self._until(select.POLLIN, deadline)
                continue
            if not count:
                raise Unavailable("closes the connection")
            self._inbound.filled(count)
            acknowledge(sock)
        return pdu

    def _commands(self, body: memoryview) -> Iterator[command.Command]:
        """The command sets that a P-DATA-TF completes; data sets are passed over."""
        for pdv in pdvs(body):
            if not pdv.control & COMMAND:
                continue
            self._encoded += pdv.fragment
            if len(self._encoded) > _COMMAND_BYTES:
                raise BadAnswer(f"sends a command set longer than {_COMMAND_BYTES} bytes")
            if pdv.control & LAST:
                whole, self._encoded = self._encoded, bytearray()
                yield command.decode(whole)


def _request(calling_ae: str, called_ae: str, pairs: Sequence[Pair]) -> bytes:
    """The A-ASSOCIATE-RQ."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = UID(_APPLICATION_CONTEXT)
    primitive.calling_ae_title, primitive.called_ae_title = calling_ae, called_ae
    contexts = [_proposed(number, *pair) for number, pair in enumerate(pairs)]
    primitive.presentation_context_definition_list = contexts
    length, software, name = (
        MaximumLengthNotification(),
        ImplementationClassUIDNotification(),
        ImplementationVersionNameNotification(),
    )
    length.maximum_length_received = _OUR_LENGTH
    software.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    name.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    primitive.user_information = [length, software, name]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return bytes(pdu.encode())


def _proposed(place: int, sop_class: str, transfer_syntax: str) -> PresentationContext:
    context = build_context(sop_class, [transfer_syntax])
    context.context_id = 2 * place + 1
    return context


def _accepted(encoded: bytes, pairs: Sequence[Pair]) -> tuple[int, dict[Pair, int]]:
    """What an A-ASSOCIATE-AC says: the longest PDU, and the contexts. Raises BadAnswer."""
    pdu = A_ASSOCIATE_AC()
    try:
        pdu.decode(encoded)
        information = pdu.user_information
        return (information and information.maximum_length) or 0, dict(_contexts(pdu, pairs))
    except Exception as fault:
        raise BadAnswer("accepts with nonsense") from fault


def _contexts(accepted: A_ASSOCIATE_AC, pairs: Sequence[Pair]) -> Iterator[tuple[Pair, int]]:
    """The pairs that have a context, accepted with the very transfer syntax that was proposed."""
    proposed = {2 * place + 1: pair for place, pair in enumerate(pairs)}
    for item in accepted.presentation_context:
        number = item.presentation_context_id or 0
        pair = proposed.get(number)
        if pair is not None and item.result == ACCEPTED and str(item.transfer_syntax) == pair[1]:
            yield pair, number
