"""Turns of requests: brief ones on the loop, all others in threads, a few at a time.

Where more is asked than can be answered, nobody is kept waiting for long: who has waited long enough is told
so, and who has had a turn for long enough gives it up to those who wait.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from pacsbridge.errors import Unavailable
from pacsbridge.store.sql import PATIENT, Patience

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Turn:
    """What a request may take of the store's time.

    `hurried`: others wait for the loop meanwhile, so that TooCostly is to be raised rather than anybody kept.
    `leave` ends the turn early, for work that waits for others: the next may begin.
    """

    patience: Patience = PATIENT
    hurried: bool = False
    leave: Callable[[], object] = lambda: None


HURRIED = Turn(Patience(0.004), hurried=True)
"""On the loop."""


class Turns:
    """At most so many requests at once in threads, each for so many seconds, or as long as nobody waits."""

    def __init__(self, executor: Executor, seconds: float = 1.0, most: int = 2) -> None:
        self.executor = executor
        self._seconds = seconds
        self._places = asyncio.Semaphore(most)
        self._waiting = 0

    async def take(self, work: Callable[[Turn], T]) -> T:
        """Run blocking work in a thread. Raises Unavailable where it waits too long for its turn."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._seconds
        self._waiting += 1
        try:
            async with asyncio.timeout_at(until):
                await self._places.acquire()
        except TimeoutError:
            raise _crowded() from None
        finally:
            self._waiting -= 1
        return await self._taken(work, until)

    async def _taken(self, work: Callable[[Turn], T], until: float) -> T:
        loop = asyncio.get_running_loop()
        place = _Place(loop, self._places)
        future = self.executor.submit(self._work, work, place)
        future.add_done_callback(lambda _done: place.leave())
        late = loop.call_at(until, future.cancel)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():  # the client has gone
                raise
            raise _crowded() from None
        finally:
            late.cancel()

    def _work(self, work: Callable[[Turn], T], place: "_Place") -> T:
        end = time.monotonic() + self._seconds
        patience = Patience(yields=lambda: self._waiting > 0 and time.monotonic() > end)
        return work(Turn(patience, leave=place.leave))


class _Place:
    """One of those that work; left once, by the thread that has it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, places: asyncio.Semaphore) -> None:
        self._loop = loop
        self._places = places
        self._left = False

    def leave(self) -> None:
        if not self._left and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._places.release)
        self._left = True


def _crowded() -> Unavailable:
    return Unavailable("more is asked than can be answered at the moment")
