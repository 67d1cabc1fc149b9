"""Search values: tokens with their escapes, references, and dates as ranges."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.errors import NotUnderstood
from pacsbridge.kernel import search_values
from pacsbridge.kernel.query import DateValue, ReferenceValue, StringValue, TokenValue

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BASE = "http://fhir.example/fhir"


def microseconds(text: str) -> int:
    """An ISO instant as microseconds since 1970, by the standard library's own reading."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


def escaped(text: str) -> str:
    """FHIR's escaping, written as the specification says it."""
    return "".join(f"\\{c}" if c in ",|$\\" else c for c in text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A1", TokenValue(None, "A1")),
        ("urn:x|A1", TokenValue("urn:x", "A1")),
        ("urn:x|", TokenValue("urn:x", None)),
        ("|A1", TokenValue("", "A1")),
        (r"a\|b|c\,d", TokenValue("a|b", "c,d")),
        (r"a\\|b", TokenValue("a\\", "b")),
        (r"a\$b", TokenValue(None, "a$b")),
        ("a$b", TokenValue(None, "a$b")),
        ("50%_", TokenValue(None, "50%_")),
    ],
)
def test_token_forms(text: str, value: TokenValue) -> None:
    """Each of the four forms, and each escape; percent and underscore are letters like others."""
    assert search_values.token(text) == value


@pytest.mark.parametrize("text", ["|", "a|b|c", "a\\", r"a\b", r"a\|b\x"])
def test_malformed_tokens_are_refused(text: str) -> None:
    """No system and no code, too many bars, a backslash before nothing or before a letter."""
    with pytest.raises(NotUnderstood):
        search_values.token(text)


@given(st.text(min_size=1), st.text(min_size=1))
def test_every_token_can_be_written(system: str, code: str) -> None:
    """Whatever characters a system and a code have, escaping carries them through."""
    assert search_values.token(f"{escaped(system)}|{escaped(code)}") == TokenValue(system, code)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_alternatives_split_at_unescaped_commas_only(texts: list[str]) -> None:
    """Joining escaped texts by commas and splitting again gives them back."""
    parts = search_values.alternatives(",".join(map(escaped, texts)))
    assert [search_values.unescaped(part) for part in parts] == texts


@pytest.mark.parametrize("text", ["", ",", "a,", ",a", "a,,b"])
def test_an_empty_alternative_is_refused(text: str) -> None:
    """An empty value is never taken for everything."""
    with pytest.raises(NotUnderstood):
        search_values.alternatives(text)


@pytest.mark.parametrize(
    ("text", "targets", "value"),
    [
        ("p1", ("Patient",), ReferenceValue("Patient", "p1")),
        ("p1", ("Patient", "Group"), ReferenceValue(None, "p1")),
        ("Group/p1", ("Patient", "Group"), ReferenceValue("Group", "p1")),
        (f"{BASE}/Patient/p1", ("Patient",), ReferenceValue("Patient", "p1")),
        ("http://else/Patient/p1", ("Patient",), ReferenceValue(None, "http://else/Patient/p1")),
        ("urn:uuid:1-2", ("Patient",), ReferenceValue(None, "urn:uuid:1-2")),
    ],
)
def test_reference_forms(text: str, targets: tuple[str, ...], value: ReferenceValue) -> None:
    """An id, a type and id, an absolute URL of this server or of another."""
    assert search_values.reference(text, BASE, targets) == value


@pytest.mark.parametrize("text", ["Group/p1", "a b", "x" * 65, "/p1", "Patient/", "Patient/p1/x", "?"])
def test_malformed_references_are_refused(text: str) -> None:
    """Another type than the parameter has, or no form of a reference at all."""
    with pytest.raises(NotUnderstood):
        search_values.reference(text, BASE, ("Patient",))


