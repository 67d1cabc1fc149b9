"""The pages of operators as they are used: beside a real Orthanc, in a real browser, by its keyboard."""

import asyncio
import io
import json
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pydicom
import pytest
import requests
from chromium_peer import Page, browser
from dicomweb_client.api import DICOMwebClient
from orthanc_peer import Orthanc, source
from pydicom.data import get_testdata_file
from remote import hostile
from running_bridge import Bridge

SECONDS = 60.0
SIZES = (1280, 360)


def said(bridge: Bridge, path: str = "/sources") -> str:
    """What a page says now, without its markup."""
    page = requests.get(f"{bridge.root}{path}", timeout=30).text
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page)).replace("\u202f", " ")


def post(bridge: Bridge, path: str, **fields: object) -> str:
    """A form that is sent from its page; the page that it leads to."""
    page = requests.get(f"{bridge.root}/sources", timeout=30)
    seal = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert seal is not None, page.text
    answer = requests.post(f"{bridge.root}{path}", data={"csrf": seal[1], **fields}, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.text


def refused(bridge: Bridge, content: bytes) -> None:
    """What is no DICOM comes by STOW-RS."""
    kind = 'multipart/related; type="application/dicom"; boundary=x'
    part = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n--x--\r\n"
    answer = requests.post(
        f"{bridge.dicomweb}/studies", data=part, headers={"Content-Type": kind}, timeout=30
    )
    assert answer.status_code == 409, answer.text


# archives


def test_sync_now_and_an_archive_that_goes_away(
    make_bridge: Callable[..., Bridge],
    make_orthanc: Callable[..., Orthanc],
    samples: Mapping[str, Sequence[Path]],
) -> None:
    """A round begins when the button is pressed; an Orthanc that is stopped is shown with its error."""
    orthanc = make_orthanc(*samples["ct-thorax"])
    bridge = make_bridge(source(orthanc, poll=3600)).start()
    bridge.wait(lambda: "Studies known 1 " in said(bridge), SECONDS)
    bridge.wait(lambda: "main reachable" in said(bridge).replace("main: ", ""), SECONDS)
    assert "First load complete" in said(bridge)
    orthanc.upload(*samples["mr-knee"])
    assert "A round with main begins" in post(bridge, "/sources/sync", name="main")
    bridge.wait(lambda: "Studies known 2 " in said(bridge), SECONDS)
    orthanc.stop()
    post(bridge, "/sources/sync", name="main")
    bridge.wait(lambda: re.search(r"Failed \d{4}-\d\d-\d\d [\d:]+ UTC : \w", said(bridge)), SECONDS)
    assert re.search(r"main (failing|left alone for a while)", said(bridge).replace("main: ", ""))
    told = bridge.run("check").stdout
    assert re.search(
        r"FAILED source main: .*; 2 studies known, all loaded; last round .*; failed 20\S+: \w", told
    )
    orthanc.start()
    post(bridge, "/sources/sync", name="main")
    bridge.wait(lambda: "main reachable" in said(bridge).replace("main: ", ""), SECONDS)
    assert "Failed" not in said(bridge)
    told = bridge.run("check").stdout
    assert re.search(r"2 studies known, all loaded; last round \S+, [\d.]+ s: \d+ listed", told)
    assert bridge.stop() == 0


def test_the_first_load_of_an_archive_on_demand(
    make_bridge: Callable[..., Bridge], make_orthanc: Callable[..., Orthanc]
) -> None:
    """Nothing is asked until the button is pressed; then all is loaded, with a bar that fills up."""
    studies = 300
    orthanc = make_orthanc(*(part10(number) for number in range(studies)))
    bridge = make_bridge(source(orthanc, poll=0, connections=1)).start()
    assert "not asked yet" in said(bridge)
    assert "Next round on demand" in said(bridge)
    post(bridge, "/sources/sync", name="main")
    shares: set[int] = set()

    def loaded() -> bool:
        page = said(bridge)
        shares.update(int(share) for share in re.findall(r"First load: (\d+) %", page))
        return "First load complete" in page and "Next round on demand" in page

    bridge.wait(loaded, SECONDS)
    assert f"Studies known {studies} " in said(bridge)
    assert shares, "no bar was seen"
    assert max(shares) <= 100
    assert bridge.stop() == 0


def part10(number: int) -> bytes:
    """A file of a study of its own, of one pixel; the studies are of many days."""
    ds = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    uid = f"2.999.77.{number + 1}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = uid, f"{uid}.1", f"{uid}.1.1"
    ds.StudyDate = f"2020{1 + number // 28 % 12:02}{1 + number % 28:02}"
    ds.PixelData, ds.Rows, ds.Columns = b"\0\0", 1, 1
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    buffer = io.BytesIO()
    ds.save_as(buffer)
    return buffer.getvalue()


# in a browser


@pytest.fixture
def look(program: Callable[[str], str], tmp_path: Path) -> Callable[..., None]:
    """Runs what is to be done in a browser of its own."""

    def run(steps: Callable[[Page], Coroutine[Any, Any, None]]) -> None:
        async def stepped() -> None:
            folder = tmp_path / "browser"
            folder.mkdir(exist_ok=True)
            async with browser(program("chromium"), folder) as page:
                await steps(page)

        asyncio.run(stepped())

    return run


async def press(page: Page, key: str, code: int) -> None:
    """One key, down and up."""
    for kind in ("keyDown", "keyUp"):
        typed = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
        await page.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **typed)


