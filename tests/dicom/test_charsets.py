"""Character sets: the examples of PS3.5 annexes H to K, every term, every spelling, hostile bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.dicom.charsets import NO_CHARACTER_SET, NOT_IN_CHARACTER_SET, UNKNOWN, charset_of

EXAMPLES = [
    (
        "H.3.1",
        "\\ISO 2022 IR 87",
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    (
        "H.3.2",
        "ISO 2022 IR 13\\ISO 2022 IR 87",
        (
            b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J="
            b"\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J"
        ),
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    ),
    (
        "I.2",
        "\\ISO 2022 IR 149",
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
        "Hong^Gildong=洪^吉洞=홍^길동",
    ),
    ("J.1", "ISO_IR 192", "Wang^XiaoDong=王^小东=".encode(), "Wang^XiaoDong=王^小东="),
    ("J.3", "GB18030", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", "Wang^XiaoDong=王^小东="),
    (
        "K.2",
        "\\ISO 2022 IR 58",
        b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
        "Zhang^XiaoDong=张^小东=",
    ),
    ("K.3", "GBK", b"Zhang^XiaoDong=\xd5\xc5^\xd0\xa1\xb6\xab=", "Zhang^XiaoDong=张^小东="),
]


@pytest.mark.parametrize(("clause", "terms", "raw", "text"), EXAMPLES, ids=[row[0] for row in EXAMPLES])
def test_examples_of_the_standard(clause: str, terms: str, raw: bytes, text: str) -> None:
    """The names of PS3.5 annexes H to K decode to what the annexes print."""
    assert charset_of(tuple(terms.split("\\"))).decode(raw, person_name=True) == (text, None)


SINGLE_BYTE = [
    (100, b"\xc4neas", "Äneas"),
    (101, b"W\xb3odek", "Włodek"),
    (109, b"\xc6ajta", "Ĉajta"),
    (110, b"\xbfu", "ŋu"),
    (126, b"\xc4\xe9\xef\xed", "Διον"),
    (127, b"\xe2\xc8\xc7\xe6\xea", "قباني"),
    (138, b"\xf9\xf8\xe5\xef", "שרון"),
    (144, b"\xbb\xee\xdacek", "Люкcek"),
    (148, b"\xc7avu\xfeo\xf0lu", "Çavuşoğlu"),
    (166, b"\xca\xc1\xaa\xd2\xc2", "สมชาย"),
    (203, b"\xa4uro", "€uro"),
]


@pytest.mark.parametrize(("number", "raw", "text"), SINGLE_BYTE)
@pytest.mark.parametrize("form", ["ISO_IR", "ISO 2022 IR"])
def test_single_byte_sets(form: str, number: int, raw: bytes, text: str) -> None:
    """Each single-byte set decodes with and without code extensions, and its term is no issue."""
    found = charset_of((f"{form} {number}",))
    assert found.problem is None
    assert found.decode(raw) == (text, None)


@pytest.mark.parametrize(("number", "raw", "text"), SINGLE_BYTE)
def test_escapes_into_single_byte_sets(number: int, raw: bytes, text: str) -> None:
    """An escape sequence brings each single-byte set into G1, until a delimiter takes it away again."""
    final = dict(zip((100, 101, 109, 110, 126, 127, 138, 144, 148, 166, 203), b"ABCDFGHLMTb", strict=True))[
        number
    ]
    value = b"\x1b-" + bytes([final]) + raw + b"\\\xe4"
    terms = ("ISO 2022 IR 100", f"ISO 2022 IR {number}")
    assert charset_of(terms).decode(value) == (text + "\\ä", None)


@pytest.mark.parametrize("delimiter", ["\\", "\r", "\n", "\f", "\t"])
def test_delimiters_reset(delimiter: str) -> None:
    """A backslash and every control character bring back the first set (PS3.5 6.1.2.5.3)."""
    terms = ("ISO 2022 IR 100", "ISO 2022 IR 144")
    value = b"\x1b-L\xb1" + delimiter.encode() + b"\xe9"
    assert charset_of(terms).decode(value) == ("Б" + delimiter + "é", None)


def test_carets_reset_in_names_only() -> None:
    """The delimiters ^ and = of a person name reset, the same characters in other text do not."""
    value = b"\x1b-L\xb1^\xb1"
    charset = charset_of(("ISO 2022 IR 100", "ISO 2022 IR 144"))
    assert charset.decode(value, person_name=True)[0] == "Б^±"
    assert charset.decode(value)[0] == "Б^Б"


def test_backslash_byte_inside_a_wide_character() -> None:
    """0x5C as half of a Kanji or of a GB18030 character is no delimiter."""
    kanji = charset_of(("", "ISO 2022 IR 87"))
    assert kanji.decode(b"\x1b$B0\\\x1b(B") == ("移", None)
    assert charset_of(("GB18030",)).decode(b"\x81\\") == ("乗", None)


def test_supplementary_kanji() -> None:
    """ISO-IR 159, JIS X 0212, comes through its three byte escape."""
    value = b"\x1b$(D\x30\x21\x1b(B"
    assert charset_of(("", "ISO 2022 IR 159")).decode(value) == ("丂", None)


SPELLINGS = [
    ("ISO IR 100", "é"),
    ("ISO-IR 100", "é"),
    ("ISO_IR_100", "é"),
    ("iso_ir 100", "é"),
    ("ISO_IR100", "é"),
    ("latin1", "é"),
    ("Latin-1", "é"),
    ("ISO-8859-1", "é"),
    ("ISO8859-1", "é"),
    ("ISO 2022 GBK", None),
    ("windows-1252", "é"),
    ("UTF-8", None),
    ("utf8", None),
    ("ISO_IR 192 ", None),
]


@pytest.mark.parametrize(("term", "text"), SPELLINGS)
def test_spellings(term: str, text: str | None) -> None:
    """Spellings of real headers are understood."""
    found = charset_of((term,))
    assert found != UNKNOWN._replace(problem="unknown character set")
    if text:
        assert found.decode(b"\xe9") == (text, None)


@pytest.mark.parametrize("term", ["ISO IR 100", "latin1", "utf-8"])
def test_odd_spellings_are_on_record(term: str) -> None:
    """A term that is not spelt as the standard does is used, and is an issue."""
    assert charset_of((term,)).problem == "not a defined term"


def test_unknown_terms_fall_back() -> None:
    """A term that nobody knows gives the fallback and an issue."""
    latin = charset_of(("ISO_IR 100",))
    found = charset_of(("KLINGON",), latin)
    assert found.problem == "unknown character set"
    assert found.decode(b"\xe9") == ("é", None)


def test_no_character_set_keeps_ascii() -> None:
    """With no character set, ASCII letters stay and the rest becomes U+FFFD, on record."""
    assert UNKNOWN.decode(b"M\xfcller") == ("M�ller", NO_CHARACTER_SET)
    assert charset_of(("",)) is UNKNOWN


def test_bad_utf8_is_replaced() -> None:
    """Bad UTF-8, overlong forms and surrogates become U+FFFD, on record."""
    charset = charset_of(("ISO_IR 192",))
    for raw in (b"a\xffb", b"\xc0\xaf", b"\xed\xa0\x80"):
        text, problem = charset.decode(raw)
        assert "�" in text
        assert problem == NOT_IN_CHARACTER_SET
        text.encode()


def test_utf8_allows_no_other() -> None:
    """A set without code extensions is used alone where others stand beside it, on record."""
    found = charset_of(("ISO_IR 192", "ISO 2022 IR 87"))
    assert found.problem is not None
    assert found.decode("é".encode()) == ("é", None)


TERMS = st.lists(
    st.one_of(
        st.sampled_from([row[1].split("\\")[-1] for row in EXAMPLES] + ["", "ISO 2022 IR 13", "SJIS"]),
        st.text(max_size=20),
    ),
    max_size=4,
)
ESCAPES = [b"\x1b", b"\x1b$B", b"\x1b$(D", b"\x1b(J", b"\x1b)I", b"\x1b$)C", b"\x1b$)A", b"\x1b-F"]
RAW = st.lists(st.one_of(st.binary(max_size=8), st.sampled_from(ESCAPES)), max_size=8).map(b"".join)


@given(TERMS, RAW, st.booleans())
def test_decoding_is_total(terms: list[str], raw: bytes, person_name: bool) -> None:
    """Any bytes in any set give a text that UTF-8 can carry."""
    text, _ = charset_of(tuple(terms)).decode(raw, person_name)
    text.encode()


@given(st.sampled_from(EXAMPLES), st.text("abcXYZ ^=\\", max_size=20))
def test_ascii_is_ascii_everywhere(row: tuple[str, str, bytes, str], text: str) -> None:
    """ASCII text means the same in every set."""
    charset = charset_of(tuple(row[1].split("\\")))
    assert charset.decode(text.encode("ascii"), True) == (text, None)
