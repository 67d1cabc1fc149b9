"""The audit log on both engines: a chain that nothing changes, searches, retention, positions."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pacsbridge.errors import NotUnderstood
from pacsbridge.kernel.audit import Event, Who
from pacsbridge.kernel.query_parsing import SearchSettings, parse
from pacsbridge.kernel.search_parameters import SEARCHED
from pacsbridge.store.audit import FILE, AuditLog

SETTINGS = SearchSettings("https://pacs.example/fhir")
AT = 1_700_000_000_000_000
DAY = 86_400_000_000

APP = Who("10.0.0.5", client="viewer", user="dr.who", issuer="https://login.example")
CT1 = Who("10.0.0.7", title="CT1")
EVENTS = [
    Event("start", server="https://pacs.example/fhir"),
    Event("store", who=CT1, server="PB", patient="Patient/p1", study="1.2.3", resource="ImagingStudy/1.2.3"),
    Event("read", who=APP, server="f", patient="Patient/p1", resource="ImagingStudy/1.2.3"),
    Event("read", "8", who=APP, server="f", resource="ImagingStudy/1.2.4"),
    Event("search", who=APP, server="f", query="AAAA"),
    Event("find", who=replace(CT1, title="MR 2"), server="PB", query="AAAA"),
    Event("read", who=APP, server="f", patient="https://ehr.example/fhir/Patient/7", resource="Patient/7"),
]


@pytest.fixture
def make_log(store_url: str, tmp_path: Path) -> Iterator[Callable[[], AuditLog]]:
    """Opens logs over one database, as processes would; closes them at the end."""
    logs: list[AuditLog] = []

    def make() -> AuditLog:
        logs.append(AuditLog(store_url, tmp_path))
        logs[-1].migrate()
        return logs[-1]

    yield make
    for log in logs:
        log.close()


@pytest.fixture
def log(make_log: Callable[[], AuditLog]) -> AuditLog:
    """A log with one event a day."""
    made = make_log()
    for day, event in enumerate(EVENTS):
        made.append([event], AT + day * DAY)
    return made


def execute(log: AuditLog, *statements: str) -> None:
    """Statements past the log."""
    with log._database.write() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def found(log: AuditLog, *pairs: tuple[str, str]) -> list[int]:
    """The numbers of the records that a search finds, in its order."""
    return [int(one.id) for one in log.search(parse("AuditEvent", pairs, SETTINGS, strict=True)).entries]


def test_what_is_recorded_holds(log: AuditLog) -> None:
    """Records are numbered from one, are the events that were given, and the chain is whole."""
    records = log.following(0, 100)
    assert [record.number for record in records] == [1, 2, 3, 4, 5, 6, 7]
    assert [record.event for record in records] == EVENTS
    assert log.broken() is None
    assert log.head().number == 7


CHANGES = (
    "UPDATE audit_event SET at = at + 1 WHERE seq = 3",
    "DELETE FROM audit_event WHERE seq = 3",
    "DELETE FROM audit_event",
    "UPDATE audit_anchor SET through = -1",
    "DELETE FROM audit_anchor",
)


@pytest.mark.parametrize("statement", CHANGES)
def test_the_database_refuses_changes(log: AuditLog, statement: str) -> None:
    """Even whoever has a connection to it has to take the triggers away first."""
    with pytest.raises(Exception, match=r"index refuses|index is away"):
        execute(log, statement)
    assert [record.event for record in log.following(0, 100)] == EVENTS


FORGERIES = {
    "another content": ('UPDATE audit_event SET content = \'{"kind":"stop"}\' WHERE seq = 3', 3),
    "another moment": ("UPDATE audit_event SET at = at + 1000 WHERE seq = 5", 5),
    "one is missing": ("DELETE FROM audit_event WHERE seq = 4", 4),
    "the first is missing": ("DELETE FROM audit_event WHERE seq = 1", 1),
    "another number": ("UPDATE audit_event SET seq = 99 WHERE seq = 7", 7),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_found(log: AuditLog, store_url: str, name: str) -> None:
    """Whoever takes the triggers away is found out by the chain, with the first record that does not hold."""
    statement, number = FORGERIES[name]
    table = "" if store_url == "sqlite" else " ON audit_event"
    execute(log, *(f"DROP TRIGGER audit_event_{one}{table}" for one in ("fixed", "kept")), statement)
    assert log.broken() == number


def test_one_chain_of_many_writers(make_log: Callable[[], AuditLog]) -> None:
    """Processes and threads write at the same time: no number twice, none left out, and the chain holds."""
    logs = [make_log() for _ in range(3)]

    def write(log: AuditLog) -> None:
        for _ in range(10):
            log.append([EVENTS[1], EVENTS[2]], AT)

    threads = [threading.Thread(target=write, args=(log,)) for log in logs for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert logs[0].broken() is None
    assert [record.number for record in logs[0].following(0, 1000)] == list(range(1, 121))
    assert len(found(logs[0], ("altid", "CT1"), ("_count", "1000"))) == 60


def test_a_clock_that_goes_back(make_log: Callable[[], AuditLog]) -> None:
    """Moments of records stay in the order of their numbers."""
    log = make_log()
    log.append([EVENTS[0]], AT)
    log.append([EVENTS[0]], AT - DAY)
    assert [record.recorded for record in log.following(0, 10)] == [AT, AT]


SEARCHES: list[tuple[str, str, list[int]]] = [
    ("patient", "p1", [3, 2]),
    ("patient", "Patient/p1", [3, 2]),
    ("patient", "https://ehr.example/fhir/Patient/7", [7]),
    ("patient", "p9", []),
    ("patient:missing", "true", [6, 5, 4, 1]),
    ("patient:missing", "false", [7, 3, 2]),
    ("entity", "ImagingStudy/1.2.3", [3, 2]),
    ("entity", "1.2.4", [4]),
    ("entity", "Patient/p1", [3, 2]),
    ("entity:identifier", "urn:oid:1.2.3", [2]),
    ("entity:missing", "true", [6, 5, 1]),
    ("agent:identifier", "viewer", [7, 5, 4, 3]),
    ("agent:identifier", "https://login.example|dr.who", [7, 5, 4, 3]),
    ("agent-name", "mr", [6]),
    ("agent-name:exact", "CT1", [2]),
    ("agent-name:missing", "true", [7, 5, 4, 3, 1]),
    ("altid", "CT1", [2]),
    ("altid:not", "CT1", [7, 6, 5, 4, 3, 1]),
    ("address", "10.0.0.7", [6, 2]),
    ("action", "C", [2]),
    ("type", "http://dicom.nema.org/resources/ontology/DCM|110112", [6]),
    ("subtype", "read,search", [7, 5, 4, 3]),
    ("outcome", "8", [4]),
    ("outcome:not", "0", [4]),
    ("date", "2023-11-15", [2]),
    ("date", "ge2023-11-19", [7, 6]),
    ("date", "lt2023-11-16T00:00:00Z", [2, 1]),
    ("_lastUpdated", "gt2023-11-19", [7]),
    ("_id", "4,2,x,99999999999999999999", [4, 2]),
    ("_sort", "date", [1, 2, 3, 4, 5, 6, 7]),
]


def test_searches(log: AuditLog) -> None:
    """Each finds what it says, the newest first."""
    for name, value, expected in SEARCHES:
        assert found(log, (name, value)) == expected, (name, value)
    assert found(log, ("patient", "p1"), ("action", "R"), ("date", "2023")) == [3]


def test_pages_and_totals(log: AuditLog) -> None:
    """Pages lead forwards and back without skipping; what arrives meanwhile moves nothing."""
    query = parse("AuditEvent", (("_count", "3"), ("_total", "accurate")), SETTINGS)
    first = log.search(query)
    assert ([one.id for one in first.entries], first.total) == (["7", "6", "5"], 7)
    log.append(EVENTS[:2], AT + 30 * DAY)
    second = log.search(replace(query, after=first.next))
    assert [one.id for one in second.entries] == ["4", "3", "2"]
    back = log.search(replace(query, after=second.previous))
    assert [one.id for one in back.entries] == ["7", "6", "5"]
    last = log.search(replace(query, after=second.next))
    assert ([one.id for one in last.entries], last.next) == (["1"], None)


def test_reads(log: AuditLog) -> None:
    """A record has one version; what is no number of a record is nothing."""
    document = log.document("AuditEvent", "2")
    assert document is not None and document.body is not None and b'"110104"' in document.body
    assert log.version("AuditEvent", "2") == (1, AT + DAY, False)
    for id_ in ("0", "8", "02", "x", "²", "9" * 30):
        assert log.document("AuditEvent", id_) is None
    assert log.document("AuditEvent", "2", 2) is None
    assert log.document("Patient", "2") is None


def test_retention_leaves_an_anchor(log: AuditLog) -> None:
    """What is old goes; that it went is on record, with the hash up to which; the rest still holds."""
    before = log.following(2, 1)[0]
    assert log.forget(AT + 3 * DAY, AT + 20 * DAY) == 3
    assert [record.number for record in log.following(0, 10)] == [4, 5, 6, 7, 8]
    pruned = log.following(7, 1)[0].event
    assert (pruned.kind, pruned.details["through"]) == ("log-pruned", "3")
    assert log.broken() is None
    assert log.forget(AT + 3 * DAY, AT + 20 * DAY) == 0
    assert log.forget(AT + 90 * DAY, AT + 100 * DAY) == 5
    assert [record.number for record in log.following(0, 10)] == [9]
    assert (log.broken(), before.number) == (None, 3)


def test_retention_waits_for_destinations(log: AuditLog) -> None:
    """What has not been forwarded is kept, until nobody waits for it any more."""
    log.reach("syslog", log.reached("syslog"))
    execute(log, "UPDATE audit_forward SET through = 2")
    assert log.forget(AT + 90 * DAY, AT + 100 * DAY) == 2
    log.drop_others([])
    assert log.forget(AT + 90 * DAY, AT + 100 * DAY) == 5


def test_positions(log: AuditLog) -> None:
    """A destination that is new begins with what comes; its position outlives the process."""
    assert log.reached("a") == 7
    log.append([EVENTS[0]], AT)
    assert log.reached("a") == 7
    log.reach("a", 8)
    assert log.reached("a") == 8
    assert log.reached("b") == 8


def test_one_of_several_processes_forwards(log: AuditLog) -> None:
    """Whoever claims a destination has it until it lets go of it for long enough."""
    log.reached("a")
    assert log.claim("a", "one", 10, 20) == 7
    assert log.claim("a", "two", 15, 25) is None
    assert log.claim("a", "one", 16, 26) == 7
    log.reach("a", 9)
    assert log.claim("a", "two", 27, 37) == 9
    assert log.claim("b", "two", 27, 37) is None


def test_changed_settings(log: AuditLog) -> None:
    """What a value was before is told once."""
    assert log.changed("settings", "a") == ""
    assert log.changed("settings", "a") is None
    assert log.changed("settings", "b") == "a"


def test_a_failed_append_leaves_nothing(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The facets that were made with it are made again."""
    new = Event("read", who=Who("10.9.9.9"), server="f")
    with monkeypatch.context() as patch:
        patch.setattr("pacsbridge.store.audit._found_by", lambda _event: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            log.append([new], AT)
    log.append([new], AT)
    assert found(log, ("address", "10.9.9.9")) == [8]
    assert log.broken() is None


def test_the_embedded_log_is_a_file_of_its_own(tmp_path: Path) -> None:
    """Writing it neither waits for the index nor makes what was read from it look old."""
    log = AuditLog("sqlite", tmp_path)
    log.migrate()
    log.append(EVENTS, AT)
    log.close()
    tables: Any = sqlite3.connect(tmp_path / FILE).execute("SELECT count(*) FROM audit_event").fetchone()
    assert tables == (7,)
    assert [path.name for path in tmp_path.glob("index*")] == []


NAMES = [
    f"{code}:{modifier}" if modifier else code
    for code, parameter in SEARCHED["AuditEvent"].items()
    for modifier in ("", *parameter.supported_modifiers)
]
TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["true", "p1", "Patient/p1", "a|b", "a|", "|b", "2023", "ge2023-11-15", "%_!", "1,2"]),
)


@given(pairs=st.lists(st.tuples(st.sampled_from(NAMES), TEXTS), max_size=3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_asked_is_answered(log: AuditLog, pairs: list[tuple[str, str]]) -> None:
    """A search is understood and answered, or refused as not understood; nothing else comes of it."""
    try:
        query = parse("AuditEvent", pairs, SETTINGS, strict=True)
    except NotUnderstood:
        return
    page = log.search(replace(query, counted=True))
    assert page.total == len(page.entries) <= len(EVENTS)
