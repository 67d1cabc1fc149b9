"""The store's contract, facts: the same tests on SQLite and PostgreSQL."""

import itertools
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import event

from pacsbridge.kernel.attributes import TRUNCATED, Issue
from pacsbridge.kernel.model import Facts, Rejection, StudyState
from pacsbridge.store.records import Arrival, DeadLetter, Due
from pacsbridge.store.store import Store

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND
CT = "1.2.840.10008.5.1.4.1.1.2"


def arrival(
    number: int,
    *,
    study: str = "1.2.3",
    series: str = "1.2.3.1",
    patient: dict[str, Any] | None = None,
    content: bytes | None = None,
    rejections: tuple[Rejection, ...] = (),
    issues: tuple[Issue, ...] = (),
    study_facts: dict[str, Any] | None = None,
) -> Arrival:
    """One instance of a study, numbered."""
    uid = f"{series}.{number}"
    return Arrival(
        facts=Facts(
            patient={"key": "A|1", "gender": "female"} if patient is None else patient,
            study={"uid": study, **(study_facts or {})},
            series={"uid": series},
            instance={"uid": uid, "sop_class": CT, "number": number},
            rejections=rejections,
            issues=issues,
        ),
        source="urn:dicom:ae:CT1",
        received=NOW,
        transfer_syntax="1.2.840.10008.1.2.1",
        location=f"pack:1:{number}:10",
        size=10,
        sha256=sha256(content if content is not None else uid.encode()).digest(),
    )


def _content(store: Store, uid: str) -> bytes | None:
    """The SHA-256 of what stands under a SOP Instance UID."""
    found = store.standing(uid)
    return found and found.sha256


def state(store: Store, uid: str = "1.2.3") -> StudyState:
    """The state of a study that is due."""
    study = next(due for due in store.due(NOW * 2) if due.uid == uid)
    return store.study_states([study])[study.pk]


def due(store: Store) -> Due:
    """The only study that waits."""
    (found,) = store.due(NOW * 2)
    return found


def test_instances_of_a_study_come_together(store: Store) -> None:
    """Two series of one study are one state with all their instances."""
    store.put([arrival(1), arrival(2), arrival(1, series="1.2.3.2")], {}, NOW)
    found = state(store)
    assert sorted(len(series.instances) for series in found.series) == [1, 2]
    assert found.patient["key"] == "A|1"
    assert found.sources == ("urn:dicom:ae:CT1",)


def test_resent_instance_changes_nothing(store: Store) -> None:
    """An identical instance bumps no revision, in the same batch and in a later one."""
    assert store.put([arrival(1), arrival(1)], {}, NOW) == 1
    before = due(store)
    assert store.put([arrival(1)], {}, NOW + SECOND) == 0
    assert due(store) == before


def test_other_content_replaces_and_is_on_record(store: Store) -> None:
    """The same SOP Instance UID with other content: the later one stands, the conflict can be seen."""
    store.put([arrival(1, content=b"a")], {}, NOW)
    assert store.put([arrival(1, content=b"b")], {}, NOW) == 1
    assert _content(store, "1.2.3.1.1") == sha256(b"b").digest()
    conflicts = store.why("1.2.3.1.1")["conflicts"]
    assert [conflict["field"] for conflict in conflicts] == ["content"]


def test_headers_that_contradict_each_other_are_on_record(store: Store) -> None:
    """Another study description, another sex of the patient: the field, the instance and both values."""
    store.put([arrival(1, study_facts={"description": "CT head"})], {}, NOW)
    patient = {"key": "A|1", "gender": "male"}
    store.put([arrival(2, patient=patient, study_facts={"description": "CT neck"})], {}, NOW + SECOND)
    found = store.why("1.2.3.1.2")["conflicts"]
    told = {(one["instance_uid"], one["level"], one["field"], one["known"], one["new"]) for one in found}
    assert told == {
        ("1.2.3.1.2", "patient", "gender", '"female"', '"male"'),
        ("1.2.3.1.2", "study", "description", '"CT head"', '"CT neck"'),
    }


def test_keep_first_keeps_the_first(make_store: Callable[..., Store]) -> None:
    """With keep-first other content changes nothing, but is on record."""
    store = make_store(on_conflict="keep-first")
    store.put([arrival(1, content=b"a")], {}, NOW)
    assert store.put([arrival(1, content=b"b")], {}, NOW) == 0
    assert _content(store, "1.2.3.1.1") == sha256(b"a").digest()
    assert len(store.why("1.2.3.1.1")["conflicts"]) == 1


def test_truncated_instance_replaces_nothing(store: Store) -> None:
    """What breaks off never takes the place of other content, but is on record; what is whole takes its."""
    store.put([arrival(1, content=b"whole"), arrival(2, content=b"cut", issues=(TRUNCATED,))], {}, NOW)
    again = [arrival(1, content=b"cut", issues=(TRUNCATED,)), arrival(2, content=b"whole")]
    assert store.put(again, {}, NOW) == 1
    for uid in ("1.2.3.1.1", "1.2.3.1.2"):
        assert _content(store, uid) == sha256(b"whole").digest()
    fields = [(found["instance_uid"], found["field"]) for found in store.why("1.2.3")["conflicts"]]
    assert fields == [("1.2.3.1.1", "content"), ("1.2.3.1.2", "content")]


