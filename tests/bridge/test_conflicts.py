"""Other content under a known UID on its way in: put aside, refused, chosen; never a mixture of both."""

import threading
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from typing import Any

import pytest

from pacsbridge.bridge.intake import Incoming
from pacsbridge.bridge.letters import retry_letters, why_left
from pacsbridge.bridge.sources import Source
from pacsbridge.errors import Conflicting, Mismatch
from pacsbridge.store.records import Standing

B = Source("urn:dicom:ae:B", "B")
UID = "2.999.1.1.1"


@pytest.fixture(params=["sqlite", "postgresql"])
def make(request: pytest.FixtureRequest, make_world: Callable[..., Any]) -> Callable[[str], Any]:
    """Makes running bridges of a policy, on each engine."""
    url = "sqlite" if request.param == "sqlite" else request.getfixturevalue("empty_postgresql")
    return lambda policy: make_world(url, on_conflict=policy).start()


def send(world: Any, dicom: Any, text: str, source: Source | None = None, spooled: bool = False) -> bytes:
    """One instance with some content, from A or from another source; its data set."""
    data: bytes = dicom.encoded(dicom.instance(1, SeriesDescription=text))
    content: Any = data
    if spooled:
        content = world.intake.spool(dicom.CT, UID, dicom.EXPLICIT)
        content.write(data)
    world.intake.adopt(Incoming(content, dicom.EXPLICIT, source or world.source))
    return data


def stands(world: Any) -> bytes:
    """The data set that is held: its bytes are those of its digest."""
    world.index()
    [held] = world.store.held("2.999.1")
    blob = world.intake.packs.open(held.location)
    assert blob.verify()
    assert blob.sha256 == held.sha256
    read: bytes = blob.read()[blob.prelude_size :]
    return read


def retry(world: Any, **options: Any) -> Any:
    """Try again what was put aside."""
    outcome = retry_letters(world.store, world.intake, world.letters("conflict"), world.clock, **options)
    world.index()
    return outcome


@pytest.mark.parametrize("policy", ["replace", "keep-first", "refuse"])
@pytest.mark.parametrize("spooled", [True, False])
def test_from_another_source(make: Callable[[str], Any], dicom: Any, policy: str, spooled: bool) -> None:
    """The first stands; the other is put aside, is kept once however often it comes, and may be chosen."""
    world = make(policy)
    first = send(world, dicom, "first")
    for _ in range(3):
        if policy == "refuse":
            with pytest.raises(Conflicting):
                send(world, dicom, "other", B, spooled)
        else:
            send(world, dicom, "other", B, spooled)
        world.index()
    other = dicom.encoded(dicom.instance(1, SeriesDescription="other"))
    assert stands(world) == first
    [letter] = world.letters("conflict")
    assert (letter.key, letter.source, letter.attempts) == (UID, B.uri, 3)
    assert len(list(world.intake.packs.replay({}, live=True))) == 2
    assert world.letters("refused") == []
    assert retry(world).retried == 1
    assert stands(world) == other
    assert world.store.dead_letters() == []
    world.store.forget_facts()
    world.intake.recover({}, live=True)
    assert stands(world) == other, "a new index knows what was chosen"
    assert world.store.dead_letters() == []


@pytest.mark.parametrize(("policy", "kept"), [("replace", False), ("replace-any", False), ("refuse", True)])
def test_from_the_same_source(make: Callable[[str], Any], dicom: Any, policy: str, kept: bool) -> None:
    """It is replaced, unless everything is refused; the same once more is no conflict."""
    world = make(policy)
    first = send(world, dicom, "first")
    world.index()
    if kept:
        with pytest.raises(Conflicting):
            send(world, dicom, "other")
        assert send(world, dicom, "first") == first
        assert stands(world) == first
    else:
        assert send(world, dicom, "other") == stands(world)
        assert send(world, dicom, "other") == stands(world)
        assert world.letters("conflict") == []


def test_any_source_replaces_where_that_is_wanted(make: Callable[[str], Any], dicom: Any) -> None:
    """As it says: whoever sent what is held."""
    world = make("replace-any")
    send(world, dicom, "first")
    assert send(world, dicom, "other", B) == stands(world)
    assert world.letters("conflict") == []


def test_what_is_refused_remains_so(make: Callable[[str], Any], dicom: Any) -> None:
    """After a crash, and under another policy: its sender was told that it was not taken."""
    world = make("refuse")
    first = send(world, dicom, "first")
    world.index()
    with pytest.raises(Conflicting):
        send(world, dicom, "other")
    world.kill()
    world.store.policy = type(world.store.policy)("replace-any")
    world.start()
    assert stands(world) == first
    assert [letter.key for letter in world.letters("conflict")] == [UID]


