"""The manual at `/docs`, for everybody: its pages, and a search through them. There is no patient in it."""

from collections.abc import Sequence
from functools import partial

from aiohttp import web
from markupsafe import Markup

from pacsbridge.web.forms import of_url, value
from pacsbridge.web.manual_search import Page, search
from pacsbridge.web.routes import Route
from pacsbridge.web.service import SERVICE
from pacsbridge.web.showing import page, see_other


async def first(request: web.Request) -> web.StreamResponse:
    """What a search finds (`q`); without one, the first page."""
    service = request.app[SERVICE]
    pages = await service.call(service.manual)
    asked = value(of_url(request), "q")
    if asked:
        return await service.call(partial(_found, request, list(pages.values()), asked))
    if not pages:
        raise web.HTTPNotFound
    return see_other(f"/docs/{next(iter(pages))}")


def _found(request: web.Request, pages: Sequence[Page], asked: str) -> web.Response:
    return page(request, "manual_found.html", pages=pages, shown=None, asked=asked, hits=search(pages, asked))


async def one(request: web.Request) -> web.StreamResponse:
    """One page, with the others beside it. Raises HTTPNotFound."""
    service = request.app[SERVICE]
    pages = await service.call(service.manual)
    shown = pages.get(request.match_info["page"])
    if shown is None:
        raise web.HTTPNotFound
    return await service.call(partial(_shown, request, list(pages.values()), shown))


def _shown(request: web.Request, pages: Sequence[Page], shown: Page) -> web.Response:
    place = pages.index(shown)
    before = pages[place - 1] if place else None
    after = pages[place + 1] if place + 1 < len(pages) else None
    content = Markup(shown.html())  # noqa: S704 - it is our own, and has no HTML but that of Markdown
    return page(
        request,
        "manual.html",
        pages=pages,
        shown=shown,
        asked="",
        content=content,
        before=before,
        after=after,
    )


ROUTES = (
    Route("GET", "/docs", first, everybody=True),
    Route("GET", "/docs/{page}", one, everybody=True),
)
