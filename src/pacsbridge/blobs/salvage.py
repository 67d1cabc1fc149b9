"""What the copy of a pack holds whole and the pack itself does no more: put back, each at its place.

A pack is never rewritten, so that a record stands at the same place in every copy of it. All that is here
takes descriptors of open packs, and raises OSError.
"""

import os
from bisect import bisect_right
from collections.abc import Iterator

from pacsbridge.blobs.blob import CHUNK
from pacsbridge.blobs.reader import PackReader, Span
from pacsbridge.blobs.record import DISCARDED, HEADER_SIZE, Prefix, header_mark
from pacsbridge.blobs.writer import write_all


def whole(pack: PackReader) -> Iterator[tuple[int, int]]:
    """Start and end of the records that are as they were written, or have been discarded."""
    for span in pack.spans(HEADER_SIZE):
        if span.prefix is not None and not span.torn and _is_whole(pack, span, span.prefix):
            yield span.start, span.end


def has_records(pack: int) -> bool:
    """Whether anything would be lost with an open pack: a record that has not been discarded."""
    spans = PackReader(pack).spans(HEADER_SIZE)
    return any(one.prefix and not one.torn and not one.prefix.flags & DISCARDED for one in spans)


def mark(pack: int) -> bytes | None:
    """What tells an open pack from every other, its first line damaged or not; None where nothing is left."""
    return PackReader(pack).mark


def put_back(former: int, copy: int, source: int) -> int:
    """Put into a new `copy` of the pack `source` what is whole in the `former` copy alone; returns how many.

    Records count, and the first line of the pack. What is whole or discarded in the new copy stays, and what
    is being discarded meanwhile does not come back.
    """
    held, now = list(whole(PackReader(copy))), PackReader(source)
    lost = (place for place in whole(PackReader(former)) if not _touches(held, *place))
    places = [place for place in lost if not _is_discarded(now, place[0])]
    if _mark(former) is not None and _mark(copy) is None:
        places.append((0, HEADER_SIZE))
    for start, end in places:
        _transfer(former, copy, start, end)
    return len(places)


def _mark(fd: int) -> bytes | None:
    return header_mark(os.pread(fd, HEADER_SIZE, 0))


def _is_whole(pack: PackReader, span: Span, prefix: Prefix) -> bool:
    if prefix.flags & DISCARDED:
        return True
    return pack.head(span.start, prefix) is not None and pack.content_is_intact(span.start, prefix)


def _is_discarded(pack: PackReader, at: int) -> bool:
    """Whether a record has been discarded, as far as the disk tells."""
    try:
        prefix = pack.prefix(at)
    except OSError:
        return False
    return prefix is not None and bool(prefix.flags & DISCARDED)


def _touches(held: list[tuple[int, int]], start: int, end: int) -> bool:
    """Whether a record has a byte in common with one of those held, which are in order."""
    last = bisect_right(held, (end,)) - 1
    return last >= 0 and held[last][1] > start


def _transfer(source: int, target: int, at: int, end: int) -> None:
    while at < end and (piece := os.pread(source, min(CHUNK, end - at), at)):
        at = write_all(target, [piece], at)
