"""The pages in a real browser: from an empty bridge to a study that was found and opened, and by axe-core."""

import asyncio
import re
import subprocess
from collections.abc import Awaitable, Callable
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from chromium_peer import Page, browser
from page_site import CT, HOSTILE, LONG, RIGHT_TO_LEFT, Site, changed, fill, site
from token_issuer import Issuer

from pacsbridge.samples import write_samples

PAGES = (
    "/",
    "/?sort=patient",
    "/?modality=XA",
    "/?uid=1.2.3",
    "/?from=x",
    f"/studies/{CT}",
    f"/studies/{CT}/history",
    f"/resources/ImagingStudy/{CT}",
    "/sources",
    "/dead-letters",
    "/dead-letters/all?action=discard",
    "/why",
    f"/why?key={CT}",
    "/docs",
    "/docs/commands",
    "/docs/mapping",
    "/docs?q=backup",
    "/docs?q=nothing-of-the-kind",
    "/nope",
)
"""Every kind of page but those whose paths have ids in them, and that for signing in."""

FAULTY = ("/?from=x", "/nope")
SCOPES = "user/ImagingStudy.rs user/Endpoint.rs pacsbridge/metrics"
WIDE = "W" * 30 + LONG[:34]
WIDTHS = (1280, 360)
SCHEMES = ("light", "dark")

_AXE = """axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}).then(
  found => found.violations.filter(one => ["serious", "critical"].includes(one.impact))
    .map(one => [one.id, one.nodes[0].html, one.nodes[0].failureSummary]))"""


@pytest.fixture
def axe(program: Callable[[str], str]) -> str:
    """The script of axe-core. Skips where it is not installed."""
    npm = program("npm")
    places = subprocess.run([npm, "root", "--global"], capture_output=True, text=True, check=True, timeout=60)
    file = Path(places.stdout.strip()) / "axe-core" / "axe.min.js"
    if not file.is_file():
        pytest.skip("axe-core is not installed: npm install --global axe-core")
    return file.read_text(encoding="utf-8")


def browsed(chromium: str, folder: Path, work: Callable[[Page], Awaitable[None]]) -> None:
    """Does something with a browser."""

    async def run() -> None:
        async with browser(chromium, folder) as page:
            await work(page)

    asyncio.run(run())


async def arrived(page: Page, path: str) -> None:
    """Wait until a page is there, whole."""
    await page.wait(f"location.pathname.startsWith({path!r}) && document.readyState === 'complete'")


async def resize(page: Page, width: int) -> None:
    """Give the window a width, in CSS pixels."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    await page.call("Emulation.setDeviceMetricsOverride", **size)


async def click(page: Page, selector: str) -> None:
    """Click what a selector finds."""
    await page.evaluate(f"document.querySelector({selector!r}).click()")


def test_from_nothing_to_a_study_that_is_open(program: Callable[[str], str], tmp_path: Path) -> None:
    """An engineer's first minutes; the browser asks nobody else and finds nothing to complain about."""
    chromium = program("chromium")
    (tmp_path / "profile").mkdir()
    with site(tmp_path / "data", samples=False) as running:

        async def work(page: Page) -> None:
            await page.open(running.root + "/")
            await page.wait("document.body?.innerText.includes('Nothing has arrived yet')")
            fill(running.running, write_samples(tmp_path / "samples"))
            await page.open(running.root + "/")
            await page.wait("document.querySelectorAll('tbody tr').length === 10")
            await page.evaluate("document.querySelector('#f-name').value = 'muster'")
            await click(page, ".actions button")
            await page.wait("document.querySelectorAll('tbody tr').length === 2")
            assert "muster" not in await page.evaluate("location.href")
            await click(page, f'a[href="/studies/{CT}"]')
            await arrived(page, f"/studies/{CT}")
            await page.evaluate("history.back()")
            await page.wait("document.querySelectorAll('tbody tr').length === 2")
            await click(page, f'a[href="/studies/{CT}"]')
            await arrived(page, f"/studies/{CT}")
            await page.wait("document.querySelector('.thumb')?.naturalWidth > 10")
            await click(page, "details.series summary")
            await page.wait("document.querySelector('details.series[open] table') !== null")
            await click(page, ".place button")
            await page.wait("document.body?.innerText.includes('it answers with 5 series')")
            asked = [url for url, _headers in page.requests if not url.startswith("data:")]
            others = [url for url in asked if not url.startswith(running.root)]
            assert (others, page.errors) == ([], [])

        browsed(chromium, tmp_path / "profile", work)