async def walk_to(page: Page, id_: str) -> None:
    """The tabulator until what has the id has the focus, which can be seen."""
    for _time in range(60):
        await press(page, "Tab", 9)
        if await page.evaluate(f"document.activeElement.id === {json.dumps(id_)}"):
            assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            return
    raise AssertionError(f"the tabulator does not lead to {id_}")


@pytest.fixture
def archive() -> Iterator[hostile.HostileArchive]:
    """An archive with two studies, of which it gives one alone."""
    with hostile.running() as one:
        for number in (1, 2):
            one.holdings.add(hostile.study(f"2.999.5.{number}", f"{datetime.now(UTC):%Y%m%d}"))
        one.options.refuses_uid_lists = True
        one.routes["/dicom-web/studies/2.999.5.2/instances"] = hostile.truncated()
        yield one


def test_a_dead_letter_is_tried_again_on_the_keyboard(
    make_bridge: Callable[..., Bridge], archive: hostile.HostileArchive, look: Callable[..., None]
) -> None:
    """An archive breaks off in the middle of a study; once it is mended, a key press brings the study."""
    table = f'[[source]]\nname = "main"\nurl = "{archive.url}"\npoll_seconds = 3600\n'
    bridge = make_bridge(table).start()
    bridge.wait(lambda: "JSON breaks off" in said(bridge, "/dead-letters"), SECONDS)
    bridge.wait(lambda: "main reachable" in said(bridge).replace("main: ", ""), SECONDS)

    async def steps(page: Page) -> None:
        await page.open(f"{bridge.root}/dead-letters")
        await page.wait("document.querySelector('[id^=retry-]') !== null")
        number = await page.evaluate("document.querySelector('button[id^=retry-]').id")
        archive.routes.clear()
        await walk_to(page, number)
        await press(page, "Enter", 13)
        await page.wait("document.querySelector('.notice')?.innerText.includes('at the next round')")
        assert await page.evaluate("document.getElementById('letters').innerText.includes('There is none')")
        await page.open(f"{bridge.root}/sources")
        await page.wait("document.querySelector('button[id$=-sync]:enabled') !== null")
        await walk_to(page, "archive-1-sync")
        await press(page, "Enter", 13)
        await page.wait("document.querySelector('.notice')?.innerText.includes('A round with main begins')")
        await page.wait("/Studies known\\s+2/.test(document.getElementById('archives').innerText)")
        assert page.errors == []

    look(steps)
    bridge.wait(lambda: "2.999.5.2" in bridge.studies(), SECONDS)
    assert bridge.stop() == 0


