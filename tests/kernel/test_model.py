"""The merge rules: what many instances say of one thing."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.kernel.model import MOST, Level, Merge, Values, covers, fullest, merge, union

JSON = st.recursive(
    st.integers(0, 3) | st.sampled_from("ab"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=6,
)


def merged(rule: Merge, *values: Any) -> tuple[Any, int]:
    """The value of one field after `values` arrived in this order, and how many conflicts there were."""
    known: Values = {}
    count = 0
    for value in values:
        known, conflicts = merge(Level.STUDY, {"f": rule}, known, {} if value is None else {"f": value})
        count += len(conflicts)
    return known.get("f"), count


@pytest.mark.parametrize("rule", Merge)
def test_what_lacks_erases_nothing(rule: Merge) -> None:
    """A data set without a value leaves the known one."""
    value = {Merge.UNION: ["a"], Merge.EARLIEST: "2020"}.get(rule, "a")
    assert merged(rule, value, None) == (value, 0)


def test_nothing_new_gives_the_same_object() -> None:
    """Callers tell by identity that nothing changed."""
    known: Values = {"f": {"value": "A", "system": "urn:x"}, "g": ["a", "b"], "h": "2020-01-01"}
    rules = {"f": Merge.REFINE, "g": Merge.UNION, "h": Merge.EARLIEST}
    for new in ({}, {"f": {"value": "A"}}, {"g": ["b"]}, {"h": "2020-01-02"}, dict(known)):
        after, conflicts = merge(Level.STUDY, rules, known, new)
        assert after is known
        assert not conflicts


def test_the_known_facts_are_never_changed_in_place() -> None:
    """Facts may be shared, so a merge makes new ones."""
    known: Values = {"f": ["a"]}
    merge(Level.STUDY, {"f": Merge.UNION}, known, {"f": ["b"], "g": 1})
    assert known == {"f": ["a"]}


def test_last() -> None:
    """The last received wins, and each overruled value is a conflict."""
    assert merged(Merge.LAST, "a", "b", "a") == ("a", 2)


def test_newest() -> None:
    """What changes by its nature is no conflict."""
    assert merged(Merge.NEWEST, 1, 2) == (2, 0)


@pytest.mark.parametrize(
    "values",
    [
        ({"value": "A"}, {"value": "A", "system": "urn:x"}),
        ("2020-01-31", "2020-01-31T10:00:00Z"),
        ("2020", "2020-01", "2020-01-31"),
        ({"ABC": {"family": "Y"}}, {"ABC": {"family": "Y", "given": ["T"]}, "IDE": {"family": "山"}}),
        ([{"a": 1}, {"b": 2}], [{"a": 1, "c": 3}, {"b": 2}]),
    ],
)
def test_the_fuller_of_two_that_agree_stays(values: tuple[Any, ...]) -> None:
    """In any order, without a conflict."""
    assert {str(merged(Merge.REFINE, *order)) for order in permutations(values)} == {str((values[-1], 0))}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"value": "A", "system": "urn:x"}, {"value": "B"}), ("2020-01-31T10:00:00Z", "2020-02-01"),
        ([1], [1, 2]), ([1, 2], [1]), ("2020-01-3", "2020-01-31"),
    ],
)  # fmt: skip
def test_values_that_disagree_are_a_conflict(before: Any, after: Any) -> None:
    """The last received wins whole: nothing of another identifier, person or date is mixed in."""
    assert merged(Merge.REFINE, before, after) == (after, 1)


def test_earliest() -> None:
    """By the clock, not by the text; a time stands before a date alone, and nothing is a conflict."""
    values = ("2020-01-31", "2020-01-31T10:00:00+01:00", "2020-01-31T09:30:00Z", "2019")
    found = {merged(Merge.EARLIEST, *order) for order in permutations(values)}
    assert found == {("2020-01-31T10:00:00+01:00", 0)}


@given(st.lists(st.lists(JSON, max_size=3), max_size=4), st.randoms())
def test_union_is_the_same_in_any_order(lists: list[list[Any]], random: Any) -> None:
    """Order and repetition change nothing."""
    expected = merged(Merge.UNION, *([*lists, *lists]))
    random.shuffle(lists)
    assert merged(Merge.UNION, *(union((), one) for one in lists))[0] == (
        union((), expected[0]) if expected[0] is not None else None
    )


def test_union_has_an_end() -> None:
    """Twenty thousand differing instances keep the same few values in any order."""
    values = [[f"{number:05}"] for number in range(2 * MOST)]
    assert merged(Merge.UNION, *values) == merged(Merge.UNION, *reversed(values))
    assert len(merged(Merge.UNION, *values)[0]) == MOST


@given(JSON, JSON, JSON)
def test_covering_is_an_order(one: Any, other: Any, third: Any) -> None:
    """Everything covers itself, and what covers a cover covers."""
    assert covers(one, one)
    if covers(one, other) and covers(other, third):
        assert covers(one, third)


def test_fullest_keeps_what_nothing_else_says() -> None:
    """Repeated and covered values go, the others stay in their order."""
    values = [{"a": 1}, {"b": 1}, {"a": 1, "c": 2}, {"b": 1}]
    assert fullest(values) == [{"b": 1}, {"a": 1, "c": 2}]
