"""From an error to the status of a response (PS3.4 Table B.2-1, PS3.7 Annex C)."""

from collections.abc import Mapping

from pacsbridge import errors

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
NO_SUCH_INSTANCE = 0x0112
INVALID_ARGUMENT = 0x0115
NO_SUCH_CLASS = 0x0118
NO_SUCH_ACTION = 0x0123
RESOURCE_LIMITATION = 0x0213
NOT_AUTHORIZED = 0x0124
SOP_CLASS_NOT_SUPPORTED = 0x0122
UNRECOGNISED_OPERATION = 0x0211

STATUSES: Mapping[type[errors.PacsbridgeError], int] = {
    errors.Unavailable: 0xA700,
    errors.BadAnswer: 0xA700,
    errors.Misconfigured: 0xA700,
    errors.Mismatch: 0xA900,
    errors.NotUnderstood: 0xC000,
    errors.NotSupported: 0xC000,
    errors.TooLarge: 0xC001,
    errors.Refused: 0xC002,
    errors.Conflicting: 0xC004,
    errors.Denied: NOT_AUTHORIZED,
    errors.Absent: 0xC003,
    errors.PacsbridgeError: PROCESSING_FAILURE,
}
"""0xA700 asks the sender to try later (what the operator must mend included); 0xCxxx says that the same again
would be refused again. The nearest base class decides."""

ACTION_STATUSES: Mapping[type[errors.PacsbridgeError], int] = {
    errors.Unavailable: RESOURCE_LIMITATION,
    errors.TooLarge: RESOURCE_LIMITATION,
    errors.Refused: INVALID_ARGUMENT,
}
"""The same for N-ACTION (PS3.7 10.1.4.1.10)."""

COMMENT_LENGTH = 64
"""Error Comment (0000,0902) is LO: 64 characters (PS3.7 E.1)."""


class Unfit(errors.Refused):
    """A request that is refused with a status of its own."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def status_of(fault: BaseException, statuses: Mapping[type[errors.PacsbridgeError], int] = STATUSES) -> int:
    """The status that answers a request which raised `fault`; Processing Failure for what nobody foresaw."""
    if isinstance(fault, Unfit):
        return fault.status
    return next((statuses[base] for base in type(fault).__mro__ if base in statuses), PROCESSING_FAILURE)


def comment_of(fault: BaseException) -> str:
    """The Error Comment for `fault`: our own messages only, for a stranger's may quote patient data."""
    return str(fault) if isinstance(fault, errors.PacsbridgeError) else "processing failure, see the log"


def comment_bytes(comment: str) -> bytes:
    """`comment` as an LO value: printable ASCII, one value, at most 64 characters, even length."""
    text = "".join(c if " " <= c <= "~" and c != "\\" else " " for c in comment)[:COMMENT_LENGTH].strip()
    return text.encode("ascii") + b" " * (len(text) % 2)


def origin(fault: BaseException) -> str:
    """Type and place of an exception, without its message."""
    trace = fault.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
    return f"{type(fault).__name__}{where}"
