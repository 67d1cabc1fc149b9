"""From a location to what is stored there: reading and discarding one instance."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacsbridge.blobs.blob import Blob
from pacsbridge.blobs.holes import erase
from pacsbridge.blobs.location import PACK_SUFFIX, position
from pacsbridge.blobs.objects import Objects, Reference, decode
from pacsbridge.blobs.reader import PackReader, opened
from pacsbridge.blobs.record import DISCARDED, PREFIX_SIZE, REFERENCE, Prefix
from pacsbridge.errors import Absent, Gone


@dataclass(frozen=True, slots=True)
class _Found:
    """An intact prefix at `start` of an open pack; `reference` where the instance is an object."""

    fd: int
    path: Path
    start: int
    prefix: Prefix
    reference: Reference | None

    @property
    def size(self) -> int:
        return self.reference.size if self.reference else self.prefix.payload_size

    @property
    def offset(self) -> int:
        """Where the payload begins in the pack."""
        return self.start + PREFIX_SIZE + self.prefix.head_size


class Lookup:
    """Finds instances in a folder of packs and one of objects."""

    def __init__(self, folder: Path, objects: Objects) -> None:
        self._folder = folder
        self._objects = objects

    def open(self, location: str, sha256: bytes | None = None) -> Blob:
        """See `Packs.open`."""
        with self._found(location) as found:
            blob = self._blob(found)
        if sha256 not in (None, blob.sha256):
            raise Absent("another instance stands at this location")
        return blob

    def entry(self, location: str) -> tuple[Blob, Mapping[str, Any] | None]:
        """The same, and the head of its record; None where that is damaged."""
        with self._found(location) as found:
            return self._blob(found), PackReader(found.fd).head(found.start, found.prefix)

    def _blob(self, found: _Found) -> Blob:
        prefix = found.prefix
        if prefix.flags & DISCARDED:
            raise Gone("this instance has been discarded")
        if found.reference:
            return self._objects.blob(found.reference)
        return Blob(
            found.path, found.offset, found.size, prefix.sha256, prefix.prelude_size, prefix.prelude_crc
        )

    def discard(self, location: str) -> None:
        """See `Packs.discard`. The mark comes first, lest replay take half an erasure for damage."""
        with self._found(location, os.O_RDWR) as found:
            os.pwrite(found.fd, found.prefix.discarded().encode(), found.start)
            os.fdatasync(found.fd)
            if found.reference:
                self._objects.discard(found.reference)
            else:
                erase(found.fd, found.offset, found.size)

    @contextmanager
    def _found(self, location: str, flags: int = os.O_RDONLY) -> Iterator[_Found]:
        place = position(location)
        path = self._folder / (place.pack + PACK_SUFFIX)
        with opened(path, flags) as fd:
            found = None if fd is None else _find(fd, path, place.start)
            if found is None or found.size != place.size:
                raise Absent("there is no such instance at this location")
            yield found


def _find(fd: int, path: Path, start: int) -> _Found | None:
    """What stands at `start`; None when it is no record, or a reference that is damaged."""
    reader = PackReader(fd)
    prefix = reader.prefix(start)
    if prefix is None:
        return None
    if not prefix.flags & REFERENCE:
        return _Found(fd, path, start, prefix, None)
    reference = decode(reader.content(start, prefix))
    return _Found(fd, path, start, prefix, reference) if reference else None
