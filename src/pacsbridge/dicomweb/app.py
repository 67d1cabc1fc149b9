"""The DICOMweb application: routes, and what is not there yet."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor

from aiohttp import web

from pacsbridge.blobs.packs import Packs
from pacsbridge.dicomweb.bulkdata import bulkdata
from pacsbridge.dicomweb.faults import Handler, answer_faults, mark
from pacsbridge.dicomweb.frames import SHELF, Shelf, frames
from pacsbridge.dicomweb.metadata import metadata
from pacsbridge.dicomweb.receiving import Entrance
from pacsbridge.dicomweb.retrieve import retrieve
from pacsbridge.dicomweb.service import SERVICE, DicomwebSettings, Service
from pacsbridge.dicomweb.store import STORING, Storing
from pacsbridge.dicomweb.store import store as store_instances
from pacsbridge.dicomweb.stream import Courier
from pacsbridge.store.store import Store

STUDY = "/studies/{study}"
SERIES = STUDY + "/series/{series}"
INSTANCE = SERIES + "/instances/{instance}"

READS: Mapping[str, Handler] = {
    STUDY: retrieve,
    SERIES: retrieve,
    INSTANCE: retrieve,
    STUDY + "/metadata": metadata,
    SERIES + "/metadata": metadata,
    INSTANCE + "/metadata": metadata,
    INSTANCE + "/frames/{frames}": frames,
    INSTANCE + "/bulkdata/{path:.+}": bulkdata,
}

NOT_YET: Mapping[tuple[str, str], str] = {
    ("GET", "/studies"): "search (QIDO-RS)",
    ("GET", "/series"): "search (QIDO-RS)",
    ("GET", "/instances"): "search (QIDO-RS)",
    ("GET", STUDY + "/series"): "search (QIDO-RS)",
    ("GET", STUDY + "/instances"): "search (QIDO-RS)",
    ("GET", SERIES + "/instances"): "search (QIDO-RS)",
    **{("GET", level + "/rendered"): "rendering" for level in (STUDY, SERIES, INSTANCE)},
    **{("GET", level + "/thumbnail"): "rendering" for level in (STUDY, SERIES, INSTANCE)},
}
"""Transactions of PS3.18 that clients may try and that answer 501 for now."""


def dicomweb_app(
    store: Store,
    packs: Packs,
    settings: DicomwebSettings,
    executor: Executor,
    entrance: Entrance | None = None,
) -> web.Application:
    """The application to be mounted under `/dicomweb`; `executor` runs all that blocks.

    `entrance`: where stored instances go; without it there is no storing (501).
    """
    app = web.Application(middlewares=[answer_faults])
    app.on_response_prepare.append(mark)
    courier = Courier(packs, executor, settings.stall_seconds)
    describing = asyncio.Semaphore(settings.metadata_jobs)
    app[SERVICE] = Service(store, packs, settings, executor, courier, describing)
    app[SHELF] = Shelf()
    app.router.add_routes([web.get(path, handler) for path, handler in READS.items()])
    _add_storing(app, entrance)
    app.router.add_get("", _nothing)
    app.router.add_routes(
        [web.route(method, path, _not_yet(what)) for (method, path), what in NOT_YET.items()]
    )
    return app


def _add_storing(app: web.Application, entrance: Entrance | None) -> None:
    if entrance is not None:
        app[STORING] = Storing(entrance, app[SERVICE])
    handler = store_instances if entrance is not None else _not_yet("storing (STOW-RS)")
    app.router.add_routes([web.post("/studies", handler), web.post(STUDY, handler)])


async def _nothing(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPNotFound


def _not_yet(what: str) -> Handler:
    async def answer(_request: web.Request) -> web.StreamResponse:
        raise web.HTTPNotImplemented(reason=f"{what} is not implemented yet")

    return answer
