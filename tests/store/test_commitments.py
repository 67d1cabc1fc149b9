"""Storage commitment requests in the store, on both engines."""

from collections.abc import Callable

import pytest

from pacsbridge.errors import Unavailable
from pacsbridge.store import commitments
from pacsbridge.store.records import DeadLetter
from pacsbridge.store.store import Store

NOW = 1_700_000_000_000_000
PAIRS = [("1.2", "1.2.3"), ("1.2", "1.2.4")]


def test_a_request_is_claimed_once_and_is_what_was_asked(store: Store) -> None:
    """Nobody else gets it until its time is up."""
    pk = store.commitments.put("CT1", "1.9", PAIRS, NOW, NOW + 5)
    assert store.commitments.next_due() == NOW + 5
    assert store.commitments.claim(NOW, NOW + 100) is None
    order = store.commitments.claim(NOW + 5, NOW + 100)
    assert order == commitments.Order(pk, "CT1", "1.9", PAIRS, None, NOW, 0)
    assert store.commitments.claim(NOW + 99, NOW + 200) is None
    assert store.commitments.claim(NOW + 100, NOW + 200) == order


def test_the_longest_due_comes_first(store: Store) -> None:
    """Of several that are due."""
    for number, due in enumerate((NOW + 2, NOW + 1, NOW + 3)):
        store.commitments.put("CT1", f"1.{number}", PAIRS, NOW, due)
    claimed = [store.commitments.claim(NOW + 9, NOW + 99) for _ in range(4)]
    assert [order.transaction_uid if order else None for order in claimed] == ["1.1", "1.0", "1.2", None]


def test_the_same_transaction_replaces(store: Store) -> None:
    """One caller's; what was done with the former request does nothing to the new one."""
    former = store.commitments.put("CT1", "1.9", PAIRS, NOW, NOW)
    store.commitments.put("CT2", "1.9", PAIRS[:1], NOW, NOW)
    new = store.commitments.put("CT1", "1.9", PAIRS[1:], NOW + 1, NOW + 1)
    assert new != former
    store.commitments.finish(former)
    store.commitments.judge(former, {0: 1})
    store.commitments.postpone(former, 7, NOW + 50)
    store.commitments.give_up(former, DeadLetter("commitment", "1.9", "gone", "urn:x"), NOW)
    orders = [store.commitments.claim(NOW + 9, NOW + 99) for _ in range(3)]
    assert [(o.calling_ae, o.pairs, o.failures, o.attempts) if o else None for o in orders] == [
        ("CT2", PAIRS[:1], None, 0),
        ("CT1", PAIRS[1:], None, 0),
        None,
    ]
    assert store.dead_letters() == []


def test_row_numbers_are_not_used_again(store: Store) -> None:
    """Even when the last one has gone, so that whoever worked on it does not finish another."""
    former = store.commitments.put("CT1", "1.9", PAIRS, NOW, NOW)
    store.commitments.finish(former)
    assert store.commitments.put("CT1", "1.9", PAIRS, NOW, NOW) > former


def test_outcome_and_attempts_are_kept(make_store: Callable[..., Store]) -> None:
    """By another process too."""
    store = make_store()
    pk = store.commitments.put("CT1", "1.9", PAIRS, NOW, NOW)
    store.commitments.judge(pk, {1: 0x0112})
    store.commitments.postpone(pk, 3, NOW + 50)
    other = make_store()
    assert other.commitments.next_due() == NOW + 50
    order = other.commitments.claim(NOW + 50, NOW + 60)
    assert order is not None
    assert (order.failures, order.attempts, order.requested) == ({1: 0x0112}, 3, NOW)


def test_all_are_due_after_a_restart(store: Store) -> None:
    """What is due earlier stays so."""
    store.commitments.put("CT1", "1.1", PAIRS, NOW, NOW + 50)
    store.commitments.put("CT1", "1.2", PAIRS, NOW, NOW - 50)
    store.commitments.hasten(NOW)
    assert store.commitments.next_due() == NOW - 50
    assert store.commitments.claim(NOW, NOW + 9) and store.commitments.claim(NOW, NOW + 9)


def test_giving_up_leaves_a_letter(store: Store) -> None:
    """In one transaction with the end of the request."""
    pk = store.commitments.put("CT1", "1.9", PAIRS, NOW, NOW)
    store.commitments.give_up(pk, DeadLetter("commitment", "1.9", "away", "urn:x", attempts=4), NOW)
    (letter,) = store.dead_letters("1.9")
    assert (letter.kind, letter.reason, letter.attempts) == ("commitment", "away", 4)
    assert store.commitments.next_due() is None


def test_one_caller_cannot_fill_the_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a number that wait it is refused, others are not, and the same transaction goes on."""
    monkeypatch.setattr(commitments, "MOST", 2)
    store.commitments.put("CT1", "1.1", PAIRS, NOW, NOW)
    store.commitments.put("CT1", "1.2", PAIRS, NOW, NOW)
    with pytest.raises(Unavailable, match="wait already"):
        store.commitments.put("CT1", "1.3", PAIRS, NOW, NOW)
    store.commitments.put("CT1", "1.2", PAIRS, NOW, NOW)
    store.commitments.put("CT2", "1.3", PAIRS, NOW, NOW)


def test_a_hundred_thousand_pairs(store: Store) -> None:
    """Are kept and looked up, though the index has none of them."""
    many = [("1.2.840.10008.5.1.4.1.1.2", f"1.2.840.99999.{number}") for number in range(100_000)]
    store.commitments.put("CT1", "1.9", many, NOW, NOW)
    order = store.commitments.claim(NOW, NOW)
    assert order is not None and order.pairs == many
    assert store.commitments.kept(uid for _, uid in many) == {}
