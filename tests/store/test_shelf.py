"""What has been read lately: kept in bounds, forgotten in time, and never taken for another version."""

import json
import threading
from collections.abc import Callable
from itertools import count as numbers

import pytest

from pacsbridge.kernel.query import Clause, Form, Kind, Query, TokenValue
from pacsbridge.store import shelf as shelf_module
from pacsbridge.store.records import Draft, Found
from pacsbridge.store.search import Bodies
from pacsbridge.store.shelf import Shelf
from pacsbridge.store.store import Store

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND
SIZE = 1_000
BODY = 50


def found(number: int, length: int = BODY) -> Found:
    """A resource of so many bytes, which tell it from others."""
    return Found("Patient", f"p{number}", f"{number}".encode().ljust(length, b"x"))


def put(shelf: Bodies, name: tuple[int, int, bool], thing: Found) -> None:
    """As a search does it."""
    shelf.put(name, thing, len(thing.body))


def kept(shelf: Bodies, most: int) -> list[int]:
    """The numbers of what is kept, looked up in a way that does not count as asking."""
    known = {**shelf._former, **shelf._recent}
    return [number for number in range(most) if (number, 1, True) in known]


def test_what_was_put_is_there() -> None:
    """Under its own name alone: another version, another form, another resource are named otherwise."""
    shelf: Bodies = Shelf(SIZE)
    put(shelf, (1, 2, True), found(1))
    assert shelf.get((1, 2, True)) == found(1)
    for name in ((1, 1, True), (1, 3, True), (1, 2, False), (2, 2, True)):
        assert shelf.get(name) is None


def test_what_nobody_asks_for_is_forgotten() -> None:
    """And what is asked for again and again stays, however much comes in between."""
    shelf: Bodies = Shelf(SIZE)
    for number in range(100):
        put(shelf, (number, 1, True), found(number))
        assert shelf.get((0, 1, True)) == found(0)
    assert 1 not in kept(shelf, 100)
    assert {0, 99} <= set(kept(shelf, 100))


@pytest.mark.parametrize("length", [1, BODY, SIZE // 2, SIZE // 2 + 1, SIZE, 3 * SIZE])
def test_so_much_is_kept_and_no_more(length: int) -> None:
    """At any time about the size, whether resources come once, come again, or are asked for."""
    shelf: Bodies = Shelf(SIZE)
    for number in range(3 * SIZE // length + 10):
        put(shelf, (number, 1, True), found(number, length))
        put(shelf, (number % 3, 1, True), found(number % 3, length))
        shelf.get((number // 2, 1, True))
        bodies = [one.body for half in (shelf._recent, shelf._former) for one, _size in half.values()]
        assert sum(map(len, bodies)) <= SIZE + 2 * max(map(len, bodies), default=0)


def test_what_is_too_long_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """One long resource puts out nothing of what is there."""
    monkeypatch.setattr(shelf_module, "_LONGEST", BODY)
    shelf: Bodies = Shelf(SIZE)
    put(shelf, (1, 1, True), found(1))
    for number in range(2, 100):
        put(shelf, (number, 1, True), found(number, BODY + 1))
    assert kept(shelf, 100) == [1]


def test_threads_get_what_belongs_to_the_name() -> None:
    """Whatever others put and ask for: that, or nothing."""
    shelf: Bodies = Shelf(SIZE)
    wrong = []

    def use(start: int) -> None:
        for step in range(3_000):
            number = (start + step * 7) % 40
            given = shelf.get((number, 1, True))
            if given is None:
                put(shelf, (number, 1, True), found(number))
            elif given != found(number):
                wrong.append((number, given))

    threads = [threading.Thread(target=use, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def study(number: int, version: int) -> Draft:
    """A study that shows its version, as a whole and in summary."""
    series = [{"uid": "1", "number": version, "instance": [{"uid": "2"}]}]
    content = {"resourceType": "ImagingStudy", "id": f"s{number}", "status": "available", "series": series}
    return Draft("ImagingStudy", f"s{number}", {**content, "description": f"version {version}"})


@pytest.fixture(params=[0, 600, shelf_module.SHELF_BYTES], ids=["nothing", "little", "all"])
def shelved(request: pytest.FixtureRequest, make_store: Callable[..., Store]) -> Store:
    """A store whose shelf keeps nothing, little or everything."""
    store = make_store()
    store._shelf = Shelf(request.param)
    return store


def told(store: Store, query: Query) -> list[tuple[str, str, str]]:
    """Id, version and description of each entry and of each resource that goes with it."""
    page = store.search(query)
    bodies = [json.loads(entry.body) for entry in (*page.entries, *page.included)]
    return [(body["id"], body["meta"]["versionId"], body["description"]) for body in bodies]


def test_a_search_never_gives_another_version(shelved: Store) -> None:
    """Each shows what is current, whole and in summary, through changes, deletions and returns."""
    rounds = numbers(1)
    current: dict[int, int] = {}
    for _time in range(4):
        for number in range(5):
            version = next(rounds)
            shelved.publish([study(number, version)], NOW + version * SECOND)
            current[number] = version
            names = [(f"s{n}", current[n]) for n in sorted(current, reverse=True)]
            for form in (Form.WHOLE, Form.SUMMARY, Form.WHOLE):
                answers = told(shelved, Query("ImagingStudy", form=form))
                assert [(id_, text) for id_, _number, text in answers] == [
                    (id_, f"version {version}") for id_, version in names
                ]
    shelved.publish([Draft("ImagingStudy", "s4", None)], NOW + 100 * SECOND)
    assert [id_ for id_, *_ in told(shelved, Query("ImagingStudy"))] == ["s3", "s2", "s1", "s0"]
    shelved.publish([study(4, 99)], NOW + 101 * SECOND)
    assert told(shelved, Query("ImagingStudy"))[0] == ("s4", "6", "version 99")


def test_two_stores_of_one_database_give_the_same(make_store: Callable[..., Store]) -> None:
    """What another process publishes is found at once, though the version before is on the shelf."""
    here, there = make_store(), make_store()
    named = Clause("_id", Kind.ID, (TokenValue(None, "s1"),))
    for version in range(1, 5):
        there.publish([study(1, version)], NOW + version * SECOND)
        for store in (here, there, here):
            answer = told(store, Query("ImagingStudy", (named,)))
            assert answer == [("s1", str(version), f"version {version}")]


def test_readers_beside_a_writer_get_whole_versions(shelved: Store) -> None:
    """Body and number belong together in every answer, and no reader goes back to a former version."""
    shelved.publish([study(1, 1)], NOW)
    done = threading.Event()
    faults: list[tuple[int, str, str]] = []

    def read() -> None:
        last = 0
        while not done.is_set():
            [(_id, number, text)] = told(shelved, Query("ImagingStudy"))
            if text != f"version {number}" or int(number) < last:
                faults.append((last, number, text))
            last = int(number)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for version in range(2, 30):
        shelved.publish([study(1, version)], NOW + version * SECOND)
    done.set()
    for thread in threads:
        thread.join(60)
    assert faults == []
    assert told(shelved, Query("ImagingStudy")) == [("s1", "29", "version 29")]
