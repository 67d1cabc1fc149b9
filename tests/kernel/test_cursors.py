"""Cursors: opaque outside, exact inside, good for one search of one server only."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.errors import NotUnderstood
from pacsbridge.kernel.cursors import Cursor

SECRET, SCOPE = b"secret", '["Patient", ["name", "x"]]'
DIGITS = string.ascii_letters + string.digits + "-_"
"""What a cursor is written with."""

NUMBERS = st.integers(-(2**63), 2**63 - 1)
IDS = st.text(string.ascii_letters + string.digits + "-.", min_size=1, max_size=64)
FIELDS = st.tuples(st.sampled_from(["id", "updated", "low", "local_low", "pk"]), st.booleans())
CURSORS = st.builds(
    Cursor,
    st.lists(FIELDS, min_size=1, max_size=3).map(tuple),
    st.lists(NUMBERS | IDS, min_size=1, max_size=4).map(tuple),
    NUMBERS,
    st.booleans(),
)
CURSOR = Cursor((("low", True), ("id", False)), (1_700_000_000_000_000, "p-1", 7), 12, back=True)


@given(CURSORS, st.binary(max_size=40), st.text(max_size=60))
def test_a_cursor_survives_its_encoding(cursor: Cursor, secret: bytes, scope: str) -> None:
    """What a link carries decodes to the position that was encoded, and needs no escaping in a URL."""
    text = cursor.encode(secret, scope)
    assert set(text) <= set(DIGITS)
    assert Cursor.decode(text, secret, scope) == cursor


def test_the_longest_cursor_survives() -> None:
    """Every order there is at once, with the longest id and the widest numbers."""
    order = (("id", True), ("updated", False), ("low", True))
    cursor = Cursor(order, ("x" * 64, -(2**63), -(2**63), 2**63 - 1), 2**63 - 1)
    assert Cursor.decode(cursor.encode(SECRET, SCOPE), SECRET, SCOPE) == cursor


@pytest.mark.parametrize("place", range(len(CURSOR.encode(SECRET, SCOPE))))
def test_any_other_character_is_refused(place: int) -> None:
    """Each character decides, in the seal and behind it; the last one has no spare bits either."""
    text = CURSOR.encode(SECRET, SCOPE)
    for other in set(DIGITS) - {text[place]}:
        with pytest.raises(NotUnderstood):
            Cursor.decode(text[:place] + other + text[place + 1 :], SECRET, SCOPE)


@pytest.mark.parametrize(
    ("secret", "scope"),
    [(b"", SCOPE), (b"secres", SCOPE), (SECRET, ""), (SECRET, SCOPE + " ")],
)
def test_another_secret_or_search_is_refused(secret: bytes, scope: str) -> None:
    """A cursor is good on the server and for the search that it was made for."""
    with pytest.raises(NotUnderstood):
        Cursor.decode(CURSOR.encode(SECRET, SCOPE), secret, scope)


def test_a_cursor_is_not_stretched() -> None:
    """What is cut off, put behind, padded or given twice is refused."""
    text = CURSOR.encode(SECRET, SCOPE)
    for other in (
        "",
        text[:-1],
        text[1:],
        text + "A",
        text + "=",
        text + "\n",
        " " + text,
        text * 2,
        text[:16],
    ):
        with pytest.raises(NotUnderstood):
            Cursor.decode(other, SECRET, SCOPE)


@given(st.text(max_size=300) | st.text(DIGITS, max_size=700))
def test_any_other_text_is_refused(text: str) -> None:
    """Decoding is total: nobody guesses a seal."""
    with pytest.raises(NotUnderstood):
        Cursor.decode(text, SECRET, SCOPE)


@pytest.mark.parametrize("text", ["x", "NQ==", "OTk5" * 10, "NQ" * 400, "ä", "\ud800", "A" * 17])
def test_no_cursor_at_all_is_refused(text: str) -> None:
    """Torn, padded, too long, not ASCII, a lone surrogate, shorter than a seal."""
    with pytest.raises(NotUnderstood):
        Cursor.decode(text, SECRET, SCOPE)