@pytest.mark.parametrize(
    ("text", "low", "high", "offset"),
    [
        ("2024", "2024-01-01T00:00Z", "2025-01-01T00:00Z", None),
        ("2024-02", "2024-02-01T00:00Z", "2024-03-01T00:00Z", None),
        ("2024-12", "2024-12-01T00:00Z", "2025-01-01T00:00Z", None),
        ("2024-02-29", "2024-02-29T00:00Z", "2024-03-01T00:00Z", None),
        ("2024-02-29T13:14", "2024-02-29T13:14Z", "2024-02-29T13:15Z", None),
        ("2024-02-29T13:14Z", "2024-02-29T13:14Z", "2024-02-29T13:15Z", 0),
        ("2024-02-29T13:14:15Z", "2024-02-29T13:14:15Z", "2024-02-29T13:14:16Z", 0),
        ("2024-02-29T13:14:15.5Z", "2024-02-29T13:14:15.5Z", "2024-02-29T13:14:15.6Z", 0),
        ("2024-02-29T13:14:60Z", "2024-02-29T13:14:59Z", "2024-02-29T13:15:00Z", 0),
        ("2024-02-29T01:00:00+02:00", "2024-02-28T23:00Z", "2024-02-28T23:00:01Z", 7_200_000_000),
        ("2024-02-29T01:00:00 02:00", "2024-02-28T23:00Z", "2024-02-28T23:00:01Z", 7_200_000_000),
        ("2024-02-29T23:00:00-03:30", "2024-03-01T02:30Z", "2024-03-01T02:30:01Z", -12_600_000_000),
        ("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z", "1970-01-01T00:00Z", 0),
    ],
)
def test_a_date_is_as_wide_as_its_precision(text: str, low: str, high: str, offset: int | None) -> None:
    """Years, months and days, minutes to microseconds, zones, a leap second, a plus sign lost on the way."""
    assert search_values.period(text)[:3] == (microseconds(low), microseconds(high), offset)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "24",
        "0000",
        "2024-13",
        "2024-00",
        "2024-02-30",
        "2023-02-29",
        "2024-1-1",
        "20240101",
        "2024-01-01T",
        "now",
        "2024-01-01T24:00",
        "2024-01-01T10:60",
        "2024-01-01T10",
        "2024-01-01T10:00:61",
        "2024-01-01Z",
        "2024-01-01T10:00+15:00",
        "2024-01-01T10:00+02:60",
        "2024-01-01T10:00 ",
        "２０２４",
        "2024-01-01\n",
    ],
)
def test_malformed_dates_are_refused(text: str) -> None:
    """What is no date, or not in the calendar, is refused and never guessed."""
    with pytest.raises(NotUnderstood):
        search_values.period(text)


def test_the_last_year_has_an_end() -> None:
    """The year 9999 is a range like others, though its end is beyond Python's calendar."""
    low, high, *_ = search_values.period("9999")
    assert high - low == 365 * 86_400_000_000


SECOND = microseconds("2024-02-29T13:14:15Z")


@pytest.mark.parametrize(
    ("fraction", "outer", "inner"),
    [
        ("5", (500_000, 600_000), (500_000, 600_000)),
        ("123456", (123_456, 123_457), (123_456, 123_457)),
        ("1234560", (123_456, 123_457), (123_456, 123_456)),
        ("1234565", (123_456, 123_457), (123_457, 123_456)),
        ("1234569", (123_456, 123_457), (123_457, 123_457)),
        ("123456999999", (123_456, 123_457), (123_457, 123_457)),
        ("9999999", (999_999, 1_000_000), (1_000_000, 1_000_000)),
    ],
)
def test_what_lies_within_a_fraction(fraction: str, outer: tuple[int, int], inner: tuple[int, int]) -> None:
    """Up to microseconds a range is its own inside; what is finer holds the whole microseconds in it."""
    found = search_values.period(f"2024-02-29T13:14:15.{fraction}Z")
    assert (found.low - SECOND, found.high - SECOND) == outer
    assert (found.inner[0] - SECOND, found.inner[1] - SECOND) == inner


@pytest.mark.parametrize("prefix", sorted(search_values.PREFIXES))
def test_which_range_a_prefix_compares(prefix: str) -> None:
    """What starts after, ends before or is about a moment looks at the whole range, the others inside it."""
    low, high, _offset, inner = search_values.period("2024-02-29T13:14:15.1234565Z")
    found = search_values.moment(f"{prefix}2024-02-29T13:14:15.1234565Z")
    expected = {"sa": (low, high), "eb": (low, high), "ap": (low - 1, high + 1)}.get(prefix, inner)
    assert (found.low, found.high) == expected


STANDS = {
    "eq": lambda low, high, first, end: low >= first and high <= end,
    "ne": lambda low, high, first, end: low < first or high > end,
    "gt": lambda low, high, first, end: high > end,
    "lt": lambda low, high, first, end: low < first,
    "ge": lambda low, high, first, end: high > end or (low >= first and high <= end),
    "le": lambda low, high, first, end: low < first or (low >= first and high <= end),
    "sa": lambda low, high, first, end: low >= end,
    "eb": lambda low, high, first, end: high <= first,
}
"""Prefix → how a resource's range [low, high) stands to the one that is asked for, by R4."""


