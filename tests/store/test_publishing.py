"""Publishing: when versions count as published, and that nobody who asks for what is newer misses any."""

import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from pacsbridge.kernel.histories import Past
from pacsbridge.store.records import Draft
from pacsbridge.store.store import Store

MILLISECOND = 1_000
SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND


def resource(number: int, type_: str = "Patient", **content: Any) -> Draft:
    """A resource of a type."""
    return Draft(type_, f"r{number}", {"resourceType": type_, "id": f"r{number}", **content})


def published(store: Store, number: int, type_: str = "Patient") -> int:
    """When the current version was published."""
    version = store.version(type_, f"r{number}")
    assert version is not None
    return version.published


@pytest.mark.parametrize(
    "clock",
    [
        [NOW] * 6,
        [NOW + 5 * SECOND, NOW, NOW - SECOND, NOW + SECOND, NOW - 2 * SECOND, NOW],
        [NOW + number * 100 for number in range(6)],
        [NOW - number * SECOND for number in range(6)],
        [NOW + number * SECOND for number in range(6)],
    ],
    ids=["still", "leaping", "slow", "backwards", "forwards"],
)
def test_moments_rise_whatever_the_clock_does(store: Store, clock: list[int]) -> None:
    """Every transaction is a millisecond later than all before, and never before its own time."""
    moments = []
    for number, now in enumerate(clock):
        if number % 3 == 2:
            assert store.publish([resource(number - 1, gender="other")], now) == 1
            moments.append(published(store, number - 1))
        else:
            assert store.publish([resource(number)], now) == 1
            moments.append(published(store, number))
    assert all(later - earlier >= MILLISECOND for earlier, later in pairwise(moments))
    assert all(
        moment % MILLISECOND == 0 and moment >= now - now % 1000
        for moment, now in zip(moments, clock, strict=True)
    )


def test_one_transaction_is_one_moment(store: Store) -> None:
    """What is published together is of one moment, whatever its types."""
    drafts = [resource(number, type_) for number in range(3) for type_ in ("Patient", "Endpoint")]
    store.publish(drafts, NOW)
    assert {published(store, n, type_) for n in range(3) for type_ in ("Patient", "Endpoint")} == {NOW}


def test_a_moment_is_later_than_all_before(store: Store) -> None:
    """Of whatever type: who follows the history of everything misses nothing either."""
    store.publish([resource(1, "Endpoint")], NOW + SECOND)
    store.publish([resource(1)], NOW)
    assert published(store, 1) == NOW + SECOND + MILLISECOND
    store.publish([resource(2), resource(2, "Endpoint")], NOW)
    assert published(store, 2) == published(store, 2, "Endpoint") == NOW + SECOND + 2 * MILLISECOND


def test_deletions_are_moments_too(store: Store) -> None:
    """What follows a deletion is later than it."""
    store.publish([resource(1)], NOW)
    store.publish([Draft("Patient", "r1", None)], NOW)
    store.publish([resource(2)], NOW)
    assert (published(store, 1), published(store, 2)) == (NOW + MILLISECOND, NOW + 2 * MILLISECOND)


def test_whoever_asks_for_what_is_newer_misses_nothing(make_store: Callable[..., Store]) -> None:
    """Two processes publish with clocks that stand still; a third reads since the last moment it saw."""
    writers, reader = [make_store() for _ in range(2)], make_store()
    threads = [
        threading.Thread(
            target=lambda store=store, half=half: [
                store.publish([resource(100 * half + n)], NOW) for n in range(15)
            ]
        )
        for half, store in enumerate(writers)
    ]
    for thread in threads:
        thread.start()
    seen: list[str] = []
    since, alive = 0, True
    while alive:
        alive = any(thread.is_alive() for thread in threads)
        entries = reader.history(Past("Patient", None, count=100, since=since)).entries
        seen += [entry.id for entry in entries]
        since = max([since - 1, *(entry.published for entry in entries)]) + 1
    for thread in threads:
        thread.join()
    assert sorted(seen) == sorted(f"r{100 * half + n}" for half in range(2) for n in range(15))


def test_of_several_drafts_the_last_counts(store: Store) -> None:
    """One version in one transaction."""
    drafts = [resource(1, gender=gender) for gender in ("male", "female", "other")]
    assert store.publish(drafts, NOW) == 1
    document = store.document("Patient", "r1")
    assert document is not None and document.body is not None
    assert (document.version, b'"other"' in document.body) == (1, True)
