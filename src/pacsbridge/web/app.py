"""The application of the pages: the table of routes in aiohttp's router."""

from collections.abc import Sequence
from functools import partial

from aiohttp import web
from aiohttp.typedefs import Middleware

from pacsbridge.access.auditing import Witness, layers
from pacsbridge.access.guard import Handler
from pacsbridge.web import find, letters, manual, signing_in, sources, study, why
from pacsbridge.web.auditing import told
from pacsbridge.web.faults import answering
from pacsbridge.web.guarding import guarded
from pacsbridge.web.routes import Route
from pacsbridge.web.service import SERVICE, Web
from pacsbridge.web.showing import static

ROUTES: tuple[Route, ...] = (
    Route("GET", "/static/{digest}/{name}", static, everybody=True),
    *signing_in.ROUTES,
    *find.ROUTES,
    *study.ROUTES,
    *sources.ROUTES,
    *letters.ROUTES,
    *why.ROUTES,
    *manual.ROUTES,
)
"""All pages; those of a module stand in its own `ROUTES`."""


def add_pages(service: Web, witness: Witness | None, app: web.Application) -> None:
    """Add the pages to the application of the port, whose other paths go first; `witness` hears of them.

    An application of their own cannot stand at `/`: so each handler has the layers round itself.
    """
    app[SERVICE] = service
    around = (*layers(witness, told), answering())
    for route in ROUTES:
        add = app.router.add_post if route.method == "POST" else app.router.add_get
        add(route.path, _within(around, guarded(route)))
    app.router.add_route("*", "/{path:.*}", _within(around, _nothing))


def _within(around: Sequence[Middleware], handler: Handler) -> Handler:
    """A handler with layers round it, the outermost first."""
    for layer in reversed(around):
        handler = partial(layer, handler=handler)
    return handler


async def _nothing(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPNotFound
