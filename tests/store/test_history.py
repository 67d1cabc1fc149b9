"""Histories: every version and deletion, of one resource, of a type, of everything, the newest first."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from pacsbridge.kernel.histories import Past
from pacsbridge.store.records import Draft
from pacsbridge.store.store import Store

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND


def draft(type_: str, id_: str, number: int) -> Draft:
    """A version that differs from others."""
    language = f"x-{number}"
    return Draft(type_, id_, {"resourceType": type_, "id": id_, "language": language})


STEPS: Sequence[Sequence[Draft]] = [
    [draft("Patient", "a", 1), draft("Endpoint", "a", 1)],
    [draft("Patient", "b", 1)],
    [draft("Patient", "a", 2)],
    [Draft("Patient", "b", None)],
    [draft("Patient", "b", 3), draft("Endpoint", "e", 1)],
    [draft("Patient", "a", 3)],
    [Draft("Endpoint", "e", None)],
]
"""What is published, a second a step."""

EVERYTHING = ["Ee2-", "Pa3", "Ee1", "Pb3", "Pb2-", "Pa2", "Pb1", "Ea1", "Pa1"]
"""All versions, the newest first: type, id, number, and whether it is a deletion."""


@pytest.fixture
def filled(store: Store) -> Store:
    """A store in which all that has happened."""
    for number, drafts in enumerate(STEPS):
        store.publish(drafts, NOW + number * SECOND)
    return store


def told(store: Store, past: Past) -> list[str]:
    """The versions of one page, written as in EVERYTHING."""
    return [
        f"{one.type[0]}{one.id}{one.version}{'-' if one.deleted else ''}"
        for one in store.history(past).entries
    ]


def of(*names: str) -> list[str]:
    """The versions of those resources."""
    return [one for one in EVERYTHING if one.startswith(names)]


def at(step: float) -> int:
    """The moment of a step."""
    return NOW + int(step * SECOND)


PASTS: dict[str, tuple[str | None, str | None, list[str]]] = {
    "everything": (None, None, EVERYTHING),
    "patients": ("Patient", None, of("P")),
    "endpoints": ("Endpoint", None, of("E")),
    "studies": ("ImagingStudy", None, []),
    "patient a": ("Patient", "a", of("Pa")),
    "patient b": ("Patient", "b", of("Pb")),
    "endpoint a": ("Endpoint", "a", of("Ea")),
    "unknown": ("Patient", "e", []),
}


@pytest.mark.parametrize("name", PASTS)
def test_all_versions(filled: Store, name: str) -> None:
    """Each once, with deletions; what is current and what is not can be read alike."""
    type_, id_, expected = PASTS[name]
    assert told(filled, Past(type_, id_)) == expected
    for entry in filled.history(Past(type_, id_)).entries:
        assert entry == filled.document(entry.type, entry.id, entry.version)
        assert (entry.body is None) == entry.deleted


@pytest.mark.parametrize("name", PASTS)
@pytest.mark.parametrize("count", [1, 2, 3, 100])
def test_pages(filled: Store, name: str, count: int) -> None:
    """They join to the whole, though more is published between them."""
    type_, id_, expected = PASTS[name]
    past = Past(type_, id_, count=count)
    seen, page = told(filled, past), filled.history(past)
    while page.next is not None:
        step = 100 + len(seen)
        filled.publish([draft("Patient", "a", step), draft("Endpoint", f"n{step}", 1)], at(step))
        past = replace(past, after=page.next)
        seen, page = seen + told(filled, past), filled.history(past)
        assert 0 < len(page.entries) <= count
    assert seen == expected


@pytest.mark.parametrize("name", PASTS)
def test_totals(filled: Store, name: str) -> None:
    """One resource's versions are counted; many are where only their number is asked for."""
    type_, id_, expected = PASTS[name]
    counted = filled.history(Past(type_, id_, count=0))
    assert (counted.total, list(counted.entries), counted.next) == (len(expected), [], None)
    assert filled.history(Past(type_, id_, count=1)).total == (None if id_ is None else len(expected))


@pytest.mark.parametrize(
    ("since", "left_out"),
    [(at(0), 0), (at(0) + 1, 2), (at(2), 3), (at(2.5), 4), (at(6), 8), (at(6) + 1, 9)],
)
def test_since(filled: Store, since: int, left_out: int) -> None:
    """What was published then or later."""
    expected = EVERYTHING[: len(EVERYTHING) - left_out]
    assert told(filled, Past(None, None, since=since)) == expected
    assert told(filled, Past("Patient", None, since=since)) == [one for one in expected if one[0] == "P"]
    found = filled.history(Past("Patient", "b", since=since, count=1))
    assert found.total == len([one for one in expected if one.startswith("Pb")])


@pytest.mark.parametrize(
    ("first", "end", "expected"),
    [
        (at(-2), at(-1), []),
        (at(0), at(0) + 1, "Ea1 Pa1"),
        (at(1.5), at(1.6), "Pb1 Ea1 Pa1"),
        (at(1.5), at(2), "Pb1 Ea1 Pa1"),
        (at(1.5), at(2) + 1, "Pa2 Pb1 Ea1 Pa1"),
        (at(2), at(2.5), "Pa2 Pb1 Ea1"),
        (at(3), at(3.5), "Pb2- Pa2 Ea1"),
        (at(2.5), at(4.5), "Ee1 Pb3 Pb2- Pa2 Pb1 Ea1"),
        (at(10), at(11), "Ee2- Pa3 Pb3 Ea1"),
        (at(-1), at(11), " ".join(EVERYTHING)),
    ],
)
def test_at(filled: Store, first: int, end: int, expected: str) -> None:
    """What was current at some time within a period: published before its end, replaced after its start."""
    found = expected.split() if isinstance(expected, str) else expected
    assert told(filled, Past(None, None, at=(first, end))) == found
    assert told(filled, Past("Endpoint", None, at=(first, end))) == [one for one in found if one[0] == "E"]
    assert told(filled, Past("Patient", "a", at=(first, end))) == [one for one in found if one[:2] == "Pa"]


def test_since_and_at(filled: Store) -> None:
    """Both hold, and pages go on under both."""
    past = Past("Patient", None, since=at(2), at=(at(2.5), at(4.5)), count=2)
    page = filled.history(past)
    assert page.next is not None
    assert told(filled, past) + told(filled, replace(past, after=page.next)) == ["Pb3", "Pb2-", "Pa2"]


def test_many_versions_of_one_moment(store: Store) -> None:
    """One transaction has one moment: pages go through it all the same."""
    store.publish([draft("Patient", f"p{number}", 1) for number in range(9)], NOW)
    past = Past("Patient", None, count=2)
    seen: list[str] = []
    page = store.history(past)
    while True:
        seen += [entry.id for entry in page.entries]
        if page.next is None:
            break
        page = store.history(replace(past, after=page.next))
    assert seen == [f"p{number}" for number in reversed(range(9))]
