"""What only archives hold, through our own address: their answers passed on (PS3.18 10.4).

Of a study that is partly held here, what is held comes from the packs and the rest from the archive. Neither
credentials nor addresses of archives reach the client, and none of the client's reach them.
"""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

import orjson
from aiohttp import web

from pacsbridge import metrics
from pacsbridge.bridge.fetching import Fetching, Lacking
from pacsbridge.bridge.retrieving import Instance
from pacsbridge.dicom.part10 import part10_head
from pacsbridge.dicomweb.accept import ANY_SYNTAX, MediaRange, Offer, media_ranges, negotiate
from pacsbridge.dicomweb.faults import Handler
from pacsbridge.dicomweb.metadata import OFFERS, described
from pacsbridge.dicomweb.multipart import DICOM, Body, related
from pacsbridge.dicomweb.readdressing import Move
from pacsbridge.dicomweb.service import SERVICE, accept_of
from pacsbridge.dicomweb.target import Target, target
from pacsbridge.errors import BadAnswer, Declined, NotAcceptable, PacsbridgeError
from pacsbridge.remote.transport import Stream
from pacsbridge.remote.wado import Wado
from pacsbridge.store.records import Held

T = TypeVar("T")

_PASSED = ("Content-Type", "Content-Length", "Content-Disposition")
"""Header fields of an archive that a client gets."""

_KINDS = re.compile(
    r"multipart/related|application/(?!.*(?:json|xml|html)).+|image/(?!svg).+|video/.+|text/plain"
)
_RELATED = (Offer("multipart/related", DICOM),)
_PARAMETERS = frozenset({"viewport", "window", "quality", "annotation"})
_AS_STORED = 'multipart/related; type="application/dicom"'
_PIECE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Proxy:
    """Archives to be read from; `executor` has a thread for each of their answers."""

    fetching: Fetching
    executor: Executor

    async def call(self, work: Callable[[], T]) -> T:
        """Run work that waits for an archive."""
        return await asyncio.get_running_loop().run_in_executor(self.executor, work)


PROXY = web.AppKey("pacsbridge_dicomweb_proxy", Proxy)


Join = Callable[[web.Request, Proxy, Sequence[Held], Sequence[Lacking]], Awaitable[web.StreamResponse]]
"""Answers with what is held and what is lacking together."""


def or_proxied(handler: Handler, join: Join | None = None) -> Handler:
    """A handler of what is held, and of what archives hold where there is a proxy."""

    async def answer(request: web.Request) -> web.StreamResponse:
        proxy = request.app.get(PROXY)
        if proxy is None:
            return await handler(request)
        wanted = target(request.match_info)
        held = await request.app[SERVICE].call(partial(request.app[SERVICE].store.held, *wanted.uids))
        if not held:
            return await _counted(_passed_on(request, proxy, wanted))
        lacks = await _lacking(request, proxy, wanted, held) if join and wanted.level != "instance" else ()
        return await (_counted(join(request, proxy, held, lacks)) if join and lacks else handler(request))

    return answer


async def _lacking(
    request: web.Request, proxy: Proxy, wanted: Target, held: Sequence[Held]
) -> Sequence[Lacking]:
    uids = {one.sop_uid for one in held}
    return await request.app[SERVICE].call(
        partial(proxy.fetching.lacking, wanted.uids[0], uids, *wanted.uids[1:2])
    )


async def proxied(request: web.Request) -> web.StreamResponse:
    """GET of a path that an archive gave out: of its bulk data, say."""
    proxy = request.app.get(PROXY)
    if proxy is None:
        raise web.HTTPNotFound
    return await _counted(_passed_on(request, proxy, target(request.match_info)))


async def _counted(answering: Awaitable[web.StreamResponse]) -> web.StreamResponse:
    """Counts what comes of it: a client that has left is no fault of the archive's."""
    try:
        response = await answering
    except PacsbridgeError as exc:
        metrics.PROXIED.labels(type(exc).__name__).inc()
        raise
    except ConnectionError:
        metrics.PROXIED.labels("left").inc()
        raise
    metrics.PROXIED.labels("passed").inc()
    return response


# passed on


