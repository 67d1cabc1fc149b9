"""The bytes of a part where they are stored."""

from pathlib import Path
from typing import BinaryIO

from pacsbridge.blobs.blob import Blob
from pacsbridge.blobs.packs import Packs
from pacsbridge.dicomweb.multipart import Part
from pacsbridge.errors import Unavailable


def stored(packs: Packs, part: Part) -> Blob:
    """Where a part stands. Raises Gone, Absent, Unavailable: as well where it has another length by now."""
    blob = packs.open(part.location, part.sha256)
    if blob.length != part.size:
        raise Unavailable("a stored instance has another length than recorded")
    return blob


def opened(path: Path) -> BinaryIO:
    """A pack, read without a buffer. Raises OSError."""
    return path.open("rb", buffering=0)


def cut_short() -> Unavailable:
    """What is raised where a pack ends too early."""
    return Unavailable("a stored instance is shorter than recorded")
