"""What parent and child say to each other: one job, one reply; numbers are big endian.

A child is not trusted: of what it says only a code of a closed table and bytes of a bounded length count.
"""

import json
from dataclasses import asdict, dataclass
from enum import IntEnum
from struct import Struct

from pacsbridge.dicom.outline import Outline

JPEG, PNG = "image/jpeg", "image/png"

HEAD = Struct(">III")
"""Before a job: the lengths of its words (JSON), of the header elements and of the frame."""

REPLY = Struct(">BI")
"""Before a reply: an `Outcome`, and the length of the picture behind it."""


class Outcome(IntEnum):
    """How a job went."""

    DONE = 0
    BAD_REGION = 1
    UNDECODABLE = 2
    TOO_LARGE = 3
    UNSUPPORTED = 4


@dataclass(frozen=True, slots=True)
class Viewport:
    """`width` and `height` in pixels that the picture must fit; the region shown (PS3.18 8.3.5.1.3).

    Of the region None is the default: from 0, all of the image. A negative extent mirrors.
    """

    width: int
    height: int
    left: float | None = None
    top: float | None = None
    across: float | None = None
    down: float | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """A VOI window in modality units; `function`: LINEAR, LINEAR_EXACT or SIGMOID (PS3.3 C.11.2.1)."""

    center: float
    width: float
    function: str = "LINEAR"


@dataclass(frozen=True, slots=True)
class Look:
    """How a picture shall look; `enlarge` false: never larger than the image is."""

    type: str = JPEG
    quality: int = 90
    viewport: Viewport | None = None
    window: Window | None = None
    enlarge: bool = True


@dataclass(frozen=True, slots=True)
class Job:
    """One frame to be shown: its header elements, its bytes in a transfer syntax, native ones little endian.

    `pixel_tag`: Pixel Data, Float or Double Float Pixel Data.
    """

    outline: Outline
    frame: bytes
    transfer_syntax_uid: str
    pixel_tag: int
    look: Look


def pack(job: Job) -> bytes:
    """A job as it is sent."""
    words = {
        "explicit": job.outline.explicit,
        "big": job.outline.big,
        "syntax": job.transfer_syntax_uid,
        "tag": job.pixel_tag,
        "look": asdict(job.look),
    }
    text = json.dumps(words).encode()
    lengths = HEAD.pack(len(text), len(job.outline.elements), len(job.frame))
    return b"".join((lengths, text, job.outline.elements, job.frame))


def unpack(text: bytes, elements: bytes, frame: bytes) -> Job:
    """The job again."""
    words = json.loads(text)
    look = dict(words["look"])
    viewport, window = look.pop("viewport"), look.pop("window")
    return Job(
        Outline(words["explicit"], words["big"], elements),
        frame,
        words["syntax"],
        words["tag"],
        Look(
            viewport=Viewport(**viewport) if viewport else None,
            window=Window(**window) if window else None,
            **look,
        ),
    )
