"""The media types of bulk data (PS3.18 tables 8.7.3-4 and 8.7.3-5), and what of it may be offered.

Nothing is decoded: native pixel data go out as little endian octets, others as the codec stream they are.
"""

from collections.abc import Mapping, Sequence

from pacsbridge.dicom.transfer_syntaxes import EXPLICIT_LITTLE
from pacsbridge.dicomweb.accept import MediaRange, Offer, media_ranges
from pacsbridge.errors import NotAcceptable

OCTETS = "application/octet-stream"
RELATED = "multipart/related"

_JPEG, _JLS, _HTJ2K = ("image/jpeg",), ("image/jls", "image/x-jls"), ("image/jphc",)
_MPEG2, _MP4 = ("video/mpeg2", "video/mpeg"), ("video/mp4",)
_SUFFIXES: Mapping[str, Sequence[str]] = {
    "5": ("image/dicom-rle", "image/x-dicom-rle"),
    **dict.fromkeys(("4.50", "4.51", "4.57", "4.70"), _JPEG),
    **dict.fromkeys(("4.80", "4.81"), _JLS),
    **dict.fromkeys(("4.90", "4.91"), ("image/jp2",)),
    **dict.fromkeys(("4.92", "4.93"), ("image/jpx",)),
    **dict.fromkeys(("4.201", "4.202", "4.203"), _HTJ2K),
    **dict.fromkeys(("4.110", "4.111", "4.112"), ("image/jxl",)),
    **dict.fromkeys(("4.100", "4.100.1", "4.101", "4.101.1"), _MPEG2),
    **dict.fromkeys([f"4.{number}" for number in range(102, 109)], _MP4),
    **dict.fromkeys([f"4.{number}.1" for number in range(102, 107)], _MP4),
}

MEDIA: Mapping[str, Sequence[str]] = {f"1.2.840.10008.1.2.{end}": types for end, types in _SUFFIXES.items()}
"""Transfer syntax → the media type of its streams, then other names of it that clients use."""


def media_of(transfer_syntax_uid: str) -> Sequence[str]:
    """The media types of encapsulated frames. Raises NotAcceptable where they would have to be decoded."""
    if transfer_syntax_uid not in MEDIA:
        raise NotAcceptable(
            f"no media type for transfer syntax {transfer_syntax_uid}: available within the instance only"
        )
    return MEDIA[transfer_syntax_uid]


def offers(
    header: str, types: Sequence[str], syntax: str, *, single: bool, single_first: bool = False
) -> Sequence[Offer]:
    """What can be had: `types` as multipart and, if there is one part only, on its own; the default first.

    Compressed streams are octets too, but `application/octet-stream` by itself means uncompressed (8.7.3.3):
    they come under that name only to a client that names a transfer syntax with it, such as `*`.
    """
    named = [*types]
    if syntax != EXPLICIT_LITTLE and OCTETS not in types and any(map(_wants_as_stored, media_ranges(header))):
        named.append(OCTETS)
    related = [Offer(RELATED, name) for name in named]
    alone = [Offer(name) for name in named] if single else []
    return [*alone, *related] if single_first else [*related, *alone]


def _wants_as_stored(found: MediaRange) -> bool:
    names = (found.type, found.parameters.get("type", "").lower())
    return OCTETS in names and "transfer-syntax" in found.parameters
