"""Other content under a known UID, studies under another patient: what stands, and what is on record."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from pacsbridge.kernel.audit import Who
from pacsbridge.kernel.conflicts import Clash, Done, Ruling
from pacsbridge.kernel.model import Facts
from pacsbridge.store.records import Arrival
from pacsbridge.store.store import Store

CT = "1.2.840.10008.5.1.4.1.1.2"
A, B = "urn:dicom:ae:A", "urn:dicom:ae:B"
UID = "1.2.3.1.1"


def arrival(content: str, source: str = A, **more: Any) -> Arrival:
    """One instance with some content; its series, study and patient may be others, and its UID."""
    series, patient = more.pop("series", "1.2.3.1"), more.pop("patient", "H|1")
    facts = Facts(
        {"key": patient},
        {"uid": more.pop("study", "1.2.3")},
        {"uid": series},
        {"uid": more.pop("uid", UID), "sop_class": CT, "number": 1},
    )
    digest = sha256(content.encode()).digest()
    location, received = f"pack:1:{content}:1", more.pop("received", 1)
    return Arrival(facts, source, received, "1.2.840.10008.1.2.1", location, 1, digest, **more)


def stands(store: Store) -> bytes | None:
    """The digest of what is held under the UID."""
    found = store.standing(UID)
    return found and found.sha256


def content(text: str) -> bytes:
    """The digest of some content."""
    return sha256(text.encode()).digest()


@pytest.fixture
def listening(make_store: Callable[..., Store]) -> Callable[..., tuple[Store, list[Clash]]]:
    """Makes stores, and lists of what they tell."""

    def make(**options: Any) -> tuple[Store, list[Clash]]:
        store, told = make_store(**options), list[Clash]()
        store.clashed = told.extend
        return store, told

    return make


@pytest.mark.parametrize(
    ("policy", "source", "done"),
    [
        ("replace", A, Done.REPLACED),
        ("replace", B, Done.KEPT),
        ("replace-any", A, Done.REPLACED),
        ("replace-any", B, Done.REPLACED),
        ("keep-first", A, Done.KEPT),
        ("keep-first", B, Done.KEPT),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_each_policy(
    listening: Callable[..., Any], policy: str, source: str, done: Done, together: bool
) -> None:
    """One of both stands, on record either way; what does not is put aside with its bytes."""
    store, told = listening(on_conflict=policy)
    both = [arrival("a"), arrival("b", source)]
    for batch in [both] if together else [both[:1], both[1:]]:
        store.put(batch, {}, 1)
    assert stands(store) == content("b" if done is Done.REPLACED else "a")
    assert [(one.done, one.source, one.apart) for one in told] == [(done, source, ["content"])]
    assert [one["field"] for one in store.why(UID)["conflicts"]] == ["content"]
    letters = [(one.kind, one.key, one.source, one.location) for one in store.dead_letters()]
    assert letters == (
        [("conflict", UID, B if source == B else A, "pack:1:b:1")] if done is Done.KEPT else []
    )


@pytest.mark.parametrize("policy", ["replace", "replace-any"])
def test_what_they_differ_in_is_told(listening: Callable[..., Any], policy: str) -> None:
    """Another series, study and patient: each on record with both values, and of whom the first was."""
    store, told = listening(on_conflict=policy)
    who = Who("10.0.0.9", "B")
    store.put([arrival("a")], {}, 1)
    other = arrival("b", B, series="1.2.9.1", study="1.2.9", patient="H|2", sender=who)
    store.put([other], {}, 1)
    clash = told[0]
    assert clash.apart == ["content", "series", "study", "patient"]
    assert (clash.study, clash.patient["key"], clash.sender) == ("1.2.3", "H|1", who)
    found = {one["field"]: (one["known"], one["new"]) for one in store.why(UID)["conflicts"]}
    assert found["series"] == ('"1.2.3.1"', '"1.2.9.1"')
    assert found["study"] == ('"1.2.3"', '"1.2.9"')
    assert found["patient"] == ('"H|1"', '"H|2"')
    shown = store.why("1.2.3" if policy == "replace" else "1.2.9")["conflicts"]
    assert {one["field"] for one in shown} == {"content", "series", "study", "patient"}
    assert store.why("1.2.9")["studies"] == [] if policy == "replace" else store.why("1.2.9")["studies"]


def test_the_same_patient_without_an_issuer_is_no_other(listening: Callable[..., Any]) -> None:
    """A header that lacks the issuer differs in content alone."""
    store, told = listening()
    store.put([arrival("a"), arrival("b", patient="|1")], {}, 1)
    assert [one.apart for one in told] == [["content"]]


def test_a_study_under_another_patient_is_told(listening: Callable[..., Any]) -> None:
    """Another instance of it, by whomever: the last one's wins, and whose it was is told once."""
    store, told = listening(on_conflict="keep-first")
    store.put([arrival("a")], {}, 1)
    others = [arrival(uid, B, uid=f"1.2.3.1.{uid}", patient="H|2") for uid in "23"]
    store.put(others, {}, 1)
    assert [(one.done, one.study, one.patient["key"], one.apart) for one in told] == [
        (Done.MOVED, "1.2.3", "H|1", ["patient"])
    ]


