"""The archive that other tests are held against: it searches as one does, until it is told otherwise."""

from collections.abc import Iterator

import pytest
import requests
from remote.hostile import HostileArchive, Options, Row, study, text

STUDIES = [
    study("1.1", "20260101", "080000", "P1", "A1"),
    study("1.2", "20260102", "120000.5", "P1", "A2"),
    study("1.3", "20260103", "235959", "P2", "A3"),
    study("1.4", "", "", "P3", ""),
]


@pytest.fixture
def held(archive: HostileArchive) -> Iterator[HostileArchive]:
    """With four studies."""
    for one in STUDIES:
        archive.holdings.add(one)
    return archive


def found(archive: HostileArchive, query: str, path: str = "/studies") -> list[Row]:
    """What a search finds."""
    answer = requests.get(f"{archive.url}{path}?{query}", timeout=10)
    assert answer.status_code in (200, 204)
    return answer.json() if answer.content else []


def named(rows: list[Row]) -> str:
    """The last digits of the studies."""
    return "".join(text(row, "0020000D")[-1] for row in rows)


@pytest.mark.parametrize(
    ("query", "studies"),
    [
        ("", "1234"),
        ("StudyDate=20260102", "2"),
        ("StudyDate=20260102-20260103", "23"),
        ("StudyDate=20260102-", "23"),
        ("StudyDate=-20260102", "12"),
        ("00080020=20260103", "3"),
        ("StudyTime=080000-120000", "12"),
        ("StudyTime=120001-", "3"),
        ("StudyDate=20260101-20260102&StudyTime=-100000", "1"),
        ("StudyInstanceUID=1.1,1.4,9", "14"),
        ("StudyInstanceUID=1.1%5C1.2", "12"),
        ("PatientID=P1", "12"),
        ("PatientID=P", ""),
        ("AccessionNumber=A3", "3"),
        ("PatientID=P1&AccessionNumber=A3", ""),
        ("limit=2&offset=1", "23"),
        ("offset=9", ""),
        ("SomethingElse=1&includefield=all", "1234"),
    ],
)
def test_matching(held: HostileArchive, query: str, studies: str) -> None:
    """As QIDO-RS has it."""
    assert named(found(held, query)) == studies


@pytest.mark.parametrize(
    ("path", "count"),
    [
        ("/series", 8),
        ("/instances", 16),
        ("/studies/1.2/series", 2),
        ("/studies/1.2/instances", 4),
        ("/studies/1.2/series/1.2.1/instances", 2),
        ("/studies/9/series", 0),
    ],
)
def test_levels(held: HostileArchive, path: str, count: int) -> None:
    """Below a study and across all."""
    assert len(found(held, "", path)) == count


@pytest.mark.parametrize(
    ("options", "query", "studies"),
    [
        (Options(page_cap=3), "limit=100", "123"),
        (Options(page_cap=3), "limit=2", "12"),
        (Options(ignores_limit=True), "limit=2", "1234"),
        (Options(ignores_offset=True), "limit=2&offset=2", "12"),
        (Options(ignores_dates=True), "StudyDate=20260102-&StudyTime=0-1", "1234"),
        (Options(finds_nothing_by_uid_lists=True), "StudyInstanceUID=1.1,1.2", ""),
        (Options(finds_nothing_by_uid_lists=True), "StudyInstanceUID=1.1", "1"),
    ],
)
def test_habits(held: HostileArchive, options: Options, query: str, studies: str) -> None:
    """Each option, and only it, changes what is found."""
    held.options = options
    assert named(found(held, query)) == studies


def test_counts_may_be_missing(held: HostileArchive) -> None:
    """At each level."""
    assert all("00201206" in row for row in found(held, ""))
    held.options.lacks_counts = True
    assert not any({"00201206", "00201208", "00201209"} & set(row) for row in found(held, ""))


@pytest.mark.parametrize(
    ("options", "path", "code"),
    [
        (Options(refuses_includefield=True), "/studies?includefield=00080020", 400),
        (Options(refuses_uid_lists=True), "/series?StudyInstanceUID=1,2", 400),
        (Options(refuses_uid_lists=True), "/series?StudyInstanceUID=1.1", 200),
        (Options(authorization="Bearer x"), "/studies", 401),
        (Options(empty_status=200), "/studies?PatientID=9", 200),
        (Options(), "/studies?PatientID=9", 204),
        (Options(), "/nothing", 404),
    ],
)
def test_refusals(held: HostileArchive, options: Options, path: str, code: int) -> None:
    """By status."""
    held.options = options
    assert requests.get(held.url + path, timeout=10).status_code == code