def test_instance_that_moves_to_another_study_leaves_the_first(store: Store) -> None:
    """A SOP Instance UID under a second study: the last writer wins, both studies are published anew."""
    store.put([arrival(1, content=b"a"), arrival(2)], {}, NOW)
    moved = arrival(1, content=b"b", study="1.2.9")
    store.put([moved], {}, NOW)
    assert {study.uid for study in store.due(NOW * 2)} == {"1.2.3", "1.2.9"}
    assert [instance.uid for series in state(store).series for instance in series.instances] == ["1.2.3.1.2"]


def test_study_under_a_second_patient(store: Store) -> None:
    """The last writer wins; the conflict is recorded."""
    store.put([arrival(1)], {}, NOW)
    store.put([arrival(2, patient={"key": "A|2"})], {}, NOW)
    assert state(store).patient["key"] == "A|2"
    assert [c["field"] for c in store.why("1.2.3")["conflicts"]] == ["patient"]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_missing_patient_id_never_hides_the_known_one(store: Store, order: tuple[int, ...]) -> None:
    """Instances without PatientID leave the study with the patient that the others name, in any order."""
    arrivals = [arrival(1, patient={}), arrival(2), arrival(3, patient={})]
    for number in order:
        store.put([arrivals[number]], {}, NOW)
    assert state(store).patient["key"] == "A|1"
    assert not store.why("1.2.3")["conflicts"]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_header_without_issuer_names_no_other_patient(store: Store, order: tuple[int, ...]) -> None:
    """The same PatientID with and without its issuer is one patient, in any order, and no conflict."""
    arrivals = [arrival(1, patient={"key": "|1"}), arrival(2), arrival(3, patient={"key": "|1"})]
    for number in order:
        store.put([arrivals[number]], {}, NOW)
    assert state(store).patient["key"] == "A|1"
    assert not store.why("1.2.3")["conflicts"]


def test_corrected_patient_makes_all_studies_due(store: Store) -> None:
    """A study that is published is due again when its patient's facts change."""
    store.put([arrival(1)], {}, NOW)
    store.publish([], NOW, settled=store.due(NOW * 2))
    assert not store.due(NOW * 2)
    store.put(
        [arrival(1, study="1.2.4", series="1.2.4.1", patient={"key": "A|1", "gender": "male"})], {}, NOW
    )
    assert {study.uid for study in store.due(NOW * 2)} == {"1.2.3", "1.2.4"}


def test_quiet_period_and_longest_wait(make_store: Callable[..., Store]) -> None:
    """Due `quiet` after the last instance, but never later than `max_wait` after the first."""
    store = make_store(quiet_seconds=2, max_wait_seconds=5)
    store.put([arrival(1)], {}, NOW)
    assert store.next_due() == NOW + 2 * SECOND
    store.put([arrival(2)], {}, NOW + 1 * SECOND)
    assert store.next_due() == NOW + 3 * SECOND
    store.put([arrival(3)], {}, NOW + 4 * SECOND)
    assert store.next_due() == NOW + 5 * SECOND
    assert not store.due(NOW + 5 * SECOND - 1)
    assert len(store.due(NOW + 5 * SECOND)) == 1


def test_change_while_rendering_stays_due(store: Store) -> None:
    """An instance that comes between rendering and settling is published by the next round."""
    store.put([arrival(1)], {}, NOW)
    rendered = store.due(NOW * 2)
    store.put([arrival(2)], {}, NOW + SECOND)
    store.publish([], NOW, settled=rendered)
    assert due(store).revision == rendered[0].revision + 1


def test_rejection_notes_reach_the_instances(store: Store) -> None:
    """A rejection is shown on the instance, whichever of the two comes first."""
    note = arrival(9, series="1.2.3.9", rejections=(Rejection("1.2.3", "1.2.3.1.1", "113001"),))
    store.put([note], {}, NOW)
    store.put([arrival(1)], {}, NOW)
    rejected = {i.uid: i.rejected for series in state(store).series for i in series.instances}
    assert rejected == {"1.2.3.1.1": "113001", "1.2.3.9.9": None}


def test_expired_instances_are_not_held(store: Store) -> None:
    """Data retention expired is a deletion: nothing to retrieve."""
    note = arrival(9, series="1.2.3.9", rejections=(Rejection("1.2.3", "1.2.3.1.1", "113039"),))
    store.put([arrival(1), note], {}, NOW)
    assert [held.sop_uid for held in store.held("1.2.3")] == ["1.2.3.9.9"]


