"""Group commit: of the threads that wait, one does the work for all.

The thread that finds nobody at work becomes the leader. It takes what has gathered, commits it, hands the
lead to the first thread that has come since, and wakes those whose work is done. A lone thread always leads
and never waits for another.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from pacsbridge.errors import PacsbridgeError, Unavailable

T = TypeVar("T")


class _Ticket(Generic[T]):
    """One thread's wish, and the gate at which the thread waits."""

    __slots__ = ("done", "error", "gate", "item", "leads", "size")

    def __init__(self, item: T, size: int) -> None:
        self.item = item
        self.size = size
        self.gate = threading.Lock()
        self.gate.acquire()
        self.leads = False
        self.done = False
        self.error: BaseException | None = None


class GroupCommit(Generic[T]):
    """Calls `commit` with one group after another, in the order of arrival, never twice at a time.

    A group holds at most `group_bytes`, or one item that is larger by itself.
    """

    def __init__(self, commit: Callable[[Sequence[T]], None], group_bytes: int) -> None:
        self._commit = commit
        self._group_bytes = group_bytes
        self._waiting: deque[_Ticket[T]] = deque()
        self._busy = False
        self._lock = threading.Lock()

    def submit(self, item: T, size: int) -> None:
        """Return once `item` (of `size` bytes) is committed. Raises what `commit` raised for its group.

        An exception that is none of pacsbridge's own reaches the leader as it is, the others as Unavailable.
        """
        ticket = _Ticket(item, size)
        with self._lock:
            self._waiting.append(ticket)
            leads = not self._busy
            self._busy = True
        if not leads:
            self._wait(ticket)
        if not ticket.done:
            self._lead()
        elif ticket.error is not None:
            raise _copy(ticket.error) from ticket.error

    def _wait(self, ticket: _Ticket[T]) -> None:
        """Wait until the ticket is done or leads. An interrupt must not take the lead away with it."""
        try:
            ticket.gate.acquire()
        except BaseException:
            with self._lock:
                if ticket in self._waiting:
                    self._waiting.remove(ticket)
                if ticket.leads and not ticket.done:
                    self._hand_over()
            raise

    def _lead(self) -> None:
        """Commit a group whose first ticket is that of this thread."""
        group = self._take()
        error: BaseException | None = None
        try:
            self._commit([ticket.item for ticket in group])
        except BaseException as exc:
            error = exc
            raise
        finally:
            with self._lock:
                for ticket in group:
                    ticket.done, ticket.error = True, error
                self._hand_over()
            for ticket in group[1:]:
                ticket.gate.release()

    def _take(self) -> list[_Ticket[T]]:
        with self._lock:
            group = [self._waiting.popleft()]
            room = self._group_bytes - group[0].size
            while self._waiting and self._waiting[0].size <= room:
                group.append(self._waiting.popleft())
                room -= group[-1].size
            return group

    def _hand_over(self) -> None:
        """Let the first that waits lead; the lock is held."""
        self._busy = bool(self._waiting)
        if self._busy:
            self._waiting[0].leads = True
            self._waiting[0].gate.release()


def _copy(error: BaseException) -> PacsbridgeError:
    """An exception of one's own for each thread: tracebacks must not be shared."""
    return type(error)(*error.args) if isinstance(error, PacsbridgeError) else Unavailable("a write failed")
