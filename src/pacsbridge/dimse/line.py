"""Reports on the association that a request came on: given by any thread, sent by the connection's own."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pacsbridge.bridge.commitment import Report
from pacsbridge.dimse import command, commitment
from pacsbridge.dimse.negotiation import COMMITMENT
from pacsbridge.dimse.pdu import COMMAND, DATA, fragments


@dataclass(slots=True, eq=False)
class Notice:
    """One N-EVENT-REPORT request on its way; `status` is the answer's, once `done` is set."""

    context_id: int
    encoded: bytes
    data: bytes
    done: threading.Event = field(default_factory=threading.Event)
    status: int | None = None

    def pdus(self, max_length: int) -> Iterator[bytes]:
        """The P-DATA-TF PDUs, none with a body beyond `max_length` (0: no limit)."""
        yield from fragments(self.context_id, self.encoded, max_length, COMMAND)
        yield from fragments(self.context_id, self.data, max_length, DATA)


class Notices:
    """The notices of one association; `wake` ends its thread's wait for the peer."""

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._waiting: deque[Notice] = deque()
        self._open: dict[int, Notice] = {}
        self._last = 0
        self._closed = False

    def notify(self, context_id: int, event_type: int, data: bytes, seconds: float) -> int | None:
        """The status that answers; None if the association ends, or no answer comes in time."""
        with self._lock:
            if self._closed:
                return None
            self._last = number = self._last % 0xFFFF + 1
            encoded = command.event_report(number, COMMITMENT, commitment.INSTANCE, event_type)
            notice = self._open[number] = Notice(context_id, encoded, data)
            self._waiting.append(notice)
        self._wake()
        notice.done.wait(seconds)
        with self._lock:
            self._open.pop(number, None)
            if notice in self._waiting:
                self._waiting.remove(notice)
        return notice.status

    def next(self) -> Notice | None:
        """What is to be sent now."""
        if not self._waiting:  # asked at every turn of the connection's thread
            return None
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def answered(self, number: int, status: int) -> None:
        """The peer has answered a message of ours; one that nobody waits for is passed over."""
        with self._lock:
            notice = self._open.get(number)
        if notice is not None:
            notice.status = status
            notice.done.set()

    def close(self) -> None:
        """The association has ended."""
        with self._lock:
            self._closed = True
            left = list(self._open.values())
        for notice in left:
            notice.done.set()


@dataclass(frozen=True, slots=True)
class AssociationLine:
    """The line of one request: its association, presentation context and transfer syntax."""

    notices: Notices
    context_id: int
    transfer_syntax: str
    retrieve_ae: str

    def report(self, report: Report, seconds: float) -> int | None:
        """See `bridge.commitment.Line`."""
        data = commitment.encode(report, self.transfer_syntax, self.retrieve_ae)
        return self.notices.notify(self.context_id, commitment.event_type(report), data, seconds)
