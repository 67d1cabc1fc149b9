"""The manual as it is served: its pages, the search, and what a browser makes of them."""

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from aiohttp import web
from chromium_peer import Page as Browser
from chromium_peer import browser

from pacsbridge.manual.book import ORDER, pages
from pacsbridge.turns import Turns
from pacsbridge.web import manual
from pacsbridge.web.faults import answering
from pacsbridge.web.guarding import guarded
from pacsbridge.web.manual_search import MOST, search
from pacsbridge.web.routes import Route
from pacsbridge.web.service import SERVICE, Web, WebSettings
from pacsbridge.web.showing import static

WIDTHS = (1280, 375)
SCHEMES = ("light", "dark")


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """Where the manual is served, without a store: it needs none."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    with ThreadPoolExecutor(2) as executor:
        started = asyncio.run_coroutine_threadsafe(_started(executor), loop)
        runner = started.result(60)
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(60)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def _started(executor: ThreadPoolExecutor) -> web.AppRunner:
    app = web.Application(middlewares=[answering()])
    settings = WebSettings("http://127.0.0.1/fhir", "http://127.0.0.1/dicomweb")
    app[SERVICE] = Web(None, settings, Turns(executor), manual=pages)  # type: ignore[arg-type]
    for route in (Route("GET", "/static/{digest}/{name}", static, everybody=True), *manual.ROUTES):
        app.router.add_get(route.path, guarded(route))
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner


def test_it_begins_with_the_first_page(origin: str) -> None:
    """`/docs` leads there, and every page leads on to the next."""
    found = requests.get(f"{origin}/docs", timeout=60)
    assert found.url == f"{origin}/docs/{ORDER[0]}"
    seen = [ORDER[0]]
    while following := re.search(r'rel="next" href="/docs/([a-z-]+)"', found.text):
        seen.append(following[1])
        found = requests.get(f"{origin}/docs/{following[1]}", timeout=60)
        assert found.status_code == 200
    assert tuple(seen) == ORDER


def test_it_has_every_page_and_its_table(origin: str) -> None:
    """What the page is, with the others beside it and its own sections."""
    text = requests.get(f"{origin}/docs/operations", timeout=60).text
    assert pages()["operations"].html() in text
    assert all(f'href="/docs/{slug}"' in text for slug in ORDER)
    assert '<a href="#metrics">Metrics</a>' in text


def test_unknown_pages_are_404(origin: str) -> None:
    """Nothing outside the list can be named."""
    for path in ("nothing", "..%2fapp", "start.md", "%00"):
        assert requests.get(f"{origin}/docs/{path}", timeout=60).status_code in (400, 404), path


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ("time zone", "mapping#times"),
        ("calling-AE-title-not-recognized", "conformance#why"),
        ("METRICS", "operations#metrics"),
    ],
)
def test_a_search_finds_sections(origin: str, asked: str, first: str) -> None:
    """The first hit is the section whose heading has the words, else one whose text does."""
    text = requests.get(f"{origin}/docs", params={"q": asked}, timeout=60).text
    hits = re.findall(r'<a href="/docs/([a-z-]+#[^"]+)">', text)
    assert hits[0].startswith(first), hits[:3]
    assert "<mark>" in text


@pytest.mark.parametrize("asked", ["<script>alert(1)</script>", "(", "*", '"', "%", "xyzzy", "a" * 500])
def test_a_search_takes_any_words(origin: str, asked: str) -> None:
    """They are words, no pattern and no HTML; a page says so where there is nothing."""
    found = requests.get(f"{origin}/docs", params={"q": asked}, timeout=60)
    assert found.status_code == 200
    assert "<script>alert" not in found.text


def test_a_search_is_bounded() -> None:
    """Words that stand everywhere bring so many sections, and no word brings none."""
    assert len(search(pages().values(), "the")) == MOST
    assert search(pages().values(), "   ") == []


def test_an_excerpt_is_the_text() -> None:
    """Its pieces together are what stands there, with the words marked, round the first of them."""
    hit = search(pages().values(), "fhir.quiet_seconds")[0]
    text = "".join(piece.text for piece in hit.excerpt)
    assert text.strip("…") in hit.section.text
    assert next(piece.text for piece in hit.excerpt if piece.found) == "fhir.quiet_seconds"


def test_a_browser_shows_every_page(
    origin: str, program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Wide and narrow, light and dark: no error, no other host, nothing wider than the window."""
    chromium = program("chromium")
    asyncio.run(_looked(chromium, tmp_path_factory.mktemp("chromium"), origin))


async def _looked(chromium: str, folder: Path, origin: str) -> None:
    async with browser(chromium, folder) as page:
        for number, slug in enumerate((*ORDER, "start")):
            await _shown_as(page, WIDTHS[number % 2], SCHEMES[number // 2 % 2])
            await page.open(f"{origin}/docs/{slug}")
            await page.wait("document.readyState === 'complete' && document.querySelector('h1') !== null")
            title = await page.evaluate("document.querySelector('h1').innerText")
            assert title == pages()[slug].title
            assert not page.errors, (slug, page.errors)
            assert all(url.startswith(origin) for url, _ in page.requests)
            assert set(page.answers.values()) == {200}
            width = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
            assert await page.evaluate(width), slug


async def _shown_as(page: Browser, width: int, scheme: str) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    await page.call("Emulation.setDeviceMetricsOverride", **metrics)
    await page.call(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
    )
