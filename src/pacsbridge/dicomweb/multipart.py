"""Framing of multipart/related (RFC 2387, PS3.18 8.6.1.2): all of it known before the first byte is sent."""

from collections.abc import Sequence
from dataclasses import dataclass

from pacsbridge.dicomweb.target import instance_url
from pacsbridge.store.records import Held

DICOM = "application/dicom"


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes to send: `head`, then the `size` bytes found at `location`, of this digest."""

    head: bytes
    location: str
    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Body:
    """A whole message body: its parts, what closes it, and its media type."""

    parts: Sequence[Part]
    closing: bytes
    media_type: str

    @property
    def length(self) -> int:
        """Content-Length in bytes."""
        return sum(len(part.head) + part.size for part in self.parts) + len(self.closing)


def single(held: Held) -> Body:
    """One instance on its own, as `application/dicom`."""
    return Body((Part(b"", held.location, held.size, held.sha256),), b"", dicom_type(held))


def related(instances: Sequence[Held], boundary: str, base_url: str) -> Body:
    """Instances as parts of `multipart/related; type="application/dicom"`.

    `boundary` must not occur in the instances: one made from a digest of them cannot.
    """
    parts = tuple(
        Part(_head(held, boundary, base_url, first=not index), held.location, held.size, held.sha256)
        for index, held in enumerate(instances)
    )
    media_type = f'multipart/related; type="{DICOM}"; boundary={boundary}'
    return Body(parts, f"\r\n--{boundary}--\r\n".encode(), media_type)


def dicom_type(held: Held) -> str:
    """The media type of a stored instance (PS3.18 8.7.3.5.2)."""
    return f"{DICOM}; transfer-syntax={held.transfer_syntax_uid}"


def _head(held: Held, boundary: str, base_url: str, first: bool) -> bytes:
    lines = (
        f"--{boundary}" if first else f"\r\n--{boundary}",
        f"Content-Type: {dicom_type(held)}",
        f"Content-Length: {held.size}",
        f"Content-Location: {instance_url(base_url, held)}",
        "\r\n",
    )
    return "\r\n".join(lines).encode()
