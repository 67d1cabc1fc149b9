"""Large instances at rest: a file each under `objects/`, named by the digest of its content.

The name is the SHA-256 of the data set and a random part, so that two senders of one instance never touch
each other's file. It says nothing about the patient, and no peer can choose it.
"""

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pacsbridge.blobs.blob import Blob
from pacsbridge.blobs.folders import allocated, make_folder, remove, sync_folder
from pacsbridge.blobs.spool import Spool

_NAME = re.compile(r"([0-9a-f]{2})/(\1[0-9a-f]{62})-[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Reference:
    """What a record says of an object: its name under `objects/`, lengths in bytes, CRC-32 of the prelude."""

    name: str
    size: int
    prelude_size: int
    prelude_crc: int

    @property
    def sha256(self) -> bytes:
        """Digest of the content, which is also the object's name."""
        return bytes.fromhex(self.name[3:67])

    def encode(self) -> bytes:
        """The reference as the content of a record."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()


def decode(data: bytes) -> Reference | None:
    """Read a reference; None when it is none, or names anything but an object."""
    try:
        found = Reference(**json.loads(data))
    except (ValueError, TypeError):
        return None
    return found if _NAME.fullmatch(str(found.name)) else None


class Objects:
    """The folder of objects."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def adopt(self, spool: Spool) -> Reference:
        """Make a spool an object; on return it is durable, and the spool is spent. Raises OSError."""
        digest = spool.sha256.hex()
        reference = Reference(
            f"{digest[:2]}/{digest}-{secrets.token_hex(8)}",
            spool.size,
            len(spool.prelude),
            spool.prelude_crc,
        )
        target = self._folder / reference.name
        make_folder(target.parent)
        try:
            spool.move(target)
        except BaseException:
            remove(target)
            raise
        return reference

    def blob(self, reference: Reference) -> Blob:
        """The object, to be read."""
        return Blob(
            self._folder / reference.name,
            0,
            reference.size,
            reference.sha256,
            reference.prelude_size,
            reference.prelude_crc,
        )

    def is_whole(self, reference: Reference) -> bool:
        """True when the object is there in its full length. Raises OSError."""
        try:
            return (self._folder / reference.name).stat().st_size == reference.size
        except FileNotFoundError:
            return False

    def forget(self, reference: Reference) -> None:
        """Remove an object that no record refers to."""
        remove(self._folder / reference.name)

    def discard(self, reference: Reference) -> None:
        """Remove the object, durably. Raises OSError."""
        path = self._folder / reference.name
        path.unlink(missing_ok=True)
        sync_folder(path.parent)

    def changed_before(self, moment: float) -> set[str]:
        """The names of the objects that came before `moment`, in seconds since the epoch. Raises OSError."""
        old = (path for path in self._files() if path.stat().st_ctime < moment)
        return {f"{path.parent.name}/{path.name}" for path in old}

    def allocated(self) -> int:
        """Bytes that the objects take on the disk. Raises OSError."""
        return sum(allocated(path) for path in self._files())

    def _files(self) -> Iterator[Path]:
        return self._folder.glob("??/*")
