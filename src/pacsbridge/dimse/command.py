"""Command sets: Implicit VR Little Endian elements of group 0000 (PS3.7 6.3.1, Annex E), coded by hand.

A generic codec takes longer over a small instance's command set than all else that is done with it here.
"""

import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pacsbridge.dimse.pdu import INVALID_VALUE, Violation
from pacsbridge.dimse.status import comment_bytes

C_STORE_RQ = 0x0001
C_FIND_RQ, C_GET_RQ, C_MOVE_RQ = 0x0020, 0x0010, 0x0021
C_ECHO_RQ = 0x0030
C_CANCEL_RQ = 0x0FFF
N_EVENT_REPORT_RQ, N_EVENT_REPORT_RSP = 0x0100, 0x8100
N_ACTION_RQ = 0x0130
RESPONSE = 0x8000
NO_DATA_SET, DATA_SET = 0x0101, 0x0001

AFFECTED_SOP_CLASS_UID, REQUESTED_SOP_CLASS_UID = 0x0002, 0x0003
COMMAND_FIELD = 0x0100
MESSAGE_ID, MESSAGE_ID_ANSWERED = 0x0110, 0x0120
MOVE_DESTINATION = 0x0600
PRIORITY = 0x0700
DATA_SET_TYPE = 0x0800
STATUS = 0x0900
AFFECTED_SOP_INSTANCE_UID, REQUESTED_SOP_INSTANCE_UID = 0x1000, 0x1001
EVENT_TYPE, ACTION_TYPE = 0x1002, 0x1008
REMAINING_SUBOPERATIONS = 0x1020
MOVE_ORIGINATOR, MOVE_ORIGINATOR_MESSAGE_ID = 0x1030, 0x1031

_UID = re.compile(r"[0-9.]{1,64}")
_ELEMENT = struct.Struct("<HHL")
_SHORT = struct.Struct("<HHLH")
_GROUP_LENGTH = struct.Struct("<HHLL")


class Command(NamedTuple):
    """What a command set says; the UIDs as they stood, padding included, empty when absent.

    `action_type` is of an N-ACTION request, `destination` of a C-MOVE; `answers` is the message that a
    response or a C-CANCEL is about, `status` a response's.
    """

    field: int
    message_id: int
    has_data_set: bool
    sop_class_uid: bytes
    sop_instance_uid: bytes
    action_type: int = 0
    answers: int = 0
    status: int = 0
    destination: str = ""


def decode(encoded: bytes | bytearray) -> Command:
    """The command in `encoded`; Violation if it cannot be walked or has no Command Field (0000,0100)."""
    elements = _elements(encoded)
    found = Command(
        _short(elements, COMMAND_FIELD),
        _short(elements, MESSAGE_ID, 0),
        _short(elements, DATA_SET_TYPE) != NO_DATA_SET,
        elements.get(AFFECTED_SOP_CLASS_UID, b""),
        elements.get(AFFECTED_SOP_INSTANCE_UID, b""),
    )
    more = _answer if found.field & RESPONSE else _MORE.get(found.field)
    return found._replace(**more(elements)) if more else found


def _action(elements: dict[int, bytes]) -> dict[str, Any]:
    """An N-ACTION request: what it calls requested, its response calls affected (PS3.7 10.3.5)."""
    return {
        "sop_class_uid": elements.get(REQUESTED_SOP_CLASS_UID, b""),
        "sop_instance_uid": elements.get(REQUESTED_SOP_INSTANCE_UID, b""),
        "action_type": _short(elements, ACTION_TYPE, 0),
    }


def _answer(elements: dict[int, bytes]) -> dict[str, Any]:
    return {"answers": _short(elements, MESSAGE_ID_ANSWERED), "status": _short(elements, STATUS)}


def _cancel(elements: dict[int, bytes]) -> dict[str, Any]:
    return {"answers": _short(elements, MESSAGE_ID_ANSWERED, 0)}


def _move(elements: dict[int, bytes]) -> dict[str, Any]:
    title = elements.get(MOVE_DESTINATION, b"").decode("ascii", "replace")
    return {"destination": title.strip("\0 ")}


_MORE: Mapping[int, Callable[[dict[int, bytes]], dict[str, Any]]] = {
    N_ACTION_RQ: _action,
    C_MOVE_RQ: _move,
    C_CANCEL_RQ: _cancel,
}


def _elements(encoded: bytes | bytearray) -> dict[int, bytes]:
    """Element number → value of every element; the group must be 0000."""
    elements: dict[int, bytes] = {}
    offset, end = 0, len(encoded)
    while offset < end:
        if end - offset < 8:
            raise Violation("the command set ends within an element", INVALID_VALUE)
        group, element, length = _ELEMENT.unpack_from(encoded, offset)
        offset += 8 + length
        if group or offset > end:
            raise Violation("the command set is malformed", INVALID_VALUE)
        elements[element] = bytes(encoded[offset - length : offset])
    return elements


