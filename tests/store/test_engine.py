"""Connections: what is a fault of the data and what of the database, waits that end, nothing left behind."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from pacsbridge.errors import NotUnderstood, PacsbridgeError, TooCostly, Unavailable
from pacsbridge.kernel.query import Query
from pacsbridge.store import engine, readers, search
from pacsbridge.store.records import DeadLetter, Draft
from pacsbridge.store.sql import Patience, sql
from pacsbridge.store.store import Store

NOW = 1_700_000_000_000_000


def letter(key: str) -> DeadLetter:
    """A dead letter."""
    return DeadLetter("refused", key, "reason", "urn:x")


def idle(store: Store) -> bool:
    """Whether every connection is back in the pool."""
    pool: Any = store._database.engine.pool
    return bool(pool.checkedout() == 0)


@pytest.mark.parametrize("key", ["1.2\x003", "1.2\ud8003"])
def test_point_read_after_a_fault(store: Store, key: str) -> None:
    """A value that the driver refuses takes no connection with it."""
    for _time in range(30):
        try:
            assert store.standing(key) is None
        except PacsbridgeError:
            continue
    assert idle(store)
    assert store.standing("1.2.3") is None


def test_missing_table_is_no_fault_of_the_data(store: Store) -> None:
    """A database that lacks its tables is away: instances have to wait, not to be given up."""
    with store._database.engine.connect() as connection:
        connection.exec_driver_sql("DROP TABLE dead_letter")
        connection.commit()
    with pytest.raises(Unavailable):
        store.bury(letter("1.2.3"), NOW)
    assert idle(store)


def test_value_beyond_a_column(store: Store) -> None:
    """A fault of the data; neither the message nor its cause quotes a value."""
    statement = text("INSERT INTO setting (name, value) VALUES (:n, :v)")
    with store._database.write() as connection:
        connection.execute(statement, {"n": "Canary^Patient", "v": "1"})
    with pytest.raises(NotUnderstood) as caught, store._database.write() as connection:
        connection.execute(statement, {"n": "Canary^Patient", "v": "2"})
    assert "Canary" not in str(caught.value)
    assert "parameters" not in str(caught.value.__cause__) or "hide" in str(caught.value.__cause__)
    assert idle(store)


def test_writers_do_not_wait_for_ever(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one writer hangs, the next gives up; afterwards writing goes on."""
    monkeypatch.setattr(engine, "_TURN_SECONDS", 0.05)
    inside, leave = threading.Event(), threading.Event()

    def hang() -> None:
        with store._database.write():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=hang)
    thread.start()
    assert inside.wait(10)
    with pytest.raises(Unavailable, match="busy"):
        store.bury(letter("1.2.3"), NOW)
    leave.set()
    thread.join(10)
    store.bury(letter("1.2.3"), NOW)
    assert len(store.dead_letters()) == 1


def test_reader_sees_one_moment(store: Store) -> None:
    """What is committed between two queries of one read is not seen by the second."""
    count = text("SELECT count(*) FROM dead_letter")
    with store._database.read() as connection:
        assert connection.execute(count).scalar() == 0
        store.bury(letter("1.2.3"), NOW)
        assert connection.execute(count).scalar() == 0
    assert len(store.dead_letters()) == 1


def test_writer_sees_what_was_committed_while_it_waited(make_store: Callable[..., Store]) -> None:
    """Two processes that write in turn: the second begins with what the first has done."""
    first, second = make_store(), make_store()
    seen: list[Any] = []
    began = threading.Event()

    def write() -> None:
        began.set()
        with second._database.write() as connection:
            seen.append(connection.execute(text("SELECT count(*) FROM dead_letter")).scalar())

    thread = threading.Thread(target=write)
    with first._database.write() as connection:
        thread.start()
        began.wait(10)
        connection.exec_driver_sql(
            "INSERT INTO dead_letter (kind, key, reason, source, attempts, first, last)"
            " VALUES ('a', 'b', 'c', 'd', 1, 1, 1)"
        )
        threading.Event().wait(0.2)
    thread.join(10)
    assert seen == [1]


def test_long_texts_are_found_whole(store: Store) -> None:
    """A key beyond what an index takes is bounded, and still tells one from another."""
    for end in "ab":
        store.bury(letter("9" * 5000 + end), NOW)
        store.bury(letter("9" * 5000 + end), NOW)
    assert sorted(found.attempts for found in store.dead_letters()) == [2, 2]


FOREVER = sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n")
"""A statement that never ends."""


@pytest.fixture
def hasty(store: Store) -> Store:
    """A store whose readers are stopped soon, on either engine."""
    if not store.embedded:
        store._database.engine.dispose()

        @event.listens_for(store._database.engine, "checkout")
        def _hurry(connection: Any, _record: Any, _proxy: Any) -> None:
            connection.execute("SET statement_timeout = 100")
            connection.commit()

    return store


