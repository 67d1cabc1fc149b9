"""The bytes of one element to its values, by value representation (PS3.5 6.2).

Padding: trailing NULs and spaces go everywhere; leading spaces go where the standard calls them
insignificant, and where a value with them would be invalid anyway. Only ST, LT, UT, UC and UR keep
them; of those, UC alone can have several values.
"""

from collections.abc import Callable
from struct import Struct

from pacsbridge.dicom.charsets import NOT_IN_CHARACTER_SET, Charset

PADDING = " \0"

_CHARSET_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_PLAIN_VRS = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI"})
_SINGLE_VRS = frozenset({"LT", "ST", "UR", "UT"})
TEXT_VRS = _CHARSET_VRS | _PLAIN_VRS | _SINGLE_VRS

_NUMBERS = {
    "FD": "d",
    "FL": "f",
    "SL": "l",
    "SS": "h",
    "SV": "q",
    "UL": "L",
    "US": "H",
    "UV": "Q",
}
NUMBER_VRS = frozenset(_NUMBERS)

_Unpack = Callable[[bytes], tuple[int | float]]
_UNPACKERS: dict[tuple[str, bool], tuple[int, _Unpack]] = {
    (vr, big): (number.size, number.unpack)
    for vr, code in _NUMBERS.items()
    for big, number in ((False, Struct("<" + code)), (True, Struct(">" + code)))
}

Decoded = tuple[tuple[str, ...], str | None]
"""The values, () if there are none, and what was wrong with them."""


def decode(raw: bytes, stream_vr: str | None, vr: str, charset: Charset, big: bool) -> Decoded:
    """The values of a non-sequence element; `stream_vr` is what the data set says, `vr` the dictionary.

    A textual or numeric VR in the data set wins over the dictionary's; any other is passed over.
    """
    known = stream_vr if stream_vr in _NUMBERS or stream_vr in TEXT_VRS else vr
    if known in _NUMBERS:
        whole = len(raw) % _UNPACKERS[known, big][0] == 0
        texts = tuple(format(number, "") for number in numbers(raw, known, big))
        return texts, None if whole else "length is no multiple of the number's"
    return _texts(raw, known, charset)


def numbers(raw: bytes, vr: str, big: bool) -> tuple[int | float, ...]:
    """The values of one of `NUMBER_VRS`; what is left over at the end is passed over."""
    size, unpack = _UNPACKERS[vr, big]
    whole = len(raw) - len(raw) % size
    return tuple(unpack(raw[at : at + size])[0] for at in range(0, whole, size))


def _texts(raw: bytes, vr: str, charset: Charset) -> Decoded:
    if vr in _CHARSET_VRS:
        text, problem = charset.decode(raw, vr == "PN")
    else:
        text, problem = _plain(raw)
    if vr in _SINGLE_VRS:
        text = text.rstrip(PADDING)
        return (text,) if text else (), problem
    parts = tuple(part.rstrip(PADDING) if vr == "UC" else part.strip(PADDING) for part in text.split("\\"))
    return parts if any(parts) or len(parts) > 1 else (), problem


def _plain(raw: bytes) -> tuple[str, str | None]:
    """Text of a VR that no character set applies to (PS3.5 6.1.2.2)."""
    if raw.isascii():
        return raw.decode("ascii"), None
    return raw.decode("ascii", "replace"), NOT_IN_CHARACTER_SET
