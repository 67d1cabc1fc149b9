"""The way in: durable before it returns, indexed soon, refused with a reason, recovered after a crash."""

import threading
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from pacsbridge.blobs.packs import Packs
from pacsbridge.bridge.intake import Incoming
from pacsbridge.errors import Absent, Mismatch, NotUnderstood, Unavailable
from pacsbridge.store.records import Arrival


def flip(pack: Path, at: int) -> None:
    """Damage one byte of a pack; `at` counts from the end when negative."""
    content = bytearray(pack.read_bytes())
    content[at] ^= 0xFF
    pack.write_bytes(content)


def packs_of(world: Any) -> list[Path]:
    """The pack files, in order."""
    return sorted((world.folder / "packs").iterdir())


def test_durable_before_return_and_indexed_after(either: Any, dicom: Any) -> None:
    """When `adopt` returns, another reader of the packs has the bytes; the index follows."""
    one = dicom.instance(1)
    either.adopt(one)
    (entry,) = Packs(either.folder, min_free_bytes=0).replay({}, live=True)
    assert entry.sha256 == sha256(dicom.encoded(one)).digest()
    either.index()
    (held,) = either.store.held(dicom.STUDY)
    assert held.sop_uid == one["SOPInstanceUID"]
    stored = either.intake.packs.open(held.location).read()
    assert stored == dicom.head(dicom.CT, held.sop_uid, dicom.EXPLICIT) + dicom.encoded(one)


def test_resent_instance_writes_nothing(either: Any, dicom: Any) -> None:
    """Neither while the first one waits for the index nor once it stands there."""
    either.intake.indexer._linger = 0.5
    either.adopt(dicom.instance(1))
    before = either.pack_bytes()
    either.adopt(dicom.instance(1))
    assert either.pack_bytes() == before
    either.index()
    revision = either.store.due(either.clock() * 2)
    either.adopt(dicom.instance(1))
    either.index()
    assert either.pack_bytes() == before
    assert either.store.due(either.clock() * 2) == revision


@pytest.mark.parametrize(("policy", "expected"), [("replace", "b"), ("keep-first", "a")])
def test_other_content(make_world: Callable[..., Any], dicom: Any, policy: str, expected: str) -> None:
    """The same SOP Instance UID with other content: by the setting, and on record either way."""
    world = make_world(on_conflict=policy).start()
    both = {text: dicom.instance(1, SeriesDescription=text) for text in "ab"}
    for one in both.values():
        world.adopt(one)
        world.index()
    (held,) = world.store.held(dicom.STUDY)
    assert held.sha256 == sha256(dicom.encoded(both[expected])).digest()
    fields = [conflict["field"] for conflict in world.store.why(held.sop_uid)["conflicts"]]
    assert "content" in fields


@pytest.mark.parametrize(
    ("claims", "fault"),
    [
        ({"sop_class_uid": "1.2.3", "sop_instance_uid": "2.999.1.1.1"}, "SOP Class"),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.2", "sop_instance_uid": "2.999.7"}, "SOP Instance"),
    ],
)
def test_command_at_odds_with_the_data_set(
    world: Any, dicom: Any, claims: dict[str, str], fault: str
) -> None:
    """Refused, nothing stored, on record under the UID that the command named."""
    with pytest.raises(Mismatch, match=fault):
        world.adopt(dicom.instance(1), **claims)
    assert world.pack_bytes() == 0
    (letter,) = world.letters("refused")
    assert letter.key == claims["sop_instance_uid"]


@pytest.mark.parametrize("content", [b"", b"no DICOM at all, whatever the sender says", bytes(4096)])
def test_not_dicom(world: Any, content: bytes) -> None:
    """Refused with a reason, on record, nothing stored."""
    with pytest.raises(NotUnderstood):
        world.adopt(content, sop_instance_uid="2.999.5")
    assert world.pack_bytes() == 0
    assert [letter.key for letter in world.letters("refused")] == ["2.999.5"]


def test_claims_of_any_text_are_on_record(either: Any) -> None:
    """What a command names may hold what a database cannot keep."""
    with pytest.raises(NotUnderstood):
        either.adopt(b"junk", sop_instance_uid="1.2\0\ud800" + "3" * 5000)
    assert len(either.letters("refused")) == 1


