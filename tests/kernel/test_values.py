"""Texts and numbers → FHIR primitives."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.kernel import values

STRING = re.compile(r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]*")


@given(st.text(st.characters(exclude_categories=())))
def test_clean_gives_what_fhir_and_databases_take(text: str) -> None:
    """Any text, surrogates and controls included, becomes one that can be encoded and has no padding."""
    cleaned = values.clean(text)
    assert STRING.fullmatch(cleaned)
    assert cleaned == cleaned.strip()
    cleaned.encode()


@given(st.text(st.characters(exclude_categories=())))
def test_clean_is_done_once(text: str) -> None:
    """What has been cleaned stays as it is."""
    assert values.clean(values.clean(text)) == values.clean(text)


def test_clean_keeps_lines_and_scripts() -> None:
    """Tabs, line ends and every script stay; a lone surrogate shows as a replacement character."""
    assert values.clean(" a\tb\r\nc\x00 山田\u3000 ") == "a\tb\r\nc 山田"
    assert values.clean("a\ud800b") == "a\ufffdb"


def test_clean_cuts_what_is_too_long() -> None:
    """A FHIR string has an end."""
    assert len(values.clean("x" * (values.LONGEST + 5))) == values.LONGEST


@given(st.text(st.characters(exclude_categories=())))
def test_every_code_is_legal(text: str) -> None:
    """A code has no space at its ends and single ones inside, or there is none."""
    code = values.code(text)
    assert code is None or re.fullmatch(r"[^\s]+( [^\s]+)*", code)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7", 7), (" 12 ", 12), ("+3", 3), ("0", 0), ("-0", 0), ("2147483647", 2147483647),
        ("2147483648", None), ("-1", None), ("1.0", None), ("7b", None), ("", None), ("٣", None),
    ],
)  # fmt: skip
def test_unsigned(text: str, number: int | None) -> None:
    """An integer string is an unsignedInt within its range, else nothing."""
    assert values.unsigned(text) == number


@given(st.text())
def test_unsigned_is_total(text: str) -> None:
    """Any text gives a legal number or none."""
    number = values.unsigned(text)
    assert number is None or 0 <= number < 2**31


@pytest.mark.parametrize(
    ("text", "uid"),
    [
        ("1.2.840.10008.1.2", "1.2.840.10008.1.2"), ("1.2\0", "1.2"), (" 1.2 ", "1.2"), ("1.02", "1.02"),
        ("1" * 64, "1" * 64), ("1" * 65, None), ("1..2", None), ("1.2.", None), ("", None), ("1.a", None),
        ("../1", None), ("1.2\n", None), ("١.٢", None),
    ],
)  # fmt: skip
def test_uid(text: str, uid: str | None) -> None:
    """A UID is digits and single dots, at most 64, without its padding."""
    assert values.uid(text) == uid


@given(st.text())
def test_every_uid_is_a_legal_id(text: str) -> None:
    """What passes for a UID may be a FHIR id."""
    uid = values.uid(text)
    assert uid is None or values.is_id(uid)


@pytest.mark.parametrize(
    ("text", "legal"),
    [
        ("urn:oid:1.2", True), ("https://h.example/a?b=c", True), ("urn:uuid:x", True),
        ("HOSP_A", False), ("http://a b", False), ("", False), ("x:\n", False), ("1a:b", False),
    ],
)  # fmt: skip
def test_is_uri(text: str, legal: bool) -> None:
    """A uri is absolute and has no white space."""
    assert values.is_uri(text) is legal
