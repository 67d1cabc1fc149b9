"""Answers that were given lately: they hold until anything is committed to the store."""

import asyncio
from typing import Generic, TypeVar

from pacsbridge.store.shelf import Name, Shelf
from pacsbridge.store.store import Store

Answer = TypeVar("Answer")


class Recent(Generic[Name, Answer]):
    """Answers by the question, whole; for one event loop, which alone may use them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._state: int | None = None
        self._kept: Shelf[Name, tuple[int, Answer]] = Shelf()

    def state(self) -> int:
        """The state of the store, no older than the request that asks.

        It is looked at once in a turn of the loop: whatever is answered in the same turn had arrived before.
        """
        if self._state is None:
            self._state = self._store.state() or 0
            asyncio.get_running_loop().call_soon(self._forget)
        return self._state

    def _forget(self) -> None:
        self._state = None

    def get(self, name: Name, state: int) -> Answer | None:
        """What was answered in this state."""
        kept = self._kept.get(name)
        return kept[1] if kept is not None and kept[0] == state else None

    def put(self, name: Name, state: int, answer: Answer, size: int) -> None:
        """Keep what was found after a state had been read; with its name it takes so many bytes."""
        self._kept.put(name, (state, answer), size)
