"""The grey scale pipeline (PS3.3 C.11, PS3.4 N.2): modality, values of interest, presentation; in a child.

Integers of up to 16 bits go through it once for each value that there can be, not once for each pixel.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from pacsbridge.render.decoding import Array, Unsupported, macro
from pacsbridge.render.job import Window

_TABLE_BYTES = 2


def grey(pixels: Array, image: Dataset, asked: Window | None) -> Array:
    """Stored values as 8-bit greys, 0 black. `asked` goes before what the header says. Raises Unsupported."""
    if pixels.dtype.kind == "f":
        return _shown(pixels.astype(np.float64), lambda: _finite(pixels, image), image, asked)
    codes = _codes(pixels, image)
    if codes.dtype.itemsize > _TABLE_BYTES:
        stored = _signed(codes, image)
        return _shown(stored.astype(np.float64), lambda: ~_is_padding(stored, image), image, asked)
    every = _signed(np.arange(1 << image.BitsStored), image)

    def counts() -> Array:
        seen = np.zeros(every.size, bool)
        seen[codes] = True
        return seen & ~_is_padding(every, image)

    shown: Array = _shown(every.astype(np.float64), counts, image, asked)[codes]
    return shown


def _codes(pixels: Array, image: Dataset) -> Array:
    """The bits that count, without a sign: others may hold overlays or rubbish (PS3.5 8.1.1)."""
    width, bits = 8 * pixels.dtype.itemsize, image.BitsStored
    if not 1 <= bits <= width:
        raise Unsupported
    codes = pixels.view(f"u{pixels.dtype.itemsize}")
    shift = min(max(0, image.get("HighBit", bits - 1) + 1 - bits), width - bits)
    codes = codes >> shift if shift else codes
    return codes & codes.dtype.type((1 << bits) - 1) if bits < width else codes


def _signed(codes: Array, image: Dataset) -> Array:
    """Codes as the numbers that they stand for."""
    numbers = codes.astype(np.int64)
    if image.get("PixelRepresentation"):
        sign = 1 << image.BitsStored - 1
        numbers = (numbers ^ sign) - sign
    return numbers


def _is_padding(values: Array, image: Dataset) -> Array:
    """Pixel Padding Value, or the range to its limit (PS3.3 C.7.5.1.1.2)."""
    first = image.get("PixelPaddingValue")
    if first is None or not isinstance(first, int):
        return np.zeros(values.shape, bool)
    limit = image.get("PixelPaddingRangeLimit")
    last = limit if isinstance(limit, int) else first
    padding: Array = (values >= min(first, last)) & (values <= max(first, last))
    return padding


def _finite(pixels: Array, image: Dataset) -> Array:
    padding = image.get("FloatPixelPaddingValue", image.get("DoubleFloatPixelPaddingValue"))
    finite = np.isfinite(pixels)
    return finite if padding is None else finite & (pixels != padding)


def _shown(stored: Array, counts: Callable[[], Array], image: Dataset, asked: Window | None) -> Array:
    """Greys of stored values; `counts` tells which decide on a window, where none is given."""
    values = _modality(stored, image)
    voi = macro(image, "FrameVOILUTSequence")
    if asked is not None:
        level = windowed(values, asked)
    elif voi.get("VOILUTSequence"):
        level = _looked_up(values, voi.VOILUTSequence[0], unit=True)
    else:
        level = windowed(values, _window(voi) or _automatic(values[counts()]))
    if image.PhotometricInterpretation == "MONOCHROME1":
        level = 1.0 - level
    greys: Array = np.rint(np.nan_to_num(np.clip(level, 0.0, 1.0)) * 255.0).astype(np.uint8)
    return greys


def _modality(stored: Array, image: Dataset) -> Array:
    """Stored values to those of the modality (C.11.1)."""
    if image.get("ModalityLUTSequence"):
        return _looked_up(stored, image.ModalityLUTSequence[0], unit=False)
    rescale = macro(image, "PixelValueTransformationSequence")
    return stored * _number(rescale, "RescaleSlope", 1.0) + _number(rescale, "RescaleIntercept", 0.0)


def _looked_up(values: Array, lut: Dataset, *, unit: bool) -> Array:
    """Through a table (C.11.1.1, C.11.2.1.1), from 0 to 1 if `unit`; values beside it take its ends."""
    entries, first, bits = (int(number) for number in lut.LUTDescriptor)
    entries = entries or 1 << 16
    raw = lut["LUTData"].value
    data: Array
    if isinstance(raw, bytes):
        order = "<" if lut.is_little_endian is not False else ">"
        narrow = len(raw) < 2 * entries
        data = np.frombuffer(raw, "u1" if narrow else f"{order}u2", count=entries)
    else:
        data = np.atleast_1d(np.asarray(raw, np.int64)) & 0xFFFF
    found = data[np.clip(np.rint(values) - first, 0, data.size - 1).astype(np.int64)].astype(np.float64)
    level: Array = found / ((1 << bits) - 1) if unit else found
    return level


def _number(source: Dataset, keyword: str, default: float) -> float:
    value: Any = source.get(keyword)
    return default if value is None or value == "" else float(value)


def _first(value: Any) -> Any:
    return value if value is None or isinstance(value, str | float | int) else next(iter(value), None)


def _window(voi: Dataset) -> Window | None:
    """The first window of a header that can be used."""
    center, width = (_first(voi.get(keyword)) for keyword in ("WindowCenter", "WindowWidth"))
    if center is None or width is None or not float(width) > 0:
        return None
    function = voi.get("VOILUTFunction") or "LINEAR"
    return Window(float(center), float(width), function if function in _FUNCTIONS else "LINEAR")


def _automatic(values: Array) -> Window:
    """From the least value to the greatest."""
    if not values.size:
        return Window(0.0, 1.0, "LINEAR_EXACT")
    low, high = float(values.min()), float(values.max())
    return Window((low + high) / 2, (high - low) or 1.0, "LINEAR_EXACT")


def windowed(values: Array, window: Window) -> Array:
    """From 0 to 1, by the function of the window (C.11.2.1.2, C.11.2.1.3)."""
    return _FUNCTIONS[window.function](values, window.center, window.width)


def _linear(values: Array, center: float, width: float) -> Array:
    if width <= 1:
        return (values > center - 0.5).astype(np.float64)
    return (values - (center - 0.5)) / (width - 1) + 0.5


def _exact(values: Array, center: float, width: float) -> Array:
    return (values - center) / width + 0.5


def _sigmoid(values: Array, center: float, width: float) -> Array:
    exponent = np.clip(-4 * (values - center) / width, -700, 700)
    level: Array = 1 / (1 + np.exp(exponent))
    return level


_FUNCTIONS: Mapping[str, Callable[[Array, float, float], Array]] = {
    "LINEAR": _linear,
    "LINEAR_EXACT": _exact,
    "SIGMOID": _sigmoid,
}