async def _passed_on(request: web.Request, proxy: Proxy, wanted: Target) -> web.StreamResponse:
    path = _path(request)
    if path.endswith("/metadata"):
        return await _metadata(request, proxy, wanted, path)
    query = tuple((name, value) for name, value in request.query.items() if name in _PARAMETERS)
    opened = partial(_opened, proxy.fetching, wanted, path, accept_of(request), query)
    archive, stream = await proxy.call(opened)
    try:
        return await _send(request, proxy, stream, Move(archive.url, request.app[SERVICE].settings.base_url))
    finally:
        await proxy.call(stream.close)


def _path(request: web.Request) -> str:
    """What is behind the address of this service, as it stands in the URL."""
    raw = request.rel_url.raw_path
    return raw[raw.index("/studies/") :].rstrip("/")


Query = tuple[tuple[str, str], ...]


def _opened(fetching: Fetching, wanted: Target, path: str, accept: str, query: Query) -> tuple[Wado, Stream]:
    """The archive's answer in a form that the client accepts; blocks. Raises NotAcceptable too.

    Some archives understand no more than one form at a time: those are asked for whatever they have.
    """
    uid = wanted.uids[0]
    try:
        return fetching.open(uid, path, asked_for(accept), query)
    except Declined:
        archive, stream = fetching.open(uid, path, "*/*", query)
    try:
        negotiate(accept, (_offer(stream.headers.get("Content-Type", "")),), (ANY_SYNTAX,))
    except PacsbridgeError:
        stream.close()
        raise
    return archive, stream


def asked_for(accept: str) -> str:
    """What an archive is asked for: what the client accepts; as stored where it names no transfer syntax.

    PS3.18 8.7.3.5.2 would have Explicit VR Little Endian then; nothing is transcoded through here.
    """
    ranges = media_ranges(accept) or media_ranges(_AS_STORED)
    return ", ".join(map(_written, ranges))


def _written(one: MediaRange) -> str:
    parameters = dict(one.parameters)
    if one.type == "multipart/related":
        parameters.setdefault("transfer-syntax", "*")
    if one.quality < 1:
        parameters["q"] = f"{one.quality:g}"
    return "; ".join([one.type, *(f"{name}={_quoted(value)}" for name, value in parameters.items())])


def _quoted(value: str) -> str:
    return value if re.fullmatch(r"[\w.*-]+", value, re.ASCII) else f'"{value.replace(chr(34), "")}"'


def _offer(kind: str) -> Offer:
    """The form that an answer has."""
    found = media_ranges(kind)
    if not found:
        raise BadAnswer("an archive's answer without a media type")
    root = media_ranges(found[0].parameters.get("type", ""))
    return Offer(found[0].type, root[0].type if root else "")


async def _send(request: web.Request, proxy: Proxy, stream: Stream, move: Move) -> web.StreamResponse:
    offer = _offer(stream.headers.get("Content-Type", ""))
    if not all(_KINDS.fullmatch(kind) for kind in (offer.type, offer.root) if kind):
        raise BadAnswer("an archive's answer of a kind that was not asked for")
    related_parts = offer.type == "multipart/related"
    passed = _PASSED[:1] if related_parts else _PASSED
    response = web.StreamResponse(
        headers={name: stream.headers[name] for name in passed if name in stream.headers}
    )
    response.headers["Cache-Control"] = "private, no-cache"
    pieces = move.parts(stream) if related_parts else iter(stream.read, b"")
    piece = await proxy.call(partial(next, pieces, None))
    await response.prepare(request)
    while piece is not None and request.method != "HEAD":
        await response.write(piece)
        piece = await proxy.call(partial(next, pieces, None))
    await response.write_eof()
    return response


# metadata


async def _metadata(request: web.Request, proxy: Proxy, wanted: Target, path: str) -> web.StreamResponse:
    service = request.app[SERVICE]
    offer = negotiate(accept_of(request), OFFERS, (ANY_SYNTAX,)).offer
    rows = await proxy.call(partial(_rows, proxy.fetching, wanted, path, service.settings.base_url))
    return _json(orjson.dumps(rows), offer.type)


