r"""The bytes of a pack: one header line, then records. Pure functions, no files.

    header   "pacsbridge pack 1 " mark (16 hex digits) " " CRC-32 of what stands before (8 hex digits) "\n"
    record   prefix (76 bytes, little-endian) + head + prelude + content
    prefix   magic, mark, flags, lengths of head, prelude and content, CRC-32 of head and of prelude,
             SHA-256 of content, CRC-32 of the prefix itself

The head is a JSON object and belongs to the caller. Prelude and content together are what is read back: the
Part 10 head (PS3.10 7.1) and the data set behind it, apart because the digest of the data set alone is
the one that tells a re-sent instance, and no byte should be hashed twice. In a reference the content is
a JSON object that names an object file.

The mark is random, one a pack: after damage the next record is found by it, and no sender can know it.
"""

import json
import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from pacsbridge.errors import Misconfigured

Buffer = bytes | bytearray | memoryview
"""Bytes as they lie; a memoryview must be contiguous."""

MARK_SIZE = 8
HEADER_SIZE = 44
MAX_HEAD = 1 << 20
"""Longest head, and longest prelude, in bytes."""

REFERENCE = 1
"""Flag: the content names an object file."""
DISCARDED = 2
"""Flag: the content has been erased."""

MAGIC = b"\x89PBr"
_PREFIX = struct.Struct("<4s8sIIIQII32s")
_CRC = struct.Struct("<I")
PREFIX_SIZE = _PREFIX.size + _CRC.size

_HEADER = re.compile(rb"(pacsbridge pack ([0-9]) ([0-9a-f]{16})) ([0-9a-f]{8})\n")
_FORMAT = b"1"
_JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True, slots=True)
class Prefix:
    """The fixed part of a record; lengths in bytes."""

    mark: bytes
    flags: int
    head_size: int
    prelude_size: int
    content_size: int
    head_crc: int
    prelude_crc: int
    sha256: bytes

    @property
    def record_size(self) -> int:
        """Length of the whole record."""
        return PREFIX_SIZE + self.head_size + self.prelude_size + self.content_size

    @property
    def payload_size(self) -> int:
        """Length of prelude and content."""
        return self.prelude_size + self.content_size

    def discarded(self) -> "Prefix":
        """The same record, marked as erased."""
        return replace(self, flags=self.flags | DISCARDED)

    def encode(self, mark: bytes | None = None) -> bytes:
        """The prefix as it stands in its pack, or in the pack with this mark."""
        body = _PREFIX.pack(
            MAGIC,
            mark or self.mark,
            self.flags,
            self.head_size,
            self.prelude_size,
            self.content_size,
            self.head_crc,
            self.prelude_crc,
            self.sha256,
        )
        return body + _CRC.pack(zlib.crc32(body))


def decode_prefix(data: Buffer, mark: bytes | None = None) -> Prefix | None:
    """The prefix that `data` starts with; None when it is none, is damaged, or bears another mark."""
    if len(data) < PREFIX_SIZE or data[:4] != MAGIC:
        return None
    body = bytes(data[: _PREFIX.size])
    if _CRC.unpack_from(data, _PREFIX.size)[0] != zlib.crc32(body):
        return None
    prefix = Prefix(*_PREFIX.unpack(body)[1:])
    return prefix if mark in (None, prefix.mark) else None


def encode_head(head: Mapping[str, Any]) -> bytes:
    """A head as compact JSON. Raises ValueError when it is longer than MAX_HEAD or holds a NaN."""
    data = _JSON.encode(head).encode("utf-8", "surrogatepass")
    return _bounded(data, "head")


def decode_head(data: bytes, prefix: Prefix) -> dict[str, Any] | None:
    """The head that belongs to `prefix`; None when it is damaged."""
    if len(data) != prefix.head_size or zlib.crc32(data) != prefix.head_crc:
        return None
    head = json.loads(data.decode("utf-8", "surrogatepass"))
    return head if isinstance(head, dict) else None


@dataclass(frozen=True, slots=True)
class Draft:
    """A record that lacks only the mark of the pack it will stand in. `size` is that of the whole record."""

    prefix: Prefix
    head: bytes
    prelude: bytes
    content: tuple[Buffer, ...]

    @property
    def size(self) -> int:
        """Length of the record in bytes."""
        return self.prefix.record_size

    def buffers(self, mark: bytes) -> list[Buffer]:
        """The record as it is written into the pack with this mark."""
        return [b"".join((self.prefix.encode(mark), self.head, self.prelude)), *self.content]


def draft(
    head: bytes, prelude: bytes, content: Sequence[Buffer], digest: bytes | None = None, flags: int = 0
) -> Draft:
    """A record of an encoded head. `digest` is the SHA-256 of the content, computed here when absent.

    Raises ValueError when the prelude is longer than MAX_HEAD.
    """
    parts = tuple(_flat(part) for part in content)
    prefix = Prefix(
        mark=b"\0" * MARK_SIZE,
        flags=flags,
        head_size=len(head),
        prelude_size=len(_bounded(prelude, "prelude")),
        content_size=sum(len(part) for part in parts),
        head_crc=zlib.crc32(head),
        prelude_crc=zlib.crc32(prelude),
        sha256=digest or _digest(parts),
    )
    return Draft(prefix, head, prelude, parts)


def header(mark: bytes) -> bytes:
    """The first line of a pack."""
    line = b"pacsbridge pack %s %s" % (_FORMAT, mark.hex().encode())
    return b"%s %08x\n" % (line, zlib.crc32(line))


def header_mark(line: bytes) -> bytes | None:
    """The mark in a pack's first line; None when the line is damaged.

    Raises Misconfigured when the line is whole and of a format that this version does not know.
    """
    found = _HEADER.fullmatch(line)
    if found is None or zlib.crc32(found[1]) != int(found[4], 16):
        return None
    if found[2] != _FORMAT:
        raise Misconfigured(f"pack format {found[2].decode()} was written by a newer pacsbridge")
    return bytes.fromhex(found[3].decode())


def _digest(parts: Sequence[Buffer]) -> bytes:
    hasher = sha256()
    for part in parts:
        hasher.update(part)
    return hasher.digest()


def _flat(part: Buffer) -> Buffer:
    """Bytes as they are; a memoryview of anything as one of bytes, so that its length counts bytes."""
    return part.cast("B") if isinstance(part, memoryview) and part.format != "B" else part


def _bounded(data: bytes, what: str) -> bytes:
    if len(data) > MAX_HEAD:
        raise ValueError(f"{what} of {len(data)} bytes; the most is {MAX_HEAD}")
    return data
