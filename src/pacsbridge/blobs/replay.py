"""Reading the packs again: what the index has not seen, or everything for a new index."""

import os
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

import structlog

from pacsbridge.blobs.folders import allocated, lock, unavailable
from pacsbridge.blobs.location import PACK_SUFFIX, Position, pack_name
from pacsbridge.blobs.objects import Objects, Reference, decode
from pacsbridge.blobs.reader import PackReader, Span, opened
from pacsbridge.blobs.record import DISCARDED, HEADER_SIZE, REFERENCE, Prefix
from pacsbridge.blobs.writer import numbers

log = structlog.get_logger("pacsbridge.blobs")


@dataclass(frozen=True, slots=True)
class Entry:
    """A record that stands from `start` to `end` of a pack.

    `location` is a text for `Packs.open`, `size` counts the bytes read there, `sha256` is the digest of the
    content. A damaged entry may have an empty head; where not even its lengths can be told, `location` is
    empty too, and `size` is that of the damaged stretch.
    """

    pack: str
    start: int
    end: int
    head: Mapping[str, Any]
    location: str
    size: int
    sha256: bytes
    damaged: bool = False


class Replay:
    """The packs of a folder, and the objects that they refer to, as a reader sees them."""

    def __init__(self, folder: Path, objects: Objects) -> None:
        self._folder = folder
        self._objects = objects

    def entries(self, done: Mapping[str, int], live: bool) -> Iterator[Entry]:
        """See `Packs.replay`. A pack is open from the moment when its first record was received."""
        waiting = deque(sorted(self._begun(done)))
        reading: list[tuple[int, int, Entry, Iterator[Entry]]] = []
        while waiting or reading:
            if waiting and (not reading or waiting[0] < reading[0][:2]):
                _received, number = waiting.popleft()
                name = pack_name(number)
                rest = self._pack(name, done.get(name, 0), live)
            else:
                _received, number, entry, rest = heappop(reading)
                yield entry
            following = next(rest, None)
            if following is not None:
                heappush(reading, (_received_at(following.head), number, following, rest))

    def _begun(self, done: Mapping[str, int]) -> Iterator[tuple[int, int]]:
        """When the first record that is to be read of each pack was received, and the pack's number."""
        for number in self._numbers():
            name = pack_name(number)
            with opened(self._path(name)) as fd:
                if fd is not None and not _is_done(fd, done.get(name, 0)):
                    yield _first_received(PackReader(fd), done.get(name, 0)), number

    def references(self) -> Iterator[Reference]:
        """Every reference to an object that has not been discarded. Raises Unavailable."""
        for number in self._numbers():
            with opened(self._path(pack_name(number))) as fd:
                if fd is not None:
                    yield from _references(PackReader(fd))

    def sizes(self) -> list[tuple[str, int]]:
        """Name and length of each pack. Raises OSError."""
        names = [pack_name(number) for number in numbers(self._folder)]
        return [(name, self._path(name).stat().st_size) for name in names]

    def allocated(self) -> int:
        """Bytes that the packs take on the disk. Raises OSError."""
        return sum(allocated(self._path(name)) for name, _size in self.sizes())

    def _pack(self, name: str, done: int, live: bool) -> Iterator[Entry]:
        with opened(self._path(name), os.O_RDWR) as fd:
            if fd is None or _is_done(fd, done):
                return
            locked = lock(fd)
            if not (locked or live):
                return
            reader = PackReader(fd)
            _warn_if_shorter(name, done, reader.size)
            for span in reader.spans(_start(done, reader.size)):
                if not span.torn:
                    yield from self._entry(name, reader, span)
                elif locked:
                    _cut(fd, name, span)

    def _entry(self, name: str, reader: PackReader, span: Span) -> Iterator[Entry]:
        """The entry of a span; none for an instance that has been discarded."""
        if span.prefix is None:
            entry = Entry(name, span.start, span.end, {}, "", span.end - span.start, b"", damaged=True)
        elif span.prefix.flags & DISCARDED:
            return
        else:
            entry = self._record(name, reader, span, span.prefix)
        if entry.damaged:
            log.error("pack_damaged", pack=name, start=span.start, end=span.end)
        yield entry

    def _record(self, name: str, reader: PackReader, span: Span, prefix: Prefix) -> Entry:
        head = reader.head(span.start, prefix)
        intact = head is not None and reader.content_is_intact(span.start, prefix)
        size, digest = prefix.payload_size, prefix.sha256
        if prefix.flags & REFERENCE:
            reference = decode(reader.content(span.start, prefix))
            intact = intact and reference is not None and self._objects.is_whole(reference)
            size, digest = (reference.size, reference.sha256) if reference else (0, b"")
        location = str(Position(name, span.start, size))
        return Entry(name, span.start, span.end, head or {}, location, size, digest, not intact)

    def _numbers(self) -> list[int]:
        with unavailable("cannot list the packs"):
            return numbers(self._folder)

    def _path(self, name: str) -> Path:
        return self._folder / (name + PACK_SUFFIX)


def _references(reader: PackReader) -> Iterator[Reference]:
    for span in reader.spans(HEADER_SIZE):
        if span.prefix and span.prefix.flags & (REFERENCE | DISCARDED) == REFERENCE:
            reference = decode(reader.content(span.start, span.prefix))
            if reference is not None:
                yield reference


def _is_done(fd: int, done: int) -> bool:
    """Whether nothing stands behind what has been read of a pack."""
    return os.fstat(fd).st_size in (done, HEADER_SIZE)


def _first_received(reader: PackReader, done: int) -> int:
    span = next(reader.spans(_start(done, reader.size)), None)
    head = reader.head(span.start, span.prefix) if span is not None and span.prefix is not None else None
    return _received_at(head or {})


def _received_at(head: Mapping[str, Any]) -> int:
    """When a record was received, in microseconds since 1970; 0 where its head does not say."""
    received = head.get("received")
    return received if isinstance(received, int) else 0


def _start(done: int, size: int) -> int:
    """Where to read on. All of a pack that is shorter than what has been read of it."""
    return HEADER_SIZE if done > size else max(done, HEADER_SIZE)


def _warn_if_shorter(name: str, done: int, size: int) -> None:
    if done > size:
        log.warning("pack_shorter_than_indexed", pack=name, indexed=done, size=size)


def _cut(fd: int, name: str, span: Span) -> None:
    log.warning("torn_tail_cut", pack=name, start=span.start, bytes=span.end - span.start)
    os.ftruncate(fd, span.start)
    os.fsync(fd)