def test_held_at_each_level(store: Store) -> None:
    """Study, series and instance; an unknown UID holds nothing."""
    store.put([arrival(1), arrival(2), arrival(1, series="1.2.3.2")], {}, NOW)
    assert len(store.held("1.2.3")) == 3
    assert len(store.held("1.2.3", "1.2.3.1")) == 2
    (one,) = store.held("1.2.3", "1.2.3.1", "1.2.3.1.2")
    assert (one.sop_uid, one.location, one.size) == ("1.2.3.1.2", "pack:1:2:10", 10)
    assert store.held("1.2.3", "1.2.3.2", "1.2.3.1.2") == []
    assert store.held("9") == []


def test_issues_are_recorded_once(store: Store) -> None:
    """An issue of an instance is on record, and only once when the instance is replaced."""
    issue = Issue("SeriesNumber", "-1", "negative")
    store.put([arrival(1, content=b"a", issues=(issue,))], {}, NOW)
    store.put([arrival(1, content=b"b", issues=(issue,))], {}, NOW)
    assert [found["keyword"] for found in store.why("1.2.3.1.1")["issues"]] == ["SeriesNumber"]


def test_checkpoints_move_with_the_facts(store: Store) -> None:
    """The positions that a batch reaches are there when its facts are."""
    store.put([arrival(1)], {"00000001": 100}, NOW)
    store.put([arrival(2)], {"00000001": 200, "00000002": 10}, NOW)
    assert store.checkpoints() == {"00000001": 200, "00000002": 10}


def test_refused_batch_leaves_nothing(store: Store) -> None:
    """A batch is all or nothing: after a refusal neither facts nor checkpoint have moved."""
    bad = replace(arrival(2), size=2**70)
    with pytest.raises(Exception, match="refuses"):
        store.put([arrival(1), bad], {"00000001": 100}, NOW)
    assert store.checkpoints() == {}
    assert store.held("1.2.3") == []


def test_racing_writers_lose_nothing(store: Store) -> None:
    """Many threads put instances of one new study: every instance is there, once."""
    threads = [
        threading.Thread(target=store.put, args=([arrival(10 * n + m) for m in range(10)], {}, NOW))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (series,) = state(store).series
    assert len({instance.uid for instance in series.instances}) == 80
    assert due(store).revision == 8


def test_reindex_keeps_documents(store: Store) -> None:
    """Emptying the facts leaves nothing of them."""
    store.put([arrival(1)], {"00000001": 100}, NOW)
    store.forget_facts()
    assert store.held("1.2.3") == []
    assert store.checkpoints() == {}
    assert store.next_due() is None


def test_setting_is_made_once(store: Store) -> None:
    """The first caller's value stands."""
    assert store.setting("id_key", lambda: "a") == "a"
    assert store.setting("id_key", lambda: "b") == "a"


def test_why_says_how_much_it_leaves_out(store: Store) -> None:
    """At most 100 records of a kind, and how many there are."""
    store.put([arrival(number) for number in range(123)], {}, NOW)
    found = store.why("1.2.3")
    assert (len(found["instances"]), found["counts"]["instances"]) == (100, 123)
    assert found["counts"]["studies"] == 1


@pytest.mark.parametrize("store_url", ["sqlite"])
@pytest.mark.parametrize("key", ["1.2.3", "1.2.3.1", "1.2.3.1.1", "unknown"])
def test_why_scans_no_table_of_instances(store: Store, key: str) -> None:
    """Whatever the key is of, all is found by indexes, as SQLite tells."""
    store.put([arrival(number) for number in range(3)], {}, NOW)
    engine, asked = store._database.engine, list[tuple[str, Any]]()

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        asked.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    store.why(key)
    event.remove(engine, "before_cursor_execute", note)
    assert len(asked) > 5
    with store._database.read() as connection:
        plans = [
            str(row[3])
            for statement, parameters in asked
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    assert not [plan for plan in plans if _SCAN.match(plan)]


_SCAN = re.compile(r"SCAN (study|series|instance|report|resource|token|issue|conflict|dead_letter)")


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_why_finds_conflicts_by_an_index_in_postgresql(store: Store) -> None:
    """Conflicts of a study and of an instance each have their index there, too."""
    with store._database.read() as connection:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        query = "EXPLAIN SELECT * FROM conflict WHERE study_uid IN ('1.2') OR instance_uid IN ('1.2')"
        plan = "".join(row[0] for row in connection.exec_driver_sql(query))
    assert "ix_conflict_study_uid" in plan
    assert "ix_conflict_instance_uid" in plan


def test_dead_letters_under_one_key(store: Store) -> None:
    """Those under a key are found however many others came later."""
    for number in range(5):
        store.bury(DeadLetter("refused", f"1.2.{number}", "no UID", "urn:dicom:ae:CT1"), NOW + number)
    assert [letter.key for letter in store.dead_letters("1.2.0", limit=1)] == ["1.2.0"]
    assert [letter.key for letter in store.dead_letters(limit=2)] == ["1.2.4", "1.2.3"]
