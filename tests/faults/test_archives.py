"""T-PACS-DOWN, T-SSRF, T-POISON: archives that are away, answer nonsense, lead astray, hold one bad study."""

import datetime as dt
import os
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import requests
import trustme
from bystander import bystander
from pushing import SUCCESS
from remote import hostile
from remote.hostile import Fault, HostileArchive, running

from .conftest import MakeSite, Site

TODAY = time.strftime("%Y%m%d", time.gmtime())
RETRIEVE_URL = "00081190"


def source(url: str, more: str = "") -> str:
    """An archive in the configuration."""
    return f'[[source]]\nname = "main"\nurl = "{url}"\npoll_seconds = 0.2\nanswer_seconds = 2\n{more}\n'


@pytest.fixture
def pacs() -> Iterator[HostileArchive]:
    """An archive with three studies of today."""
    with running() as one:
        for number in range(1, 4):
            one.holdings.add(hostile.study(f"2.999.7.{number}", TODAY))
        yield one


def metric(site: Site, name: str) -> float:
    """The value of a metric of the archive."""
    text = requests.get(f"{site.bridge.root}/metrics", timeout=10).text
    lines = (line for line in text.splitlines() if line.startswith(name) and 'source="main"' in line)
    return float(next(lines, "x -1").rpartition(" ")[2])


MOST = 50_000
"""Instances that come meanwhile, if there is time for so many."""


