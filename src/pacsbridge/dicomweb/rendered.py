"""WADO-RS of pictures: rendered resources and thumbnails (PS3.18 10.4.1.1.3, 10.4.1.1.4).

One picture comes by itself, several as multipart, made one after the other while they are being sent. What
cannot be shown is left out of several, with a Warning; a picture that fails later cuts the answer off.
"""

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import NamedTuple, TypeVar

from aiohttp import web

from pacsbridge.blobs.packs import Packs
from pacsbridge.dicom.frames import ENCAPSULATED_UNCOMPRESSED, Encapsulated, Native, Pixels, Words
from pacsbridge.dicom.outline import read_outline
from pacsbridge.dicom.transfer_syntaxes import EXPLICIT_LITTLE
from pacsbridge.dicomweb.accept import ANY_SYNTAX, Offer, negotiate
from pacsbridge.dicomweb.frames import SHELF, frame_list
from pacsbridge.dicomweb.media import RELATED
from pacsbridge.dicomweb.pieces import Message, Part, Reader, batches
from pacsbridge.dicomweb.rendering import ignored, look_of
from pacsbridge.dicomweb.service import SERVICE, Service, accept_of, tagged, unchanged
from pacsbridge.dicomweb.target import digest, find, instance_url, target
from pacsbridge.dicomweb.window import window
from pacsbridge.errors import Absent, NotAcceptable, Refused
from pacsbridge.render.job import JPEG, PNG, Job, Look
from pacsbridge.render.pool import Pool
from pacsbridge.render.syntaxes import DECODED
from pacsbridge.store.records import Held

POOL = web.AppKey("pacsbridge_dicomweb_pictures", Pool)

_TYPES = (JPEG, PNG)
_MAKING = "pictures 1"
"""Part of every entity tag: to be counted up when the same frame comes to look otherwise."""

_LOOKED_AT = 64
"""Instances looked at, from the middle outwards, for one to stand for all."""

_GONE_SECONDS = 0.25

T = TypeVar("T")