@pytest.mark.parametrize("prefix", STANDS)
@given(st.from_regex(r"[0-9]{7,12}", fullmatch=True) | st.from_regex(r"[0-9]{6}[09]{1,6}", fullmatch=True))
def test_what_is_finer_than_the_index_is_compared_exactly(prefix: str, fraction: str) -> None:
    """Whole microseconds are at either side of a moment as if it had been compared with all its digits."""
    value = search_values.moment(f"{prefix}1970-01-01T00:00:00.{fraction}Z")
    first = Fraction(int(fraction) * 10**6, 10 ** len(fraction))
    end = first + Fraction(10**6, 10 ** len(fraction))
    near = range(int(first) - 2, int(first) + 4)
    for low, high in ((low, high) for low in near for high in near if low < high):
        exactly = STANDS[prefix](low, high, first, end)
        assert STANDS[prefix](low, high, value.low, value.high) == exactly, (low, high, value)


@pytest.mark.parametrize("prefix", sorted(search_values.PREFIXES))
def test_each_prefix_is_read(prefix: str) -> None:
    """All nine prefixes of R4, before a date with a zone."""
    value = search_values.moment(f"{prefix}2024-02-29T13:14:15Z")
    assert (value.prefix, value.local) == (prefix, False)


def test_approximately_reaches_as_far_again() -> None:
    """`ap` and a day means the day before and the day after too."""
    day = 86_400_000_000
    low = microseconds("2024-02-29T00:00Z")
    assert search_values.moment("ap2024-02-29") == DateValue("ap", low - day, low + 2 * day, local=True)


def test_a_date_without_zone_is_a_wall_clock() -> None:
    """Whether a zone was named decides which rows are looked at."""
    assert search_values.moment("ge2024-02-29").local
    assert not search_values.moment("ge2024-02-29T00:00Z").local


@given(st.text(max_size=40))
def test_reading_a_date_is_total(text: str) -> None:
    """Any text is a date or NotUnderstood."""
    try:
        value = search_values.moment(text)
    except NotUnderstood:
        return
    assert value.low <= value.high + 1
    assert value.low < value.high or re.search(r"\.[0-9]{7}", text)


@pytest.mark.parametrize(
    ("text", "plain"),
    [("  Müller  SÖHNE ", "muller sohne"), ("ŁÓDŹ", "łodz"), ("Straße", "strasse"), ("A%_", "a")]
    + [(name, "oneil") for name in ("O'Neil", "O’Neil", "O`Neil", "ONEIL", "O´Neil", "O＇Neil")]
    + [("Smith-Jones, J.", "smith jones j"), ("山田・太郎", "山田 太郎")],
)
def test_strings_are_compared_without_case_accents_and_punctuation(text: str, plain: str) -> None:
    """Case, accents, punctuation and white space make no difference."""
    assert search_values.string(text) == StringValue(plain)


def test_the_other_values() -> None:
    """of-type, missing, exact, contains, uri, id, and an id of the one type there is."""
    assert search_values.of_type(r"urn:x|ACSN|a\|b") == TokenValue("urn:x", "ACSN|a|b")
    assert search_values.missing("true")
    assert not search_values.missing("false")
    assert search_values.exact(r"Ünal\, A.") == TokenValue("", "Ünal, A.")
    assert search_values.inside("Ünal") == StringValue("unal", anywhere=True)
    assert search_values.uri("urn:a|b") == TokenValue(None, "urn:a|b")
    assert search_values.logical_id("a.b-1") == TokenValue(None, "a.b-1")
    assert search_values.reference("p1", BASE, ["Patient"]) == ReferenceValue("Patient", "p1")


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (search_values.of_type, "urn:x|ACSN"),
        (search_values.of_type, "urn:x||1"),
        (search_values.missing, "yes"),
        (search_values.logical_id, "a b"),
        (search_values.logical_id, "a\n"),
        (search_values.string, " "),
        (search_values.string, "'-"),
        (search_values.inside, " "),
        (search_values.exact, "a\\"),
    ],
)
def test_the_other_values_malformed(read: Callable[[str], object], text: str) -> None:
    """Each reader refuses what is not of its form."""
    with pytest.raises(NotUnderstood):
        read(text)
