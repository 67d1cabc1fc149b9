"""An answer made of pieces: conditional, by range where one is asked for, in constant memory."""

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import NamedTuple

from aiohttp import web

from pacsbridge.dicom.frames import Piece, Words
from pacsbridge.dicom.transfer_syntaxes import EXPLICIT_LITTLE
from pacsbridge.dicomweb.accept import negotiate
from pacsbridge.dicomweb.faults import fault
from pacsbridge.dicomweb.media import OCTETS, RELATED, offers
from pacsbridge.dicomweb.pieces import Message, Part, Reader, batches
from pacsbridge.dicomweb.service import Service, tagged, unchanged
from pacsbridge.dicomweb.target import digest
from pacsbridge.store.records import Held

_RANGE = re.compile(r"bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})", re.ASCII)

Source = tuple[str, Sequence[Piece]]
"""The URL of a part, and its bytes."""


class Span(NamedTuple):
    """The bytes to be sent; `partial` if a range of them was asked for."""

    start: int
    stop: int
    partial: bool


@dataclass(frozen=True, slots=True)
class Content:
    """What a resource holds: of which media types it is, in which transfer syntax, and its parts.

    `url` is the resource's. `sources` makes the `count` parts anew at each call.
    """

    held: Held
    url: str
    types: Sequence[str]
    transfer_syntax_uid: str
    deflated_from: int | None
    words: Words
    count: int
    sources: Callable[[], Iterable[Source]]
    single_first: bool = False

    @property
    def syntax(self) -> str:
        """The transfer syntax that is sent: whatever is native is made little endian (PS3.18 8.7.3.3.1)."""
        return EXPLICIT_LITTLE if self.types[0] == OCTETS else self.transfer_syntax_uid


@dataclass(frozen=True, slots=True)
class Plan:
    """An answer decided on: its body, entity tag, what reads it, and where a single part stands."""

    message: Message
    tag: str
    reader: Reader
    url: str


def plan(service: Service, content: Content, accept: str) -> Plan:
    """Everything that may fail before the first byte is read; blocks. Raises NotAcceptable, Absent, Gone."""
    choice = negotiate(
        accept,
        offers(
            accept,
            content.types,
            content.syntax,
            single=content.count == 1,
            single_first=content.single_first,
        ),
        (content.syntax,),
    )
    form = (content.url, content.syntax, choice.offer.type, choice.offer.root)
    tag = digest([content.held], *form)
    reader = Reader(service.packs.open(content.held.location, content.held.sha256), content.deflated_from)
    if choice.offer.type == RELATED:
        return Plan(_related(content, choice.offer.root, tag[:40]), tag, reader, content.url)
    return Plan(_single(content, choice.offer.type), tag, reader, content.url)


async def send(request: web.Request, service: Service, decided: Plan) -> web.StreamResponse:
    """200, 206 for one range of bytes, 304 or 416."""
    if (response := unchanged(request, decided.tag)) is not None:
        tagged(response, decided.tag)
        return response
    length = decided.message.length
    span = _span(request, decided)
    if span is None:
        return fault(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            f"the range lies behind the {length} bytes there are",
            {"Content-Range": f"bytes */{length}"},
        )
    answer = _head(decided, span)
    pending = batches(decided.message, decided.reader, span.start, span.stop)
    first = await service.call(partial(next, pending, None)) if request.method != "HEAD" else None
    await answer.prepare(request)
    if first is not None:
        await _deliver(service, answer, first, pending)
    await answer.write_eof()
    return answer


async def _deliver(
    service: Service, response: web.StreamResponse, first: bytes, pending: Iterator[bytes]
) -> None:
    """While one batch is being sent, the next is read."""
    data: bytes | None = first
    while data is not None:
        ahead = asyncio.ensure_future(service.call(partial(next, pending, None)))
        try:
            await response.write(data)
            data = await ahead
        finally:
            ahead.cancel()


def _head(decided: Plan, span: Span) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={"Content-Type": decided.message.media_type, "Accept-Ranges": "bytes"}
    )
    if span.partial:
        response.set_status(HTTPStatus.PARTIAL_CONTENT)
        response.headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{decided.message.length}"
    response.headers["Content-Location"] = decided.url
    response.content_length = span.stop - span.start
    tagged(response, decided.tag)
    return response


def _span(request: web.Request, decided: Plan) -> Span | None:
    """The bytes that are asked for; None if there are none such.

    Several ranges, illegible ones and those of another version are passed over (RFC 9110 13.1.5, 14.2).
    """
    length = decided.message.length
    whole = Span(0, length, partial=False)
    if request.method != "GET" or request.headers.get("If-Range", f'"{decided.tag}"') != f'"{decided.tag}"':
        return whole
    found = _RANGE.fullmatch(request.headers.get("Range", "").strip().lower())
    if found is None or not any(found.groups()):
        return whole
    return _cut(found[1], found[2], length)


def _cut(first: str, last: str, length: int) -> Span | None:
    """A range from its two numbers, of which one may be missing; None where it lies behind the end."""
    if not first:
        start, stop = max(0, length - int(last)), length
    else:
        start, stop = int(first), min(length, int(last) + 1) if last else length
        if last and int(last) < start:
            return Span(0, length, partial=False)
    return Span(start, stop, partial=True) if start < stop else None


def _single(content: Content, media_type: str) -> Message:
    ((_, pieces),) = content.sources()
    part = Part(b"", pieces)
    name = f"{media_type}; transfer-syntax={content.syntax}"
    return Message(lambda: (part,), b"", name, content.words, part.size)


def _related(content: Content, media_type: str, boundary: str) -> Message:
    """`boundary` must not occur in the instance: one made from a digest of it cannot."""

    def parts() -> Iterator[Part]:
        for index, (url, pieces) in enumerate(content.sources()):
            size = sum(piece.length for piece in pieces)
            lines = (
                f"\r\n--{boundary}" if index else f"--{boundary}",
                f"Content-Type: {media_type}; transfer-syntax={content.syntax}",
                f"Content-Length: {size}",
                f"Content-Location: {url}",
                "\r\n",
            )
            yield Part("\r\n".join(lines).encode(), pieces)

    closing = f"\r\n--{boundary}--\r\n".encode()
    length = sum(len(part.head) + part.size for part in parts()) + len(closing)
    return Message(
        parts, closing, f'{RELATED}; type="{media_type}"; boundary={boundary}', content.words, length
    )
