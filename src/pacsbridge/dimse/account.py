"""What an association has brought so far, for whoever looks at it from outside."""

import time

from pacsbridge.bridge.association_log import Association
from pacsbridge.dimse.receive import Receiver
from pacsbridge.dimse.status import SUCCESS


def wall() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000


def account(receiver: Receiver, since: int, ended: int | None, outcome: str) -> Association:
    """An association as it stands; how it ended is told only once it has. Any thread may call this."""
    statuses = dict(receiver.statuses)
    stored = statuses.pop(SUCCESS, 0)
    caller = receiver.caller
    return Association(
        caller.calling_ae,
        caller.called_ae,
        caller.address[0],
        since,
        stored,
        sum(statuses.values()),
        receiver.bytes,
        ended,
        "" if ended is None else outcome,
    )