def works(site: Site, seconds: float, first: int = 0) -> float:
    """For so long instances come in and are searched, and nothing piles up.

    They are numbered from behind `first`. The seconds within which 99 of 100 C-STOREs were answered.
    """
    before, number = site.oracle.begin_peak(), 0
    begun, took = time.monotonic(), list[float]()
    with bystander(site.bridge), site.line() as line:
        while (start := time.monotonic()) < begun + seconds:
            if number > MOST * (start - begun) / seconds:
                time.sleep(0.01)
                continue
            number += 1
            assert site.push(line, first + number, 1 + (first + number) // 500) == SUCCESS
            took.append(time.monotonic() - start)
            assert took[-1] < 5
    grown, late = site.oracle.peak() - before, sorted(took)[len(took) * 99 // 100]
    print(f"{number} instances meanwhile, 99 % within {1000 * late:.1f} ms, {grown} MiB more")
    assert grown < 50
    return late


DOWN: dict[str, Fault] = {
    "black hole": hostile.hang(20),
    "503": hostile.status(503),
    "HTML": hostile.html(),
    "drip": hostile.drip(0.1),
    "reset": hostile.reset(),
    "nonsense": hostile.nonsense(),
    "cut short": hostile.truncated(),
}


SILENT = ("black hole", "503", "HTML", "drip", "reset", "nonsense")
"""What makes it wait longer each time. JSON that breaks off may be one day's: others are looked for."""


@pytest.mark.parametrize("fault", DOWN)
def test_an_archive_that_fails(
    make_site: MakeSite, pacs: HostileArchive, numbers: Callable[..., float], fault: str
) -> None:
    """T-PACS-DOWN: intake and API don't notice; it is asked seldom, told as down, and taken up again."""
    site = make_site(source(pacs.url)).start()
    site.bridge.wait(lambda: len(site.bridge.studies()) == 3)
    site.bridge.wait(lambda: metric(site, "pacsbridge_archive_up") == 1)
    pacs.routes = {f"/dicom-web/{path}": DOWN[fault] for path in ("studies", "series", "instances")}
    site.bridge.wait(lambda: metric(site, "pacsbridge_archive_up") == 0, 30)
    asked = len(pacs.asked)
    works(site, numbers(4, 600))
    probes = len(pacs.asked) - asked
    print(f"{probes} requests meanwhile")
    most = numbers(15, 60) if fault in SILENT else numbers(200, 12_000)
    assert probes <= most
    assert {one["status"] for one in site.bridge.studies().values()} == {"available"}
    site.oracle.stored()
    pacs.routes.clear()
    pacs.holdings.add(hostile.study("2.999.7.9", TODAY))
    if not numbers(0, 1):
        assert site.bridge.stop() == 0
        site.start()
    site.bridge.wait(lambda: "2.999.7.9" in site.bridge.studies(), numbers(60, 400))
    site.oracle.discreet()


class Outage:
    """An archive that answers 503 from so many questions for instances on, until it is `over`.

    `begun`, `failed`, `back`: when it was first asked at all, in vain, and with an answer again.
    """

    def __init__(self, pacs: HostileArchive, after: int) -> None:
        self._pacs = pacs
        self._after = after
        self.over = False
        self.begun = self.failed = self.back = 0.0

    def __call__(self, exchange: hostile.Exchange) -> None:
        """Answer, or not."""
        self.begun = self.begun or time.monotonic()
        if self.over:
            self.back = self.back or time.monotonic()
        elif self.failed or len(self._pacs.of("/dicom-web/instances")) > self._after:
            self.failed = self.failed or time.monotonic()
            exchange.send(503)
            return
        exchange.search()


def test_a_backlog_is_worked_off(
    make_site: MakeSite, pacs: HostileArchive, numbers: Callable[..., float]
) -> None:
    """T-PACS-DOWN: an archive fails amid the first load; C-STORE goes on, then all that is left comes.

    How fast is told, and held with the numbers of the night, on a machine with nothing else to do.
    """
    count = int(numbers(1_200, 50_000))
    there = {f"2.999.8.{number}" for number in range(count)}
    for number, uid in enumerate(sorted(there)):
        day = dt.date(2020, 1, 1) + dt.timedelta(days=number % 400)
        pacs.holdings.add(hostile.study(uid, f"{day:%Y%m%d}"))
    outage = Outage(pacs, count // 80)  # amid: forty studies are asked for at a time
    pacs.routes = {f"/dicom-web/{path}": outage for path in ("studies", "instances")}
    site = make_site(source(pacs.url)).start()
    site.bridge.wait(lambda: metric(site, "pacsbridge_archive_up") == 0, numbers(60, 3600))
    early = taken(site)
    assert 0 < early < count
    meanwhile = works(site, numbers(4, 600))
    assert taken(site) == early
    outage.over = True
    site.bridge.wait(lambda: metric(site, "pacsbridge_archive_loaded") == 1, numbers(120, 7200))
    rate, later = early / (outage.failed - outage.begun), (count - early) / (time.monotonic() - outage.back)
    site.bridge.wait(lambda: there <= site.bridge.studies().keys(), 120)
    assert {one["numberOfInstances"] for uid, one in site.bridge.studies().items() if uid in there} == {4}
    assert "2.999.8." not in site.bridge.run("dead-letters", "list").stdout
    usual = works(site, numbers(2, 600), first=100_000)
    site.oracle.stored()
    print(f"{rate:.0f} studies a second before, {later:.0f} after it was away")
    if numbers(0, 1):
        assert meanwhile < 1.1 * usual
        assert later >= 0.8 * rate


def taken(site: Site) -> float:
    """How many studies of the archive have been taken."""
    return metric(site, 'pacsbridge_archive_studies_total{outcome="taken"')


@pytest.mark.parametrize("how", ["refused", "expired"])
def test_an_archive_that_cannot_be_reached(
    make_site: MakeSite, tmp_path: Path, numbers: Callable[..., float], how: str
) -> None:
    """T-PACS-DOWN: nobody listens, or the certificate has expired: the same, and the reason is told."""
    with ExitStack() as open_:
        if how == "refused":
            with socket.create_server(("127.0.0.1", 0)) as gone:
                url, more = f"http://127.0.0.1:{gone.getsockname()[1]}/dicom-web", ""
        else:
            url, more = _expired(tmp_path, open_)
        site = make_site(source(url, more)).start()
        site.bridge.wait(lambda: metric(site, "pacsbridge_archive_up") == 0)
        works(site, numbers(2, 600))
        site.oracle.check()
        reasons = [line.get("reason") for line in site.oracle.log_lines() if line.get("source") == "main"]
        assert any(reasons)


def _expired(folder: Path, open_: ExitStack) -> tuple[str, str]:
    """An archive with a certificate of the past, and the settings that trust who issued it."""
    authority, trusted = trustme.CA(), folder / "ca.pem"
    past = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    issued = authority.issue_cert("127.0.0.1", not_after=past)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    authority.cert_pem.write_to_path(trusted)
    archive = open_.enter_context(running(context=context))
    return archive.url, f'ca = "{trusted}"'


def test_end_while_an_archive_is_silent(make_site: MakeSite, pacs: HostileArchive) -> None:
    """T-SHUT: SIGTERM does not wait for an archive that takes its two minutes to answer nothing."""
    tables = source(pacs.url).replace("answer_seconds = 2", "answer_seconds = 120")
    pacs.routes["/dicom-web/studies"] = hostile.hang(120)
    site = make_site(tables).start()
    site.bridge.wait(lambda: pacs.asked)
    start = time.monotonic()
    assert site.bridge.stop() == 0
    assert time.monotonic() - start < 15


@pytest.mark.timeout(120)
def test_nobody_else_is_asked(make_site: MakeSite, program: Callable[[str], str], tmp_path: Path) -> None:
    """T-SSRF: redirects, URLs in data and look-alike names lead nowhere but to what is configured."""
    strace = program("strace")
    with running() as pacs, running() as trap:
        evil: tuple[str, ...] = (
            "http://169.254.169.254/latest",
            "http://[::1]:9/",
            "http://0.0.0.0:9/",
            "http://2130706433:9/",
        )
        evil += (trap.url, pacs.root + ".evil.example/", pacs.root.replace("127.0.0.1", "localhost"))
        for number, url in enumerate(evil, 1):
            row = hostile.study(f"2.999.7.{number}", TODAY)
            row[RETRIEVE_URL] = hostile.value("UR", url)
            row["7FE00010"] = {"vr": "OW", "BulkDataURI": url}
            pacs.holdings.add(row)
        calls = tmp_path / "calls"
        site = make_site(
            source(pacs.url) + "[dicomweb]\nproxy_sources = true\n",
            fhir="ask_sources = true",
        )
        prefix = (strace, "-f", "-qq", "-e", "trace=connect", "-e", "signal=none", "-o", str(calls))
        site.bridge.start(prefix=prefix, seconds=60)
        site.bridge.wait(lambda: len(site.bridge.studies()) == len(evil), 30)
        for number, url in enumerate(evil, 1):
            study = f"2.999.7.{number}"
            for path in (f"/studies/{study}", f"/studies/{study}/metadata"):
                pacs.routes[f"/dicom-web{path}"] = hostile.redirect(f"{url}/x")
                assert requests.get(site.bridge.dicomweb + path, timeout=30).status_code in (
                    404,
                    406,
                    502,
                    503,
                )
            site.bridge.get("ImagingStudy", params={"identifier": f"urn:dicom:uid|urn:oid:9.{number}"})
            site.bridge.get("ImagingStudy", params={"endpoint": f"{url}/Endpoint/1"})
        _end(site)
        assert trap.asked == []
        port = pacs.url.rpartition(":")[2].partition("/")[0]
        told = [line for line in calls.read_text().splitlines() if "AF_INET" in line]
        assert told
        assert [line for line in told if f"htons({port})" not in line or '"127.0.0.1"' not in line] == []


RESOLVER = """
import socket
from pathlib import Path

machines_own = socket.getaddrinfo

def getaddrinfo(host, *arguments, **options):
    if host == "archive.test":
        host = Path(__file__).with_name("address").read_text()
    return machines_own(host, *arguments, **options)

socket.getaddrinfo = getaddrinfo
"""
"""A module of which Python makes part of every process: one name leads where a file says."""


def test_a_name_that_comes_to_lead_elsewhere(
    make_site: MakeSite, pacs: HostileArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T-SSRF: DNS rebinding: where a name comes to lead to 0.0.0.0, no more is asked, and it is told why.

    The archive would answer there, too: that is what makes 0.0.0.0 the address to try it with.
    """
    folder = tmp_path / "resolver"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(RESOLVER)
    (folder / "address").write_text("127.0.0.1")
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    named = pacs.url.replace("127.0.0.1", "archive.test")
    more = 'username = "us"\npassword = "secret"\nallow_plain_http = true'
    site = make_site(source(named, more)).start()
    site.bridge.wait(lambda: len(site.bridge.studies()) == 3, 60)
    (folder / "elsewhere").write_text("0.0.0.0")
    (folder / "elsewhere").rename(folder / "address")
    pacs.faults.extend([hostile.reset()] * 8)  # no connection of before is left
    said = re.compile(r"failed \S+: its name leads to 0\.0\.0\.0 \(unspecified\)")
    site.bridge.wait(lambda: said.search(site.bridge.run("check").stdout), 60)
    asked = len(pacs.asked)
    assert metric(site, "pacsbridge_archive_up") == 0
    site.bridge.run("sync")
    assert len(pacs.asked) == asked
    site.oracle.discreet()


def _end(site: Site) -> None:
    """Kill what strace watches, upon which strace writes what it saw and ends."""
    assert site.bridge.process is not None
    [watched] = psutil.Process(site.bridge.process.pid).children()
    watched.kill()
    site.bridge.process.wait(30)


@pytest.mark.timeout(120)
def test_one_bad_study(make_site: MakeSite, pacs: HostileArchive, numbers: Callable[..., int]) -> None:
    """T-POISON: one study of many is always answered 400; the others come, it is parked, and replayed."""
    count = numbers(20, 99)
    for number in range(10, 10 + count):
        pacs.holdings.add(hostile.study(f"2.999.7.{number}", TODAY))
    pacs.holdings.add(hostile.study("2.999.7.5000", TODAY))
    bad = "/dicom-web/studies/2.999.7.5000/metadata"
    pacs.routes[bad] = hostile.status(400)
    for number in (*range(1, 4), *range(10, 10 + count)):
        rows = [
            one
            for one in pacs.holdings.instances
            if hostile.text(one, hostile.STUDY_UID) == f"2.999.7.{number}"
        ]
        study = next(
            one
            for one in pacs.holdings.studies
            if hostile.text(one, hostile.STUDY_UID) == f"2.999.7.{number}"
        )
        pacs.routes[f"/dicom-web/studies/2.999.7.{number}/metadata"] = _answering(
            [{**study, **one} for one in rows]
        )
    site = make_site(source(pacs.url, 'level = "metadata"')).start()
    site.bridge.wait(lambda: len(site.bridge.studies()) == count + 3, 60)
    site.bridge.wait(lambda: "2.999.7.5000" in site.bridge.run("dead-letters", "list").stdout, 60)
    tries = len(pacs.of(bad))
    assert tries <= 5
    time.sleep(2)
    assert len(pacs.of(bad)) <= 6
    rows = [one for one in pacs.holdings.instances if hostile.text(one, hostile.STUDY_UID) == "2.999.7.5000"]
    pacs.routes[bad] = _answering([{**pacs.holdings.studies[-1], **one} for one in rows])
    assert site.bridge.run("dead-letters", "retry", "2.999.7.5000").returncode == 0
    site.bridge.wait(lambda: "2.999.7.5000" in site.bridge.studies(), 60)
    assert "2.999.7.5000" not in site.bridge.run("dead-letters", "list").stdout


def _answering(rows: list[hostile.Row]) -> Fault:
    return lambda exchange: exchange.json(rows)
