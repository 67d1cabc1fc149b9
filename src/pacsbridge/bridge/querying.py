"""What is known, pushed or told by archives, as C-FIND and QIDO-RS ask for it: chunk by chunk."""

from collections.abc import Iterator, Sequence
from itertools import islice

from pacsbridge.kernel.finding import Find
from pacsbridge.kernel.query_keys import Record
from pacsbridge.store.finding import is_exact
from pacsbridge.store.store import Store

_SIZES = (100, 500, 2_000, 5_000)
"""Rows of one chunk after the other: the first answer comes soon, and the last not much later."""


def matches(store: Store, find: Find, offset: int = 0) -> Iterator[Sequence[Record]]:
    """The records that match, in chunks, behind the first `offset` ones; an empty chunk is no end.

    No transaction stays open between two chunks. Raises Unavailable, TooCostly.
    """
    counted_off = is_exact(find)
    chunks = _chunks(store, find, offset if counted_off else 0)
    return chunks if counted_off else _without_first(chunks, offset)


def first(store: Store, find: Find, limit: int, offset: int = 0) -> tuple[list[Record], bool]:
    """At most `limit` records, and whether there are more."""
    records = list(islice((one for some in matches(store, find, offset) for one in some), limit + 1))
    return records[:limit], len(records) > limit


def _chunks(store: Store, find: Find, offset: int) -> Iterator[Sequence[Record]]:
    after, number = None, 0
    while True:
        size = _SIZES[min(number, len(_SIZES) - 1)]
        chunk = store.find(find, after, size, offset if number == 0 else 0)
        yield chunk.records
        if chunk.next is None:
            return
        after, number = chunk.next, number + 1


def _without_first(chunks: Iterator[Sequence[Record]], offset: int) -> Iterator[Sequence[Record]]:
    for chunk in chunks:
        yield chunk[offset:]
        offset = max(offset - len(chunk), 0)
