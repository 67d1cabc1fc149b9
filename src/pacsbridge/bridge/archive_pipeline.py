"""Fetch by several threads, store by one, in order: neither archive nor database waits for the other."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from types import TracebackType
from typing import Generic, TypeVar

Group = TypeVar("Group")
Fetched = TypeVar("Fetched")


TOGETHER = 4
"""Groups that are stored in one go, as each costs a transaction."""


class Pipeline(Generic[Group, Fetched]):
    """Groups are fetched `connections` at a time and stored by the thread that submits them, in their order.

    What `store` is given are a few of them together.

    To be used as a context; leaving it by an exception gives up what has not been stored.
    """

    def __init__(
        self, fetch: Callable[[Group], Fetched], store: Callable[[Sequence[Fetched]], None], connections: int
    ) -> None:
        self._fetch = fetch
        self._store = store
        self._most = connections + 2 * TOGETHER
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
        """Store until no more than `most` are under way, and what is ready beyond, a few at a time."""
        while self._waiting:
            first = self._waiting[0]
            if not isinstance(first, Future):
                self._waiting.popleft()
                first()
            elif self._under_way > most or self._are_ready():
                self._store_some()
            else:
                return

    def _are_ready(self) -> bool:
        """Whether a few in a row have been fetched."""
        first = list(islice(self._waiting, TOGETHER))
        return len(first) == TOGETHER and all(isinstance(one, Future) and one.done() for one in first)

    def _store_some(self) -> None:
        """Store the first few; where one of them could not be fetched, those before it. Raises its fault."""
        fetched, fault = list[Fetched](), None
        for one in tuple(islice(self._waiting, TOGETHER)):
            if not isinstance(one, Future) or fault is not None:
                break
            self._waiting.popleft()
            self._under_way -= 1
            try:
                fetched.append(one.result())
            except Exception as exc:
                fault = exc
        if fetched:
            self._store(fetched)
        if fault is not None:
            raise fault
