"""What the tests of this package share: pydicom's files, and an encoder of data sets for every odd shape."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom.data import get_charset_files, get_testdata_files

_LONG = ("OB", "OW", "SQ", "UC", "UN", "UR", "UT")
_UNDEFINED = 0xFFFFFFFF


@dataclass(frozen=True)
class Encoder:
    """Writes elements by hand, so that they can be wrong too (PS3.5 7.1)."""

    explicit: bool = True
    big: bool = False

    def pack(self, code: str, *values: int) -> bytes:
        """Numbers in the byte order of the data set."""
        return struct.pack((">" if self.big else "<") + code, *values)

    def element(self, tag: int, vr: str, value: bytes | str, length: int | None = None) -> bytes:
        """One element, its value padded to an even length; `length` overrides what the head says."""
        raw = value.encode("ascii") if isinstance(value, str) else value
        raw += b"" if len(raw) % 2 == 0 else b"\0" if vr in ("UI", "OB") else b" "
        return self.head(tag, vr, len(raw) if length is None else length) + raw

    def head(self, tag: int, vr: str, length: int) -> bytes:
        """The head of an element alone."""
        names = self.pack("HH", tag >> 16, tag & 0xFFFF)
        if not self.explicit:
            return names + self.pack("L", length)
        if vr in _LONG:
            return names + vr.encode() + b"\0\0" + self.pack("L", length)
        return names + vr.encode() + self.pack("H", length)

    def sequence(
        self, tag: int, items: Sequence[bytes], *, open_ended: bool = False, vr: str = "SQ"
    ) -> bytes:
        """A sequence; `open_ended` gives it and its items undefined lengths."""
        body = b"".join(self.item(item, open_ended=open_ended) for item in items)
        if open_ended:
            end = self.pack("HHL", 0xFFFE, 0xE0DD, 0)
            return self.head(tag, vr, _UNDEFINED) + body + end
        return self.head(tag, vr, len(body)) + body

    def item(self, content: bytes, *, open_ended: bool = False) -> bytes:
        """One item."""
        if open_ended:
            return (
                self.pack("HHL", 0xFFFE, 0xE000, _UNDEFINED) + content + self.pack("HHL", 0xFFFE, 0xE00D, 0)
            )
        return self.pack("HHL", 0xFFFE, 0xE000, len(content)) + content


@pytest.fixture(scope="session")
def encoder() -> Callable[..., Encoder]:
    """Makes encoders: `encoder(explicit=False, big=True)`."""
    return Encoder


def _files() -> list[Path]:
    found = get_testdata_files("**/*") + get_charset_files("**/*")
    return sorted({Path(name) for name in found if Path(name).is_file()})


@pytest.fixture(scope="session")
def pydicom_files() -> list[Path]:
    """Every file among pydicom's test data, DICOM or not, those with character sets too."""
    files = _files()
    assert len(files) > 150
    return files


@pytest.fixture(scope="session")
def sample(pydicom_files: list[Path]) -> Callable[[str], bytes]:
    """The bytes of one of pydicom's files by name."""
    by_name = {path.name: path for path in pydicom_files}
    return lambda name: by_name[name].read_bytes()