def test_large_instance_is_spooled(world: Any, dicom: Any) -> None:
    """A spool becomes an object of its own and leaves nothing behind; a refused one neither."""
    one = dicom.instance(1)
    for uid in (one["SOPInstanceUID"], "2.999.7"):
        spool = world.intake.spool(dicom.CT, one["SOPInstanceUID"], dicom.EXPLICIT)
        spool.write(dicom.encoded(one))
        incoming = Incoming(spool, dicom.EXPLICIT, world.source, dicom.CT, uid)
        if uid == "2.999.7":
            with pytest.raises(Mismatch):
                world.intake.adopt(incoming)
        else:
            world.intake.adopt(incoming)
    world.index()
    (held,) = world.store.held(dicom.STUDY)
    blob = world.intake.packs.open(held.location)
    assert blob.read().endswith(dicom.encoded(one))
    assert list((world.folder / "incoming").iterdir()) == []


def test_crash_before_indexing_is_recovered(either: Any, dicom: Any) -> None:
    """What was durable and not indexed is found again by the next process, large ones too."""
    either.intake.indexer._linger = 60
    for number in range(1, 4):
        either.adopt(dicom.instance(number))
    spool = either.intake.spool(dicom.CT, "2.999.1.1.4", dicom.EXPLICIT)
    spool.write(dicom.encoded(dicom.instance(4)))
    either.intake.adopt(Incoming(spool, dicom.EXPLICIT, either.source))
    either.kill()
    assert either.held() == []
    either.start()
    assert either.held() == [f"2.999.1.1.{number}" for number in range(1, 5)]


def test_what_is_indexed_is_not_read_again(world: Any, dicom: Any) -> None:
    """After an orderly stop there is nothing to recover."""
    world.adopt(dicom.instance(1))
    world.index()
    world.kill()
    intake = world.make_intake()
    intake.indexer.start()
    assert intake.recover() == 0


def test_damaged_record_is_buried_once(world: Any, dicom: Any) -> None:
    """Damage at the end of a pack is put on record at one start, and not again at the next ones."""
    world.intake.indexer._linger = 60
    for number in (1, 2):
        world.adopt(dicom.instance(number))
    world.kill()
    flip(packs_of(world)[0], -1)
    for _start in range(3):
        world.start()
        world.index()
        world.kill()
    assert world.held() == ["2.999.1.1.1"]
    (letter,) = world.letters("damaged")
    assert letter.attempts == 1