def test_pages_are_for_everybody(
    program: Callable[[str], str], axe: str, tmp_path: Path, looked_at: Site
) -> None:
    """axe-core finds no serious fault on any kind of page; nothing sticks out at 360 px."""
    chromium = program("chromium")
    every = [looked_at.root + path for path in (*PAGES, *named(looked_at))]

    async def work(page: Page) -> None:
        found = [one for url in every for one in await faults(page, axe, url)]
        assert found == []

    browsed(chromium, tmp_path, work)


def test_no_page_of_the_manual_sticks_out(
    program: Callable[[str], str], tmp_path: Path, looked_at: Site
) -> None:
    """However long the words of its tables are, at 360 px."""
    chromium = program("chromium")
    paths = sorted(set(re.findall(r'href="(/docs/[a-z-]+)"', looked_at.get("/docs").text)))
    assert len(paths) > 10

    async def work(page: Page) -> None:
        await resize(page, 360)
        for path in paths:
            await page.open(looked_at.root + path)
            await arrived(page, path)
            assert page.errors == []
            assert await page.evaluate("document.documentElement.scrollWidth") <= 360, path

    browsed(chromium, tmp_path, work)


def test_signing_in_is_for_everybody(
    program: Callable[[str], str], axe: str, tmp_path: Path, behind: Site
) -> None:
    """The same of the form that takes a token, before and after one that is none."""
    chromium = program("chromium")

    async def work(page: Page) -> None:
        assert await faults(page, axe, behind.root + "/login?next=/sources") == []
        await page.evaluate("document.querySelector('#token').value = 'none'")
        await click(page, "form.stack button")
        await page.wait("document.querySelector('[role=alert]') && document.readyState === 'complete'")
        assert await found_here(page, axe) == []

    browsed(chromium, tmp_path, work)


def named(site: Site) -> list[str]:
    """The pages of a series, a patient, an endpoint and a version, as one study names them."""
    study = site.get(f"/fhir/ImagingStudy/{CT}").json()
    references = (study["subject"]["reference"], study["endpoint"][0]["reference"])
    return [
        f"/studies/{CT}/series/{study['series'][0]['uid']}",
        *(f"/resources/{one}" for one in references),
        f"/resources/ImagingStudy/{CT}?version=1",
    ]


async def faults(page: Page, axe: str, url: str) -> list[Any]:
    """What is wrong with a page, by axe-core and by its width."""
    await page.open(url)
    path = urlsplit(url).path
    await arrived(page, path)
    assert page.errors == [] or url.endswith(FAULTY), (url, page.errors)
    return [(path, *one) for one in await found_here(page, axe)]


async def found_here(page: Page, axe: str) -> list[Any]:
    """What is wrong with the page that is shown, light and dark, wide and narrow."""
    await page.evaluate(axe)
    found = []
    for width, scheme in product(WIDTHS, SCHEMES):
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        await resize(page, width)
        await page.call("Emulation.setEmulatedMedia", features=features)
        await page.wait(f"innerWidth === {width} && matchMedia('(prefers-color-scheme: {scheme})').matches")
        if await page.evaluate("document.documentElement.scrollWidth") > width:
            found.append((width, scheme, "sticks out"))
        found += [(width, scheme, *one) for one in await page.evaluate(_AXE)]
    return found


