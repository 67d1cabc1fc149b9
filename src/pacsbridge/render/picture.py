"""A job done: pixels as an encoded picture; in a child only."""

import math
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from pacsbridge.render.decoding import GREYS, PALETTE, Array, TooManyPixels, check, decoded, header
from pacsbridge.render.grey import grey
from pacsbridge.render.job import JPEG, Job, Look, Viewport

_MOST_STRETCHED = 16.0


class BadRegion(Exception):
    """A viewport that shows nothing of the image."""


def picture(job: Job, limit: int) -> bytes:
    """The encoded picture; `limit`: pixels of the image, and of the picture, at most.

    Raises Unsupported, TooManyPixels, BadRegion, and whatever a codec raises.
    """
    image = header(job)
    check(image, limit)
    shown = Image.fromarray(_shown(decoded(job, image), image, job.look))
    stretched = _stretch(image)
    return _encoded(_fitted(shown, stretched, job.look, limit), job.look)


def _shown(pixels: Array, image: Dataset, look: Look) -> Array:
    if image.PhotometricInterpretation in GREYS:
        return grey(pixels, image, look.window)
    if image.PhotometricInterpretation == PALETTE:
        coloured = apply_color_lut(pixels, image)
        return _narrowed(coloured, 8 * coloured.dtype.itemsize)
    return _narrowed(pixels, image.BitsStored)


def _narrowed(colours: Array, bits: int) -> Array:
    """Colours in 8 bits."""
    narrow: Array = colours >> bits - 8 if bits > 8 else colours
    return np.ascontiguousarray(narrow.astype(np.uint8))


def _stretch(image: Dataset) -> float:
    """Height of a pixel over its width (PS3.3 C.7.6.3.1.7, 10.7.1.3); 1 where it isn't said or cannot be."""
    for keyword in ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing"):
        ratio = _ratio(image.get(keyword))
        if ratio is not None:
            return ratio
    return 1.0


def _ratio(value: Any) -> float | None:
    if value is None or isinstance(value, str) or len(value) != 2:
        return None
    down, across = (float(number) for number in value)
    if not (down > 0 and across > 0):
        return None
    return down / across if 1 / _MOST_STRETCHED <= down / across <= _MOST_STRETCHED else None


def _fitted(shown: Image.Image, stretch: float, look: Look, limit: int) -> Image.Image:
    """The region in its viewport, pixels made square."""
    box, mirror, flip = _region(shown.size, look.viewport)
    width, height = box[2] - box[0], box[3] - box[1]
    width, height = (width / stretch, height) if stretch < 1 else (width, height * stretch)
    scale = _scale(width, height, look)
    size = (max(1, math.floor(width * scale + 1e-6)), max(1, math.floor(height * scale + 1e-6)))
    if size[0] * size[1] > limit:
        raise TooManyPixels
    if size != shown.size or box != (0.0, 0.0, *shown.size):
        shown = shown.resize(size, Image.Resampling.BILINEAR, box, reducing_gap=3.0)
    shown = shown.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirror else shown
    return shown.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if flip else shown


def _scale(width: float, height: float, look: Look) -> float:
    if look.viewport is None:
        return 1.0
    scale = min(look.viewport.width / width, look.viewport.height / height)
    return scale if look.enlarge else min(scale, 1.0)


def _region(
    size: tuple[int, int], viewport: Viewport | None
) -> tuple[tuple[float, float, float, float], bool, bool]:
    """What of the image is shown, cut at its edges; whether it is mirrored, and turned upside down."""
    if viewport is None:
        return (0.0, 0.0, *size), False, False
    left, right = _stretch_of(viewport.left, viewport.across, size[0])
    top, bottom = _stretch_of(viewport.top, viewport.down, size[1])
    return (left, top, right, bottom), (viewport.across or 0) < 0, (viewport.down or 0) < 0


def _stretch_of(first: float | None, extent: float | None, size: int) -> tuple[float, float]:
    start = first or 0.0
    stop = size if extent is None else start + abs(extent)
    low, high = max(0.0, start), min(float(size), stop)
    if high - low < 1.0:
        raise BadRegion
    return low, high


def _encoded(shown: Image.Image, look: Look) -> bytes:
    out = BytesIO()
    if look.type == JPEG:
        shown.save(out, "JPEG", quality=look.quality)
    else:
        shown.save(out, "PNG", compress_level=3)
    return out.getvalue()