def test_nothing_is_told_of_what_was_not_committed(listening: Callable[..., Any]) -> None:
    """A batch that is refused as a whole tells nothing: it comes again."""
    store, told = listening()
    store.put([arrival("a")], {}, 1)
    with pytest.raises(Exception, match="refuses"):
        store.put([arrival("b")], {"00000001": 2**70}, 1)
    assert (told, stands(store)) == ([], content("a"))


def test_what_is_ruled(listening: Callable[..., Any]) -> None:
    """What was refused is never taken, what was chosen always, and its letter is gone then."""
    store, told = listening(on_conflict="refuse")
    store.put([arrival("b", B, ruling=Ruling.REFUSED)], {}, 1)
    assert stands(store) is None
    store.put([arrival("a"), arrival("b", B, ruling=Ruling.REFUSED)], {}, 1)
    assert stands(store) == content("a")
    assert [(one.source, one.attempts) for one in store.dead_letters()] == [(B, 2)]
    assert store.put_aside(UID, B) == "pack:1:b:1"
    store.put([arrival("b", B, ruling=Ruling.CHOSEN)], {}, 1)
    assert stands(store) == content("b")
    assert (store.dead_letters(), store.put_aside(UID, B)) == ([], None)
    assert [one.done for one in told] == [Done.REFUSED, Done.CHOSEN]


def test_the_letter_leads_to_what_came_last(listening: Callable[..., Any]) -> None:
    """A source that sends other content again has one letter, which counts, and names the latest bytes."""
    store, _told = listening(on_conflict="keep-first")
    store.put([arrival("a"), arrival("b", B), arrival("c", B)], {}, 1)
    [letter] = store.dead_letters()
    assert (letter.attempts, letter.location) == (2, "pack:1:c:1")


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("policy", ["replace", "keep-first", "refuse", "replace-any"])
def test_what_is_read_again_changes_nothing(
    listening: Callable[..., Any], policy: str, together: bool
) -> None:
    """Older content that was replaced or chosen against: no place, no letter, nothing told a second time."""
    store, told = listening(on_conflict=policy)
    first, second = arrival("a"), arrival("b", B, received=2)
    chosen = arrival("b", B, received=3, ruling=Ruling.CHOSEN)
    last = arrival("c", A, received=4, ruling=Ruling.CHOSEN)
    again = [first, second, chosen]
    for batch in (
        [[first, second, chosen, last, *again]] if together else [[first, second], [chosen, last], again]
    ):
        store.put(batch, {}, 1)
    assert stands(store) == content("c")
    assert len(told) == len(store.why(UID)["conflicts"]) == (2 if policy == "replace-any" else 3)
    assert store.dead_letters() == []


@pytest.mark.parametrize(("source", "kept"), [(A, 0), (B, 1)])
def test_what_is_seen_too_late(listening: Callable[..., Any], source: str, kept: int) -> None:
    """Older content that was never judged takes no place, and is not lost: on record, aside if another's."""
    store, _told = listening()
    store.put([arrival("b", received=2)], {}, 1)
    store.put([arrival("a", source)], {}, 1)
    assert stands(store) == content("b")
    [conflict] = store.why(UID)["conflicts"]
    before, after = (f'"{content(text).hex()}"' for text in ("ba" if kept else "ab"))
    assert (conflict["known"], conflict["new"]) == (before, after)
    assert [letter.source for letter in store.dead_letters()] == [B] * kept


def test_what_replaced_another_sources_still_does(listening: Callable[..., Any]) -> None:
    """Under another policy, too: it was let take that place."""
    store, _told = listening(on_conflict="keep-first")
    store.put([arrival("a"), arrival("b", B, received=2, ruling=Ruling.REPLACES)], {}, 1)
    assert stands(store) == content("b")
    assert store.dead_letters() == []


@pytest.mark.parametrize("again", [True, False])
def test_letters_follow_the_order(listening: Callable[..., Any], again: bool) -> None:
    """In one batch, content is put aside, chosen, and other content of its source put aside after that."""
    store, _told = listening(on_conflict="keep-first")
    chosen = arrival("b", B, received=3, ruling=Ruling.CHOSEN)
    batch = [arrival("a"), arrival("b", B, received=2), chosen, arrival("c", B, received=4)]
    store.put(batch[: len(batch) if again else -1], {}, 1)
    assert [letter.location for letter in store.dead_letters()] == ["pack:1:c:1"] * again
    assert stands(store) == content("b")
