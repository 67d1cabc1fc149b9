"""PDUs on the wire (PS3.8 9.3): framing with limits, presentation data values, bytes not yet taken."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from pacsbridge.errors import NotUnderstood

ASSOCIATE_RQ, P_DATA_TF, ABORT = 0x01, 0x04, 0x07
FIXED_LENGTH = {0x03: 4, 0x05: 4, 0x06: 4, 0x07: 4}
"""Body length of A-ASSOCIATE-RJ, A-RELEASE-RQ, A-RELEASE-RP and A-ABORT."""

NOT_SPECIFIED, UNRECOGNISED_PDU, UNEXPECTED_PDU, UNEXPECTED_PARAMETER, INVALID_VALUE = 0, 1, 2, 5, 6
"""Reasons of a provider's A-ABORT (PS3.8 Table 9-26)."""

_REASONS = frozenset((0, 1, 2, 4, 5, 6))
_USER_ABORT, _PROVIDER = bytes(4), 2

HEADER = 6
_HEADER = struct.Struct(">BxL")
_PDV = struct.Struct(">LBB")
_P_DATA = struct.Struct(">BxLLBB")
LAST, COMMAND, DATA = 0x02, 0x01, 0x00
"""Bits of message control headers (PS3.8 E.2)."""

LONGEST_SENT = 128 * 1024
"""What we send to a peer that takes PDUs of any length."""


class Violation(NotUnderstood):
    """The peer broke the protocol: the association is aborted with `reason` (PS3.8 Table 9-26)."""

    def __init__(self, message: str, reason: int) -> None:
        super().__init__(message)
        self.reason = reason


ITEMS = 10_240
"""Items taken in one A-ASSOCIATE-RQ: 128 presentation contexts of 63 transfer syntaxes each, and others."""
_FIXED_PART, _APPLICATION, _CONTEXT, _USER = 68, 0x10, 0x20, 0x50
_NEEDED = frozenset((_APPLICATION, _CONTEXT, _USER))
_ABSTRACT, _TRANSFER = 0x30, 0x40
_BEFORE_PARTS = {_CONTEXT: 4, _USER: 0}
"""Bytes of an item before its sub-items, where it has any."""
_ITEM = struct.Struct(">BxH")


class Pdv(NamedTuple):
    """One presentation data value: its context, its message control header, its fragment."""

    context_id: int
    control: int
    fragment: memoryview


def header(kind: int, length: int) -> bytes:
    """The first six bytes of a PDU with a body of `length` bytes."""
    return _HEADER.pack(kind, length)


def check_header(kind: int, length: int, limit: int) -> None:
    """Violation if a PDU of this type and body length (bytes) is not one that we take."""
    if not 1 <= kind <= 7:
        raise Violation(f"unknown PDU type 0x{kind:02X}", UNRECOGNISED_PDU)
    if length > limit or length != FIXED_LENGTH.get(kind, length):
        raise Violation(f"a PDU of type 0x{kind:02X} cannot be {length} bytes long", INVALID_VALUE)


def known_abort(body: memoryview) -> bytes:
    """The body of an A-ABORT with values of PS3.8 Table 9-26: whatever it says, it ends the association."""
    source, reason = body[2:4]
    return bytes(body) if source == _PROVIDER and reason in _REASONS else _USER_ABORT


def check_associate(body: memoryview) -> None:
    """Violation if an A-ASSOCIATE-RQ lacks items, or has more than are decoded in a moment (PS3.8 9.3.2)."""
    count, kinds, numbers = 0, set[int](), list[int]()
    for kind, item in _items(body[_FIXED_PART:]):
        parts = [part for part, _ in _items(item[_BEFORE_PARTS.get(kind, len(item)) :])]
        count += 1 + len(parts)
        if count > ITEMS:
            raise Violation(f"more than {ITEMS} items in an association request", INVALID_VALUE)
        kinds.add(kind)
        if kind == _CONTEXT:
            numbers.append(_number(item, parts))
    if not kinds >= _NEEDED:
        raise Violation("an association request without context or user information", INVALID_VALUE)
    if len(set(numbers)) < len(numbers):
        raise Violation("two presentation contexts of one number", INVALID_VALUE)


def _number(context: memoryview, parts: list[int]) -> int:
    """The number of a proposed presentation context (PS3.8 9.3.2.2); Violation if it proposes nothing."""
    if _ABSTRACT not in parts or _TRANSFER not in parts:
        raise Violation("a presentation context without abstract or transfer syntax", INVALID_VALUE)
    return context[0]


