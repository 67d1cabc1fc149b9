"""N-ACTION: a request for storage commitment, checked; or the status that refuses it (PS3.4 J.3.2)."""

import threading
from typing import cast

import structlog

from pacsbridge.bridge.commitment import Request
from pacsbridge.dimse import command, commitment
from pacsbridge.dimse.command import Command
from pacsbridge.dimse.dataset import DataSet
from pacsbridge.dimse.negotiation import COMMITMENT
from pacsbridge.dimse.status import (
    ACTION_STATUSES,
    NO_SUCH_ACTION,
    NO_SUCH_CLASS,
    NO_SUCH_INSTANCE,
    Unfit,
    comment_of,
    origin,
    status_of,
)
from pacsbridge.errors import NotUnderstood, PacsbridgeError

log = structlog.get_logger("pacsbridge.dimse")

_reading = threading.Lock()
"""One request at a time is taken apart: the largest ones need some 50 MiB meanwhile."""


def request(asked: Command, data: DataSet | None, transfer_syntax: str, calling_ae: str) -> Request:
    """What is asked for. Raises Refused."""
    _check(asked)
    if data is None:
        raise NotUnderstood("an N-ACTION request without a data set")
    with _reading:
        transaction, references = commitment.read(bytes(cast(bytearray, data.content())), transfer_syntax)
    return Request(calling_ae, transaction, references)


def _check(asked: Command) -> None:
    """PS3.4 J.3.2.1: there is one SOP class, one instance of it, and one action."""
    if command.uid(asked.sop_class_uid) != COMMITMENT:
        raise Unfit("not the SOP class of storage commitment", NO_SUCH_CLASS)
    if command.uid(asked.sop_instance_uid) != commitment.INSTANCE:
        raise Unfit("not the SOP instance of storage commitment", NO_SUCH_INSTANCE)
    if asked.action_type != commitment.REQUEST_COMMITMENT:
        raise Unfit(f"action type {asked.action_type} is not known", NO_SUCH_ACTION)


def refuse(fault: Exception, calling_ae: str) -> tuple[int, str]:
    """Status and Error Comment for a request that cannot be taken; it is on record in the log."""
    status = status_of(fault, ACTION_STATUSES)
    known = isinstance(fault, PacsbridgeError)
    (log.warning if known else log.error)(
        "commitment refused",
        calling_ae=calling_ae,
        status=f"0x{status:04X}",
        reason=str(fault) if known else origin(fault),
    )
    return status, comment_of(fault)