def test_reading_too_long_is_too_costly(hasty: Store) -> None:
    """It is stopped, and the connection is as good as before: it reads, and writes can go on."""
    for _time in range(3):
        with pytest.raises(TooCostly), hasty._database.asking(Patience(0.05)) as ask:
            ask(FOREVER)
        assert idle(hasty)
        with hasty._database.asking() as ask:
            assert [tuple(row) for row in ask(sql("SELECT 1"))] == [(1,)]
        hasty.publish([Draft("Patient", "p1", {"resourceType": "Patient", "id": "p1"})], NOW)
        assert [entry.id for entry in hasty.search(Query("Patient")).entries] == ["p1"]
        assert hasty.version("Patient", "p1") is not None


def test_a_search_that_takes_too_long_is_too_costly(hasty: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told apart from a database that is away; the next search is answered."""
    hasty.publish([Draft("Patient", "p1", {"resourceType": "Patient", "id": "p1"})], NOW)
    with monkeypatch.context() as patch:
        patch.setattr(search, "_page", lambda ask, _query, _chosen: (ask(FOREVER), False))
        with pytest.raises(TooCostly, match="longer"):
            hasty.search(Query("Patient"), Patience(0.05))
    assert idle(hasty)
    assert [entry.id for entry in hasty.search(Query("Patient")).entries] == ["p1"]


def test_a_statement_yields_to_others(store: Store) -> None:
    """It is ended once somebody else waits, long before its time; the connection is as good as before."""
    looks = 0

    def yields() -> bool:
        nonlocal looks
        looks += 1
        return looks > 3

    for _time in range(3):
        looks = 0
        with pytest.raises(TooCostly), store._database.asking(Patience(3600, yields)) as ask:
            ask(FOREVER)
        assert looks == 4, "nobody asks again once it is ended"
        assert idle(store)
        with store._database.asking() as ask:
            assert [tuple(row) for row in ask(sql("SELECT 1"))] == [(1,)]


def test_a_search_without_time_is_too_costly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of an embedded database is the caller's; with it gone the thread's connection goes on."""
    monkeypatch.setattr(readers, "_STEPS", 1)
    store = Store("sqlite", tmp_path)
    store.migrate()
    store.publish([Draft("Patient", "p1", {"resourceType": "Patient", "id": "p1"})], NOW)
    for _time in range(3):
        with pytest.raises(TooCostly):
            store.search(Query("Patient"), Patience(0))
        assert [entry.id for entry in store.search(Query("Patient")).entries] == ["p1"]
        assert store.version("Patient", "p1") is not None
    store.close()


def test_the_time_of_a_session_is_that_of_all_its_statements(tmp_path: Path) -> None:
    """Many statements are no way round the limit of a database that is part of the process."""
    database = engine.Database("sqlite", tmp_path)
    some = sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000) SELECT max(i) FROM n"
    )

    def ask_on() -> None:
        with database.asking(Patience(0.05)) as ask:
            for _time in range(10_000):
                ask(some)

    with pytest.raises(TooCostly):
        ask_on()
    database.close()


def test_nobody_else_reads_the_files(tmp_path: Path) -> None:
    """Neither the index nor its log, in a folder that everybody may enter, by the umask of most machines."""
    tmp_path.chmod(0o755)
    before = os.umask(0o022)
    try:
        store = Store("sqlite", tmp_path)
        store.migrate()
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
        store.close()
    finally:
        os.umask(before)
    assert modes.keys() >= {"index.sqlite", "index.sqlite-wal"}
    assert set(modes.values()) == {0o600}


def test_readers_of_many_threads(store: Store) -> None:
    """Each thread has its own view, and all can be closed while others wait."""
    store.publish([Draft("Patient", "p1", {"resourceType": "Patient", "id": "p1"})], NOW)
    found: list[list[str]] = []

    def read() -> None:
        for _time in range(20):
            found.append([entry.id for entry in store.search(Query("Patient")).entries])

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [["p1"]] * 160
    assert idle(store)


def test_threads_that_have_ended_keep_no_connection(store: Store, tmp_path: Path) -> None:
    """Every association of a peer has a thread of its own: files of the database do not stay open for it."""
    descriptors = Path("/proc/self/fd")

    def opened() -> int:
        names = (os.readlink(one) for one in descriptors.iterdir() if one.is_symlink())
        return sum(name.startswith(str(tmp_path)) for name in names)

    def read() -> None:
        assert store.standing("1.2.3") is None

    read()
    before = opened()
    for _time in range(50):
        thread = threading.Thread(target=read)
        thread.start()
        thread.join(30)
    assert opened() <= before + 20
    assert idle(store)


def test_a_session_sees_one_moment(store: Store) -> None:
    """What is published between two statements of a search is not seen by the second."""
    count = sql("SELECT count(*) FROM resource")
    with store._database.asking() as ask:
        assert ask(count)[0][0] == 0
        store.publish([Draft("Patient", "p1", {"resourceType": "Patient", "id": "p1"})], NOW)
        assert ask(count)[0][0] == 0
    with store._database.asking() as ask:
        assert ask(count)[0][0] == 1
