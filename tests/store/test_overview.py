"""What operators ask of the whole store: arrivals by the hour, archives' backlogs, pages of dead letters."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import text

from pacsbridge.kernel.model import Facts
from pacsbridge.kernel.reports import Report
from pacsbridge.store import migrations
from pacsbridge.store.arrivals import HOUR, KEPT_HOURS
from pacsbridge.store.engine import Database
from pacsbridge.store.overview import ALL, Arrived, Backlog, Place, Wanted
from pacsbridge.store.records import Arrival, DeadLetter, Reported
from pacsbridge.store.store import Store

HERE = 470_000
"""An hour since 1970."""

NOW = HERE * HOUR + 5_000_000
AE, ARCHIVE = "urn:dicom:ae:CT1", "http://north.example/dicom-web"


def pushed(number: int, received: int = NOW, content: str = "") -> Arrival:
    """One instance of one study."""
    facts = Facts(
        patient={"key": "A|1"},
        study={"uid": "1.2"},
        series={"uid": "1.2.1"},
        instance={"uid": f"1.2.1.{number}", "sop_class": "1.2.840.10008.5.1.4.1.1.2"},
    )
    sha = sha256(f"{number} {content}".encode()).digest()
    return Arrival(facts, AE, received, "1.2.840.10008.1.2.1", f"pack:1:{number}:10", 10, sha)


def told(uid: str, description: str = "") -> Reported:
    """What an archive says about a study."""
    report = Report({"key": "A|1"}, {"uid": uid, "description": description})
    return Reported(uid, b"digest", "20240311", report)


def bury(store: Store, kind: str, key: str, why: str = "why", at: int = NOW) -> None:
    """One dead letter."""
    store.bury(DeadLetter(kind, key, why, AE), at)


def keys(found: Sequence[Any]) -> list[str]:
    """The keys of a page of letters."""
    return [one.letter.key for one in found]


# arrivals


def test_arrivals_are_counted_by_hour_and_source(store: Store) -> None:
    """By when an instance was received; what is sent again unchanged is no arrival."""
    store.put([pushed(1), pushed(2), pushed(3, NOW - HOUR)], {}, NOW)
    store.put([pushed(1), pushed(4)], {}, NOW)
    store.put_reports(ARCHIVE, [told("1.3"), told("1.4")], NOW)
    store.put_reports(ARCHIVE, [told("1.3"), told("1.4", "new")], NOW)
    assert store.overview.arrivals(HERE - 1) == [
        Arrived(HERE - 1, AE, 1, 0),
        Arrived(HERE, ARCHIVE, 0, 3),
        Arrived(HERE, AE, 3, 0),
    ]
    assert [one.hour for one in store.overview.arrivals(HERE)] == [HERE, HERE]


def test_an_index_that_is_rebuilt_counts_as_before(store: Store) -> None:
    """Neither twice nor at the hour of the rebuilding."""
    store.put([pushed(1), pushed(2, NOW - HOUR)], {}, NOW)
    store.put_reports(ARCHIVE, [told("1.3")], NOW)
    before = store.overview.arrivals(0)
    later = NOW + 30 * HOUR
    store.forget_facts()
    store.put([pushed(1), pushed(2, NOW - HOUR)], {}, later)
    store.restore_reports(later)
    assert store.overview.arrivals(0) == before


def test_old_counts_are_forgotten(store: Store) -> None:
    """The table does not grow for ever, and what is recovered late does not bring old hours back."""
    store.put([pushed(1)], {}, NOW)
    later = NOW + KEPT_HOURS * HOUR
    store.put([pushed(2, later), pushed(3, NOW)], {}, later)
    assert [(one.hour, one.instances) for one in store.overview.arrivals(0)] == [(HERE + KEPT_HOURS, 1)]


@pytest.mark.parametrize("store_url", ["sqlite"])
def test_no_question_scans_what_grows(store: Store) -> None:
    """Arrivals, backlogs and pages of letters are answered from an index, as SQLite tells without data."""
    with store._database.read() as connection:
        for query in (
            "SELECT hour FROM arrival WHERE hour >= 1 ORDER BY hour, source",
            "SELECT count(*) FROM report WHERE source = 'x' AND gone IS NULL AND body IS NOT NULL",
            "SELECT count(*) FROM report WHERE source = 'x' AND gone IS NULL AND digest IS NULL",
            "SELECT * FROM dead_letter ORDER BY last DESC, pk DESC LIMIT 50",
        ):
            plan = " ".join(str(row[3]) for row in connection.execute(text(f"EXPLAIN QUERY PLAN {query}")))
            assert "INDEX" in plan, plan
            assert "TEMP B-TREE" not in plan, plan


# backlogs


def test_a_backlog_tells_known_owed_and_parked(store: Store) -> None:
    """Of one archive; what is gone there counts nowhere."""
    store.put_reports(ARCHIVE, [told(f"1.{number}") for number in range(5)], NOW)
    store.withdraw_reports(ARCHIVE, ["1.0"], "unknown", NOW)
    store.forget_reports(["1.1"])
    store.park_report(ARCHIVE, "1.8", b"digest", None, NOW)
    store.park_report(ARCHIVE, "1.9", None, None, NOW)
    assert store.overview.backlog(ARCHIVE) == Backlog(known=4, owed=2, parked=1)
    assert store.overview.backlog("http://south.example") == Backlog(0, 0, 0)


# dead letters


def test_letters_come_in_pages_the_latest_first(store: Store) -> None:
    """Each once, also where several are of the same moment; none that comes meanwhile shifts them."""
    for number in range(7):
        bury(store, "refused", str(number), at=NOW + number // 3)
    found = store.overview.letters(limit=3)
    seen = keys(found)
    bury(store, "refused", "new", at=NOW + 100)
    while found:
        end = found[-1]
        found = store.overview.letters(after=Place(end.letter.last, end.pk), limit=3)
        seen += keys(found)
    assert seen == ["6", "5", "4", "3", "2", "1", "0"]


def test_letters_are_chosen_and_counted(store: Store) -> None:
    """By kind, reason and source, each by itself and together."""
    bury(store, "refused", "1", "broken")
    bury(store, "refused", "2", "too large")
    bury(store, "index", "3", "broken")
    wanted = Wanted("refused", "broken", AE)
    assert keys(store.overview.letters(wanted)) == ["1"]
    assert [store.overview.count_letters(one) for one in (ALL, wanted, Wanted(reason="broken"))] == [3, 1, 2]
    assert store.overview.count_letters(wanted._replace(source="urn:dicom:ae:NOBODY")) == 0
    groups = [(one.kind, one.reason, one.letters) for one in store.overview.letter_groups()]
    assert groups == [("index", "broken", 1), ("refused", "broken", 1), ("refused", "too large", 1)]


def test_only_what_was_there_is_discarded(store: Store) -> None:
    """What was buried after somebody has looked stays, be it of the same kind."""
    bury(store, "refused", "1")
    bury(store, "index", "2")
    last = store.overview.last_letter()
    bury(store, "refused", "3")
    assert store.overview.discard(Wanted("refused"), last) == 1
    assert keys(store.overview.letters()) == ["3", "2"]


def test_a_letter_is_found_by_its_number(store: Store) -> None:
    """With all that is on record of it; none under a number that nothing has."""
    letter = DeadLetter("index", "1.2", "why", AE, "pack:1:2:3")
    store.bury(letter, NOW)
    [filed] = store.overview.letters()
    found = store.overview.letter(filed.pk)
    assert found is not None
    assert found.letter == replace(letter, first=NOW, last=NOW)
    assert store.overview.letter(filed.pk + 1) is None


# databases of before


def test_a_migration_counts_what_has_come_before(store_url: str, tmp_path: Path) -> None:
    """Instances by when they were received, reports by when they said something."""
    database = Database(store_url, tmp_path)
    with database.write() as connection:
        operations = Operations(MigrationContext.configure(connection))
        for step in migrations.MIGRATIONS[:5]:
            step(operations)
        connection.execute(text("UPDATE setting SET value = '5' WHERE name = 'schema_version'"))
        for statement in _BEFORE:
            connection.execute(text(statement), {"now": NOW, "digest": b"x"})
    database.close()
    store = Store(store_url, tmp_path)
    store.migrate()
    assert store.overview.arrivals(0) == [
        Arrived(HERE - 1, AE, 1, 0),
        Arrived(HERE, ARCHIVE, 0, 1),
        Arrived(HERE, AE, 2, 0),
    ]
    store.close()


_BEFORE = (
    "INSERT INTO patient (pk, key, facts) VALUES (1, 'k', '{}')",
    "INSERT INTO study VALUES (1, '1.2', 1, '{}', '[]', 1, 1, NULL, NULL)",
    "INSERT INTO series (pk, study, uid, facts) VALUES (1, 1, '1.2.1', '{}')",
    *(
        "INSERT INTO instance (pk, uid, study, series, sop_class, transfer_syntax, location, size, sha256,"
        f" source, received) VALUES ({number}, '1.2.1.{number}', 1, 1, '1', '1', 'p:1:1', 1, :digest,"
        f" '{AE}', :now - {ago})"
        for number, ago in enumerate((0, 1, HOUR))
    ),
    f"INSERT INTO report VALUES ('{ARCHIVE}', '1.2', NULL, NULL, :digest, NULL, :now, :now, NULL)",
    f"INSERT INTO report (source, study_uid, fetched, told) VALUES ('{ARCHIVE}', '1.3', :now, :now)",
)
"""Three instances and a report as version 5 of the schema had them, and a study that could not be had."""
