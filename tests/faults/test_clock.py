"""T-CLOCK: zones, daylight saving, times that are none, and clocks that jump."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from bystander import bystander
from data_sets import STOW_HEADERS, data_set, file, multipart
from pushing import SUCCESS
from remote import hostile
from remote.hostile import HostileArchive, running

from .conftest import MakeSite, Site

TIMES = ("240000", "235960", "23", "2330", "023000", "013000", "120000.5", "9:30", "garbage", "")
OFFSETS = ("", "+1400", "-1200", "+0530", "-0000", "+9999", "garbage")
DAYS = ("20240310", "20241103", "20240229", "20230229", "18991231", "99991231")
"""The first two have an hour that is missing, and one that comes twice, in St. John's."""

LEGAL = re.compile(
    r"\d{4}(-\d{2}(-\d{2}(T([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?(Z|[+-](0\d|1[0-4]):[0-5]\d))?)?)?"
)
"""A FHIR dateTime: with a time there is a zone."""


@pytest.mark.parametrize("zone", ["UTC", "America/St_Johns", "Asia/Kathmandu"])
@pytest.mark.parametrize("configured", [None, "America/St_Johns"])
def test_zones(make_site: MakeSite, zone: str, configured: str | None) -> None:
    """T-CLOCK: each time becomes a legal dateTime, the same whatever zone the machine lives in."""
    mapping = "" if configured is None else f'[mapping]\ntimezone = "{configured}"\n'
    site = make_site(mapping)
    site.bridge.start(environment={"TZ": zone})
    asked = [(day, time_, offset) for day in DAYS for time_ in TIMES for offset in OFFSETS]
    sets = [
        data_set(1, number, StudyDate=day, StudyTime=time_, TimezoneOffsetFromUTC=offset)
        for number, (day, time_, offset) in enumerate(asked, 1)
    ]
    parts = [file(one, f"2.999.{number}.1.1") for number, one in enumerate(sets, 1)]
    url = f"{site.bridge.dicomweb}/studies"
    answer = requests.post(url, multipart(*parts), headers=STOW_HEADERS, timeout=60)
    assert answer.status_code == 200
    for number, one in enumerate(sets, 1):
        site.oracle.note(f"2.999.{number}.1.1", one, SUCCESS)
    site.oracle.check()
    found = {uid: study.get("started", "") for uid, study in site.bridge.studies().items()}
    assert len(found) == len(asked)
    for text in filter(None, found.values()):
        assert LEGAL.fullmatch(text), text
    if configured is None:
        assert all("T" not in found[_uid(asked, day, "2330", "")] for day in DAYS)
    else:
        assert found[_uid(asked, "20240310", "2330", "")] == "2024-03-10T23:30:00-02:30"
    assert found[_uid(asked, "20240229", "2330", "+0530")] == "2024-02-29T23:30:00+05:30"


def _uid(asked: list[tuple[str, str, str]], *one: str) -> str:
    return f"2.999.{asked.index((one[0], one[1], one[2])) + 1}"


@pytest.mark.timeout(240)
def test_steps(
    make_site: MakeSite, program: Callable[[str], str], tmp_path: Path, numbers: Callable[..., float]
) -> None:
    """T-CLOCK: the clock jumps a day ahead and an hour back; no storm of retries, versions go on rising."""
    offset = tmp_path / "offset"
    offset.write_text("+0\n")
    faked = {
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with running() as pacs:
        pacs.routes["/dicom-web/studies"] = hostile.status(503)
        site = make_site(f'[[source]]\nname = "main"\nurl = "{pacs.url}"\npoll_seconds = 0.2\n')
        prefix = (program("faketime"), "-f", "+0")
        site.bridge.start(prefix=prefix, environment=faked)
        _until_left_alone(pacs)
        number = 0
        with bystander(site.bridge):
            for step in ("+1d", "-1h", "+2d", "+0"):
                offset.write_text(f"{step}\n")
                before = len(pacs.asked)
                number += 1
                _taken_and_published(site, number)
                time.sleep(numbers(2, 60))
                assert len(pacs.asked) - before <= numbers(10, 30)
        site.oracle.check()
        moments = [
            row[0] for row in site.oracle.rows("SELECT updated FROM version ORDER BY updated, version")
        ]
        assert len(moments) >= number
        site.bridge.kill()


def _until_left_alone(pacs: HostileArchive) -> None:
    """Until the pauses between two tries have grown to some seconds: so long it is asked often rightly."""
    end = time.monotonic() + 90
    known = -1
    while known != (known := len(pacs.asked)):
        assert time.monotonic() < end
        time.sleep(4)


def _taken_and_published(site: Site, number: int) -> None:
    """An instance more of the one study: there is a version more of it."""
    with site.line() as line:
        assert site.push(line, number) == SUCCESS
    site.bridge.wait(
        lambda: [one["numberOfInstances"] for one in site.bridge.studies().values()] == [number], 40
    )
    site.oracle.rising()
