"""What C-GET and C-MOVE share: what is asked for, what is sent, what became of it (PS3.4 C.4.2, C.4.3).

Hierarchical retrieval only: the unique key of the level and those of all levels above have to be there.
"""

import re
import struct
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import structlog

from pacsbridge.bridge.retrieving import Further, Instance, Match, Retrieval, Wanted
from pacsbridge.dicom.identifiers import read
from pacsbridge.dicom.transfer_syntaxes import EXPLICIT_LITTLE
from pacsbridge.dimse import command
from pacsbridge.dimse.find import UNIQUE_NAMES, level_of
from pacsbridge.dimse.negotiation import PATIENT_ROOT
from pacsbridge.dimse.operations import SERVICES, Broken, Exchange, Step, counted
from pacsbridge.dimse.pdu import COMMAND, DATA, fragments, room
from pacsbridge.dimse.status import SUCCESS, Unfit
from pacsbridge.errors import Absent, Mismatch, NotUnderstood, PacsbridgeError, TooLarge, Unavailable, reason
from pacsbridge.kernel.finding import LEVELS, MOST_VALUES, Keys
from pacsbridge.kernel.matching import has_wildcards
from pacsbridge.kernel.model import Level
from pacsbridge.kernel.query_keys import UNIQUE

log = structlog.get_logger("pacsbridge.dimse")

PENDING, CANCELLED = 0xFF00, 0xFE00
SOME_FAILED = 0xB000
NOT_COUNTED, NONE_SENT, UNKNOWN_DESTINATION = 0xA701, 0xA702, 0xA801
"""Statuses of PS3.4 tables C.4-2 and C.4-3."""

_WARNINGS = frozenset({0x0001, 0x0107, 0x0116, *range(0xB000, 0xC000)})
"""PS3.7 C: what succeeded all the same."""

_PULSE, _HEARTBEAT = 0.1, 10.0
"""Seconds between two pending responses: with and without anything new to tell."""

_PIECE = 256 * 1024
_PDUS = 1024
"""Bytes, and PDUs, that are made ready at a time."""

_LOGGED = 10
"""Failures of one retrieval that are logged one by one."""

_UID = re.compile(r"[0-9.]{1,64}")
_FAILED_UIDS = (0x0008, 0x0058)
_LONGEST = 0xFFFE
"""Bytes that a UI value of explicit VR has at most."""

# what is asked for


def wanted(exchange: Exchange) -> Wanted:
    """What an identifier asks for (PS3.4 C.4.2.1.4).

    Raises Mismatch where it does not fit the SOP class or lacks a unique key, NotUnderstood, TooLarge.
    """
    keys = read(exchange.identifier, exchange.transfer_syntax).keys
    level = level_of(keys, exchange.abstract_syntax)
    top = Level.PATIENT if exchange.abstract_syntax.startswith(PATIENT_ROOT) else Level.STUDY
    needed = LEVELS[LEVELS.index(top) : LEVELS.index(level) + 1]
    values = {one: _unique(keys, one, lowest=one is level) for one in needed}
    return Wanted(
        level,
        next(iter(values.get(Level.PATIENT, ())), None),
        *(values.get(one, ()) for one in LEVELS[1:]),
    )


def _unique(keys: Keys, level: Level, *, lowest: bool) -> Sequence[str]:
    """The values of a unique key: one, or of UIDs at the lowest level several."""
    tag, name = UNIQUE[level], UNIQUE_NAMES[level]
    values = [*dict.fromkeys(value for value in keys[tag].values if value)] if tag in keys else []
    if not values or any(map(has_wildcards, values)):
        raise Mismatch(f"{name} is needed")
    if level is not Level.PATIENT and not all(map(_UID.fullmatch, values)):
        raise NotUnderstood(f"{name} has a value that is no UID")
    if len(values) > 1 and not (lowest and level is not Level.PATIENT):
        raise Mismatch(f"{name} may have one value only")
    if len(values) > MOST_VALUES:
        raise TooLarge(f"{name} has more than {MOST_VALUES} values")
    return values


# sub-operations


@dataclass(frozen=True, slots=True)
class Found:
    """What there is to send: what is held, then what others have, some of which may not come."""

    held: Sequence[Match]
    further: Further

    def each(self) -> Iterator[Match | None]:
        """One after the other; others' only where they have UIDs to be called by. None: one is coming."""
        yield from self.held
        try:
            for instance in self.further.instances:
                if instance is None:
                    yield None
                elif all(map(_UID.fullmatch, instance[:3])):
                    yield Match(*instance[:3], partial(_same, instance))
        except PacsbridgeError as fault:
            log.warning("instances not fetched", reason=str(fault))


def _same(instance: Instance) -> Instance:
    return instance


def find(retrieval: Retrieval, sought: Wanted) -> Generator[Step, None, Found]:
    """What there is of it. Raises Unfit, TooLarge."""
    held: list[Match] = []
    try:
        for match in retrieval.matches(sought):
            if match is None:
                yield b""
            else:
                held.append(match)
        return Found(held, retrieval.further(sought, [one.sop_uid for one in held]))
    except Unavailable as fault:
        raise Unfit(str(fault), NOT_COUNTED) from fault


