"""The DICOMweb application: routes, and what answers 501 where it is not offered."""

import asyncio
from collections.abc import Mapping

from aiohttp import web

from pacsbridge.access.auditing import Witness, audited
from pacsbridge.access.gate import Gate
from pacsbridge.access.guard import guard
from pacsbridge.access.ways import right_way
from pacsbridge.blobs.packs import Packs
from pacsbridge.dicomweb.auditing import teller
from pacsbridge.dicomweb.bulkdata import bulkdata
from pacsbridge.dicomweb.confining import confine
from pacsbridge.dicomweb.faults import Handler, answer_faults, mark
from pacsbridge.dicomweb.frames import SHELF, Shelf, frames
from pacsbridge.dicomweb.metadata import metadata
from pacsbridge.dicomweb.proxy import PROXY, Proxy, join_instances, join_metadata, or_proxied, proxied
from pacsbridge.dicomweb.receiving import Entrance
from pacsbridge.dicomweb.rendered import POOL, rendered, thumbnail
from pacsbridge.dicomweb.retrieve import retrieve
from pacsbridge.dicomweb.search import search_studies
from pacsbridge.dicomweb.service import SERVICE, DicomwebSettings, Service
from pacsbridge.dicomweb.store import STORING, Storing
from pacsbridge.dicomweb.store import store as store_instances
from pacsbridge.dicomweb.stream import Courier
from pacsbridge.render.pool import Pool, missing
from pacsbridge.store.store import Store
from pacsbridge.turns import Turns

STUDY = "/studies/{study}"
SERIES = STUDY + "/series/{series}"
INSTANCE = SERIES + "/instances/{instance}"
FRAMES = INSTANCE + "/frames/{frames}"

READS: Mapping[str, Handler] = {
    **dict.fromkeys((STUDY, SERIES, INSTANCE), or_proxied(retrieve, join_instances)),
    **dict.fromkeys(
        (STUDY + "/metadata", SERIES + "/metadata", INSTANCE + "/metadata"),
        or_proxied(metadata, join_metadata),
    ),
    FRAMES: or_proxied(frames),
    INSTANCE + "/bulkdata/{path:.+}": or_proxied(bulkdata),
    **dict.fromkeys(("/studies", "/series", "/instances"), search_studies),
    **dict.fromkeys((STUDY + "/series", STUDY + "/instances", SERIES + "/instances"), search_studies),
}

PICTURES: Mapping[str, Handler] = {
    **{level + "/rendered": rendered for level in (STUDY, SERIES, INSTANCE, FRAMES)},
    **{level + "/thumbnail": thumbnail for level in (STUDY, SERIES, INSTANCE, FRAMES)},
}


def dicomweb_app(
    store: Store,
    packs: Packs,
    settings: DicomwebSettings,
    turns: Turns,
    entrance: Entrance | None = None,
    proxy: Proxy | None = None,
    gate: Gate | None = None,
    witness: Witness | None = None,
) -> web.Application:
    """The application to be mounted under `/dicomweb`; `turns` runs all that blocks.

    `entrance`: where stored instances go; without it there is no storing (501). `proxy`: what reads archives.
    `gate` knows callers by their tokens; without it everybody may have everything.
    `witness` hears what happens.
    """
    guards = [] if gate is None else [guard(gate), confine(gate)]
    audit = [] if witness is None else [audited(witness, teller(witness))]
    app = web.Application(middlewares=[*audit, answer_faults, right_way, *guards])
    app.on_response_prepare.append(mark)
    courier = Courier(packs, turns.executor)
    describing = asyncio.Semaphore(settings.metadata_jobs)
    app[SERVICE] = Service(store, packs, settings, turns, courier, describing)
    app[SHELF] = Shelf()
    app.router.add_routes([web.get(path, handler) for path, handler in READS.items()])
    _add_storing(app, entrance)
    app.router.add_get("", _nothing)
    _add_pictures(app, settings)
    if proxy is not None:
        app[PROXY] = proxy
        app.router.add_get(STUDY + "/{rest:.+}", proxied)
    return app


def _add_storing(app: web.Application, entrance: Entrance | None) -> None:
    if entrance is not None:
        app[STORING] = Storing(entrance, app[SERVICE])
    handler = store_instances if entrance is not None else _not_here("storing (STOW-RS) is not offered here")
    app.router.add_routes([web.post("/studies", handler), web.post(STUDY, handler)])


def _add_pictures(app: web.Application, settings: DicomwebSettings) -> None:
    """Pictures where they are switched on and can be made; else 501 with the reason."""
    handlers = PICTURES
    if settings.render is None:
        handlers = dict.fromkeys(PICTURES, _not_here("rendering is off (dicomweb.render)"))
    elif missing() is not None:
        handlers = dict.fromkeys(PICTURES, _not_here("rendering needs: pip install 'pacsbridge[render]'"))
    else:
        app[POOL] = Pool(settings.render)
        app.on_cleanup.append(_end_pictures)
    app.router.add_routes([web.get(path, or_proxied(handler)) for path, handler in handlers.items()])


async def _end_pictures(app: web.Application) -> None:
    await app[POOL].close()


async def _nothing(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPNotFound


def _not_here(why: str) -> Handler:
    async def answer(_request: web.Request) -> web.StreamResponse:
        raise web.HTTPNotImplemented(reason=why)

    return answer