@pytest.mark.parametrize("rounds", range(3))
def test_two_contents_at_the_same_time(make: Callable[[str], Any], dicom: Any, rounds: int) -> None:
    """Of many that race for a new UID only those are told success whose content stands."""
    world = make("refuse")
    ready, taken = threading.Barrier(8), list[bytes]()

    def run(text: str, source: Source) -> None:
        ready.wait()
        with suppress(Conflicting):
            taken.append(send(world, dicom, text, source))

    threads = [threading.Thread(target=run, args=(f"text {n % 4}", B)) for n in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert set(taken) == {stands(world)}
    assert sha256(taken[0]).digest() == world.store.standing(UID).sha256


def test_all_letters_are_tried_again_but_conflicts(make: Callable[[str], Any], dicom: Any) -> None:
    """Which content stands is nobody's to decide in passing."""
    world = make("keep-first")
    first = send(world, dicom, "first")
    send(world, dicom, "other", B)
    world.index()
    outcome = retry(world, conflicts=False)
    assert (outcome.retried, len(outcome.left)) == (0, 1)
    assert "own key" in why_left(outcome.left[0])
    assert stands(world) == first


def test_what_was_put_aside_and_is_gone_is_left(make: Callable[[str], Any], dicom: Any) -> None:
    """Bytes that were erased meanwhile cannot be chosen; the letter stays."""
    world = make("keep-first")
    first = send(world, dicom, "first")
    send(world, dicom, "other", B)
    world.index()
    [letter] = world.letters("conflict")
    world.intake.packs.discard(letter.location)
    assert [one.key for one in retry(world).left] == [UID]
    assert stands(world) == first
    send(world, dicom, "other", B)
    assert stands(world) == first
    assert retry(world).retried == 1
    assert stands(world) != first


def test_damaged_bytes_are_not_chosen(make: Callable[[str], Any], dicom: Any) -> None:
    """They would get a digest of their own, and count as whole from then on."""
    world = make("keep-first")
    first = send(world, dicom, "first")
    send(world, dicom, "other", B)
    world.index()
    [letter] = world.letters("conflict")
    blob = world.intake.packs.open(letter.location)
    with blob.path.open("r+b") as pack:
        pack.seek(blob.offset + blob.length - 1)
        last = pack.read(1)
        pack.seek(-1, 1)
        pack.write(bytes([last[0] ^ 1]))
    assert [one.key for one in retry(world).left] == [UID]
    assert stands(world) == first


def test_bytes_of_another_instance_are_not_chosen(make: Callable[[str], Any], dicom: Any) -> None:
    """Where a pack was put back from elsewhere, a letter may lead to somebody else's."""
    world = make("keep-first")
    first = send(world, dicom, "first")
    world.intake.adopt(Incoming(dicom.encoded(dicom.instance(2)), dicom.EXPLICIT, B))
    world.index()
    [another] = [one for one in world.store.held("2.999.1") if one.sop_uid != UID]
    with pytest.raises(Mismatch):
        world.intake.choose(another.location, B.uri, UID)
    assert world.store.dead_letters() == []
    assert sha256(first).digest() == world.store.standing(UID).sha256


def test_the_same_that_waits_for_another_source(
    make: Callable[[str], Any], dicom: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be put aside yet: the owner's correction is kept, and takes its place."""
    world = make("replace")
    send(world, dicom, "first")
    world.index()
    corrected = dicom.encoded(dicom.instance(1, SeriesDescription="corrected"))
    waiting = Standing(sha256(corrected).digest(), B.uri)
    with monkeypatch.context() as patch:
        patch.setattr(world.intake.indexer, "waiting", lambda _uid: waiting)
        send(world, dicom, "corrected")
    assert stands(world) == corrected


def reindex(world: Any) -> None:
    """A new index from the packs."""
    world.store.forget_facts()
    world.intake.recover({}, live=True)
    world.index()


def test_letters_tried_again_bring_nothing_old_back(make: Callable[[str], Any], dicom: Any) -> None:
    """A pack is read on from a letter: a correction in a later one stands, though the clock was put back."""
    world = make("replace")
    send(world, dicom, "first")
    world.index()
    [old] = world.store.held("2.999.1")
    world.intake.stop()
    world.start()
    world.clock.move(-3600)
    corrected = send(world, dicom, "corrected")
    assert stands(world) == corrected
    world.intake.read_again([old.location])
    assert stands(world) == corrected
    assert world.store.dead_letters() == []
    reindex(world)
    assert stands(world) == corrected


@pytest.mark.parametrize("policy", ["replace", "keep-first", "replace-any"])
def test_a_new_index_of_two_writers_comes_to_the_same(
    make: Callable[[str], Any], dicom: Any, policy: str
) -> None:
    """Whose pack is older does not matter: what was received first by any of them comes first."""
    world = make(policy)
    serving = world.intake
    serving.adopt(Incoming(dicom.encoded(dicom.instance(2)), dicom.EXPLICIT, world.source))
    world.start()
    first = send(world, dicom, "first", B)
    world.index()
    world.clock.move(1)
    other = dicom.encoded(dicom.instance(1, SeriesDescription="other"))
    serving.adopt(Incoming(other, dicom.EXPLICIT, world.source))
    assert serving.indexer.drain(30)
    before = [(one.source, one.location) for one in world.letters("conflict")]
    assert len(before) == (policy != "replace-any")
    world.store.discard_letters(world.store.dead_letters())
    reindex(world)
    stood = world.store.standing(UID).sha256
    assert stood == sha256(other if policy == "replace-any" else first).digest()
    assert [(one.source, one.location) for one in world.letters("conflict")] == before


def test_what_replaced_another_sources_does_so_in_a_new_index(make: Callable[[str], Any], dicom: Any) -> None:
    """Under a stricter setting, too."""
    world = make("replace-any")
    send(world, dicom, "first")
    other = send(world, dicom, "other", B)
    assert stands(world) == other
    world.store.policy = type(world.store.policy)("replace")
    reindex(world)
    assert stands(world) == other
    assert world.letters("conflict") == []


def test_a_letter_after_a_choice_outlives_a_new_index(make: Callable[[str], Any], dicom: Any) -> None:
    """Other content of the source that was chosen waits for a word of its own."""
    world = make("keep-first")
    send(world, dicom, "first")
    other = send(world, dicom, "other", B)
    world.index()
    assert retry(world).retried == 1
    send(world, dicom, "third", B)
    world.index()
    [letter] = world.letters("conflict")
    reindex(world)
    assert stands(world) == other
    assert [one.location for one in world.letters("conflict")] == [letter.location]
