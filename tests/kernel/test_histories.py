"""What a history asks for: which versions, from when, of what period."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.errors import NotSupported, NotUnderstood
from pacsbridge.kernel.cursors import Cursor
from pacsbridge.kernel.histories import Past, parse_past
from pacsbridge.kernel.query_parsing import CURSOR, SearchSettings

SETTINGS = SearchSettings("http://fhir.example/fhir", default_count=50, max_count=1000, secret=b"secret")
PLACE = Cursor((("updated", True), ("resource", True), ("version", True)), (7, 2, 1), 0)

Pairs = tuple[tuple[str, str], ...]


def asked(
    *pairs: tuple[str, str], type_: str | None = "Patient", id_: str | None = None, strict: bool = False
) -> Past:
    """What a history asks for."""
    return parse_past(type_, id_, pairs, SETTINGS, strict=strict)


def at(text: str) -> int:
    """An ISO instant as microseconds since 1970."""
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("type_", "id_"), [(None, None), ("Patient", None), ("Patient", "p1"), ("Endpoint", "p1")]
)
def test_all_versions_are_asked_for(type_: str | None, id_: str | None) -> None:
    """Of everything, of a type, of one resource: without parameters the default page of all there are."""
    found = asked(type_=type_, id_=id_)
    assert (found.type, found.id, found.count) == (type_, id_, 50)
    assert (found.since, found.at, found.after, found.understood, found.ignored) == (None, None, None, (), ())


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("2024-02-29T12:00:00.123Z", "2024-02-29T12:00:00.123Z"),
        ("2024-02-29T12:00:00+01:00", "2024-02-29T11:00:00Z"),
        ("2024-02-29", "2024-02-29T00:00:00Z"),
        ("2024", "2024-01-01T00:00:00Z"),
    ],
)
def test_since(text: str, since: str) -> None:
    """An instant, or the beginning of what is shorter."""
    found = asked(("_since", text))
    assert (found.since, found.understood) == (at(since), (("_since", text),))


@pytest.mark.parametrize(
    ("text", "first", "end"),
    [
        ("2024-02-29T12:00:00Z", "2024-02-29T12:00:00Z", "2024-02-29T12:00:01Z"),
        ("2024-02-29", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"),
        ("2024-02", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
    ],
)
def test_at(text: str, first: str, end: str) -> None:
    """A date is a period, as long as it is precise."""
    assert asked(("_at", text)).at == (at(first), at(end))


@pytest.mark.parametrize(("text", "count"), [("7", 7), ("0", 0), ("1001", 1000), ("9" * 5000, 1000)])
def test_the_count(text: str, count: int) -> None:
    """What was asked, the maximum at most."""
    assert asked(("_count", text)).count == count


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("_since", ""),
        ("_since", "yesterday"),
        ("_since", "gt2024"),
        ("_since", "2024-02-30"),
        ("_at", "now"),
        ("_at", "2024,2025"),
        ("_count", "-1"),
        ("_count", "ten"),
        ("_count", ""),
        (CURSOR, ""),
        (CURSOR, "x"),
        (CURSOR, PLACE.encode(SETTINGS.secret, "")),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_what_is_malformed_is_refused_by_name(name: str, text: str, strict: bool) -> None:
    """A value that cannot be read never means everything."""
    with pytest.raises(NotUnderstood) as caught:
        asked((name, text), strict=strict)
    assert caught.value.parameter == name


def test_other_parameters_are_named() -> None:
    """They are left out, or refused under strict handling; the edge's own are neither."""
    pairs = (("_sort", "_id"), ("_format", "json"), ("_pretty", "true"), ("name", "x"))
    assert asked(*pairs).ignored == ("_sort", "name")
    with pytest.raises(NotSupported) as caught:
        asked(*pairs, strict=True)
    assert caught.value.parameter == "_sort"


@pytest.mark.parametrize(
    "again",
    [
        (("_since", "2024"),),
        (("_since", "2024"), ("_count", "3"), ("_format", "json")),
        (("_count", "7"), ("_since", "2024"), ("colour", "red")),
    ],
)
def test_a_cursor_goes_on(again: Pairs) -> None:
    """It is good for the same versions, in pages of any size, and left out of what was understood."""
    text = PLACE.encode(SETTINGS.secret, asked(("_since", "2024"), id_="p1").scope)
    found = asked(*again, (CURSOR, text), id_="p1")
    assert found.after == PLACE
    assert CURSOR not in dict(found.understood)


@pytest.mark.parametrize(
    ("type_", "id_", "pairs"),
    [
        ("Patient", "p1", ()),
        ("Patient", "p1", (("_since", "2025"),)),
        ("Patient", "p1", (("_at", "2024"),)),
        ("Patient", "p1", (("_since", "2024"), ("_at", "2024"))),
        ("Patient", "p2", (("_since", "2024"),)),
        ("Endpoint", "p1", (("_since", "2024"),)),
        ("Patient", None, (("_since", "2024"),)),
        (None, None, (("_since", "2024"),)),
    ],
)
def test_a_cursor_of_another_history_is_refused(type_: str | None, id_: str | None, pairs: Pairs) -> None:
    """Other versions, another resource, another type."""
    text = PLACE.encode(SETTINGS.secret, asked(("_since", "2024"), id_="p1").scope)
    with pytest.raises(NotUnderstood) as caught:
        asked(*pairs, (CURSOR, text), type_=type_, id_=id_)
    assert caught.value.parameter == CURSOR


NAMES = st.sampled_from(["_since", "_at", "_count", "_format", "_pretty", CURSOR, "x", ""])
TEXTS = st.text(max_size=30) | st.sampled_from(["2024", "5", "2026-03-01T12:00:00Z"])


@given(st.lists(st.tuples(NAMES, TEXTS), max_size=4), st.booleans())
def test_parsing_is_total(pairs: list[tuple[str, str]], strict: bool) -> None:
    """Any parameters are a Past or NotUnderstood; each is understood or named as left out."""
    try:
        found = asked(*pairs, strict=strict)
    except NotUnderstood:
        return
    assert 0 <= found.count <= SETTINGS.max_count
    assert len(found.understood) + len(found.ignored) == len(pairs)
    assert not (strict and found.ignored)
