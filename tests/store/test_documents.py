"""The store's contract, documents: versions, search and paging on SQLite and PostgreSQL."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from pacsbridge.errors import Misconfigured
from pacsbridge.kernel.cursors import Cursor
from pacsbridge.kernel.query import (
    ChainValue,
    Clause,
    DateValue,
    Form,
    Kind,
    PresentValue,
    Query,
    ReferenceValue,
    StringValue,
    TokenValue,
)
from pacsbridge.store import migrations, schema
from pacsbridge.store.records import Draft
from pacsbridge.store.store import Store

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND


def patient(number: int, **content: Any) -> Draft:
    """A Patient with one identifier."""
    body = {
        "resourceType": "Patient",
        "id": f"p{number}",
        "meta": {"source": "urn:dicom:ae:CT1"},
        "identifier": [{"system": "urn:oid:1.2.3", "value": str(number)}],
        **content,
    }
    return Draft("Patient", f"p{number}", body)


def ids(store: Store, *clauses: Clause, **options: Any) -> list[str]:
    """The ids of one page."""
    return [entry.id for entry in store.search(Query("Patient", clauses, **options)).entries]


def test_first_version(store: Store) -> None:
    """The body is the content with versionId and lastUpdated, in milliseconds."""
    assert store.publish([patient(1)], NOW + 123_456) == 1
    found = store.document("Patient", "p1")
    assert found is not None
    assert found.body is not None
    body = json.loads(found.body)
    assert body["meta"] == {
        "versionId": "1",
        "lastUpdated": "2023-11-14T22:13:20.123Z",
        "source": "urn:dicom:ae:CT1",
    }
    assert found.updated.isoformat(timespec="milliseconds") == "2023-11-14T22:13:20.123+00:00"
    version = store.version("Patient", "p1")
    assert version is not None
    assert (version.version, version.deleted, version.updated) == (1, False, found.updated)
    assert version.published == found.published == NOW + 123_000


def test_same_content_is_no_new_version(store: Store) -> None:
    """Publishing what is published writes nothing."""
    store.publish([patient(1)], NOW)
    assert store.publish([patient(1)], NOW + SECOND) == 0


def test_another_sender_of_the_same_is_no_new_version(store: Store) -> None:
    """Who sent it last stands in meta, and changes nothing of what is said."""
    store.publish([patient(1)], NOW)
    assert store.publish([patient(1, meta={"source": "urn:dicom:ae:OTHER"})], NOW + SECOND) == 0


def test_versions_rise_and_history_stays(store: Store) -> None:
    """Each change is a version; earlier ones can still be read; time never runs backwards."""
    store.publish([patient(1)], NOW)
    store.publish([patient(1, gender="male")], NOW - SECOND)
    first, second = store.document("Patient", "p1", 1), store.document("Patient", "p1")
    assert first is not None
    assert second is not None
    assert first.body is not None
    assert "gender" not in json.loads(first.body)
    assert second.version == 2
    assert second.published == first.published + 1000


def test_deletion_and_return(store: Store) -> None:
    """A deletion is a version without body and out of every search; the resource may come back."""
    store.publish([patient(1)], NOW)
    store.publish([Draft("Patient", "p1", None)], NOW + SECOND)
    found = store.document("Patient", "p1")
    assert found is not None
    assert (found.version, found.deleted, found.body) == (2, True, None)
    assert ids(store) == []
    store.publish([patient(1)], NOW + 2 * SECOND)
    assert ids(store) == ["p1"]
    version = store.version("Patient", "p1")
    assert version is not None
    assert version.version == 3


@pytest.mark.parametrize(
    "clauses",
    [
        (),
        (Clause("_id", Kind.ID, (TokenValue(None, "p1"), TokenValue(None, "p2"))),),
        (Clause("_lastUpdated", Kind.UPDATED, (DateValue("ge", 0, 1),)),),
        (Clause("identifier", Kind.TOKEN, (TokenValue(None, "9"),), negated=True),),
        (Clause("birthdate:missing", Kind.TOKEN, (TokenValue(None, "true"),)),),
    ],
)
@pytest.mark.parametrize("sort", [(), (("id", False),), (("low", False),)])
def test_what_is_deleted_is_not_counted(
    store: Store, clauses: tuple[Clause, ...], sort: tuple[tuple[str, bool], ...]
) -> None:
    """The total is the number of resources that a search gives, whatever it asks and in whatever order."""
    store.publish([patient(1), patient(2)], NOW)
    store.publish([Draft("Patient", "p1", None)], NOW + SECOND)
    assert ids(store, *clauses, sort=sort) == ["p2"]
    assert store.search(Query("Patient", clauses, sort=sort, counted=True)).total == 1
    assert store.search(Query("Patient", clauses, sort=sort, count=0)).total == 1


def test_deleting_the_unknown_writes_nothing(store: Store) -> None:
    """There is no version of what was never published."""
    assert store.publish([Draft("Patient", "p1", None)], NOW) == 0
    assert store.document("Patient", "p1") is None


def test_pages_concatenate_to_the_whole(store: Store) -> None:
    """Newest first, no entry skipped or repeated although resources arrive and change meanwhile."""
    store.publish([patient(number) for number in range(10)], NOW)
    seen: list[str] = []
    cursor: Cursor | None = None
    for step in range(10):
        page = store.search(Query("Patient", count=3, after=cursor))
        seen += [entry.id for entry in page.entries]
        store.publish([patient(100 + step), patient(step, gender="other")], NOW + SECOND)
        if page.next is None:
            break
        cursor = page.next
    assert seen == [f"p{number}" for number in reversed(range(10))]


def test_totals(store: Store) -> None:
    """Counted only when asked for; a count of nought is a total without entries."""
    store.publish([patient(number) for number in range(5)], NOW)
    assert store.search(Query("Patient", count=2)).total is None
    assert store.search(Query("Patient", count=2, counted=True)).total == 5
    page = store.search(Query("Patient", count=0))
    assert (page.total, list(page.entries)) == (5, [])


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (TokenValue("urn:oid:1.2.3", "1"), ["p1"]),
        (TokenValue(None, "1"), ["p1"]),
        (TokenValue("", "1"), []),
        (TokenValue("urn:oid:9", "1"), []),
        (TokenValue("urn:oid:1.2.3", None), ["p2", "p1"]),
        (TokenValue(None, "%"), []),
    ],
)
def test_token(store: Store, value: TokenValue, found: list[str]) -> None:
    """System and value, each only where the value states it; wildcards of SQL are plain text."""
    store.publish([patient(1), patient(2)], NOW)
    assert ids(store, Clause("identifier", Kind.TOKEN, (value,))) == found


def test_or_and_not_missing(store: Store) -> None:
    """Values are alternatives, clauses add up, `not` and `missing` turn round."""
    store.publish([patient(1), patient(2), patient(3, identifier=[])], NOW)
    one, two = TokenValue(None, "1"), TokenValue(None, "2")
    assert ids(store, Clause("identifier", Kind.TOKEN, (one, two))) == ["p2", "p1"]
    both = Clause("identifier", Kind.TOKEN, (one,)), Clause("identifier", Kind.TOKEN, (two,))
    assert ids(store, *both) == []
    assert ids(store, Clause("identifier", Kind.TOKEN, (one,), negated=True)) == ["p3", "p2"]
    assert ids(store, Clause("identifier:missing", Kind.TOKEN, (TokenValue(None, "true"),))) == ["p3"]
    assert ids(store, Clause("identifier", Kind.PRESENT, (PresentValue(Kind.TOKEN),))) == ["p2", "p1"]
    assert ids(store, Clause("birthdate", Kind.PRESENT, (PresentValue(None),))) == []


@pytest.mark.parametrize(
    ("prefix", "low", "high", "found"),
    [
        ("eq", NOW, NOW + SECOND, ["p1"]),
        ("ne", NOW, NOW + SECOND, ["p2"]),
        ("gt", NOW, NOW + SECOND, ["p2"]),
        ("ge", NOW, NOW + SECOND, ["p2", "p1"]),
        ("lt", NOW + SECOND, NOW + 2 * SECOND, ["p1"]),
        ("le", NOW + SECOND, NOW + 2 * SECOND, ["p2", "p1"]),
        ("sa", NOW, NOW + SECOND, ["p2"]),
        ("eb", NOW + SECOND, NOW + 2 * SECOND, ["p1"]),
        ("ap", NOW - SECOND, NOW + SECOND, ["p1"]),
    ],
)
def test_last_updated(store: Store, prefix: str, low: int, high: int, found: list[str]) -> None:
    """Each prefix against two versions a second apart."""
    store.publish([patient(1)], NOW)
    store.publish([patient(2)], NOW + SECOND)
    assert ids(store, Clause("_lastUpdated", Kind.UPDATED, (DateValue(prefix, low, high),))) == found


def test_reference(store: Store) -> None:
    """By id, by type and id; never by another type."""
    study = {
        "resourceType": "ImagingStudy",
        "id": "1.2.3",
        "status": "available",
        "subject": {"reference": "Patient/p1"},
    }
    store.publish([Draft("ImagingStudy", "1.2.3", study)], NOW)
    for type_, expected in ((None, 1), ("Patient", 1), ("Group", 0)):
        clause = Clause("subject", Kind.REFERENCE, (ReferenceValue(type_, "p1"),))
        assert len(store.search(Query("ImagingStudy", (clause,))).entries) == expected


def test_search_rows_follow_the_version(store: Store) -> None:
    """A value that a new version no longer has is found no more."""
    store.publish([patient(1)], NOW)
    store.publish([patient(1, identifier=[{"value": "9"}])], NOW)
    assert ids(store, Clause("identifier", Kind.TOKEN, (TokenValue(None, "1"),))) == []
    assert ids(store, Clause("identifier", Kind.TOKEN, (TokenValue("", "9"),))) == ["p1"]


def names(text: str, *, anywhere: bool = False) -> Clause:
    """A clause about the names of Patients."""
    return Clause("name", Kind.STRING, (StringValue(text, anywhere=anywhere),))


@pytest.mark.parametrize(
    ("text", "anywhere", "found"),
    [
        ("ann", False, ["p2", "p1"]),
        ("anna m", False, ["p1"]),
        ("na", False, []),
        ("na", True, ["p2", "p1"]),
        ("a%", True, []),
        ("_nn", True, []),
        ("0 x", True, ["p3"]),
        ("100", False, ["p3"]),
        ("\U0010fffd", False, ["p4"]),
        ("\ud7ff", False, ["p5"]),
    ],
)
def test_string(store: Store, text: str, anywhere: bool, found: list[str]) -> None:
    """The beginning, or any part; wildcards of SQL are plain text; characters before gaps have an end."""
    texts = ("Anna Maria", "ANNA", "100%_! x", "\U0010fffd\U0010fffd", "\ud7ffb")
    store.publish([patient(n, name=[{"text": name}]) for n, name in enumerate(texts, 1)], NOW)
    assert ids(store, names(text, anywhere=anywhere)) == found


def study(number: int, patient_id: str) -> Draft:
    """A study of a Patient."""
    id_ = f"s{number}"
    subject = {"reference": f"Patient/{patient_id}"}
    body = {"resourceType": "ImagingStudy", "id": id_, "status": "available", "subject": subject}
    return Draft("ImagingStudy", id_, body)


def test_chain(store: Store) -> None:
    """What the Patient satisfies whom a study names; a deleted Patient satisfies nothing."""
    patients = [patient(1, gender="male"), patient(2, gender="female"), patient(3)]
    store.publish([*patients, *(study(n, f"p{n}") for n in (1, 2, 3)), study(4, "p9")], NOW)

    def found(clause: Clause) -> list[str]:
        chained = Clause("subject", Kind.CHAIN, (ChainValue("Patient", clause),))
        return [entry.id for entry in store.search(Query("ImagingStudy", (chained,))).entries]

    male = Clause("gender", Kind.TOKEN, (TokenValue(None, "male"),))
    assert found(male) == ["s1"]
    assert found(Clause("gender", Kind.TOKEN, male.values, negated=True)) == ["s3", "s2"]
    assert found(Clause("gender:missing", Kind.TOKEN, (TokenValue(None, "true"),))) == ["s3"]
    assert found(Clause("_id", Kind.ID, (TokenValue(None, "p2"), TokenValue(None, "p9")))) == ["s2"]
    store.publish([Draft("Patient", "p1", None)], NOW + SECOND)
    assert found(male) == []
    assert found(Clause("_id", Kind.ID, (TokenValue(None, "p1"),))) == []


def test_summary(store: Store) -> None:
    """The current version's elements that make a summary, with its number and moment; none of a deletion."""
    content = {"resourceType": "ImagingStudy", "id": "s1", "status": "available"}
    content |= {"subject": {"reference": "Patient/p1"}, "series": [{"uid": "1", "instance": [{"uid": "2"}]}]}
    store.publish([Draft("ImagingStudy", "s1", content)], NOW)
    store.publish([Draft("ImagingStudy", "s1", {**content, "description": "x"})], NOW + SECOND)
    found, whole = store.summary("ImagingStudy", "s1"), store.document("ImagingStudy", "s1")
    assert found is not None and found.body is not None
    assert whole is not None and whole.body is not None
    assert found[:5] == whole[:5]
    body, complete = json.loads(found.body), json.loads(whole.body)
    assert body["series"] == [{"uid": "1"}]
    assert body["meta"].pop("tag")[0]["code"] == "SUBSETTED"
    assert body["meta"] == complete["meta"]
    assert store.summary("ImagingStudy", "s2") is None
    store.publish([Draft("ImagingStudy", "s1", None)], NOW + 2 * SECOND)
    gone = store.summary("ImagingStudy", "s1")
    assert gone is not None
    assert (gone.deleted, gone.body, gone.version) == (True, None, 3)


