"""From a job to pixels; in a child only."""

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.filereader import read_dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from pacsbridge.render.job import Job

Array = NDArray[Any]

COLOURS = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})
GREYS = frozenset({"MONOCHROME1", "MONOCHROME2"})
PALETTE = "PALETTE COLOR"

_KEYWORDS = {0x7FE00010: "PixelData", 0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData"}


class Unsupported(Exception):
    """An image that cannot be shown, by what its header says."""


class TooManyPixels(Exception):
    """An image, or a picture of it, of more pixels than may be made."""


def header(job: Job) -> Dataset:
    """The elements of a job, decoded; functional groups are looked into by `macro`."""
    found = read_dataset(BytesIO(job.outline.elements), not job.outline.explicit, not job.outline.big)
    found.set_original_encoding(not job.outline.explicit, not job.outline.big, "iso8859")
    return found


def macro(image: Dataset, keyword: str) -> Dataset:
    """What a functional group of the frame says, else a shared one, else the image (PS3.3 C.7.6.16)."""
    for groups in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        for group in image.get(groups) or ():
            if group.get(keyword):
                found: Dataset = group[keyword].value[0]
                return found
    return image


def check(image: Dataset, limit: int) -> None:
    """Before anything is decoded. Raises Unsupported, TooManyPixels."""
    if image.get("PhotometricInterpretation", "") not in COLOURS | GREYS | {PALETTE}:
        raise Unsupported
    rows, columns = image.get("Rows") or 0, image.get("Columns") or 0
    samples, bits = image.get("SamplesPerPixel") or 1, image.get("BitsAllocated") or 1
    if not (rows and columns) or samples not in (1, 3) or bits > 64:
        raise Unsupported
    if rows * columns * samples * max(1, bits // 16) > limit:
        raise TooManyPixels


def decoded(job: Job, image: Dataset) -> Array:
    """(rows, columns) or (rows, columns, 3), colours as RGB. Raises whatever a codec raises."""
    syntax = UID(job.transfer_syntax_uid)
    native = not syntax.is_encapsulated
    frame = job.frame + b"\0" * (len(job.frame) % 2)
    source = Dataset()
    source.update(image)
    source.NumberOfFrames = 1
    keyword = _KEYWORDS[job.pixel_tag]
    setattr(source, keyword, frame if native else encapsulate([frame], has_bot=False))
    if keyword == "PixelData":
        source["PixelData"].VR = "OB" if image.BitsAllocated <= 8 or not native else "OW"
    source.set_original_encoding(False, True, "iso8859")
    pixels, _ = get_decoder(syntax).as_array(source, index=0)
    return np.asarray(pixels)
