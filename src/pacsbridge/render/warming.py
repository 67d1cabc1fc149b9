"""Loads codecs and encoders before they are needed, since files can't be opened later; in a child only."""

from io import BytesIO

from PIL import Image
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from pacsbridge.render.syntaxes import DECODED


def warm() -> None:
    """Every decoder's plugins and both encoders."""
    Image.init()
    for syntax in DECODED:
        get_decoder(UID(syntax))
    for form in ("JPEG", "PNG"):
        for mode in ("L", "RGB"):
            out = BytesIO()
            Image.new(mode, (16, 16)).resize((8, 8), Image.Resampling.BILINEAR).save(out, form)
            Image.open(BytesIO(out.getvalue())).load()