def _short(elements: dict[int, bytes], element: int, default: int | None = None) -> int:
    """The US value of `element`; `default` if it is absent, Violation without a default."""
    value = elements.get(element)
    if value is not None and len(value) == 2:
        return value[0] | value[1] << 8
    if value is None and default is not None:
        return default
    raise Violation(f"the command set has no usable (0000,{element:04X})", INVALID_VALUE)


def response(
    request: Command,
    status: int,
    comment: str = "",
    *,
    has_data_set: bool = False,
    suboperations: Iterable[int | None] = (),
) -> bytes:
    """The command set that answers `request` (PS3.7 9.3): elements in ascending order.

    `suboperations` are the numbers of remaining, completed, failed and warning ones, None for one left out.
    """
    body = b"".join(
        (
            _text(AFFECTED_SOP_CLASS_UID, request.sop_class_uid),
            _SHORT.pack(0, COMMAND_FIELD, 2, request.field | RESPONSE),
            _SHORT.pack(0, MESSAGE_ID_ANSWERED, 2, request.message_id),
            _SHORT.pack(0, DATA_SET_TYPE, 2, DATA_SET if has_data_set else NO_DATA_SET),
            _SHORT.pack(0, STATUS, 2, status),
            _text(0x0902, comment_bytes(comment)) if comment else b"",
            _text(AFFECTED_SOP_INSTANCE_UID, request.sop_instance_uid),
            *_suboperations(suboperations),
        )
    )
    return _GROUP_LENGTH.pack(0, 0, 4, len(body)) + body


def _suboperations(numbers: Iterable[int | None]) -> Iterator[bytes]:
    for element, number in enumerate(numbers, REMAINING_SUBOPERATIONS):
        if number is not None:
            yield _SHORT.pack(0, element, 2, min(number, 0xFFFF))


def store_request(
    message_id: int, sop_class_uid: str, sop_instance_uid: str, originator: tuple[str, int] | None = None
) -> bytes:
    """The command set of a C-STORE request of medium priority (PS3.7 9.3.1.1).

    `originator` are the AE title and the message ID of the C-MOVE that it is for.
    """
    title, number = originator or ("", 0)
    body = b"".join(
        (
            _text(AFFECTED_SOP_CLASS_UID, padded(sop_class_uid)),
            _SHORT.pack(0, COMMAND_FIELD, 2, C_STORE_RQ),
            _SHORT.pack(0, MESSAGE_ID, 2, message_id),
            _SHORT.pack(0, PRIORITY, 2, 0),
            _SHORT.pack(0, DATA_SET_TYPE, 2, DATA_SET),
            _text(AFFECTED_SOP_INSTANCE_UID, padded(sop_instance_uid)),
            _text(MOVE_ORIGINATOR, title.encode("ascii", "replace").ljust(len(title) + len(title) % 2)),
            _SHORT.pack(0, MOVE_ORIGINATOR_MESSAGE_ID, 2, number) if originator else b"",
        )
    )
    return _GROUP_LENGTH.pack(0, 0, 4, len(body)) + body


def event_report(message_id: int, sop_class_uid: str, sop_instance_uid: str, event_type: int) -> bytes:
    """The command set of an N-EVENT-REPORT request with a data set (PS3.7 10.3.1.1)."""
    body = b"".join(
        (
            _text(AFFECTED_SOP_CLASS_UID, padded(sop_class_uid)),
            _SHORT.pack(0, COMMAND_FIELD, 2, N_EVENT_REPORT_RQ),
            _SHORT.pack(0, MESSAGE_ID, 2, message_id),
            _SHORT.pack(0, DATA_SET_TYPE, 2, DATA_SET),
            _text(AFFECTED_SOP_INSTANCE_UID, padded(sop_instance_uid)),
            _SHORT.pack(0, EVENT_TYPE, 2, event_type),
        )
    )
    return _GROUP_LENGTH.pack(0, 0, 4, len(body)) + body


def _text(element: int, value: bytes) -> bytes:
    """One element with a text value; nothing at all for an empty value."""
    return _ELEMENT.pack(0, element, len(value)) + value if value else b""


def uid(value: bytes) -> str | None:
    """A UID value without its padding; None if it is empty, too long, or has more than digits and dots."""
    text = value.rstrip(b"\0 ").decode("ascii", "replace")
    return text if _UID.fullmatch(text) else None


def padded(text: str) -> bytes:
    """A UID as a value of even length (PS3.5 9.1)."""
    return text.encode("ascii") + b"\0" * (len(text) % 2)