def messages(context_id: int, encoded: bytes, instance: Instance, max_length: int) -> Iterator[bytes]:
    """A C-STORE request as P-DATA-TF PDUs, made ready step by step, so that little of it is in memory.

    Raises Absent, Unavailable, OSError before the first step, Broken later.
    """
    longest = room(max_length)
    pieces = instance.pieces(min(longest, _PIECE) * max(1, min(_PIECE // longest, _PDUS)))
    start = b"".join(fragments(context_id, encoded, max_length, COMMAND))
    sent, piece = 0, next(pieces, b"")
    if not piece:
        raise Absent("an instance without a data set")
    while piece:
        sent += len(piece)
        if sent > instance.size:
            break
        data = fragments(context_id, piece, max_length, DATA, ends=sent == instance.size)
        yield b"".join((start, *data))
        start = b""
        try:
            piece = next(pieces, b"")
        except (PacsbridgeError, OSError) as fault:
            raise Broken(reason(fault)) from fault
    if sent != instance.size:
        raise Broken("a stored instance has another length than recorded")


def prepared(
    match: Match, context_id: int, encoded: bytes, max_length: int
) -> tuple[Instance, Iterator[bytes]]:
    """An instance, opened, and the steps of its request, the first one ready.

    Raises Absent, Unavailable, OSError.
    """
    instance = match.open()
    steps = messages(context_id, encoded, instance, max_length)
    return instance, chain((next(steps),), steps)


# what became of it


class Report:
    """The numbers of one retrieval, and the responses that tell them."""

    def __init__(self, exchange: Exchange, found: Found) -> None:
        self._exchange = exchange
        self._began = self._told = time.monotonic()
        self._news = True
        self._remaining = dict.fromkeys([*(one.sop_uid for one in found.held), *found.further.uids])
        self._completed = self._warned = 0
        self._failed: list[str] = []
        self._why = ""
        self._bytes = 0

    def answered(self, instance: Instance, status: int) -> None:
        """A sub-operation has been answered."""
        if status != SUCCESS and status not in _WARNINGS:
            self.failed(instance.sop_uid, f"answered 0x{status:04X}")
            return
        self._count(instance.sop_uid)
        self._bytes += instance.size
        self._exchange.sent += 1
        if status == SUCCESS:
            self._completed += 1
        else:
            self._warned += 1

    def failed(self, sop_uid: str, why: str) -> None:
        """A sub-operation could not be performed."""
        self._count(sop_uid)
        self._failed.append(sop_uid)
        self._exchange.failed += 1
        self._why = self._why or why
        if len(self._failed) <= _LOGGED:
            log.warning("sub-operation failed", sop_instance_uid=sop_uid, reason=why)

    def _count(self, sop_uid: str) -> None:
        self._remaining.pop(sop_uid, None)
        self._news = True

    def pulse(self) -> bytes:
        """A pending response where one is due, else nothing."""
        now = time.monotonic()
        if now - self._told < (_PULSE if self._news else _HEARTBEAT):
            return b""
        self._told, self._news = now, False
        numbers = self._numbers(len(self._remaining))
        return self._exchange.message(
            command.response(self._exchange.request, PENDING, suboperations=numbers)
        )

    def end(self, why: str = "not to be had from any archive") -> bytes:
        """The last response (PS3.4 C.4.2.3.1, C.4.3.3.1); unless cancelled, what remains has failed."""
        cancelled = self._exchange.cancelled and bool(self._remaining)
        for uid in () if cancelled else [*self._remaining]:
            self.failed(uid, why)
        service = SERVICES[self._exchange.request.field]
        status = counted(service, CANCELLED if cancelled else self._outcome())
        self._log(service, status)
        data = failed_list(self._failed, self._exchange.transfer_syntax) if self._failed else None
        encoded = command.response(
            self._exchange.request,
            status,
            f"{len(self._failed)} failed: {self._why}" if self._failed else "",
            has_data_set=data is not None,
            suboperations=self._numbers(len(self._remaining) if cancelled else None),
        )
        return self._exchange.message(encoded, data)

    def _outcome(self) -> int:
        if self._failed and not self._completed and not self._warned:
            return NONE_SENT
        return SOME_FAILED if self._failed or self._warned else SUCCESS

    def _numbers(self, remaining: int | None) -> tuple[int | None, ...]:
        return remaining, self._completed, len(self._failed), self._warned

    def _log(self, service: str, status: int) -> None:
        log.info(
            "retrieval answered",
            type=service,
            calling_ae=self._exchange.calling_ae,
            status=f"0x{status:04X}",
            instances=self._completed + self._warned,
            failed=len(self._failed),
            bytes=self._bytes,
            reason=self._why or None,
            milliseconds=round((time.monotonic() - self._began) * 1000),
        )


def failed_list(uids: Sequence[str], transfer_syntax: str) -> bytes:
    """An identifier with Failed SOP Instance UID List (0008,0058): as many as a value takes."""
    value = b""
    for uid in uids:
        longer = value + b"\\" * bool(value) + uid.encode("ascii")
        if len(longer) > _LONGEST:
            break
        value = longer
    value += b"\0" * (len(value) % 2)
    if transfer_syntax == EXPLICIT_LITTLE:
        return struct.pack("<HH2sH", *_FAILED_UIDS, b"UI", len(value)) + value
    return struct.pack("<HHL", *_FAILED_UIDS, len(value)) + value
