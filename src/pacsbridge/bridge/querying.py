"""What is known, pushed or told by archives, as C-FIND and QIDO-RS ask for it: chunk by chunk."""

from collections.abc import Iterator, Sequence
from itertools import islice

from pacsbridge.errors import TooCostly
from pacsbridge.kernel.finding import Find
from pacsbridge.kernel.query_keys import Record
from pacsbridge.store.finding import is_exact
from pacsbridge.store.sql import PATIENT, Patience
from pacsbridge.store.store import Store

_SIZES = (100, 500, 2_000, 5_000)
"""Rows of one chunk after the other: the first answer comes soon, and the last not much later."""


def matches(
    store: Store, find: Find, offset: int = 0, patience: Patience = PATIENT
) -> Iterator[Sequence[Record]]:
    """The records that match, in chunks, behind the first `offset` ones; an empty chunk is no end.

    No transaction stays open between two chunks, and each has its time. Raises Unavailable, TooCostly.
    """
    counted_off = is_exact(find)
    chunks = _chunks(store, find, offset if counted_off else 0, patience)
    return chunks if counted_off else _without_first(chunks, offset)


def first(
    store: Store, find: Find, limit: int, offset: int = 0, patience: Patience = PATIENT
) -> tuple[list[Record], bool]:
    """At most `limit` records, and whether there are more. Raises Unavailable, TooCostly."""
    chunks = matches(store, find, offset, patience)
    records = list(islice((one for some in chunks for one in some), limit + 1))
    return records[:limit], len(records) > limit


def _chunks(store: Store, find: Find, offset: int, patience: Patience) -> Iterator[Sequence[Record]]:
    after, number = None, 0
    while True:
        size = _SIZES[min(number, len(_SIZES) - 1)]
        if patience.yields():
            raise TooCostly("others wait for what this takes: ask for less")
        chunk = store.find(find, after, size, offset if number == 0 else 0, patience)
        yield chunk.records
        if chunk.next is None:
            return
        after, number = chunk.next, number + 1


def _without_first(chunks: Iterator[Sequence[Record]], offset: int) -> Iterator[Sequence[Record]]:
    for chunk in chunks:
        yield chunk[offset:]
        offset = max(offset - len(chunk), 0)
