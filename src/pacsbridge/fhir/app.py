"""The FHIR application: routes, and what is not there yet."""

from collections.abc import Mapping
from concurrent.futures import Executor
from datetime import UTC, datetime

import orjson
from aiohttp import web

from pacsbridge.fhir.faults import Handler, answer_faults
from pacsbridge.fhir.observing import observe
from pacsbridge.fhir.reads import metadata, read, vread
from pacsbridge.fhir.searches import search, search_by_form
from pacsbridge.fhir.service import SERVICE, FhirSettings, Service
from pacsbridge.kernel.capability import capability_statement
from pacsbridge.kernel.search_parameters import PARAMETERS
from pacsbridge.store.store import Store

TYPE = "/{type:" + "|".join(PARAMETERS) + "}"
INSTANCE = TYPE + r"/{id:[A-Za-z0-9\-.]{1,64}}"

READS: Mapping[str, Handler] = {
    "/metadata": metadata,
    INSTANCE: read,
    INSTANCE + "/_history/{version:[0-9]{1,18}}": vread,
    TYPE: search,
}

NOT_YET: Mapping[tuple[str, str], str] = {
    ("GET", INSTANCE + "/_history"): "the history of a resource",
    ("GET", TYPE + "/_history"): "the history of a type",
    ("GET", "/_history"): "the history of everything",
    ("POST", ""): "batch",
}
"""Interactions that clients may try and that are answered 501 for now."""


def fhir_app(store: Store, settings: FhirSettings, executor: Executor) -> web.Application:
    """The application to be mounted under `/fhir`; `executor` runs all that blocks."""
    app = web.Application(middlewares=[observe, answer_faults])
    made = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    statement = capability_statement(settings.base_url, settings.software_version, made)
    app[SERVICE] = Service(store, settings, executor, orjson.dumps(statement))
    app.router.add_routes([web.get(path, handler) for path, handler in READS.items()])
    app.router.add_post(TYPE + "/_search", search_by_form)
    app.router.add_routes(
        [web.route(method, path, _not_yet(what)) for (method, path), what in NOT_YET.items()]
    )
    return app


def _not_yet(what: str) -> Handler:
    async def answer(_request: web.Request) -> web.StreamResponse:
        raise web.HTTPNotImplemented(reason=f"{what} is not implemented yet")

    return answer
