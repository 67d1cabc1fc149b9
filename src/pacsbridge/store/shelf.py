"""What was asked for lately, kept within bounds."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Generic, TypeVar

SHELF_BYTES = 32 << 20
"""How much is kept, about."""

_LONGEST = 4 << 20
"""Bytes of a thing that is not kept: to make use of it costs more than finding it."""

_OVERHEAD = 300
"""Bytes that keeping takes, about."""

Name = TypeVar("Name", bound=Hashable)
Thing = TypeVar("Thing")


class Shelf(Generic[Name, Thing]):
    """Things by name; what has not been asked for in a while is forgotten.

    Any thread may use it: at worst something is found again.
    """

    def __init__(self, size: int = SHELF_BYTES) -> None:
        self._half = size // 2
        self._recent: dict[Name, tuple[Thing, int]] = {}
        self._former: dict[Name, tuple[Thing, int]] = {}
        self._bytes = 0

    def get(self, name: Name) -> Thing | None:
        """What is kept under a name."""
        found = self._recent.get(name)
        if found is None and (found := self._former.get(name)) is not None:
            self.put(name, *found)
        return None if found is None else found[0]

    def all(self, names: Iterable[Name]) -> Sequence[Thing | None]:
        """What is kept under each of some names."""
        recent = self._recent
        return [found[0] if (found := recent.get(name)) is not None else self.get(name) for name in names]

    def put(self, name: Name, thing: Thing, size: int) -> None:
        """Keep a thing of so many bytes, its name among them, in place of what was kept under its name."""
        if size > _LONGEST:
            return
        self._recent[name] = (thing, size)
        self._bytes += size + _OVERHEAD
        if self._bytes > self._half:
            self._former, self._recent, self._bytes = self._recent, {}, 0
