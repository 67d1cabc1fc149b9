"""Texts as they stand in an index: PostgreSQL takes no entry beyond a third of a page (2,704 bytes)."""

from hashlib import sha256

LONGEST = 200
"""Characters, four bytes each at most: two of them, a parameter and a number make an entry."""

_DIGEST = 40


def indexed(text: str) -> str:
    """The text, or where it is too long its beginning and a digest of the whole: equal texts stay equal."""
    if len(text) <= LONGEST:
        return text
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    return text[: LONGEST - _DIGEST] + digest


def prefix(text: str) -> str:
    """The part of a sought beginning that an indexed text still shows."""
    return text[: LONGEST - _DIGEST]