def test_a_page_stays_up_to_date(make_bridge: Callable[..., Bridge], look: Callable[..., None]) -> None:
    """What comes is shown by itself; nothing is asked while nobody looks; a lost connection is said."""
    bridge = make_bridge().start()

    async def steps(page: Page) -> None:
        await page.open(f"{bridge.root}/dead-letters")
        await page.wait("document.querySelector('[data-live-state]')?.innerText.startsWith('Up to date')")
        await asyncio.to_thread(refused, bridge, b"no DICOM at all")
        await page.wait("document.querySelectorAll('#letters tbody tr').length === 1")
        assert page.errors == []
        await page.evaluate(_HIDDEN.replace("VALUE", "true"))
        await asyncio.sleep(1)
        before = len(page.requests)
        await asyncio.sleep(4.5)
        assert len(page.requests) == before
        await asyncio.to_thread(refused, bridge, b"neither is this")
        await page.evaluate(_HIDDEN.replace("VALUE", "false"))
        await page.wait("document.querySelector('#letters tbody').innerText.includes('first ')", 3)
        await asyncio.to_thread(bridge.stop)
        await page.wait(
            "document.querySelector('[data-live-spoken]').innerText.includes('connection is lost')"
        )
        assert await page.evaluate("document.querySelector('.lost') !== null")
        await asyncio.to_thread(bridge.start)
        await page.wait("document.querySelector('[data-live-spoken]').innerText.includes('is back')", SECONDS)
        assert await page.evaluate("document.querySelector('.lost') === null")

    look(steps)


_HIDDEN = """Object.defineProperty(document, "hidden", {configurable: true, get: () => VALUE});
document.dispatchEvent(new Event("visibilitychange"))"""


def test_what_is_open_stays_open(make_bridge: Callable[..., Bridge], look: Callable[..., None]) -> None:
    """A refresh closes no details and takes the focus from nobody."""
    bridge = make_bridge().start()
    pushed(bridge, 1)

    async def steps(page: Page) -> None:
        await page.open(f"{bridge.root}/sources")
        await page.wait("document.getElementById('pushed-numbers') !== null")
        await page.evaluate("document.getElementById('pushed-numbers').open = true")
        await walk_to(page, "span-7d")
        await asyncio.to_thread(pushed, bridge, 2)
        await page.wait("document.querySelector('.chart strong').innerText === '2'")
        assert await page.evaluate("document.getElementById('pushed-numbers').open")
        assert await page.evaluate("document.activeElement.id") == "span-7d"
        assert page.errors == []

    look(steps)
    assert bridge.stop() == 0


def pushed(bridge: Bridge, number: int) -> None:
    """One instance by STOW-RS."""
    client = DICOMwebClient(bridge.dicomweb)
    client.store_instances([pydicom.dcmread(io.BytesIO(part10(number)))])


def test_pages_fit_every_window(make_bridge: Callable[..., Bridge], look: Callable[..., None]) -> None:
    """At 1280 and at 360 pixels nothing is cut off to the side, and nobody else is asked for anything."""
    bridge = make_bridge().start()
    pushed(bridge, 1)
    refused(bridge, b"no DICOM at all")

    async def steps(page: Page) -> None:
        for path in ("/sources", "/dead-letters", "/dead-letters/all?action=discard", "/why?key=2.999.77.2"):
            for width in SIZES:
                await page.call(
                    "Emulation.setDeviceMetricsOverride",
                    width=width,
                    height=800,
                    deviceScaleFactor=1,
                    mobile=False,
                )
                await page.open(f"{bridge.root}{path}")
                await page.wait("document.readyState === 'complete' && document.querySelector('h1') !== null")
                wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
                assert wide <= 0, (path, width, wide)
                hosts = {urlsplit(url).netloc for url, _fields in page.requests}
                assert (hosts, page.errors) == ({urlsplit(bridge.root).netloc}, [])

    look(steps)
    assert bridge.stop() == 0
