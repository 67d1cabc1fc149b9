"""Specific Character Set (0008,0005): bytes to text, with and without code extensions.

PS3.3 C.12.1.1.2 names the defined terms, PS3.5 6.1 says how ISO 2022 switches between them. A text starts in
the sets of the first term: G0 (bytes below 0x80) and G1 (bytes from 0x80). An escape sequence replaces one of
the two; a control character, a backslash and, in a person name, ^ and = bring the first term's sets back.
UTF-8, GB18030 and GBK know no escapes.

Decoding is total: what has no meaning becomes U+FFFD, and the reason is handed back beside the text.
"""

import codecs
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

ESC = b"\x1b"


class _Set(NamedTuple):
    """One coded character set: the Python codec, and how its bytes have to look for that codec."""

    codec: str
    width: int = 1
    lead: bytes = b""


_ASCII = _Set("ascii")
_KATAKANA = _Set("shift_jis")
_KANJI = _Set("euc_jp", 2)
_MORE_KANJI = _Set("euc_jp", 2, b"\x8f")
_HANGUL = _Set("euc_kr", 2)
_HANZI = _Set("gb2312", 2)

# Number of the single-byte set in its defined term, final byte of its escape sequence, Python codec.
_LATIN_ROWS = (
    (100, b"A", "iso8859_1"),
    (101, b"B", "iso8859_2"),
    (109, b"C", "iso8859_3"),
    (110, b"D", "iso8859_4"),
    (126, b"F", "iso8859_7"),
    (127, b"G", "iso8859_6"),
    (138, b"H", "iso8859_8"),
    (144, b"L", "iso8859_5"),
    (148, b"M", "iso8859_9"),
    (166, b"T", "tis_620"),
    (203, b"b", "iso8859_15"),
)

_G0: dict[bytes, _Set] = {
    b"(B": _ASCII,
    b"(J": _ASCII,
    b"$B": _KANJI,
    b"$@": _KANJI,
    b"$(D": _MORE_KANJI,
}
_G1: dict[bytes, _Set] = {
    b")I": _KATAKANA,
    b"$)C": _HANGUL,
    b"$)A": _HANZI,
    **{b"-" + final: _Set(codec) for _, final, codec in _LATIN_ROWS},
}

# What stands in G1 at the start of a text, by the number in the first defined term. The Japanese terms 87 and
# 159 fill G0 only after an escape; 149 and 58 are meant to be escaped to, but stand alone in real headers.
_INITIAL_G1: dict[int, _Set | None] = {
    6: None,
    13: _KATAKANA,
    87: None,
    159: None,
    149: _HANGUL,
    58: _HANZI,
    **{number: _Set(codec) for number, _, codec in _LATIN_ROWS},
}

_WHOLE = {"ISO_IR 192": "utf_8", "GB18030": "gb18030", "GBK": "gbk"}

# Spellings met in real headers that are no defined terms, without their spaces, hyphens and underscores.
_ALIASES = {
    "UTF8": "ISO_IR 192",
    "ASCII": "ISO_IR 6",
    "USASCII": "ISO_IR 6",
    "ISO646": "ISO_IR 6",
    "LATIN1": "ISO_IR 100",
    "LATIN2": "ISO_IR 101",
    "LATIN5": "ISO_IR 148",
    "LATIN9": "ISO_IR 203",
    "ISO88591": "ISO_IR 100",
    "ISO88592": "ISO_IR 101",
    "ISO88593": "ISO_IR 109",
    "ISO88594": "ISO_IR 110",
    "ISO88595": "ISO_IR 144",
    "ISO88596": "ISO_IR 127",
    "ISO88597": "ISO_IR 126",
    "ISO88598": "ISO_IR 138",
    "ISO88599": "ISO_IR 148",
    "ISO885915": "ISO_IR 203",
    "ISO2022GBK": "GBK",
    "ISO202258": "ISO 2022 IR 58",
    "GB2312": "ISO 2022 IR 58",
    "EUCKR": "ISO 2022 IR 149",
}

# Whole encodings that DICOM does not know, but senders name.
_FOREIGN = {
    "SHIFTJIS": "cp932",
    "SJIS": "cp932",
    "EUCJP": "euc_jp",
    "BIG5": "big5",
    **{f"WINDOWS{page}": f"cp{page}" for page in range(1250, 1259)},
    **{f"CP{page}": f"cp{page}" for page in range(1250, 1259)},
}

_TERM = re.compile(r"ISO[ _-]*(?P<extended>2022)?[ _-]*IR[ _-]*(?P<number>\d{1,3})")
_ESCAPE = re.compile(b"\x1b(" + b"|".join(re.escape(code) for code in (*_G0, *_G1)) + b")")
_RUNS = re.compile(rb"(?P<reset>[\x00-\x1f\\])|(?P<low>[ -\[\]-\x7f]+)|(?P<high>[\x80-\xff]+)")
_NAME_RUNS = re.compile(rb"(?P<reset>[\x00-\x1f\\^=])|(?P<low>[ -<>-\[\]_-\x7f]+)|(?P<high>[\x80-\xff]+)")
_WIDE_RUNS = re.compile(rb"(?P<reset>[\x00-\x1f])|(?P<wide>[!-~]+)|(?P<low>[ \x7f]+)|(?P<high>[\x80-\xff]+)")

NO_CHARACTER_SET = "bytes outside ASCII, and no character set is known"
NOT_IN_CHARACTER_SET = "bytes that the character set does not have"


