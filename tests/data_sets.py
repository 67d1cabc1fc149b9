"""Data sets written by hand, as they should not be: any element, any bytes, in explicit VR little endian."""

import struct
import zlib
from collections.abc import Mapping, Sequence

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
_LONG = ("OB", "OW", "SQ", "UN", "UT")
_NAMES: Mapping[str, tuple[int, str]] = {
    "SpecificCharacterSet": (0x00080005, "CS"),
    "SOPClassUID": (0x00080016, "UI"),
    "SOPInstanceUID": (0x00080018, "UI"),
    "StudyDate": (0x00080020, "DA"),
    "StudyTime": (0x00080030, "TM"),
    "TimezoneOffsetFromUTC": (0x00080201, "SH"),
    "Modality": (0x00080060, "CS"),
    "StudyDescription": (0x00081030, "LO"),
    "PatientName": (0x00100010, "PN"),
    "PatientID": (0x00100020, "LO"),
    "StudyInstanceUID": (0x0020000D, "UI"),
    "SeriesInstanceUID": (0x0020000E, "UI"),
}


def element(tag: int, vr: str, value: bytes, length: int | None = None) -> bytes:
    """One element; `length` overrides what its head says (PS3.5 7.1.2)."""
    value += b"" if len(value) % 2 == 0 else b"\0" if vr in ("UI", "OB") else b" "
    told = len(value) if length is None else length
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    return head + (struct.pack("<xxL", told) if vr in _LONG else struct.pack("<H", told & 0xFFFF)) + value


def data_set(number: int, study: int = 1, more: Sequence[bytes] = (), **values: bytes | str) -> bytes:
    """A CT instance with UIDs from numbers; `values` by keyword, other elements as they are, all in order."""
    known: dict[str, bytes | str] = {
        "SOPClassUID": CT,
        "SOPInstanceUID": f"2.999.{study}.1.{number}",
        "Modality": "CT",
        "PatientID": "HOSTILE",
        "StudyInstanceUID": f"2.999.{study}",
        "SeriesInstanceUID": f"2.999.{study}.1",
        **values,
    }
    elements: list[bytes] = [*(element(*_NAMES[name], _raw(value)) for name, value in known.items()), *more]
    return b"".join(sorted(elements, key=_tag))


def _tag(encoded: bytes) -> tuple[int, int]:
    group, number = struct.unpack("<HH", encoded[:4])
    return group, number


def _raw(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def file(
    data: bytes,
    uid: str,
    syntax: str = EXPLICIT,
    preamble: bytes = b"",
    *,
    repeated: tuple[bytes, int] = (b"", 0),
) -> bytes:
    """A Part 10 file (PS3.10 7.1); `repeated` bytes follow a deflated data set, so many times."""
    names = ((0x00020002, CT), (0x00020003, uid), (0x00020010, syntax))
    group = b"".join(element(tag, "UI", value.encode()) for tag, value in names)
    head = preamble.ljust(128, b"\0") + b"DICM" + element(0x00020000, "UL", struct.pack("<L", len(group)))
    return head + group + (deflated(data, *repeated) if syntax == DEFLATED else data)


def deflated(data: bytes, more: bytes = b"", times: int = 0) -> bytes:
    """A data set as PS3.5 A.5 wants it, and more behind it."""
    engine = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    pieces = [engine.compress(data), *(engine.compress(more) for _ in range(times)), engine.flush()]
    return b"".join(pieces)


def nested(levels: int) -> bytes:
    """A sequence in a sequence, and so on, of undefined lengths."""
    opening = element(0x00082112, "SQ", b"", 0xFFFFFFFF) + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    closing = struct.pack("<HHLHHL", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    return opening * levels + closing * levels


def items(count: int) -> bytes:
    """A sequence of so many empty items, of undefined length."""
    body = struct.pack("<HHL", 0xFFFE, 0xE000, 0) * count
    return element(0x00082112, "SQ", b"", 0xFFFFFFFF) + body + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


def multipart(*parts: bytes, kind: str = "application/dicom") -> bytes:
    """A body of STOW-RS with the boundary `b`."""
    head = f"--b\r\nContent-Type: {kind}\r\n\r\n".encode()
    return b"".join(head + part + b"\r\n" for part in parts) + b"--b--\r\n"


STOW_HEADERS = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