def test_a_page_of_summaries(store: Store) -> None:
    """Entries are the versions of the moment, whole or in summary, however often they were asked for."""
    for number in range(3):
        series = [{"uid": "1", "number": number, "instance": [{"uid": "2"}]}]
        content = {"resourceType": "ImagingStudy", "id": "s1", "status": "available", "series": series}
        store.publish([Draft("ImagingStudy", "s1", content)], NOW + number * SECOND)
        for form, listed in ((Form.WHOLE, True), (Form.SUMMARY, False), (Form.WHOLE, True)):
            [entry] = store.search(Query("ImagingStudy", form=form)).entries
            [found] = json.loads(entry.body)["series"]
            assert (found["number"], "instance" in found) == (number, listed)


def test_schema_is_what_the_code_reads(store: Store) -> None:
    """A migrated database has the tables of schema.py, column for column, index for index."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with store._database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
    assert len(migrations.MIGRATIONS) == schema.VERSION


def test_migrating_twice_does_nothing(store: Store) -> None:
    """A database that is up to date stays as it is."""
    assert store.pending_migrations() == 0
    assert store.migrate() == 0


def test_newer_database_is_refused(store: Store, make_store: Callable[..., Store]) -> None:
    """One clear line, and nothing is touched."""
    with store._database.write() as connection:
        connection.exec_driver_sql("UPDATE setting SET value = '99' WHERE name = 'schema_version'")
    with pytest.raises(Misconfigured, match="newer pacsbridge"):
        make_store()
