"""Publishing: one version a quiet period, pending state in the store, faults that stay alone, linear work."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event

from pacsbridge.bridge import publish
from pacsbridge.bridge.indexer import Indexer, Pending
from pacsbridge.bridge.publish import Publisher
from pacsbridge.errors import NotUnderstood, Unavailable
from pacsbridge.kernel.identity import study_id
from pacsbridge.kernel.publication import EndpointSpec
from pacsbridge.kernel.query import Query
from pacsbridge.store.records import Draft
from pacsbridge.store.store import Store


def take(world: Any, dicom: Any, numbers: range, **values: str) -> None:
    """Adopt instances of the study and wait for the index."""
    for number in numbers:
        world.adopt(dicom.instance(number, **values))
    world.index()


def test_one_version_a_quiet_period(either: Any, dicom: Any) -> None:
    """However many instances and batches: nothing before it is quiet, then one version with all of them."""
    for number in range(1, 31):
        take(either, dicom, range(number, number + 1))
        either.clock.move(0.1)
        assert either.publisher.publish_due() == 0
    either.clock.move(2)
    assert either.publisher.publish_due() == 1
    assert either.publisher.publish_due() == 0
    assert either.version() == 1
    assert either.published()["numberOfInstances"] == 30


def test_never_later_than_the_longest_wait(make_world: Callable[..., Any], dicom: Any) -> None:
    """A study that never rests is published every `max_wait` seconds."""
    world = make_world(quiet_seconds=2, max_wait_seconds=10).start()
    for number in range(1, 26):
        take(world, dicom, range(number, number + 1))
        world.clock.move(1)
        world.publisher.publish_due()
    assert world.version() == 2


def test_resent_study_gets_no_version(world: Any, dicom: Any) -> None:
    """The same instances again: nothing is due."""
    take(world, dicom, range(1, 4))
    world.publisher.publish_all()
    take(world, dicom, range(1, 4))
    world.clock.move(60)
    assert world.publisher.publish_due() == 0
    assert world.version() == 1


def test_pending_outlives_a_restart(make_world: Callable[..., Any], dicom: Any) -> None:
    """What waits for quiet when the process ends is published by the next one."""
    first = make_world().start()
    take(first, dicom, range(1, 4))
    first.kill()
    first.store.close()
    store = Store("sqlite", first.folder)
    first.clock.move(5)
    assert Publisher(store, first.publisher._publication, first.clock).publish_due() == 1
    store.close()
    assert first.version() == 1


def test_study_that_cannot_be_rendered_stays_alone(
    either: Any, dicom: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It becomes a dead letter and is tried again later; the others of its group are published at once."""
    drafts = publish.drafts

    def failing(study: Any, *rest: Any) -> Any:
        if study.uid == "2.999.2":
            raise ZeroDivisionError
        return drafts(study, *rest)

    for study in ("2.999.1", "2.999.2", "2.999.3"):
        either.adopt(dicom.instance(1, study=study))
    either.index()
    monkeypatch.setattr(publish, "drafts", failing)
    assert either.publisher.publish_all() == 3
    assert [either.version(f"2.999.{n}") for n in (1, 2, 3)] == [1, 0, 1]
    (letter,) = either.letters("publish")
    assert (letter.key, letter.reason) == ("2.999.2", "internal fault: ZeroDivisionError")
    either.clock.move(60)
    assert either.publisher.publish_due() == 0
    monkeypatch.undo()
    either.clock.move(300)
    assert either.publisher.publish_due() == 1
    assert either.version("2.999.2") == 1