class Charset(NamedTuple):
    """How the texts of a data set or an item are encoded; `problem` says what was wrong with the terms."""

    codec: str
    g1: _Set | None
    escapes: bool
    problem: str | None = None

    def decode(self, raw: bytes, person_name: bool = False) -> tuple[str, str | None]:
        """The text of `raw` and what was wrong with it, or None; never raises (PS3.5 6.1.2)."""
        escaped = ESC in raw
        if not escaped and raw.isascii():
            return raw.decode("ascii"), None
        if self.escapes and (escaped or self.g1 is _KATAKANA):
            return self._switching(raw, person_name)
        text, good = _decode(raw, self.codec)
        if good:
            return text, None
        return text, NO_CHARACTER_SET if self.codec == "ascii" else NOT_IN_CHARACTER_SET

    def _switching(self, raw: bytes, person_name: bool) -> tuple[str, str | None]:
        """ISO 2022: each run of bytes in the set that holds at that place (PS3.5 6.1.2.5)."""
        parts: list[str] = []
        faults = 0
        for run, coded in _segments(raw, self.g1, person_name):
            text, good = _decode_run(run, coded)
            parts.append(text)
            faults += not good
        return "".join(parts), NOT_IN_CHARACTER_SET if faults else None


def _segments(raw: bytes, first: _Set | None, person_name: bool) -> Iterator[tuple[bytes, _Set]]:
    """Runs of bytes, each with the set that it is in."""
    g0: _Set = _ASCII
    g1 = first
    for number, piece in enumerate(_ESCAPE.split(raw)):
        if number % 2:
            g0, g1 = _G0.get(piece, g0), _G1.get(piece, g1)
            continue
        at = 0
        while at < len(piece):
            runs = _WIDE_RUNS if g0.width > 1 else _NAME_RUNS if person_name else _RUNS
            found = runs.match(piece, at)
            if found is None:  # the classes of each pattern cover all bytes
                break
            at = found.end()
            if found.lastgroup == "reset":
                g0, g1 = _ASCII, first
            yield found[0], _set_of(found.lastgroup, g0, g1)


def _set_of(run: str | None, g0: _Set, g1: _Set | None) -> _Set:
    if run == "high":
        return g1 or _ASCII
    return g0 if run == "wide" else _ASCII


def _decode_run(run: bytes, coded: _Set) -> tuple[str, bool]:
    if coded.codec != "euc_jp":
        return _decode(run, coded.codec)
    high = bytes(byte | 0x80 for byte in run)
    if coded.lead:
        high = b"".join(coded.lead + high[at : at + 2] for at in range(0, len(high), 2))
    return _decode(high, coded.codec)


def _decode(raw: bytes, codec: str) -> tuple[str, bool]:
    """The text, and whether all of it could be read."""
    try:
        return raw.decode(codec), True
    except UnicodeDecodeError:
        return raw.decode(codec, "replace"), False


UNKNOWN = Charset("ascii", None, True)
"""No Specific Character Set: the default repertoire, ISO 646 (PS3.5 6.1.2.1)."""


@lru_cache(maxsize=256)
def charset_of(terms: tuple[str, ...], fallback: Charset = UNKNOWN) -> Charset:
    """The character set that the values of (0008,0005) name; `fallback` where they name none that is known.

    An empty first value is the default repertoire (PS3.3 C.12.1.1.2). Further values only declare which
    escape sequences occur: every sequence of the standard is understood anyway.
    """
    names = [term.strip(" \0").upper() for term in terms]
    if not any(names):
        return fallback
    first = _single(names[0])
    if first is None:
        return fallback._replace(problem="unknown character set")
    odd = [term for term in names if not _known(term)]
    if len(names) > 1 and not first.escapes:
        return first._replace(problem="a character set that allows no other beside it")
    return first._replace(problem="not a defined term") if odd else first


def _single(term: str) -> Charset | None:
    """The character set that starts with one term, any spelling; None if it is unknown."""
    term = term or "ISO_IR 6"
    squeezed = re.sub(r"[ _\-]+", "", term)
    if squeezed in _FOREIGN:
        return Charset(_FOREIGN[squeezed], None, False)
    term = _ALIASES.get(squeezed, term)
    found = _TERM.fullmatch(term)
    if found and int(found["number"]) != 192:
        return _numbered(int(found["number"]))
    codec = _WHOLE.get("ISO_IR 192" if found else term)
    return Charset(codec, None, False) if codec else None


def _numbered(number: int) -> Charset | None:
    if number not in _INITIAL_G1:
        return None
    g1 = _INITIAL_G1[number]
    return Charset(g1.codec if g1 else "ascii", g1, True)


def codec_of(terms: Sequence[str]) -> str | None:
    """The Python codec in which texts can be written under these terms; None where that takes extensions."""
    return _WRITTEN.get(terms[0].strip(" \0").upper()) if len(terms) == 1 else None


_WRITTEN = {
    **_WHOLE,
    "ISO_IR 6": "ascii",
    "": "ascii",
    **{f"ISO_IR {number}": codec for number, _, codec in _LATIN_ROWS},
}
"""Defined term → codec, of the sets that a text can be written in as a whole."""


def _known(term: str) -> bool:
    """Whether the term is spelt as PS3.3 C.12.1.1.2 defines it."""
    return term in DEFINED_TERMS


DEFINED_TERMS = frozenset(
    {"", *_WHOLE, "ISO_IR 13", "ISO 2022 IR 13", "ISO 2022 IR 6", "ISO_IR 6"}
    | {f"ISO 2022 IR {number}" for number in (58, 87, 149, 159)}
    | {f"{form} {number}" for number, _, _ in _LATIN_ROWS for form in ("ISO_IR", "ISO 2022 IR")}
)
"""The defined terms of PS3.3 C.12.1.1.2, as they are spelt there."""

# A codec that this Python lacks is found out at import, not while an instance is read.
for _coded in (*_G0.values(), *_G1.values()):
    codecs.lookup(_coded.codec)
