"""The outside of a Part 10 file: preamble and file meta group (PS3.10 7.1)."""

from struct import pack

IMPLEMENTATION_CLASS_UID = "2.25.104860855584849412393468622050373422480"
"""Names this software; from a random UUID, as PS3.5 B.2 allows."""

IMPLEMENTATION_VERSION_NAME = "PACSBRIDGE"

_PREAMBLE_LENGTH = 128
_EMPTY_PREAMBLE = bytes(_PREAMBLE_LENGTH)
_TIFF_MARKS = (b"II*\0", b"MM\0*")


def part10_head(
    sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, source_ae: str = ""
) -> bytes:
    """What stands before a data set in a Part 10 file: 128 zero bytes, DICM, the file meta group.

    Characters that have no place in a UID or an AE title become question marks. `source_ae` is the
    (0002,0016) Source Application Entity Title, left out when empty, cut at 16 characters.
    """
    elements = [
        _element(0x0001, b"OB", b"\x00\x01"),
        _element(0x0002, b"UI", _padded(sop_class_uid, b"\0")),
        _element(0x0003, b"UI", _padded(sop_instance_uid, b"\0")),
        _element(0x0010, b"UI", _padded(transfer_syntax_uid, b"\0")),
        _element(0x0012, b"UI", _padded(IMPLEMENTATION_CLASS_UID, b"\0")),
        _element(0x0013, b"SH", _padded(IMPLEMENTATION_VERSION_NAME, b" ")),
    ]
    if source_ae:
        elements.append(_element(0x0016, b"AE", _padded(source_ae[:16], b" ")))
    group = b"".join(elements)
    return b"".join((_EMPTY_PREAMBLE, b"DICM", _element(0x0000, b"UL", pack("<L", len(group))), group))


def is_tiff(preamble: bytes) -> bool:
    """Whether the file is a TIFF as well."""
    return preamble[:4] in _TIFF_MARKS


def neutral_preamble(preamble: bytes) -> bytes:
    """The first 128 bytes of a file made harmless (CVE-2019-11687): zero, unless they start a TIFF.

    Whole slide images are now and then DICOM and TIFF in one file; every other preamble could be a program.
    """
    if is_tiff(preamble):
        return preamble[:_PREAMBLE_LENGTH].ljust(_PREAMBLE_LENGTH, b"\0")
    return _EMPTY_PREAMBLE


def _padded(text: str, padding: bytes) -> bytes:
    raw = text.encode("ascii", "replace")
    return raw + padding if len(raw) % 2 else raw


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    """One explicit little endian element of group 0002 (PS3.5 7.1.2)."""
    if vr == b"OB":
        return pack("<HH2sHL", 0x0002, number, vr, 0, len(value)) + value
    return pack("<HH2sH", 0x0002, number, vr, len(value)) + value


def own_head(head: bytes | memoryview) -> bytes | None:
    """The Part 10 head of a file that is TIFF too, whose offsets need it; None: one of ours will do."""
    start = bytes(head[:128])
    return neutral_preamble(start) + bytes(head[128:]) if is_tiff(start) else None
