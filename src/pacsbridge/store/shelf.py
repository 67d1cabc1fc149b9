"""Published bytes that were asked for lately: a version never changes, so that they are never wrong."""

from pacsbridge.store.records import Found

Name = tuple[int, int, bool]
"""Row number, version, and whether it is the whole."""

SHELF_BYTES = 32 << 20
"""How much is kept, about."""

_LONGEST = 1 << 20
"""Bytes of a resource that is not kept: reading those costs more than finding them."""


class Shelf:
    """The resources of the latest searches; what has not been asked for in a while is forgotten.

    Any thread may use it: at worst something is read again.
    """

    def __init__(self, size: int = SHELF_BYTES) -> None:
        self._half = size // 2
        self._recent: dict[Name, Found] = {}
        self._former: dict[Name, Found] = {}
        self._bytes = 0

    def get(self, name: Name) -> Found | None:
        """What is kept under a name."""
        found = self._recent.get(name)
        if found is None and (found := self._former.get(name)) is not None:
            self.put(name, found)
        return found

    def put(self, name: Name, found: Found) -> None:
        """Keep a resource."""
        if len(found.body) > _LONGEST:
            return
        self._recent[name] = found
        self._bytes += len(found.body)
        if self._bytes > self._half:
            self._former, self._recent, self._bytes = self._recent, {}, 0
