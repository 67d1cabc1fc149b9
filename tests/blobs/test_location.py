"""Location texts are read strictly."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.blobs.location import pack_name, pack_number, position
from pacsbridge.errors import Absent


@given(st.integers(1, 10**12 - 1), st.integers(0, 10**15 - 1), st.integers(0, 10**15 - 1))
def test_reads_what_it_writes(number: int, start: int, size: int) -> None:
    """Every text that this package makes is read back as the same text."""
    text = f"pack:{pack_name(number)}:{start}:{size}"
    assert str(position(text)) == text
    assert pack_number(pack_name(number) + ".pack") == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pack:1:44:1",
        "pack:../00001:44:1",
        "pack:00000001/../x:44:1",
        "pack:00000001:44:1\n",
        "pack:00000001:-1:1",
        "pack:00000001: 4:1",
        "pack:" + "\u0660" * 8 + ":44:1",
        "object:ab/cdef",
        "/etc/passwd",
    ],
)
def test_refuses_everything_else(text: str) -> None:
    """No path, no sign, no foreign digits, no line end: Absent."""
    with pytest.raises(Absent):
        position(text)


@given(st.text())
def test_is_total(text: str) -> None:
    """Any text is a location or Absent."""
    with suppress(Absent):
        assert str(position(text)) == text


@pytest.mark.parametrize(
    "name", ["1.pack", "00000001", "00000001.pack.tmp", "x0000001.pack", ".pack", "\u0660" * 8 + ".pack"]
)
def test_foreign_files_are_no_packs(name: str) -> None:
    """Only eight digits and more with the suffix are."""
    assert pack_number(name) is None