def _rows(fetching: Fetching, wanted: Target, path: str, base_url: str) -> Sequence[Mapping[str, Any]]:
    """What the first archive that answers says, with our addresses in place of its own; blocks."""
    archive, rows = fetching.metadata(wanted.uids[0], path)
    return [Move(archive.url, base_url).row(row) for row in rows]


async def join_metadata(
    request: web.Request, proxy: Proxy, held: Sequence[Held], lacking: Sequence[Lacking]
) -> web.StreamResponse:
    """The metadata of what is held and of what is lacking, as one array."""
    service = request.app[SERVICE]
    offer = negotiate(accept_of(request), OFFERS, (ANY_SYNTAX,)).offer
    async with service.describing:
        own = await service.call(partial(described, service.packs, held, service.settings.base_url))
    base_url = service.settings.base_url
    rows = await proxy.call(partial(_lacking_rows, proxy.fetching, lacking, base_url))
    return _json(b"[" + own + b"".join(b",\n" + orjson.dumps(row) for row in rows) + b"]", offer.type)


def _lacking_rows(
    fetching: Fetching, lacking: Sequence[Lacking], base_url: str
) -> Sequence[Mapping[str, Any]]:
    return [
        Move(one.archive.url, base_url).row(row) for one in lacking for row in fetching.lacking_metadata(one)
    ]


def _json(body: bytes, kind: str) -> web.Response:
    return web.Response(body=body, content_type=kind, headers={"Cache-Control": "private, no-cache"})


# joined


async def join_instances(
    request: web.Request, proxy: Proxy, held: Sequence[Held], lacking: Sequence[Lacking]
) -> web.StreamResponse:
    """What is held and what is lacking as one multipart message; broken off where an archive fails."""
    service, accept = request.app[SERVICE], accept_of(request)
    own = [one for one in held if _accepts(accept, one.transfer_syntax_uid)]
    boundary = secrets.token_hex(20)
    body = related(own, boundary, service.settings.base_url)
    response = web.StreamResponse(
        headers={"Content-Type": body.media_type, "Cache-Control": "private, no-cache"}
    )
    instances = (
        each for one in lacking for each in proxy.fetching.instances(one, strict=True) if each is not None
    )
    try:
        first = await proxy.call(partial(next, instances, None))
        await response.prepare(request)
        if request.method != "HEAD":
            await _deliver(request, proxy, response, Joined(own, body, boundary, first, instances))
    finally:
        await proxy.call(instances.close)
    await response.write_eof()
    return response


class Joined(NamedTuple):
    """What is sent together: what is held, as a message of its own, then what comes from archives."""

    own: Sequence[Held]
    body: Body
    boundary: str
    first: Instance | None
    others: Iterator[Instance]


async def _deliver(request: web.Request, proxy: Proxy, response: web.StreamResponse, joined: Joined) -> None:
    service, accept = request.app[SERVICE], accept_of(request)
    if joined.own:
        own = Body(joined.body.parts, b"", joined.body.media_type)
        await service.courier.deliver(own, request, response)
    lead, instance = "\r\n" if joined.own else "", joined.first
    while instance is not None:
        if _accepts(accept, instance.transfer_syntax_uid):
            await _part(proxy, response, instance, f"{lead}--{joined.boundary}")
            lead = "\r\n"
        instance = await proxy.call(partial(next, joined.others, None))
    await response.write(f"{lead}--{joined.boundary}--\r\n".encode())


def _accepts(accept: str, syntax: str) -> bool:
    """Whether a client takes instances in a transfer syntax."""
    try:
        return bool(negotiate(accept, _RELATED, (syntax,)).syntaxes)
    except NotAcceptable:
        return False


async def _part(proxy: Proxy, response: web.StreamResponse, instance: Instance, delimiter: str) -> None:
    kind = f"Content-Type: {DICOM}; transfer-syntax={instance.transfer_syntax_uid}"
    prelude = part10_head(instance.sop_class_uid, instance.sop_uid, instance.transfer_syntax_uid)
    await response.write(f"{delimiter}\r\n{kind}\r\n\r\n".encode() + prelude)
    pieces = instance.pieces(_PIECE)
    while piece := await proxy.call(partial(next, pieces, None)):
        await response.write(piece)