class Shown(NamedTuple):
    """Frames of one instance that are to be shown."""

    held: Held
    pixels: Pixels
    numbers: Sequence[int]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be shown and how; how many instances cannot be."""

    shown: Sequence[Shown]
    left_out: int
    look: Look
    offer: Offer
    tag: str
    warnings: Sequence[str]


async def rendered(request: web.Request) -> web.StreamResponse:
    """GET or HEAD of the pictures of a study, series, instance or list of frames; errors by `faults`.

    206 with a Warning where some of several instances cannot be shown.
    """
    look = look_of(request.query, thumbnail=False)
    shown, left_out = await _all(request)
    return await _answer(request, _plan(request, shown, left_out, look))


async def thumbnail(request: web.Request) -> web.StreamResponse:
    """GET or HEAD of one small picture that stands for a study, series, instance or list of frames."""
    look = look_of(request.query, thumbnail=True)
    return await _answer(request, _plan(request, [await _representative(request)], 0, look))


def _plan(request: web.Request, shown: Sequence[Shown], left_out: int, look: Look) -> _Plan:
    single = sum(len(one.numbers) for one in shown) == 1
    offers = [Offer(RELATED, name) for name in _TYPES]
    if single:
        offers = [*(Offer(name) for name in _TYPES), *offers]
    offer = negotiate(accept_of(request), offers, (ANY_SYNTAX,)).offer
    look = replace(look, type=offer.root or offer.type)
    form = (_MAKING, request.path, repr(look), offer.type, request.app[SERVICE].settings.base_url)
    chosen = "\n".join(f"{one.numbers[0]} {len(one.numbers)}" for one in shown)
    tag = digest([one.held for one in shown], *form, chosen)
    warnings = [f"parameter {name} is not supported and was ignored" for name in ignored(request.query)]
    if left_out:
        warnings.append(f"{left_out} instances left out: they cannot be shown as pictures")
    return _Plan(shown, left_out, look, offer, tag, warnings)


async def _all(request: web.Request) -> tuple[Sequence[Shown], int]:
    """What of the target can be shown, and how many instances cannot. Raises NotAcceptable if none can."""
    service = request.app[SERVICE]
    numbers = _numbers(request)
    held = await service.call(partial(find, service.store, target(request.match_info)))
    shown: list[Shown] = []
    fault: NotAcceptable | None = None
    for one in held:
        try:
            shown.append(await _shown(request, one, numbers))
        except NotAcceptable as exc:
            fault = fault or exc
    if fault is not None and not shown:
        raise fault
    return shown, len(held) - len(shown)


async def _representative(request: web.Request) -> Shown:
    """The frame in the middle of the instance in the middle, or of the next to it that can be shown."""
    service = request.app[SERVICE]
    numbers = _numbers(request)
    held = await service.call(partial(find, service.store, target(request.match_info)))
    fault: NotAcceptable | None = None
    for one in _outwards(held):
        try:
            found = await _shown(request, one, numbers)
        except NotAcceptable as exc:
            fault = fault or exc
        else:
            middle = found.numbers[0] if numbers else found.numbers[(len(found.numbers) - 1) // 2]
            return found._replace(numbers=(middle,))
    raise fault or NotAcceptable("nothing here can be shown as a picture")


def _outwards(held: Sequence[Held]) -> Iterator[Held]:
    ordered = sorted(range(len(held)), key=lambda at: abs(at - len(held) // 2))
    return (held[at] for at in ordered[:_LOOKED_AT])


def _numbers(request: web.Request) -> Sequence[int]:
    """The frames that are named; none where the whole instance is."""
    named = request.match_info.get("frames")
    return () if named is None else frame_list(named)


async def _shown(request: web.Request, held: Held, numbers: Sequence[int]) -> Shown:
    """Raises NotAcceptable for what has no picture, Absent for frames that are not there."""
    try:
        pixels = await request.app[SHELF].pixels(request.app[SERVICE], held)
    except Absent as exc:
        raise NotAcceptable(f"no picture: {exc}") from exc
    _check(pixels)
    for number in numbers:
        pixels.frames.frame(number)
    return Shown(held, pixels, numbers or range(1, pixels.frames.count + 1))


def _check(pixels: Pixels) -> None:
    if isinstance(pixels.frames, Encapsulated) and pixels.frames.video:
        raise NotAcceptable("no picture: videos are not decoded")
    if _syntax(pixels) not in DECODED:
        raise NotAcceptable(f"no picture: transfer syntax {pixels.transfer_syntax_uid} is not decoded here")


def _syntax(pixels: Pixels) -> str:
    """As what a frame reaches the decoder."""
    plain = isinstance(pixels.frames, Native) or pixels.transfer_syntax_uid == ENCAPSULATED_UNCOMPRESSED
    return EXPLICIT_LITTLE if plain else pixels.transfer_syntax_uid


async def _answer(request: web.Request, plan: _Plan) -> web.StreamResponse:
    response = unchanged(request, plan.tag) or web.StreamResponse()
    tagged(response, plan.tag)
    for warning in plan.warnings:
        response.headers.add("Warning", f'299 pacsbridge "{warning}"')
    if response.status == HTTPStatus.NOT_MODIFIED:
        return response
    if plan.left_out:
        response.set_status(HTTPStatus.PARTIAL_CONTENT)
    pictures = ((one, number) for one in plan.shown for number in one.numbers)
    if plan.offer.type == RELATED:
        await _related(request, response, plan, pictures)
    else:
        await _single(request, response, plan, *next(pictures))
    return response


async def _single(
    request: web.Request, response: web.StreamResponse, plan: _Plan, one: Shown, number: int
) -> None:
    made = await _made(request, one, number, plan.look)
    response.headers["Content-Type"] = plan.look.type
    response.headers["Content-Location"] = _url(request.app[SERVICE], one, number, plan.look)
    response.content_length = len(made)
    await _write(request, response, made)
    await response.write_eof()


async def _related(
    request: web.Request,
    response: web.StreamResponse,
    plan: _Plan,
    pictures: Iterator[tuple[Shown, int]],
) -> None:
    """The first picture is made before the answer begins, so that a fault can still be its status."""
    boundary = plan.tag[:40]
    response.headers["Content-Type"] = f'{RELATED}; type="{plan.look.type}"; boundary={boundary}'
    start = f"--{boundary}"
    for one, number in pictures:
        made = await _made(request, one, number, plan.look)
        lines = (
            start,
            f"Content-Type: {plan.look.type}",
            f"Content-Length: {len(made)}",
            f"Content-Location: {_url(request.app[SERVICE], one, number, plan.look)}",
            "\r\n",
        )
        await _write(request, response, "\r\n".join(lines).encode() + made)
        if request.method == "HEAD":
            break
        start = f"\r\n--{boundary}"
    await response.write_eof(b"" if request.method == "HEAD" else f"\r\n--{boundary}--\r\n".encode())


async def _write(request: web.Request, response: web.StreamResponse, data: bytes) -> None:
    await response.prepare(request)
    if request.method != "HEAD":
        await response.write(data)


async def _made(request: web.Request, one: Shown, number: int, look: Look) -> bytes:
    service, pool = request.app[SERVICE], request.app[POOL]

    async def job() -> Job:
        return await service.call(partial(frame_job, service.packs, one, number, look, pool.frame_bytes))

    return await _unless_gone(request, pool.picture(job))


async def _unless_gone(request: web.Request, work: Awaitable[T]) -> T:
    """Gives work up when the client has gone, so that its place is free. Raises ConnectionError."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_GONE_SECONDS)
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError("the client has gone")
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def frame_job(packs: Packs, one: Shown, number: int, look: Look, most: int) -> Job:
    """What the decoder needs of one frame, and no more; blocks. Raises Absent, NotAcceptable, Unavailable."""
    try:
        pieces = one.pixels.frames.frame(number)
    except Absent as exc:
        raise NotAcceptable(f"no picture: {exc}") from exc
    size = sum(piece.length for piece in pieces)
    if size > most:
        raise NotAcceptable(f"no picture: a frame of {size} bytes, at most {most} are decoded")
    blob = packs.open(one.held.location, one.held.sha256)
    try:
        with window(blob) as file:
            outline = read_outline(file, number)
    except Refused as exc:
        raise NotAcceptable(f"no picture: {exc}") from exc
    words = one.pixels.frames.words if isinstance(one.pixels.frames, Native) else Words()
    message = Message(lambda: (Part(b"", pieces),), b"", "", words, size)
    frame = b"".join(batches(message, Reader(blob, one.pixels.deflated_from), 0, size))
    return Job(outline, frame, _syntax(one.pixels), one.pixels.tag, look)


def _url(service: Service, one: Shown, number: int, look: Look) -> str:
    """Where the frame itself has such a picture."""
    kind = "rendered" if look.enlarge else "thumbnail"
    return f"{instance_url(service.settings.base_url, one.held)}/frames/{number}/{kind}"
