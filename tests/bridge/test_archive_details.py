"""Series and instances of studies: many at a time where that works, one by one where it does not."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from tests.remote import hostile
from tests.remote.hostile import HostileArchive, text

from pacsbridge.bridge.archive_details import INSTANCES, STUDIES, Details, batches
from pacsbridge.bridge.archive_listing import Habits
from pacsbridge.bridge.archive_records import Record, record
from pacsbridge.errors import BadAnswer, Declined, Unavailable
from pacsbridge.remote.qido import Archive

LISTS = "/dicom-web/instances"


def records(pacs: HostileArchive, number: int = 3, **size: int) -> list[Record]:
    """So many studies that the archive has, of two series of two instances unless said otherwise."""
    for one in range(number):
        pacs.holdings.add(counted(f"1.2.{one}", **size), **size)
    return [record(row) for row in pacs.holdings.studies]


def counted(uid: str, per_study: int = 2, per_series: int = 2) -> dict[str, Any]:
    """A study whose counts are right."""
    counts = {"00201206": per_study, "00201208": per_study * per_series}
    return hostile.study(uid) | {tag: hostile.value("IS", number) for tag, number in counts.items()}


Of = Callable[..., dict[str, int | Exception]]


@pytest.fixture
def habits() -> Habits:
    """What is learned."""
    return Habits()


@pytest.fixture
def of(asked: Archive, habits: Habits) -> Of:
    """How many different rows each study has, or why it has none."""

    def ask(records: Sequence[Record], level: str = "instance") -> dict[str, int | Exception]:
        found = Details(asked, level, habits).of(records)
        tag = hostile.SERIES_UID if level == "series" else hostile.SOP_UID
        return {
            uid: rows if isinstance(rows, Exception) else len({text(dict(row), tag) for row in rows})
            for uid, rows in found.items()
        }

    return ask


def paths(pacs: HostileArchive) -> list[str]:
    """What was asked for."""
    return [one.path.removeprefix("/dicom-web") for one in pacs.asked]


@pytest.mark.parametrize(("level", "rows"), [("instance", 4), ("series", 2)])
def test_many_studies_are_one_question(pacs: HostileArchive, of: Of, level: str, rows: int) -> None:
    """By a list of UIDs; each study gets its own."""
    assert of(records(pacs), level) == {"1.2.0": rows, "1.2.1": rows, "1.2.2": rows}
    assert paths(pacs) == ["/series" if level == "series" else "/instances"]


def test_one_study_is_asked_for_by_path(pacs: HostileArchive, of: Of) -> None:
    """There is no list to be trusted or not."""
    assert of(records(pacs, 1)) == {"1.2.0": 4}
    assert paths(pacs) == ["/studies/1.2.0/instances"]


def test_metadata_are_asked_for_one_by_one(pacs: HostileArchive, of: Of) -> None:
    """WADO-RS knows no lists."""
    some = records(pacs, 2)
    for one in some:
        rows = [row for row in pacs.holdings.instances if text(row, hostile.STUDY_UID) == one.uid]
        pacs.routes[f"/dicom-web/studies/{one.uid}/metadata"] = hostile.content(json.dumps(rows).encode())
    assert of(some, "metadata") == {"1.2.0": 4, "1.2.1": 4}
    assert len(pacs.asked) == 2


def anonymous(exchange: hostile.Exchange) -> None:
    """Instances that do not say which study they belong to."""
    rows = exchange.archive.found(exchange.asked)
    exchange.json([{tag: one for tag, one in row.items() if tag != hostile.STUDY_UID} for row in rows])


def elsewhere(exchange: hostile.Exchange) -> None:
    """All that there is, whatever was asked for."""
    exchange.json([*exchange.archive.holdings.instances, hostile.instance("9.9", "9.9.1", "9.9.1.1")])


def only_the_first(exchange: hostile.Exchange) -> None:
    """One UID of the list is heard."""
    rows = exchange.archive.holdings.instances
    found = [row for row in rows if text(row, hostile.STUDY_UID) == "1.2.0"]
    exchange.json(found[int(exchange.asked.params["offset"]) :])


DEAF: dict[str, Any] = {
    "refuses": "refuses_uid_lists",
    "finds nothing": "finds_nothing_by_uid_lists",
    "names no study": anonymous,
    "ignores": elsewhere,
    "hears one": only_the_first,
}


@pytest.mark.parametrize("counts", [True, False], ids=["counted", "uncounted"])
@pytest.mark.parametrize("how", DEAF.values(), ids=DEAF)
def test_an_archive_that_knows_no_lists(
    pacs: HostileArchive, of: Of, habits: Habits, how: Any, counts: bool
) -> None:
    """It is found out, each study is asked for alone, and no list is tried again."""
    some = [one if counts else one._replace(expected=None) for one in records(pacs)]
    if isinstance(how, str):
        setattr(pacs.options, how, True)
    else:
        pacs.routes[LISTS] = how
    assert of(some) == {"1.2.0": 4, "1.2.1": 4, "1.2.2": 4}
    assert habits.no_lists
    pacs.asked.clear()
    assert of(some) == {"1.2.0": 4, "1.2.1": 4, "1.2.2": 4}
    assert "/instances" not in paths(pacs)


@pytest.mark.parametrize("fault", [hostile.html(), hostile.truncated(), hostile.content(b"{}")])
def test_a_list_that_cannot_be_read_says_nothing_about_lists(
    pacs: HostileArchive, of: Of, habits: Habits, fault: hostile.Fault
) -> None:
    """Too long an answer, a proxy's page: the studies are asked for alone, this time."""
    pacs.faults.append(fault)
    assert of(records(pacs)) == {"1.2.0": 4, "1.2.1": 4, "1.2.2": 4}
    assert not habits.no_lists