def _items(body: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Type and value of each item; stops at one that is cut short, which the decoder will refuse."""
    offset = 0
    while offset + _ITEM.size <= len(body):
        kind, length = _ITEM.unpack_from(body, offset)
        offset += _ITEM.size
        yield kind, body[offset : offset + length]
        offset += length


def pdvs(body: memoryview) -> Iterator[Pdv]:
    """The values in a P-DATA-TF body (PS3.8 9.3.5); Violation if their lengths do not add up."""
    offset, end = 0, len(body)
    if not end:
        raise Violation("a P-DATA-TF without a presentation data value", INVALID_VALUE)
    while offset < end:
        if end - offset < 6:
            raise Violation("a P-DATA-TF ends within a presentation data value", INVALID_VALUE)
        length, context_id, control = _PDV.unpack_from(body, offset)
        following = offset + 4 + length
        if length < 2 or following > end:
            raise Violation(f"a presentation data value cannot be {length} bytes long", INVALID_VALUE)
        yield Pdv(context_id, control, body[offset + 6 : following])
        offset = following


def p_data(context_id: int, command: bytes, max_length: int) -> bytes:
    """A command set as P-DATA-TF PDUs, none with a body beyond the peer's `max_length` (0: no limit)."""
    return b"".join(fragments(context_id, command, max_length, COMMAND))


def room(max_length: int) -> int:
    """Bytes of a command or data set that one PDU to a peer may carry, given its `max_length`."""
    return max(max_length - 6, 1) if max_length else LONGEST_SENT


def fragments(
    context_id: int, content: bytes, max_length: int, kind: int, *, ends: bool = True
) -> Iterator[bytes]:
    """A command or data set as P-DATA-TF PDUs, likewise; a piece of one that does not end with it."""
    piece = room(max_length)
    for start in range(0, len(content), piece):
        part = content[start : start + piece]
        control = kind | LAST if ends and start + piece >= len(content) else kind
        yield _P_DATA.pack(P_DATA_TF, len(part) + 6, len(part) + 2, context_id, control) + part


class Inbound:
    """Bytes that have been read from a connection and not been taken as PDUs yet."""

    __slots__ = ("_buffer", "_end", "_start")
    SIZE, FIRST = 256 * 1024, 16 * 1024

    def __init__(self) -> None:
        self._buffer = bytearray(self.FIRST)
        self._start = self._end = 0

    def __len__(self) -> int:
        return self._end - self._start

    def next(self, limit: int) -> tuple[int, memoryview] | None:
        """Type and body of the next PDU, or None until all of it is there; Violation by `check_header`.

        The body is a view that the next call of `room` invalidates.
        """
        held = self._end - self._start
        if held < HEADER:
            return None
        kind, length = _HEADER.unpack_from(self._buffer, self._start)
        check_header(kind, length, limit)
        if held < HEADER + length:
            return None
        body = self._start + HEADER
        self._start = body + length
        return kind, memoryview(self._buffer)[body : self._start]

    def wanted(self) -> int:
        """Length in bytes of the PDU in progress, header included; 6 as long as that is not known."""
        if len(self) < HEADER:
            return HEADER
        return HEADER + int(_HEADER.unpack_from(self._buffer, self._start)[1])

    def room(self) -> memoryview:
        """Where to read to: at least the rest of the PDU in progress, more once a read has filled it all."""
        full = self._end == len(self._buffer)
        if self._start == self._end:
            self._start = self._end = 0
        if full or self._start + self.wanted() > len(self._buffer):
            self._renew(max(self.wanted(), self.SIZE))
        return memoryview(self._buffer)[self._end :]

    def _renew(self, size: int) -> None:
        """What is held goes to the front, of a new buffer if this one has not `size` bytes."""
        held = self._buffer[self._start : self._end]
        if len(self._buffer) != size:
            self._buffer = bytearray(size)
        self._buffer[: len(held)] = held
        self._start, self._end = 0, len(held)

    def filled(self, count: int) -> None:
        """`count` bytes have been read to `room`."""
        self._end += count

    def release(self) -> None:
        """Forgets everything, and keeps little memory."""
        self._buffer = bytearray(self.FIRST)
        self._start = self._end = 0
