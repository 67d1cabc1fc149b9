"""Drawn pictures: pixel data without a numeric library, a few milliseconds each."""

from collections.abc import Callable

from pacsbridge.samples.model import Values, uid

_SIZE = 128


def grey(index: int, seed: int) -> Values:
    """A bright ring round two darker spots that grow from slice to slice: 16 bit, 128 by 128."""
    rows = b"".join(_grey_row(y, index, seed) for y in range(_SIZE))
    return {
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "Rows": _SIZE, "Columns": _SIZE,
        "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0,
        "WindowCenter": 1000, "WindowWidth": 2000, "PixelData": rows,
    }  # fmt: skip


def _grey_row(y: int, index: int, seed: int) -> bytes:
    return b"".join(_grey_value(x, y, index, seed).to_bytes(2, "little") for x in range(_SIZE))


def _grey_value(x: int, y: int, index: int, seed: int) -> int:
    centre = _SIZE // 2
    distance = (x - centre) ** 2 + ((y - centre) * (5 + seed % 3) // 4) ** 2
    spot = min((x - 44) ** 2, (x - 84) ** 2) + (y - 60 - seed % 7) ** 2
    if distance > 56**2:
        return 10
    if distance > 50**2:
        return 1900
    return 250 + 8 * index if spot < (8 + index) ** 2 else 900 + (x * 7 + y * 13 + seed) % 40


def colour(index: int) -> Values:
    """A fan, as a scanner of ultrasound draws it: RGB, 128 by 128."""
    pixels = bytearray()
    for y in range(_SIZE):
        for x in range(_SIZE):
            inside = abs(x - 64) * 2 < y + 8 and (x - 64) ** 2 + y**2 < 120**2
            level = (x * x + y * (index + 3)) % 160 if inside else 0
            red = 200 if inside and (x - 70) ** 2 + (y - 70) ** 2 < (6 + index) ** 2 else level
            pixels += bytes((red, level, level))
    return {
        "SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "Rows": _SIZE,
        "Columns": _SIZE, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0,
        "PixelData": bytes(pixels),
    }  # fmt: skip


def slices(seed: int, spacing: float, frame: str) -> Callable[[int], Values]:
    """Parallel slices of one frame of reference, in millimetres."""

    def slice_(index: int) -> Values:
        return {
            "FrameOfReferenceUID": uid(frame, "frame"),
            "PositionReferenceIndicator": "",
            "ImagePositionPatient": [-64, -64, index * spacing],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "PixelSpacing": [1, 1],
            "SliceThickness": spacing,
            **grey(index, seed),
        }

    return slice_
