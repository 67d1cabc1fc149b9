"""Reading a pack: prefixes, heads, digests, and the way on after damage."""

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from pacsbridge.blobs.blob import CHUNK
from pacsbridge.blobs.folders import descriptor, unavailable
from pacsbridge.blobs.record import (
    HEADER_SIZE,
    MAGIC,
    PREFIX_SIZE,
    Prefix,
    decode_head,
    decode_prefix,
    header_mark,
)


@dataclass(frozen=True, slots=True)
class Span:
    """A record from `start` to `end` of a pack; without a prefix, a stretch that is damaged or torn."""

    start: int
    end: int
    prefix: Prefix | None
    torn: bool = False


class PackReader:
    """Reads an open pack of `size` bytes. Everything raises OSError."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.size = os.fstat(fd).st_size

    def spans(self, at: int) -> Iterator[Span]:
        """The records from `at` on, and what cannot be read.

        The tail of a pack is torn when a killed writer or a power cut can have left it: it is shorter than
        its record, or blank. Everything else that cannot be read is damage.
        """
        while at < self.size:
            span = self._span(at)
            yield span
            at = span.end

    def _span(self, at: int) -> Span:
        prefix = self.prefix(at)
        if prefix is None:
            following = self._next_record(at + 1)
            torn = following is None and self._is_torn(at)
            return Span(at, following or self.size, None, torn)
        end = at + prefix.record_size
        return Span(at, end, prefix) if end <= self.size else Span(at, self.size, None, torn=True)

    def prefix(self, at: int) -> Prefix | None:
        """The prefix at `at`, None when there is no intact one of this pack.

        Raises Misconfigured when the pack's format is newer than this program.
        """
        return decode_prefix(os.pread(self._fd, PREFIX_SIZE, at), self.mark)

    def head(self, at: int, prefix: Prefix) -> dict[str, Any] | None:
        """The head of the record at `at`, None when it is damaged."""
        return decode_head(os.pread(self._fd, prefix.head_size, at + PREFIX_SIZE), prefix)

    def content_is_intact(self, at: int, prefix: Prefix) -> bool:
        """True when prelude and content of the record at `at` are as they were written."""
        prelude_at = at + PREFIX_SIZE + prefix.head_size
        content_at = prelude_at + prefix.prelude_size
        crc, hasher = 0, sha256()
        for chunk in self._chunks(prelude_at, content_at):
            crc = zlib.crc32(chunk, crc)
        for chunk in self._chunks(content_at, at + prefix.record_size):
            hasher.update(chunk)
        return crc == prefix.prelude_crc and hasher.digest() == prefix.sha256

    def prelude(self, at: int, prefix: Prefix, most: int) -> bytes:
        """At most so many bytes of the prelude of the record at `at`, checked by nobody."""
        return os.pread(self._fd, min(prefix.prelude_size, most), at + PREFIX_SIZE + prefix.head_size)

    def content(self, at: int, prefix: Prefix) -> bytes:
        """The content of the record at `at`, checked by nobody."""
        start = at + PREFIX_SIZE + prefix.head_size + prefix.prelude_size
        return b"".join(self._chunks(start, start + prefix.content_size))

    def _next_record(self, at: int) -> int | None:
        """Where the first intact prefix at or behind `at` stands; None when there is none."""
        places = self._magics(at, MAGIC + (self.mark or b""))
        return next((place for place in places if self.prefix(place)), None)

    def _is_torn(self, at: int) -> bool:
        """True when less than a prefix stands from `at` to the end, or nothing but zeros."""
        rest = self._chunks(at, self.size)
        return self.size - at < PREFIX_SIZE or not any(chunk.strip(b"\0") for chunk in rest)

    @cached_property
    def mark(self) -> bytes | None:
        """The pack's mark; where the header is damaged, that of the first intact record."""
        mark = header_mark(os.pread(self._fd, HEADER_SIZE, 0))
        if mark is None:
            places = self._magics(0, MAGIC)
            prefixes = (decode_prefix(os.pread(self._fd, PREFIX_SIZE, place)) for place in places)
            mark = next((prefix.mark for prefix in prefixes if prefix), None)
        return mark

    def _magics(self, at: int, sought: bytes) -> Iterator[int]:
        """Every place at or behind `at` where these bytes stand."""
        while at < self.size:
            window = os.pread(self._fd, CHUNK, at)
            found = window.find(sought)
            while found >= 0:
                yield at + found
                found = window.find(sought, found + 1)
            at += max(len(window) - len(sought) + 1, 1)

    def _chunks(self, at: int, end: int) -> Iterator[bytes]:
        while at < end and (chunk := os.pread(self._fd, min(CHUNK, end - at), at)):
            at += len(chunk)
            yield chunk


@contextmanager
def opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int | None]:
    """A descriptor of a pack, None when there is no such file.

    OSError becomes Unavailable, also that of what is done with it.
    """
    with unavailable("cannot read a pack"), descriptor(path, flags) as fd:
        yield fd
