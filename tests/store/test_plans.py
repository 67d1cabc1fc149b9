"""How the databases go about searches: every statement finds its rows by an index.

What the store runs is recorded and explained, as if all clauses were common and as if all were rare.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from pacsbridge.kernel.cursors import Cursor
from pacsbridge.kernel.histories import Past
from pacsbridge.kernel.model import Facts
from pacsbridge.kernel.query import STUDY_ORDERS, Query, study_order
from pacsbridge.kernel.query_parsing import SearchSettings, parse
from pacsbridge.store import planning
from pacsbridge.store.planning import Counts, Planner
from pacsbridge.store.records import Arrival, Draft
from pacsbridge.store.sql import Ask, Sql, sql
from pacsbridge.store.store import Store

NOW = 1_700_000_000_000_000
SETTINGS = SearchSettings("http://fhir.example/fhir", default_count=2)

TABLES = (
    *("resource", "version", "summary", "search_token", "search_reference", "search_string"),
    *("instance", "study", "series", "patient", "study_key"),
)

SEARCHES: dict[str, Sequence[str]] = {
    "ImagingStudy": (
        "",
        "_id=s1,s2",
        "_id:not=s1",
        "_lastUpdated=gt2023",
        "_lastUpdated=2023-11",
        "_lastUpdated=ge2023-01-01T00:00:00Z&_lastUpdated=lt2025",
        "_source=urn:dicom:ae:CT1",
        "_profile=urn:p",
        "_tag=urn:tags|a",
        "_security:not=R",
        "identifier=A1",
        "identifier=urn:ids|A1",
        "identifier=urn:ids|",
        "identifier=|A1",
        "identifier=1.2.3",
        "identifier=A1,A2,A3",
        "identifier:of-type=urn:types|ACSN|A1",
        "identifier:missing=true",
        "identifier:missing=false",
        "patient=p1",
        "patient=Patient/p1,Patient/p2",
        "subject=http://other.example/fhir/Patient/p1",
        "subject:Patient=p1",
        "patient:identifier=urn:ids|1",
        "patient:missing=true",
        "basedon:identifier=A1",
        "bodysite:text=chest",
        "reason:text=pain",
        "modality=CT",
        "modality=CT,MR",
        "modality:not=SR",
        "modality:not=CT,MR",
        "status:not=cancelled",
        "instance=1.2.3",
        "instance:not=1.2.3",
        "instance:missing=true",
        "instance:missing=false",
        "series=1.2",
        "dicom-class=1.2.840.10008.5.1.4.1.1.2",
        "endpoint=Endpoint/e1",
        "performer=Practitioner/x",
        "started=2024-02-29",
        "started=2024-02-29T10:00:00Z",
        "started=ge2024-02-01&started=lt2024-03-01",
        "started=ge2024-02-01&started=lt2024-03-01T00:00:00Z",
        "started=2024-02-28,2024-02-29",
        "started=ne2024-02-29",
        "started=sa2024-02",
        "started=eb2024-02",
        "started=ap2024-02-29",
        "started:missing=true",
        "started:missing=false",
        "patient.name=smith",
        "patient.name:contains=mit",
        "patient.name:exact=Smith",
        "patient.identifier=urn:ids|1",
        "patient.identifier=1,2",
        "patient.birthdate=1970",
        "patient.gender:not=male",
        "patient.gender:missing=true",
        "patient.gender:missing=false",
        "patient._id=p1",
        "patient._lastUpdated=gt2023",
        "endpoint.status=active",
        "endpoint.name=main",
        "modality=CT&status=available&started=gt2024",
        "modality=CT&patient=p1",
        "modality:not=CT&status:not=cancelled",
        "patient.name=smith&modality=CT&_lastUpdated=gt2023",
        "_sort=started",
        "_sort=-started",
        "_sort=_lastUpdated",
        "_sort=-_lastUpdated",
        "_sort=_id",
        "_sort=-started,_lastUpdated",
        "modality=CT&_sort=-started",
        "modality=CT&_sort=_lastUpdated",
        "modality=CT&_sort=_id",
        "started=gt2024&_sort=started",
        "started=gt2024&_sort=-_lastUpdated",
        "_lastUpdated=gt2023&_sort=started",
        "patient.name=smith&_sort=-started",
        "_total=accurate",
        "modality=CT&_total=accurate",
        "modality:not=CT&_summary=count",
        "started=gt2024&_summary=count",
        "patient.name=smith&_summary=count",
        "modality=CT&started=gt2024&_summary=count",
        "_summary=true",
        "_summary=text",
        "_elements=started",
        "_include=ImagingStudy:patient",
        "_include=*&_sort=started",
        "_include=ImagingStudy:endpoint:Endpoint",
    ),
    "Patient": (
        "name=smi",
        "name:contains=mit",
        "name:exact=Smith",
        "family=smith,jones",
        "given:missing=true",
        "given:missing=false",
        "birthdate=1970",
        "birthdate=lt1970-01-01",
        "gender=male",
        "gender:not=male",
        "_sort=birthdate",
        "_sort=-birthdate,_id",
        "name=smi&_sort=-birthdate",
        "_revinclude=ImagingStudy:patient",
        "_revinclude=ImagingStudy:*",
    ),
    "Endpoint": (
        "connection-type=dicom-wado-rs",
        "payload-type=any",
        "name=main",
        "organization=Organization/o",
        "organization:identifier=x",
        "_revinclude=ImagingStudy:endpoint",
    ),
}

CASES = [(type_, text) for type_, texts in SEARCHES.items() for text in texts]

PASTS = [
    Past("ImagingStudy", "s1"),
    Past("ImagingStudy", "s1", since=NOW, at=(NOW, NOW + 1)),
    Past("ImagingStudy", "s1", count=0),
    Past("ImagingStudy", None),
    Past("ImagingStudy", None, since=NOW),
    Past("ImagingStudy", None, at=(NOW, NOW + 1)),
    Past("ImagingStudy", None, count=0),
    Past(None, None),
    Past(None, None, since=NOW),
    Past(None, None, at=(NOW, NOW + 1)),
]

WALK = re.compile(r"! (SCAN b USING INDEX|Index Scan) ix_version_updated\b")
"""A history of everything goes along its index from the newest version on, as far as its page."""


KEYS = re.compile(r"! (SCAN k USING (COVERING )?INDEX|Index (Only )?Scan( Backward)?) ix_study_key_")
"""A list in the order of what studies are found by begins at the beginning of that index."""


def study(number: int) -> Draft:
    """A study."""
    body = {
        "resourceType": "ImagingStudy",
        "id": f"s{number}",
        "status": "available",
        "subject": {"reference": "Patient/p1"},
        "identifier": [{"system": "urn:ids", "value": "A1"}],
        "started": "2024-02-29T10:00:00Z",
        "endpoint": [{"reference": "Endpoint/e1"}],
        "series": [{"uid": "1.2", "modality": {"system": "urn:dcm", "code": "CT" if number % 2 else "MR"}}],
    }
    return Draft("ImagingStudy", f"s{number}", body, study=number)


class Recorder:
    """Keeps what a store asks its database."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.statements: list[Sql] = []
        self._asking = store._database.asking

    @contextmanager
    def asking(self, *arguments: Any) -> Iterator[Ask]:
        """As Database.asking."""
        with self._asking(*arguments) as ask:

            def recorded(statement: Sql) -> Sequence[tuple[Any, ...]]:
                self.statements.append(statement)
                return ask(statement)

            yield recorded

    def run(self, query: Query) -> None:
        """Ask for the first page, one further on and one further back."""
        self.store.search(query)
        with self.asking() as ask:
            order = Planner(ask, Counts()).plan(query).order
        fields = [field for field, _descends in order if field != "pk"]
        keys = (*("s1" if field == "id" else NOW for field in fields), 3)
        for back in (False, True):
            self.store.search(replace(query, after=Cursor(order, keys, NOW, back)))

    def faults(self, allowed: re.Pattern[str] | None = None) -> list[str]:
        """The statements that look at all of a table, with how the database goes about them."""
        found = []
        for statement in dict.fromkeys(self.statements):
            steps = self.steps(statement)
            bad = [step for step in steps if step.startswith("! ") and not (allowed and allowed.search(step))]
            if bad:
                found.append("\n".join((statement.text, repr(statement.values), *steps)))
        return found

    def steps(self, statement: Sql) -> list[str]:
        """How the database goes about a statement."""
        return self._embedded_plan(statement) if self.store.embedded else self._plan_of_server(statement)

    def _embedded_plan(self, statement: Sql) -> list[str]:
        """SQLite's steps; `!` marks those that have no index to search in."""
        with self._asking() as ask:
            rows = ask(Sql(f"EXPLAIN QUERY PLAN {statement.text}", statement.values))
        names = {*TABLES, *re.findall(rf"\b(?:{'|'.join(TABLES)}) (\w+)", statement.text)}
        return [f"{'! ' if _looks_at_all(step, names) else ''}{step}" for *_, step in rows]

    def _plan_of_server(self, statement: Sql) -> list[str]:
        """PostgreSQL's steps, marked alike; it looks at all only where it has to."""
        with self._asking() as ask:
            indexes = ask(sql("SELECT indexname, indexdef FROM pg_indexes"))
            ask(sql("SELECT set_config('enable_seqscan', 'off', true)"))
            [[plan]] = ask(Sql(f"EXPLAIN (FORMAT JSON) {statement.text}", statement.values))
        leading = {
            name: definition.partition("(")[2].split(",")[0].strip(')" ') for name, definition in indexes
        }
        return list(_nodes(plan[0]["Plan"], leading))


