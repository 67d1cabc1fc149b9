"""Where a stored instance is: the text that the index keeps, and its strict reading.

    pack:00000001:44:5678       the record at byte 44 of pack 00000001 holds 5678 bytes (prelude and content)

Large instances have the same form: their record refers to the object file. The text comes from this package
only, never from a peer, and is read strictly all the same.
"""

import re
from dataclasses import dataclass

from pacsbridge.errors import Absent

PACK_SUFFIX = ".pack"
_PACK_NAME = re.compile(r"[0-9]{8,12}")
_TEXT = re.compile(r"pack:([0-9]{8,12}):([0-9]{1,15}):([0-9]{1,15})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Location:
    """A durable instance.

    `end` is the position behind its record in `pack`; `size` counts the bytes that are read back (prelude and
    content), `sha256` is the digest of the content alone.
    """

    text: str
    pack: str
    end: int
    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Position:
    """A location text, taken apart."""

    pack: str
    start: int
    size: int

    def __str__(self) -> str:
        return f"pack:{self.pack}:{self.start}:{self.size}"


def position(text: str) -> Position:
    """Read a location text. Raises Absent when it is none."""
    found = _TEXT.fullmatch(text)
    if found is None:
        raise Absent("not a location of this blob store")
    return Position(found[1], int(found[2]), int(found[3]))


def pack_name(number: int) -> str:
    """1 → "00000001"."""
    return f"{number:08d}"


def pack_number(file_name: str) -> int | None:
    """The number of "00000001.pack"; None for the name of anything else."""
    stem = file_name.removesuffix(PACK_SUFFIX)
    return int(stem) if stem != file_name and _PACK_NAME.fullmatch(stem) else None
