"""Texts and numbers of DICOM → FHIR primitives: total functions, None for what cannot be used."""

import re
from functools import lru_cache

LONGEST = 1_000_000
"""Characters that a FHIR string may have (R4 datatypes: 1 MB)."""

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_INTEGER = re.compile(r"[+-]?[0-9]{1,12}")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`\x00-\x1f\x7f]+")
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_UNSIGNED_MAX = 2**31 - 1
_LONGEST_UID = 64


def clean(text: str) -> str:
    """A text as FHIR strings, XML and PostgreSQL take it; empty when nothing is left.

    Control characters except tab, line feed and carriage return go, lone surrogates become U+FFFD, and
    white space at the ends is padding (PS3.5 6.2).
    """
    if not text.isprintable():
        text = _SURROGATE.sub("\ufffd", _FORBIDDEN.sub("", text))
    text = text.strip()
    return text if len(text) <= LONGEST else text[:LONGEST].rstrip()


@lru_cache(maxsize=1024)
def code(text: str) -> str | None:
    """A FHIR code: no white space at the ends, single spaces inside; None when blank."""
    return " ".join(clean(text).split()) or None


def unsigned(text: str) -> int | None:
    """An integer string (PS3.5 6.2 IS) as unsignedInt; None when negative, too large or no number."""
    stripped = text.strip()
    if not _INTEGER.fullmatch(stripped):
        return None
    number = int(stripped)
    return number if 0 <= number <= _UNSIGNED_MAX else None


def uid(text: str) -> str | None:
    """A unique identifier without padding (PS3.5 9.1); leading zeros are let through, as they are common."""
    stripped = text.strip(" \0")
    return stripped if len(stripped) <= _LONGEST_UID and _UID.fullmatch(stripped) else None


def is_id(text: str) -> bool:
    """Whether a text is a legal FHIR id."""
    return _ID.fullmatch(text) is not None


def is_uri(text: str) -> bool:
    """Whether a text is an absolute URI that may stand in a FHIR uri."""
    return _URI.fullmatch(text) is not None
