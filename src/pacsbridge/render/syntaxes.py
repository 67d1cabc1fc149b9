"""What a child can decode: with pydicom, Pillow (JPEG), pyjpegls (JPEG-LS) and pylibjpeg (JPEG 2000, RLE)."""

from pacsbridge.dicom.transfer_syntaxes import EXPLICIT_LITTLE

_JPEG = ("4.50", "4.51")
_JPEG_LS = ("4.80", "4.81")
_JPEG_2000 = ("4.90", "4.91", "4.201", "4.202", "4.203")
_RLE = ("5",)

DECODED = frozenset(
    {EXPLICIT_LITTLE, *(f"1.2.840.10008.1.2.{end}" for end in (*_JPEG, *_JPEG_LS, *_JPEG_2000, *_RLE))}
)
"""Transfer syntaxes of frames; native ones come as Explicit VR Little Endian. JPEG Lossless is not among
them: what decodes it from Python is under the GPL."""