def _looks_at_all(step: str, names: set[str]) -> bool:
    found = re.match(r"SCAN (\w+)", step)
    return "AUTOMATIC" in step or (found is not None and found[1] in names)


def _nodes(node: Any, leading: Mapping[str, str], depth: int = 0) -> Iterator[str]:
    """The steps of a plan; marked are those that have no condition on the first column of their index."""
    kind, index = node["Node Type"], node.get("Index Name")
    searched = index is not None and re.search(rf"\b{leading[index]}\b", node.get("Index Cond", ""))
    bad = (index is not None and not searched) or ("Seq Scan" in kind and node["Relation Name"] in TABLES)
    step = " ".join(
        filter(None, (kind, *map(node.get, ("Index Name", "Relation Name", "Alias", "Index Cond"))))
    )
    yield f"{'! ' if bad else ''}{'  ' * depth * (not bad)}{step}"
    for below in node.get("Plans", ()):
        yield from _nodes(below, leading, depth + 1)


@pytest.fixture(scope="module")
def explained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Recorder]]:
    """Gives the recorder of a filled store of each engine."""
    stores: dict[str, Store] = {}

    def made(engine: str) -> Recorder:
        if engine not in stores:
            url = engine if engine == "sqlite" else request.getfixturevalue("postgresql_url")
            stores[engine] = filled(url, tmp_path_factory.mktemp("plans"))
        return Recorder(stores[engine])

    yield made
    for store in stores.values():
        store.close()


