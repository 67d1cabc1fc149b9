"""Cursors: opaque outside, exact inside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.errors import NotUnderstood
from pacsbridge.kernel.query import Cursor

POSITIONS = st.lists(st.integers(-(2**63) + 1, 2**63 - 1), min_size=1, max_size=5).map(tuple)


@given(POSITIONS)
def test_a_cursor_survives_its_encoding(values: tuple[int, ...]) -> None:
    """What a link carries decodes to the position that was encoded."""
    assert Cursor.decode(Cursor(values).encode()) == Cursor(values)


@given(POSITIONS)
def test_a_cursor_needs_no_escaping_in_a_url(values: tuple[int, ...]) -> None:
    """A cursor is made of URL-safe characters alone."""
    assert all(c.isascii() and (c.isalnum() or c in "-_") for c in Cursor(values).encode())


@given(st.text(max_size=300))
def test_any_text_is_a_cursor_of_ours_or_refused(text: str) -> None:
    """Decoding is total, and one position has one spelling only."""
    try:
        cursor = Cursor.decode(text)
    except NotUnderstood:
        return
    assert cursor.encode() == text


@pytest.mark.parametrize(
    "text", ["", "x", "NQ==", "NQ\n", "LTA", "IDU", "MDU", "NQ" * 200, "MS4", "OTk5" * 10, "\ud800"]
)
def test_a_tampered_cursor_is_refused(text: str) -> None:
    """Empty, padded, minus zero, blank, leading zero, too long, torn, beyond 64 bits, a lone surrogate."""
    with pytest.raises(NotUnderstood):
        Cursor.decode(text)