def test_study_that_the_store_refuses_stays_alone(
    either: Any, dicom: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for a document that the database does not take."""
    drafts = publish.drafts

    def odd(study: Any, *rest: Any) -> Any:
        found = list(drafts(study, *rest))
        if study.uid == "2.999.2":
            found.append(Draft("Patient", "x", {"resourceType": "Patient", "id": "x", "active": 2**70}))
        return found

    monkeypatch.setattr(publish, "drafts", odd)
    for study in ("2.999.1", "2.999.2"):
        either.adopt(dicom.instance(1, study=study))
    either.index()
    either.publisher.publish_all()
    assert [either.version(f"2.999.{n}") for n in (1, 2)] == [1, 0]
    assert [letter.key for letter in either.letters("publish")] == ["2.999.2"]


def test_instance_of_a_study_that_was_put_off(
    world: Any, dicom: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instance that comes meanwhile is not made to wait until the fault is tried again."""
    take(world, dicom, range(1, 2))
    world.clock.move(5)
    (due,) = world.store.due(world.clock())
    take(world, dicom, range(2, 3))
    world.store.postpone(due, world.clock() + 10**12)
    world.clock.move(5)
    assert world.publisher.publish_due() == 1
    assert world.published()["numberOfInstances"] == 2


def test_slower_publisher_overwrites_nothing(either: Any, dicom: Any) -> None:
    """Of two processes that publish one study, the one with the older state writes nothing."""
    take(either, dicom, range(1, 2))
    either.clock.move(5)
    old = either.store.due(either.clock())
    states = either.store.study_states(old)
    stale = list(publish.drafts(old[0], states[old[0].pk], either.publisher._publication))
    take(either, dicom, range(2, 3))
    either.publisher.publish_all()
    assert either.store.publish(stale, either.clock(), old) == 0
    assert either.published()["numberOfInstances"] == 2
    assert either.store.next_due() is None


def test_endpoints_are_published_once(world: Any) -> None:
    """The Endpoint resources of the configuration; the same again is no version."""
    assert world.publisher.publish_endpoints() == 1
    assert world.publisher.publish_endpoints() == 0
    (endpoint,) = world.store.search(Query("Endpoint")).entries
    assert b"http://127.0.0.1/dicomweb" in endpoint.body


def test_corrected_patient_republishes(either: Any, dicom: Any) -> None:
    """A correction that comes with one study shows in the Patient, and every study of hers is due."""
    for study in ("2.999.1", "2.999.2"):
        either.adopt(dicom.instance(1, study=study))
    either.index()
    either.publisher.publish_all()
    reference = either.published("2.999.1")["subject"]["reference"]
    either.adopt(dicom.instance(2, study="2.999.2", PatientName="Canary^Married", PatientSex="F"))
    either.index()
    assert {due.uid for due in either.store.due(either.clock() * 2)} == {"2.999.1", "2.999.2"}
    either.publisher.publish_all()
    patient = either.published(reference.removeprefix("Patient/"), "Patient")
    assert (patient["name"][0]["family"], patient["gender"]) == ("Canary", "female")
    assert patient["name"][0]["given"] == ["Married"]
    assert either.published("2.999.1")["subject"]["reference"] == reference


def test_expired_study_is_gone(either: Any, dicom: Any) -> None:
    """A note "Data Retention Policy Expired" on all of a study deletes it; a new instance brings it back."""
    images = [dicom.instance(number) for number in (1, 2)]
    for one in images:
        either.adopt(one)
    either.index()
    either.publisher.publish_all()
    reference = either.published()["subject"]["reference"]
    gone: list[publish.Deleted] = []
    either.publisher.deleted = gone.append
    either.adopt(dicom.expiry_note(1, *images))
    either.index()
    either.publisher.publish_all()
    assert gone == [(dicom.STUDY, f"ImagingStudy/{dicom.STUDY}", reference)]
    document = either.store.document("ImagingStudy", dicom.STUDY)
    assert document.deleted
    assert either.store.search(Query("ImagingStudy")).entries == []
    take(either, dicom, range(3, 4))
    either.publisher.publish_all()
    assert (either.version(), len(gone)) == (3, 1)
    listed = {i["uid"] for series in either.published()["series"] for i in series["instance"]}
    assert "2.999.1.1.3" in listed
    assert listed.isdisjoint(one["SOPInstanceUID"] for one in images)


def test_loop_publishes_and_outlives_faults(
    make_world: Callable[..., Any],
    dicom: Any,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Callable[..., None],
) -> None:
    """The thread goes on after a store that was away and after a fault of its own."""
    monkeypatch.setattr(publish, "_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(publish, "POLL_SECONDS", 0.01)
    world = make_world().start()
    take(world, dicom, range(1, 2))
    world.clock.move(60)
    faults: list[Exception] = [Unavailable("away"), RuntimeError("x"), NotUnderstood("y")]
    due = world.store.due

    def failing(*args: Any) -> Any:
        if faults:
            raise faults.pop()
        return due(*args)

    monkeypatch.setattr(world.store, "due", failing)
    world.publisher.start()
    wait_until(lambda: world.version() == 1)
    assert faults == []


class Work:
    """Counts statements with the rows that they carry, and calls of Python functions."""

    def __init__(self, world: Any) -> None:
        self.counted: Counter[str] = Counter()
        event.listen(world.store._database.engine, "before_cursor_execute", self._statement)

    def _statement(self, _c: Any, _cur: Any, _sql: Any, parameters: Any, _ctx: Any, many: bool) -> None:
        self.counted["statements"] += 1
        self.counted["rows"] += len(parameters) if many else 1

    def during(self, deed: Callable[[], object]) -> Counter[str]:
        """What `deed` costs."""
        self.counted = Counter()
        sys.setprofile(self._call)
        try:
            deed()
        finally:
            sys.setprofile(None)
        return self.counted

    def _call(self, _frame: Any, what: str, _argument: Any) -> None:
        self.counted["calls"] += what == "call"


def put_all(indexer: Indexer, batches: Sequence[Sequence[Pending]]) -> None:
    """Index in batches of one size, which the thread would not keep to."""
    for batch in batches:
        indexer._put(batch)


def test_huge_study_is_linear_work(make_world: Callable[..., Any], dicom: Any) -> None:
    """Twice the instances of one study, at most a little more than twice the work, for one version each."""
    costs = []
    for count in (1000, 2000):
        world = make_world()
        intake = world.make_intake()
        for number in range(count):
            world.adopt(dicom.instance(number + 1, series=number % 10 + 1))
        waiting = list(intake.indexer._waiting)
        batches = [waiting[at : at + 250] for at in range(0, count, 250)]
        work = Work(world)
        indexing = work.during(partial(put_all, intake.indexer, batches))
        publishing = work.during(world.publisher.publish_all)
        intake.indexer._waiting.clear()
        assert world.version() == 1
        assert world.published()["numberOfInstances"] == count
        deeds = {"indexing": indexing, "publishing": publishing}
        costs.append({f"{deed} {name}": n for deed, found in deeds.items() for name, n in found.items()})
    small, large = costs
    ratios = {name: large[name] / small[name] for name in large}
    assert max(ratios.values()) < 2.2, ratios


def test_other_settings_reach_what_is_published(either: Any, dicom: Any) -> None:
    """Another address: the former Endpoint is deleted, and every study points at the new one."""
    take(either, dicom, range(1, 3))
    either.publisher.publish_all()
    (before,) = either.published()["endpoint"]
    moved = replace(
        either.publisher._publication, default_endpoints=(EndpointSpec("https://new.example/dicomweb"),)
    )
    publisher = Publisher(either.store, moved, either.clock)
    assert publisher.publish_all() == 1
    (after,) = either.published()["endpoint"]
    assert after != before
    assert either.store.ids("Endpoint") == [after["reference"].removeprefix("Endpoint/")]
    assert either.store.version("Endpoint", before["reference"].removeprefix("Endpoint/")).deleted
    assert publisher.publish_all() == 0


def test_an_endpoint_comes_back(either: Any) -> None:
    """The former settings again: what was deleted is there again."""
    publication = either.publisher._publication
    gone = replace(publication, default_endpoints=())
    counts = [
        Publisher(either.store, one, either.clock).publish_endpoints()
        for one in (publication, gone, gone, publication)
    ]
    assert counts == [1, 1, 0, 1]
    assert len(either.store.ids("Endpoint")) == 1


@pytest.mark.parametrize("form", ["uid", "hash"])
def test_another_form_of_ids_moves_every_study(either: Any, dicom: Any, form: str) -> None:
    """Under the former id it is deleted; nobody finds it twice."""
    take(either, dicom, range(1, 3))
    forms = {one: replace(either.publisher._publication, id_form=one) for one in ("uid", "hash")}
    other = "hash" if form == "uid" else "uid"
    for chosen in (other, form):
        assert Publisher(either.store, forms[chosen], either.clock).publish_all() == 1
    assert either.store.ids("ImagingStudy") == [study_id(dicom.STUDY, b"test", form)]
    assert either.store.version("ImagingStudy", study_id(dicom.STUDY, b"test", other)).deleted