def test_unreadable_record_is_buried_once(world: Any, dicom: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stored instance that this version cannot read stops no start, and is put on record once."""
    world.intake.indexer._linger = 60
    for number in (1, 2, 3):
        world.adopt(dicom.instance(number))
    world.kill()

    def broken(intake: Any, content: Any, *rest: Any) -> Any:
        if b"2.999.1.1.2" in bytes(content):
            raise ZeroDivisionError
        return facts(intake, content, *rest)

    kind = type(world.make_intake())
    facts = kind._facts
    world.intakes.pop()
    monkeypatch.setattr(kind, "_facts", broken)
    for _start in range(2):
        world.start()
        world.index()
        world.kill()
    assert world.held() == ["2.999.1.1.1", "2.999.1.1.3"]
    (letter,) = world.letters("index")
    assert (letter.attempts, letter.reason) == (1, "internal fault: ZeroDivisionError")


def test_packs_of_a_killed_sibling_are_taken_over(
    world: Any, dicom: Any, wait_until: Callable[..., None]
) -> None:
    """What a process left behind that was killed beside this one is found while this one runs."""
    world.make_intake(look_seconds=0.05).start(look=True)
    sibling = Packs(world.folder, min_free_bytes=0)
    sibling.append(
        {"source": "urn:dicom:ae:CT2", "received": world.clock(), "syntax": dicom.EXPLICIT},
        [dicom.encoded(dicom.instance(1))],
        dicom.head(dicom.CT, "2.999.1.1.1", dicom.EXPLICIT),
    )
    assert world.held() == []
    sibling.close()
    wait_until(lambda: world.held() == ["2.999.1.1.1"])


def test_backlog_is_bounded(
    make_world: Callable[..., Any], dicom: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the index cannot keep up, new instances get Unavailable in time, and nothing of them is kept."""
    monkeypatch.setattr("pacsbridge.bridge.indexer.BACKLOG", 3)
    world = make_world()
    intake = world.make_intake()
    for number in range(3):
        world.adopt(dicom.instance(number + 1))
    size = world.pack_bytes()
    with pytest.raises(Unavailable, match="keep up"):
        intake.indexer.admit(timeout=0.05)
    assert world.pack_bytes() == size
    intake.indexer.start()
    world.adopt(dicom.instance(4))
    world.index()
    assert len(world.held()) == 4


def test_after_stop_everything_is_refused(world: Any, dicom: Any) -> None:
    """An orderly stop indexes what waits and lets nothing more in."""
    world.adopt(dicom.instance(1))
    world.intake.stop()
    assert world.held() == ["2.999.1.1.1"]
    with pytest.raises(Unavailable, match="shutting down"):
        world.adopt(dicom.instance(2))


def test_racing_senders_of_one_new_study(either: Any, dicom: Any) -> None:
    """Eight threads, each with instances of its own and one that all send: all there, each once."""
    faults: list[BaseException] = []

    def send(sender: int) -> None:
        try:
            for number in range(1, 11):
                either.adopt(dicom.instance(100 * sender + number))
                either.adopt(dicom.instance(number, series=2))
        except BaseException as exc:
            faults.append(exc)

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    either.index()
    assert faults == []
    assert len(either.held()) == len(set(either.held())) == 90
    assert not either.store.why(dicom.STUDY)["conflicts"]


def test_poison_is_buried_and_its_neighbours_go_on(
    make_world: Callable[..., Any], dicom: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of a batch that the store refuses: a dead letter at once; the others are indexed."""
    world = make_world()
    poison = "2.999.1.1.5"
    put = world.store.put

    def refusing(arrivals: list[Arrival], *rest: Any) -> int:
        if any(arrival.facts.instance["uid"] == poison for arrival in arrivals):
            raise NotUnderstood("the index refuses the value (Test)")
        done: int = put(arrivals, *rest)
        return done

    monkeypatch.setattr(world.store, "put", refusing)
    intake = world.make_intake()
    for number in range(1, 10):
        world.adopt(dicom.instance(number))
    intake.start()
    world.index()
    assert world.held() == [f"2.999.1.1.{n}" for n in range(1, 10) if n != 5]
    world.kill()
    world.start()
    world.index()
    (letter,) = world.letters("index")
    assert (letter.key, letter.attempts) == (poison, 1)
    assert "Test" in letter.reason


def test_values_of_any_length_are_indexed(either: Any, dicom: Any) -> None:
    """PostgreSQL takes no index entry beyond a third of a page: over-long ids must not stop the line."""
    import random

    noise = "".join(random.Random(1).choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=9000))
    either.adopt(dicom.instance(1, PatientID=noise, AccessionNumber=noise, StudyDescription=noise))
    either.adopt(dicom.instance(1, study="2.999.2", PatientID=f"{noise}X"))
    either.index()
    either.publisher.publish_all()
    assert either.published()["numberOfInstances"] == 1
    assert either.published("2.999.2")["subject"] != either.published()["subject"]
    assert either.store.dead_letters() == []


def test_a_lost_pack_leaves_its_number_unused(either: Any, dicom: Any) -> None:
    """Where the last pack is gone, the next process begins another one: no place in it is anybody else's."""
    either.adopt(dicom.instance(1))
    either.index()
    [(pack, _size)] = either.intake.packs.packs()
    either.kill()
    (either.folder / "packs" / f"{pack}.pack").unlink()
    either.start()
    either.adopt(dicom.instance(2))
    either.index()
    assert [name for name, _size in either.intake.packs.packs()] == ["00000002"]
    lost = next(one.location for page in either.store.inventory.instances() for one in page)
    with pytest.raises(Absent):
        either.intake.packs.open(lost)
