"""Databases of earlier releases: what they hold is there after a migration, and found by what is new."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, text

from pacsbridge.errors import Unavailable
from pacsbridge.kernel.histories import Past
from pacsbridge.kernel.query import Query
from pacsbridge.kernel.query_parsing import SearchSettings, parse
from pacsbridge.kernel.search_parameters import INDEX_VERSION
from pacsbridge.store import migrations, publishing, refreshing, schema
from pacsbridge.store.engine import Database
from pacsbridge.store.publishing import body_of
from pacsbridge.store.records import moment
from pacsbridge.store.store import Store

NOW = 1_700_000_000_000_000
SETTINGS = SearchSettings("http://fhir.example/fhir")

PATIENT = {
    "resourceType": "Patient",
    "id": "p1",
    "identifier": [{"system": "urn:ids", "value": "1"}],
    "name": [{"family": "Ünal", "given": ["Ay"]}],
    "birthDate": "1970",
}


def study(number: int) -> dict[str, Any]:
    """A study, begun on a day of March 2024."""
    return {
        "resourceType": "ImagingStudy",
        "id": f"s{number}",
        "status": "available",
        "subject": {"reference": "Patient/p1"},
        "started": f"2024-03-{number:02}T08:00:00+01:00",
        "series": [{"uid": "1.2", "modality": {"code": "CT"}, "instance": [{"uid": "1.2.3"}]}],
    }


def insert(connection: Connection, table: str, **values: Any) -> None:
    """One row."""
    marks = ", ".join(f":{name}" for name in values)
    connection.execute(text(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})"), values)


def publish_as_before(
    connection: Connection, pk: int, content: Mapping[str, Any] | None, **name: str
) -> None:
    """A resource and its only version, or a deletion, as version 1 of the schema had them."""
    type_, id_ = (content["resourceType"], content["id"]) if content else (name["type"], name["id"])
    number, updated, body = (
        (2, NOW + pk, None) if content is None else (1, NOW + pk, body_of(content, 1, moment(NOW)))
    )
    row = {"version": number, "updated": updated, "deleted": content is None}
    insert(connection, "resource", pk=pk, type=type_, id=id_, digest=b"\1", study=None, **row)
    insert(connection, "version", resource=pk, body=body, **row)
    if content is not None:
        insert(connection, "search_token", resource=pk, param="old", system="", value="x")
        insert(connection, "search_string", resource=pk, param="old", value="x")
        insert(connection, "search_reference", resource=pk, param="old", type="", target="x")
        insert(connection, "search_date", resource=pk, param="old", low=1, high=2)


@pytest.fixture
def former(store_url: str, tmp_path: Path) -> str:
    """The address of a database of schema version 1, with a Patient, studies and a deleted one."""
    database = Database(store_url, tmp_path)
    with database.write() as connection:
        migrations.MIGRATIONS[0](Operations(MigrationContext.configure(connection)))
        connection.execute(text("UPDATE setting SET value = '1' WHERE name = 'schema_version'"))
        publish_as_before(connection, 1, PATIENT)
        for number in range(1, 6):
            publish_as_before(connection, number + 1, study(number))
        publish_as_before(connection, 9, None, type="ImagingStudy", id="gone")
        insert(connection, "setting", name="kept", value="as it was")
    database.close()
    return store_url


@pytest.fixture
def migrated(former: str, make_store: Callable[..., Store]) -> Store:
    """A store over that database, brought up to date."""
    return make_store()


def query(type_: str, *pairs: tuple[str, str]) -> Query:
    """A search."""
    return parse(type_, pairs, SETTINGS, strict=True)


def ids(store: Store, type_: str, *pairs: tuple[str, str]) -> list[str]:
    """The ids that a search finds, in order."""
    return [entry.id for entry in store.search(query(type_, *pairs)).entries]


STUDIES = [f"s{number}" for number in range(1, 6)]


@pytest.mark.parametrize(
    ("type_", "pairs", "found"),
    [
        ("Patient", [("name", "una")], ["p1"]),
        ("Patient", [("name:exact", "Ünal")], ["p1"]),
        ("Patient", [("birthdate", "1970")], ["p1"]),
        ("Patient", [("gender:missing", "true")], ["p1"]),
        ("ImagingStudy", [("started", "2024-03-02")], ["s2"]),
        ("ImagingStudy", [("started", "lt2024-03-02T07:30:00Z")], ["s2", "s1"]),
        ("ImagingStudy", [("_sort", "started")], STUDIES),
        ("ImagingStudy", [("_sort", "-started")], STUDIES[::-1]),
        ("ImagingStudy", [("_sort", "_lastUpdated")], STUDIES),
        ("ImagingStudy", [("_sort", "-_id")], STUDIES[::-1]),
        ("ImagingStudy", [("modality", "CT"), ("_sort", "_id")], STUDIES),
        ("ImagingStudy", [("patient.name", "ay"), ("_sort", "_id")], STUDIES),
        ("ImagingStudy", [("encounter:missing", "false")], []),
    ],
)
def test_what_was_published_is_found_by_what_is_new(
    migrated: Store, type_: str, pairs: Sequence[tuple[str, str]], found: list[str]
) -> None:
    """Names, dates, orders and chains find resources of before; former rows are gone."""
    assert ids(migrated, type_, *pairs) == found
    assert migrated.search(query(type_, *pairs, ("_summary", "count"))).total == len(found)


def test_what_was_published_has_a_summary(migrated: Store) -> None:
    """In a search and by itself, and its numbers and moments are what they were."""
    [entry] = migrated.search(query("ImagingStudy", ("_id", "s2"), ("_summary", "true"))).entries
    assert json.loads(entry.body)["series"] == [{"uid": "1.2", "modality": {"code": "CT"}}]
    summary, whole = migrated.summary("ImagingStudy", "s2"), migrated.document("ImagingStudy", "s2")
    assert summary is not None and whole is not None and whole.body is not None
    assert summary.body == entry.body
    assert (summary.version, summary.published) == (whole.version, whole.published) == (1, NOW + 3)
    assert json.loads(whole.body)["series"] == study(2)["series"]


@pytest.mark.parametrize(
    ("past", "found"),
    [
        (Past("ImagingStudy", None), ["gone", *STUDIES[::-1]]),
        (Past("ImagingStudy", None, since=NOW + 4), ["gone", *STUDIES[:1:-1]]),
        (Past("ImagingStudy", None, at=(NOW + 4, NOW + 5)), STUDIES[2::-1]),
        (Past("Patient", None), ["p1"]),
        (Past("ImagingStudy", "s3"), ["s3"]),
        (Past(None, None), ["gone", *STUDIES[::-1], "p1"]),
    ],
    ids=repr,
)
def test_what_was_published_has_a_history(migrated: Store, past: Past, found: list[str]) -> None:
    """Of a type as of one resource and of everything, with the deletions of before."""
    entries = migrated.history(past).entries
    assert [entry.id for entry in entries] == found
    assert [entry.id for entry in entries if entry.deleted] == [id_ for id_ in found if id_ == "gone"]


def test_pages_of_a_migrated_database_go_on_over_corrections(migrated: Store) -> None:
    """Versions of before have their dates too: the order stays theirs, whatever is published since."""
    asked = query("ImagingStudy", ("_sort", "started"), ("_count", "2"))
    page = migrated.search(asked)
    later = {**study(3), "started": "2024-04-01"}
    migrated.publish([publishing.Draft("ImagingStudy", "s3", later)], NOW)
    seen = [entry.id for entry in page.entries]
    while page.next is not None:
        page = migrated.search(Query("ImagingStudy", sort=asked.sort, count=2, after=page.next))
        seen += [entry.id for entry in page.entries]
    assert seen == STUDIES


def test_a_migration_keeps_the_rest(migrated: Store) -> None:
    """Settings, deletions and schema; nothing is left to do."""
    assert migrated.setting("kept", lambda: "new") == "as it was"
    gone = migrated.document("ImagingStudy", "gone")
    assert gone is not None
    assert (gone.deleted, gone.version) == (True, 2)
    with migrated._database.read() as connection:
        kept = connection.execute(text("SELECT value FROM setting WHERE name = 'index'")).scalar()
        old = [
            connection.execute(text(f"SELECT count(*) FROM {table.name} WHERE param = 'old'")).scalar()
            for table in schema.SEARCH_TABLES
        ]
    assert (kept, old) == (f"{INDEX_VERSION}:all", [0, 0, 0])
    assert (migrated.pending_migrations(), migrated.migrate()) == (0, 0)


def test_an_interrupted_refresh_goes_on(
    former: str, make_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was indexed before the power cut is not indexed again, the rest is."""
    monkeypatch.setattr(refreshing, "GROUP", 2)
    refresh = publishing.refresh
    begun: list[int] = []

    def failing(connection: Connection, after: int, limit: int) -> int | None:
        begun.append(after)
        if len(begun) == 3:
            raise Unavailable("away")
        return refresh(connection, after, limit)

    monkeypatch.setattr(publishing, "refresh", failing)
    with pytest.raises(Unavailable):
        make_store()
    assert begun == [0, 2, 4]
    store = make_store()
    assert begun == [0, 2, 4, 4, 6, 9]
    assert ids(store, "ImagingStudy", ("_sort", "started")) == STUDIES
    make_store()
    assert len(begun) == 6


def test_another_version_of_the_index_begins_anew(
    migrated: Store, make_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is indexed again, once, also where a refresh of the version before was interrupted."""
    migrated.publish([publishing.Draft("Patient", "p2", {**PATIENT, "id": "p2"})], NOW)
    with migrated._database.write() as connection:
        for table in (*schema.SEARCH_TABLES, schema.summary):
            connection.execute(table.delete())
        connection.execute(text(f"UPDATE setting SET value = '{INDEX_VERSION - 1}:4' WHERE name = 'index'"))
    assert ids(migrated, "Patient", ("name", "una")) == []
    store = make_store()
    assert ids(store, "Patient", ("name", "una")) == ["p2", "p1"]
    assert ids(store, "ImagingStudy", ("modality", "CT"), ("_sort", "started")) == STUDIES
    assert store.summary("Patient", "p1") is not None
    monkeypatch.setattr(publishing, "refresh", lambda *_arguments: pytest.fail("indexed again"))
    make_store()
