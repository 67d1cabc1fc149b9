"""The packs and objects as they lie, read and compared with their own checksums; nothing is changed."""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacsbridge.blobs.blob import Blob
from pacsbridge.blobs.folders import unavailable
from pacsbridge.blobs.location import PACK_SUFFIX, Position
from pacsbridge.blobs.lookup import Lookup
from pacsbridge.blobs.objects import Objects, Reference, decode
from pacsbridge.blobs.packs import ORPHAN_SECONDS
from pacsbridge.blobs.reader import PackReader, Span, opened
from pacsbridge.blobs.record import DISCARDED, HEADER_SIZE, REFERENCE, Prefix, header_mark
from pacsbridge.blobs.replay import Replay
from pacsbridge.errors import Absent

_LOOK = 4096
"""Bytes of a prelude that are looked at: what names the instance stands at its beginning."""

DAMAGED = "the bytes are not those that were written"
NO_HEADER = "the first line of the pack is damaged"
NO_OBJECT = "the file of this large instance is gone or has another length"


@dataclass(frozen=True, slots=True)
class Inspected:
    """A record, or a stretch that is none, from `start` to `end` of a pack.

    `location` is what an index would name it by, "" where no record can be told. `prelude` is the beginning
    of the Part 10 head that stands before the data set. `fault` says what is wrong, None when nothing is.
    """

    pack: str
    start: int
    end: int
    location: str = ""
    prelude: bytes = b""
    fault: str | None = None


class Inspection:
    """The packs and objects of a data directory, whoever writes there meanwhile."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "packs"
        self._objects = Objects(data_dir / "objects")
        self._replay = Replay(self._folder, self._objects)
        self._lookup = Lookup(self._folder, self._objects)

    def packs(self) -> list[tuple[str, int]]:
        """Name and length in bytes of each pack, in order. Raises Unavailable."""
        with unavailable("cannot list the packs"):
            return self._replay.sizes() if self._folder.is_dir() else []

    def records(self, pack: str, *, checksum: bool) -> Iterator[Inspected]:
        """What stands in a pack, every byte compared with its checksum if `checksum`.

        What a writer has not finished, and what has been discarded, is left out. Raises Unavailable, and
        Misconfigured for a pack of a newer format.
        """
        with opened(self._folder / (pack + PACK_SUFFIX)) as fd:
            if fd is None:
                return
            if os.fstat(fd).st_size >= HEADER_SIZE and header_mark(os.pread(fd, HEADER_SIZE, 0)) is None:
                yield Inspected(pack, 0, HEADER_SIZE, fault=NO_HEADER)
            reader = PackReader(fd)
            for span in reader.spans(HEADER_SIZE):
                if not span.torn:
                    yield from self._inspected(pack, reader, span, checksum=checksum)

    def blob(self, location: str) -> Blob:
        """See `entry`."""
        return self.entry(location)[0]

    def entry(self, location: str) -> tuple[Blob, Mapping[str, Any] | None]:
        """The instance at a location, all of its length, and the head of its record, None for a damaged one.

        Raises Gone when it is discarded, Absent when nothing is there or its file is cut short, Unavailable.
        """
        blob, head = self._lookup.entry(location)
        with unavailable("cannot look at an instance"):
            if not blob.path.exists() or blob.path.stat().st_size < blob.offset + blob.length:
                raise Absent("the file of this instance is gone or cut short")
        return blob, head

    def unreferenced(self) -> list[str]:
        """The names of objects that no record refers to, but those on their way. Raises Unavailable."""
        with unavailable("cannot list the objects"):
            old = self._objects.changed_before(time.time() - ORPHAN_SECONDS)
        if not old:
            return []
        return sorted(old.difference(reference.name for reference in self._replay.references()))

    def _inspected(self, pack: str, reader: PackReader, span: Span, *, checksum: bool) -> Iterator[Inspected]:
        prefix = span.prefix
        if prefix is None:
            yield Inspected(pack, span.start, span.end, fault=DAMAGED)
        elif not prefix.flags & DISCARDED:
            yield self._record(pack, reader, span, prefix, checksum=checksum)

    def _record(
        self, pack: str, reader: PackReader, span: Span, prefix: Prefix, *, checksum: bool
    ) -> Inspected:
        whole = not checksum or (
            reader.head(span.start, prefix) is not None and reader.content_is_intact(span.start, prefix)
        )
        fault = None if whole else DAMAGED
        if not prefix.flags & REFERENCE:
            location = str(Position(pack, span.start, prefix.payload_size))
            return Inspected(
                pack, span.start, span.end, location, reader.prelude(span.start, prefix, _LOOK), fault
            )
        reference = decode(reader.content(span.start, prefix))
        if reference is None:
            return Inspected(pack, span.start, span.end, fault=DAMAGED)
        location = str(Position(pack, span.start, reference.size))
        prelude, wrong = self._object(reference, checksum=checksum)
        return Inspected(pack, span.start, span.end, location, prelude, fault or wrong)

    def _object(self, reference: Reference, *, checksum: bool) -> tuple[bytes, str | None]:
        """The prelude of an object, and what is wrong with it."""
        if not self._objects.is_whole(reference):
            return b"", NO_OBJECT
        blob = self._objects.blob(reference)
        prelude = b"".join(blob.chunks(stop=min(blob.prelude_size, _LOOK)))
        return prelude, DAMAGED if checksum and not blob.verify() else None