def test_a_study_that_has_lost_its_instances_says_nothing_about_lists(
    pacs: HostileArchive, of: Of, habits: Habits
) -> None:
    """It is asked for alone, has none there either, and the list was right."""
    some = records(pacs)
    pacs.holdings.instances = [
        row for row in pacs.holdings.instances if text(row, hostile.STUDY_UID) != "1.2.1"
    ]
    assert of(some) == {"1.2.0": 4, "1.2.1": 0, "1.2.2": 4}
    assert paths(pacs)[-1] == "/studies/1.2.1/instances"
    assert set(paths(pacs)[:-1]) == {"/instances"}
    assert not habits.no_lists


@pytest.mark.parametrize(
    ("fault", "error"),
    [(hostile.html(), BadAnswer), (hostile.truncated(), BadAnswer), (hostile.status(404), Declined)],
)
def test_one_bad_study_stays_alone(
    pacs: HostileArchive, of: Of, habits: Habits, fault: hostile.Fault, error: type[Exception]
) -> None:
    """Its fault takes the place of its rows; the others have theirs."""
    habits.no_lists = True
    pacs.routes["/dicom-web/studies/1.2.1/instances"] = fault
    found = of(records(pacs))
    assert isinstance(found.pop("1.2.1"), error)
    assert found == {"1.2.0": 4, "1.2.2": 4}


@pytest.mark.parametrize("fault", [hostile.status(503), hostile.status(429), hostile.reset()])
@pytest.mark.parametrize("number", [1, 3])
def test_an_archive_that_is_away_is_no_fault_of_a_study(
    pacs: HostileArchive, of: Of, fault: hostile.Fault, number: int
) -> None:
    """The round ends."""
    some = records(pacs, number)
    pacs.faults.append(fault)
    with pytest.raises(Unavailable):
        of(some)


@pytest.mark.parametrize("warns", [True, False])
@pytest.mark.parametrize("counts", [True, False], ids=["counted", "uncounted"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_cap_on_instances_is_passed(
    pacs: HostileArchive, of: Of, counts: bool, warns: bool, number: int
) -> None:
    """By offset, until there are as many as are due, or nothing comes any more."""
    some = [
        one if counts else one._replace(expected=None)
        for one in records(pacs, number, per_study=2, per_series=13)
    ]
    pacs.options.page_cap, pacs.options.warns = 10, warns
    assert of(some) == {one.uid: 26 for one in some}


def test_a_cap_without_offsets_is_no_endless_loop(pacs: HostileArchive, of: Of, habits: Habits) -> None:
    """A list of studies is given up for each alone; there the first rows are all that can be had."""
    some = records(pacs, 3, per_study=1, per_series=8)
    pacs.options.page_cap, pacs.options.ignores_offset = 10, True
    assert of(some) == {"1.2.0": 8, "1.2.1": 8, "1.2.2": 8}
    assert not habits.no_lists
    larger = [record(counted("1.2.7", 1, 30))]
    pacs.holdings.add(counted("1.2.7", 1, 30), 1, 30)
    assert of(larger) == {"1.2.7": 10}
    assert len(pacs.asked) < 12


def test_series_are_counted_as_series(pacs: HostileArchive, of: Of) -> None:
    """As many as the record says are all: nobody asks for more because there are more instances."""
    assert of(records(pacs, 2, per_study=3, per_series=5), "series") == {"1.2.0": 3, "1.2.1": 3}
    assert len(pacs.asked) == 1


def sized(*numbers: int | None) -> list[Record]:
    """Studies that are to have so many instances."""
    return [
        record(hostile.study(f"1.2.{one}"))._replace(expected=number) for one, number in enumerate(numbers)
    ]


@pytest.mark.parametrize(
    ("numbers", "groups"),
    [
        ([], []),
        ([1] * STUDIES, [STUDIES]),
        ([1] * (STUDIES + 1), [STUDIES, 1]),
        ([INSTANCES, 1], [1, 1]),
        ([1, INSTANCES], [1, 1]),
        ([INSTANCES - 1, 1], [2]),
        ([10 * INSTANCES], [1]),
        ([5, 10 * INSTANCES, 5, 5], [1, 1, 2]),
        ([None] * 21, [20, 1]),
        ([0] * 41, [40, 1]),
    ],
)
def test_batches_are_bounded(numbers: list[int | None], groups: list[int]) -> None:
    """By studies and by instances; all records are there, in their order."""
    found = list(batches(sized(*numbers)))
    assert [len(group) for group in found] == groups
    assert [one.uid for group in found for one in group] == [one.uid for one in sized(*numbers)]
