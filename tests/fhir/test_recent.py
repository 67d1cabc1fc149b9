"""Answers that are kept: never older than what has been committed, and never another question's."""

import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pacsbridge.fhir.recent import Recent
from pacsbridge.store.records import Draft
from pacsbridge.store.store import Store

SECOND = 1_000_000
LATER = 1_800_000_000 * SECOND
"""Behind everything that the store of these tests begins with."""


@pytest.fixture
def searches(fhir: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The searches that reached the store."""
    made: list[Any] = []
    found = type(fhir.store).search

    def search(*arguments: Any) -> Any:
        made.append(arguments[1])
        return found(*arguments)

    monkeypatch.setattr(type(fhir.store), "search", search)
    return made


@pytest.fixture
def other(tmp_path: Path, fhir: Any) -> Any:
    """The same database as another process has it."""
    store = Store("sqlite", tmp_path)
    yield store
    store.close()


def patient(number: int) -> Draft:
    """A patient who shows a number."""
    name = [{"family": f"Version{number}"}]
    return Draft("Patient", "p1", {"resourceType": "Patient", "id": "p1", "name": name})


def test_the_same_question_is_answered_from_what_is_kept(fhir: Any, searches: list[Any]) -> None:
    """Once the store was asked, then no more, for as long as nothing is committed."""
    first = fhir("/ImagingStudy?modality=MR")
    assert [fhir("/ImagingStudy?modality=MR").content for _time in range(3)] == [first.content] * 3
    assert len(searches) == 1


@pytest.mark.parametrize(
    "path",
    ["/Patient/p1", "/Patient?_id=p1", "/Patient?name=version", "/Patient/_history", "/_history?_count=1"],
)
def test_what_another_process_commits_is_answered_at_once(fhir: Any, other: Store, path: str) -> None:
    """Whatever was kept: the first answer after a commit shows it, each time."""
    fhir(path)
    for number in range(1, 10):
        other.publish([patient(number)], LATER + number * SECOND)
        for _time in range(2):
            assert f'"Version{number}"' in fhir(path).text


def test_what_was_deleted_is_gone(fhir: Any, other: Store) -> None:
    """And what was not there is found once it is: refusals are not kept."""
    assert fhir("/Patient/p1").status_code == 200
    other.publish([Draft("Patient", "p1", None)], LATER)
    assert fhir("/Patient/p1").status_code == 410
    other.publish([patient(1)], LATER + SECOND)
    assert fhir("/Patient/p1").status_code == 200
    assert fhir("/Patient/p7").status_code == 404


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/Patient/p1?_summary=true", {}),
        ("/Patient/p1/_history/1", {}),
        ("/Patient/p1", {"If-None-Match": 'W/"1"'}),
        ("/Patient?_id=p1", {}),
        ("/Patient?_id=p1&x=1", {}),
        ("/Patient?_id=p1&x=1", {"Prefer": "handling=strict"}),
        ("/Patient/p1?_pretty=true", {}),
        ("/Endpoint?_id=p1", {}),
    ],
)
def test_other_questions_have_answers_of_their_own(
    fhir: Any, serve: Callable[..., Any], path: str, headers: dict[str, str]
) -> None:
    """Asked after all others, it is answered as a server would that was asked nothing else."""
    for question in ("/Patient/p1", "/Patient?_id=p1", "/Patient?_id=p1&x=1", "/Patient/_history"):
        fhir(question)
    here, fresh = fhir(path, headers=headers), serve()(path, headers=headers)
    assert (here.status_code, here.content) == (fresh.status_code, fresh.content)


def test_beside_a_writer_no_answer_goes_back(fhir: Any, other: Store) -> None:
    """Readers at full speed see versions only rise, and at least the one that had been committed before."""
    committed = [0]
    faults: list[tuple[int, int]] = []
    done = threading.Event()

    def read() -> None:
        last = 0
        while not done.is_set():
            before = committed[0]
            text = fhir("/Patient/p1").json()["name"][0]["family"].removeprefix("Version")
            number = int(text) if text.isdigit() else 0
            if number < max(last, before):
                faults.append((number, max(last, before)))
            last = number

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(1, 50):
        other.publish([patient(number)], LATER + number * SECOND)
        committed[0] = number
    done.set()
    for reader in readers:
        reader.join(30)
    assert faults == []


def test_long_questions_count(fhir: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept is bounded by questions and answers together, however small the answers are."""
    sizes: list[int] = []
    put = Recent.put
    monkeypatch.setattr(Recent, "put", lambda *given: (sizes.append(given[4]), put(*given)))
    values = ",".join(f"1.2.3.{number}" for number in range(100))
    body = fhir(f"/ImagingStudy?series={values}").content
    tags = ", ".join(f'W/"{number}"' for number in range(2, 500))
    assert fhir("/Patient/p1", headers={"If-None-Match": f'{tags}, W/"1"'}).status_code == 304
    assert sizes[0] >= len(body) + len(values)
    assert sizes[1] >= len(tags) // 4


def test_a_server_elsewhere_is_asked_each_time(fhir: Any, searches: list[Any]) -> None:
    """What cannot be told without a round trip is not kept."""
    fhir.store.away = True
    for _time in range(3):
        assert fhir("/ImagingStudy?modality=MR").status_code == 200
    assert len(searches) == 3


def test_states_differ_after_every_commit(tmp_path: Path) -> None:
    """Whatever is committed by whomever; not after a transaction that changed nothing."""
    numbers = count(1)
    with_store = Store("sqlite", tmp_path)
    with_store.migrate()
    other = Store("sqlite", tmp_path)
    seen = {with_store.state()}
    for store in (other, with_store, other):
        store.setting(f"name{next(numbers)}", lambda: "x")
        state = with_store.state()
        assert state not in seen
        seen.add(state)
        other.setting("name1", lambda: "y")
        assert with_store.state() == state
    with_store.close()
    other.close()
