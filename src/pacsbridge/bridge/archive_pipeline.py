"""Fetch by several threads, store by one, in order: neither archive nor database waits for the other."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

Group = TypeVar("Group")
Fetched = TypeVar("Fetched")


class Pipeline(Generic[Group, Fetched]):
    """Groups are fetched `connections` at a time and stored by the thread that submits them, in their order.

    To be used as a context; leaving it by an exception gives up what has not been stored.
    """

    def __init__(
        self, fetch: Callable[[Group], Fetched], store: Callable[[Fetched], None], connections: int
    ) -> None:
        self._fetch = fetch
        self._store = store
        self._most = 2 * connections
        self._pool = ThreadPoolExecutor(connections, "archive")
        self._waiting: deque[Future[Fetched] | Callable[[], None]] = deque()
        self._under_way = 0

    def __enter__(self) -> "Pipeline[Group, Fetched]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, groups: Sequence[Group]) -> None:
        """Have groups fetched; stores what is ready, and waits while too much is under way."""
        for group in groups:
            self._waiting.append(self._pool.submit(self._fetch, group))
            self._under_way += 1
            self._advance(self._most)

    def then(self, mark: Callable[[], None]) -> None:
        """Call `mark` once everything that was submitted before is stored."""
        self._waiting.append(mark)
        self._advance(self._most)

    def finish(self) -> None:
        """Store everything that is under way."""
        self._advance(0)

    def _advance(self, most: int) -> None:
        while self._waiting and (self._under_way > most or most == 0 or _is_ready(self._waiting[0])):
            first = self._waiting.popleft()
            if isinstance(first, Future):
                self._under_way -= 1
                self._store(first.result())
            else:
                first()


def _is_ready(one: "Future[Fetched] | Callable[[], None]") -> bool:
    return not isinstance(one, Future) or one.done()
