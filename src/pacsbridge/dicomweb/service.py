"""What the handlers share: the store, the packs, the turns; conditional answers."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

from aiohttp import web

from pacsbridge.blobs.packs import Packs
from pacsbridge.dicomweb.stream import Courier
from pacsbridge.render.pool import Limits
from pacsbridge.store.store import Store
from pacsbridge.turns import Turns

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DicomwebSettings:
    """`base_url`: the absolute URL of this service without a trailing slash, as clients reach it.

    `stall_seconds`: a client that takes or sends nothing for so long is cut off. `metadata_jobs`: how many
    threads of the executor may read headers for metadata at once, so that other requests keep some;
    `store_jobs`: the same for storing. An instance up to `spool_bytes` is received in memory, one above
    `object_bytes` is refused. `max_results`: results of one search at most.
    A body to be stored may take `body_seconds`, and one more for each `bytes_per_second` that it brings.
    `render`: what may be taken to make pictures; None: none are made.
    """

    base_url: str
    stall_seconds: float = 60.0
    metadata_jobs: int = 2
    store_jobs: int = 4
    spool_bytes: int = 8 << 20
    object_bytes: int = 2048 << 20
    max_results: int = 10_000
    body_seconds: float = 15.0
    bytes_per_second: int = 8192
    render: Limits | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """One for the application; every handler finds it under `SERVICE`."""

    store: Store
    packs: Packs
    settings: DicomwebSettings
    turns: Turns
    courier: Courier
    describing: asyncio.Semaphore

    async def call(self, work: Callable[[], T]) -> T:
        """Run blocking work in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.turns.executor, work)


SERVICE = web.AppKey("pacsbridge_dicomweb", Service)


def accept_of(request: web.Request) -> str:
    """What the client accepts: the query parameter (PS3.18 8.3.3.1), else all header lines as one."""
    return request.query.get("accept") or ",".join(request.headers.getall("Accept", ()))


def unchanged(request: web.Request, tag: str) -> web.Response | None:
    """304 when the client already has the representation `tag` (RFC 9110 13.1.2)."""
    known = {etag.value for etag in request.if_none_match or ()}
    return web.Response(status=HTTPStatus.NOT_MODIFIED) if known & {tag, "*"} else None


def tagged(response: web.StreamResponse, tag: str, weak: bool = False) -> None:
    """Adds what caches need: the entity tag, and that it depends on Accept; patients' data stays private."""
    response.headers["ETag"] = f'W/"{tag}"' if weak else f'"{tag}"'
    response.headers["Vary"] = "Accept"
    response.headers["Cache-Control"] = "private, no-cache"
