"""T-CLOCK: zones, daylight saving, times that are none, and clocks that jump."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
import requests
from bystander import bystander
from data_sets import STOW_HEADERS, data_set, file, multipart
from pushing import SUCCESS
from remote import hostile
from remote.hostile import HostileArchive, running
from running_bridge import Bridge
from token_issuer import AUDIENCE, Issuer

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


@pytest.fixture
def clock(program: Callable[[str], str], tmp_path: Path) -> "Clock":
    """The clock of a bridge, which can be put ahead and back."""
    return Clock(program("faketime"), tmp_path)


HOUR, DAY = 3_600, 86_400


def is_off_by(site: Site, seconds: float) -> bool:
    """Whether the bridge's clock is so far from ours, within some seconds."""
    answer = requests.get(f"{site.bridge.root}/health/live", timeout=30)
    told = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    return abs(told - time.time() - seconds) < MARGIN / 2


class Clock:
    """Tells a process another time than everybody else has (libfaketime), but for what it measures.

    A process that leaves the monotonic clock alone cannot sleep by libfaketime 0.9.10: Python sleeps until a
    moment, which is taken for one of the other clock. So it waits instead.
    """

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder / "clock"
        self._folder.mkdir()
        (self._folder / "sitecustomize.py").write_text(
            "import threading\nimport time\ntime.sleep = lambda seconds: threading.Event().wait(seconds)\n"
        )
        self._offset = self._folder / "offset"
        self.step("+0")

    def step(self, offset: str) -> None:
        """Jump to so much from the true time, as `+1d` or `-1h`."""
        self._offset.write_text(f"{offset}\n")

    def start(self, bridge: Bridge) -> None:
        """Run a bridge by this clock. A FAKETIME in the environment would keep it from ever stepping."""
        faked = {
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "PYTHONPATH": str(self._folder),
        }
        bridge.start(prefix=(self._program, "-f", "+0", "env", "-u", "FAKETIME"), environment=faked)


@pytest.mark.timeout(240)
def test_steps(make_site: MakeSite, clock: Clock, numbers: Callable[..., float]) -> None:
    """T-CLOCK: the clock jumps a day ahead and an hour back; no storm of retries, versions go on rising."""
    with running() as pacs:
        pacs.routes["/dicom-web/studies"] = hostile.status(503)
        site = make_site(f'[[source]]\nname = "main"\nurl = "{pacs.url}"\npoll_seconds = 0.2\n')
        clock.start(site.bridge)
        _until_left_alone(pacs)
        number = 0
        with bystander(site.bridge):
            for step, seconds in (("+1d", DAY), ("-1h", -HOUR), ("+2d", 2 * DAY), ("+0", 0)):
                clock.step(step)
                site.bridge.wait(lambda seconds=seconds: is_off_by(site, seconds), 60)
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


SCOPE = "system/*.rs"
LEEWAY, MARGIN = 60, 30
"""Seconds of `auth.leeway_seconds`, and how far from them tokens are made: a slow machine takes some."""


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """An authorization server whose clock is right."""
    made = Issuer()
    yield made
    made.close()


@pytest.mark.timeout(240)
def test_steps_and_tokens(make_site: MakeSite, clock: Clock, issuer: Issuer) -> None:
    """T-CLOCK: the bridge's own clock and `auth.leeway_seconds` decide of each token, at each step anew.

    A token that is good by the issuer's clock is refused a day ahead as expired; an hour or a day back it is
    refused where it says that it is newer than that. When the clock is right again so are all of them.
    """
    lines = {"issuer": issuer.url, "audience": AUDIENCE, "jwks_url": f"{issuer.url}/jwks"}
    auth = "".join(f'{name} = "{value}"\n' for name, value in lines.items())
    seconds_ = f"leeway_seconds = {LEEWAY}\ntoken_seconds = 1\n"
    site = make_site(f"[auth]\nallow_plain_http = true\n{seconds_}{auth}")
    clock.start(site.bridge)
    plain, dated = list[Mapping[str, str]](), list[Mapping[str, str]]()
    for step, seconds, statuses in (
        ("+0", 0, (200, 200)),
        ("+1d", DAY, (401, 401)),
        ("-1h", -HOUR, (200, 401)),
        ("-1d", -DAY, (200, 401)),
        ("+0", 0, (200, 200)),
    ):
        clock.step(step)
        site.bridge.wait(lambda seconds=seconds: is_off_by(site, seconds), 60)
        now = int(time.time())
        plain.append(issuer.bearer(SCOPE, exp=now + HOUR // 2))
        dated.append(issuer.bearer(SCOPE, exp=now + HOUR // 2, nbf=now, iat=now))
        for tokens, status in zip((plain, dated), statuses, strict=True):
            wanted = [status] * len(tokens)
            site.bridge.wait(lambda: [_asked(site, one) for one in tokens] == wanted, 30)  # noqa: B023
        for claim, share, status in BOUNDS:
            at = int(time.time()) + seconds + share
            more = {"exp": at + HOUR, claim: at}
            found = _asked(site, issuer.bearer(SCOPE, **more))
            assert found == status, f"{step}: {claim} {share:+} s of the bridge's clock"
    assert site.bridge.ready()
    assert '"level": "error"' not in site.bridge.log.read_text()
    site.bridge.kill()


BOUNDS = (
    ("exp", MARGIN - LEEWAY, 200),
    ("exp", -MARGIN - LEEWAY, 401),
    ("nbf", LEEWAY - MARGIN, 200),
    ("nbf", LEEWAY + MARGIN, 401),
    ("iat", LEEWAY - MARGIN, 200),
    ("iat", LEEWAY + MARGIN, 401),
)
"""A claim, its seconds from what the bridge's clock says, and what comes of it (RFC 7519 4.1.4 to 4.1.6)."""


def _asked(site: Site, bearer: Mapping[str, str]) -> int:
    """The status of a search with a token."""
    return site.bridge.get("ImagingStudy", headers=bearer).status_code


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