def test_the_keyboard_sorts_the_list(program: Callable[[str], str], tmp_path: Path, looked_at: Site) -> None:
    """Enter on a heading leads to its order, and once more to the other one."""
    chromium = program("chromium")

    async def work(page: Page) -> None:
        await page.open(looked_at.root + "/")
        await arrived(page, "/")
        for order in ("ascending", "descending"):
            await page.evaluate("document.querySelector('thead a[href*=patient]').focus()")
            for kind in ("keyDown", "keyUp"):
                await page.call(
                    "Input.dispatchKeyEvent",
                    type=kind,
                    key="Enter",
                    code="Enter",
                    windowsVirtualKeyCode=13,
                    text="\r" if kind == "keyDown" else "",
                )
            heading = f"document.querySelector('th[aria-sort={order}]')?.innerText.startsWith('Patient')"
            await page.wait(f"document.readyState === 'complete' && {heading}")

    browsed(chromium, tmp_path, work)


def test_the_keyboard_reaches_what_the_mouse_does(
    program: Callable[[str], str], tmp_path: Path, looked_at: Site
) -> None:
    """The first stop is the link over the navigation; every stop can be seen."""
    chromium = program("chromium")

    async def work(page: Page) -> None:
        await page.open(looked_at.root + "/")
        await arrived(page, "/")
        seen = []
        for _ in range(12):
            for kind in ("keyDown", "keyUp"):
                await page.call(
                    "Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9
                )
            seen.append(
                await page.evaluate(
                    "[document.activeElement.className || document.activeElement.tagName,"
                    " getComputedStyle(document.activeElement).outlineStyle]"
                )
            )
        assert seen[0][0] == "skip"
        assert all(style == "solid" for _name, style in seen)

    browsed(chromium, tmp_path, work)


def test_what_a_modality_writes_runs_nothing(program: Callable[[str], str], tmp_path: Path) -> None:
    """Names of any script and direction are shown as text on each page, and nothing else happens."""
    chromium = program("chromium")
    (tmp_path / "profile").mkdir()
    (tmp_path / "sent").mkdir()
    with site(tmp_path / "data", samples=False) as running:
        texts = {
            "PatientName": WIDE,
            "PatientID": "9" * 64,
            "StudyDescription": HOSTILE,
            "SeriesDescription": RIGHT_TO_LEFT,
        }
        fill(running.running, [changed(tmp_path / "sent", **texts)])

        async def work(page: Page) -> None:
            await resize(page, 390)
            for path, shown in (
                ("/", (WIDE, HOSTILE)),
                (f"/studies/{CT}", tuple(texts.values())),
                (f"/studies/{CT}/history", (WIDE, HOSTILE)),
                (f"/resources/ImagingStudy/{CT}", tuple(texts.values())),
            ):
                await page.open(running.root + path)
                await arrived(page, path)
                text = await page.evaluate("document.body.innerText")
                assert [one for one in shown if one not in text] == [], path
                assert page.errors == []
                width = await page.evaluate("document.documentElement.scrollWidth")
                assert width <= await page.evaluate("innerWidth"), path

        browsed(chromium, tmp_path / "profile", work)


def test_a_page_that_is_left_alone_goes_away_with_its_session(
    program: Callable[[str], str], tmp_path: Path, behind: Site, issuer: Issuer
) -> None:
    """What refreshes by itself leads to the form for signing in once the session is over."""
    chromium = program("chromium")
    gate = behind.running.http._front.gate
    assert gate is not None

    async def work(page: Page) -> None:
        await page.open(behind.root + "/login?next=/sources")
        await arrived(page, "/login")
        await page.evaluate(f"document.querySelector('#token').value = {issuer.token(SCOPES)!r}")
        await click(page, "form.stack button")
        await arrived(page, "/sources")
        await page.wait("document.querySelector('[data-live-state]')?.textContent.startsWith('Up to date')")
        for name in list(gate.sessions._open):
            gate.sessions.end(name, "its token is no longer taken")
        await arrived(page, "/login")
        assert await page.evaluate("location.search") == "?next=%2Fsources"
        assert await page.evaluate("document.querySelector('[data-live]')") is None

    browsed(chromium, tmp_path, work)