def filled(url: str, folder: Any) -> Store:
    """A store with some resources."""
    if url != "sqlite":
        empty(url)
    store = Store(url, folder)
    store.migrate()
    facts = Facts({"key": "k"}, {"uid": "1"}, {"uid": "1.2"}, {"uid": "1.2.3", "sop_class": "1.2"})
    store.put([Arrival(facts, "urn:x", NOW, "1.2", "0:0", 1, sha256(b"").digest())], {}, NOW)
    patient = {"resourceType": "Patient", "id": "p1", "name": [{"family": "Smith"}], "gender": "male"}
    endpoint = {"resourceType": "Endpoint", "id": "e1", "status": "active", "name": "Main"}
    store.publish([Draft("Patient", "p1", patient), Draft("Endpoint", "e1", endpoint)], NOW)
    store.publish([study(number) for number in range(1, 6)], NOW)
    store.publish([Draft("ImagingStudy", "s5", None)], NOW)
    return store


def empty(url: str) -> None:
    """Leave nothing in a server's database."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


@pytest.fixture(params=["sqlite", "postgresql"])
def recorder(
    request: pytest.FixtureRequest,
    explained: Callable[[str], Recorder],
    monkeypatch: pytest.MonkeyPatch,
) -> Recorder:
    """A recorder of either engine; its store has counted nothing yet."""
    found = explained(request.param)
    monkeypatch.setattr(found.store._database, "asking", found.asking)
    monkeypatch.setattr(found.store, "_counts", Counts())
    return found


@pytest.mark.parametrize("few", [0, planning.FEW], ids=["common", "rare"])
@pytest.mark.parametrize(("type_", "text"), CASES)
def test_searches_go_by_indexes(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, few: int, type_: str, text: str
) -> None:
    """Whatever is asked, on the first page and behind it, forwards and backwards."""
    monkeypatch.setattr(planning, "FEW", few)
    pairs = [tuple(part.split("=", 1)) for part in text.split("&") if part]
    recorder.run(parse(type_, [(name, value) for name, value in pairs], SETTINGS, strict=True))
    assert recorder.statements
    faults = recorder.faults()
    assert not faults, "\n\n".join(["", *faults])


@pytest.mark.parametrize("few", [0, planning.FEW], ids=["common", "rare"])
@pytest.mark.parametrize("field", STUDY_ORDERS)
def test_lists_of_studies_go_by_indexes(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, few: int, field: str
) -> None:
    """In each order that studies alone have, along its index; PostgreSQL would rather sort so little."""
    monkeypatch.setattr(planning, "FEW", few)
    for text in ("", "modality=CT", "modality=CT&started=gt2024", "patient.name=smith"):
        pairs = [
            (name, value) for name, _, value in (part.partition("=") for part in text.split("&")) if name
        ]
        query = parse("ImagingStudy", pairs, SETTINGS, strict=True)
        order = study_order(field, descends=True)
        recorder.store.search(replace(query, sort=order))
        keys = (3 if field in ("series", "instances") else "x", 3)
        for back in (False, True):
            recorder.store.search(replace(query, sort=order, after=Cursor(order, keys, 0, back)))
    faults = recorder.faults(KEYS)
    assert not faults, "\n\n".join(["", *faults])
    pages = [one for one in recorder.statements if "FROM study_key k" in one.text]
    assert len(pages) >= (12 if few == 0 else 3)
    if recorder.store.embedded:
        steps = [step for one in pages for step in recorder.steps(one)]
        assert not [step for step in steps if step.endswith("FOR ORDER BY")]


@pytest.mark.parametrize(("type_", "text"), CASES)
def test_what_has_changed_since_is_found_by_its_moment(
    explained: Callable[[str], Recorder], monkeypatch: pytest.MonkeyPatch, type_: str, text: str
) -> None:
    """Behind the first page few resources have changed since: no other index has so few to look at."""
    recorder = explained("sqlite")
    monkeypatch.setattr(recorder.store._database, "asking", recorder.asking)
    monkeypatch.setattr(recorder.store, "_counts", Counts())
    monkeypatch.setattr(planning, "FEW", 0)
    pairs = [tuple(part.split("=", 1)) for part in text.split("&") if part]
    recorder.run(parse(type_, [(name, value) for name, value in pairs], SETTINGS, strict=True))
    for statement in recorder.statements:
        if "resource r CROSS JOIN version v" in statement.text:
            first, *_ = recorder.steps(statement)
            assert first.startswith("SEARCH r USING INDEX ix_resource_type_updated (type=? AND updated>?"), (
                f"{first}\n{statement.text}"
            )


@pytest.mark.parametrize("past", PASTS, ids=repr)
def test_histories_go_by_indexes(recorder: Recorder, past: Past) -> None:
    """Of one resource, of a type, of everything; the first page and one behind it."""
    recorder.store.history(past)
    order = (("updated", True), ("resource", True), ("version", True))
    recorder.store.history(replace(past, after=Cursor(order, (NOW, 3, 1), 0)))
    faults = recorder.faults(WALK if past.type is None else None)
    assert not faults, "\n\n".join(["", *faults])


def test_reads_go_by_indexes(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """One resource, a version of it, its number and its summary; an instance by its UID."""

    def one(statement: Sql) -> Sequence[tuple[Any, ...]]:
        with recorder.asking() as ask:
            return ask(statement)

    monkeypatch.setattr(recorder.store._database, "one", one)
    store = recorder.store
    store.version("ImagingStudy", "s1")
    store.document("ImagingStudy", "s1")
    store.document("ImagingStudy", "s1", 1)
    store.summary("ImagingStudy", "s1")
    store.standing("1.2.3")
    assert len(recorder.statements) == 5
    assert recorder.faults() == []


@pytest.mark.parametrize("condition", ["r.digest = ?", "r.high > ?", "r.version = ?", "r.pk + 0 = ?"])
def test_a_look_at_all_would_be_found(recorder: Recorder, condition: str) -> None:
    """The test sees what it is there to see: a condition that no index is for, a walk along a whole index."""
    value = b"" if "digest" in condition else 1
    with recorder.asking() as ask:
        ask(sql(f"SELECT r.pk FROM resource r WHERE {condition}", value))
    assert len(recorder.faults()) == 1
