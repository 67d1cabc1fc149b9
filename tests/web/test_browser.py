"""The pages in a real browser: from an empty bridge to a study that was found and opened, and by axe-core."""

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from chromium_peer import Page, browser
from page_site import CT, HOSTILE, LONG, RIGHT_TO_LEFT, Site, changed, fill, site

from pacsbridge.samples import write_samples

PAGES = (
    "/",
    "/?modality=XA",
    "/?from=x",
    f"/studies/{CT}",
    f"/studies/{CT}/history",
    f"/resources/ImagingStudy/{CT}",
    "/sources",
    "/dead-letters",
    "/why",
    "/docs",
    "/nope",
)
FAULTY = ("/?from=x", "/nope")
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
            assert await page.evaluate("location.search") == ""
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
    """axe-core finds no serious fault, light and dark, wide and narrow; nothing sticks out at 360 px."""
    chromium = program("chromium")

    async def check(page: Page, path: str, width: int, scheme: str) -> list[Any]:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        await page.call("Emulation.setDeviceMetricsOverride", **size)
        await page.call("Emulation.setEmulatedMedia", features=features)
        await page.open(looked_at.root + path)
        await arrived(page, path.partition("?")[0])
        assert page.errors == [] or path in FAULTY, (path, page.errors)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
        await page.evaluate(axe)
        return [(path, width, scheme, *one) for one in await page.evaluate(_AXE)]

    async def work(page: Page) -> None:
        found = [
            await check(page, path, width, scheme) for path in PAGES for width in WIDTHS for scheme in SCHEMES
        ]
        assert [one for each in found for one in each] == []

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
        texts = {"PatientName": LONG, "StudyDescription": HOSTILE, "SeriesDescription": RIGHT_TO_LEFT}
        fill(running.running, [changed(tmp_path / "sent", **texts)])

        async def work(page: Page) -> None:
            for path, shown in (
                ("/", (LONG, HOSTILE)),
                (f"/studies/{CT}", tuple(texts.values())),
                (f"/studies/{CT}/history", (LONG, HOSTILE)),
                (f"/resources/ImagingStudy/{CT}", tuple(texts.values())),
            ):
                await page.open(running.root + path)
                await arrived(page, path)
                text = await page.evaluate("document.body.innerText")
                assert [one for one in shown if one not in text] == [], path
                assert page.errors == []

        browsed(chromium, tmp_path / "profile", work)
