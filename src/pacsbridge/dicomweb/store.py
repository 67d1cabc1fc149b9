"""Storing over HTTP (STOW-RS, PS3.18 10.5): the parts of a body, each by itself, into the one intake.

A body is read piece by piece: what is small is gathered in memory, what is large goes to a spool at once.
Each part is durable before the next is read. When a body breaks off, what was whole before stays stored.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import TypeVar

import orjson
import structlog
from aiohttp import StreamReader, web

from pacsbridge.access.auditing import caller
from pacsbridge.dicomweb.accept import ANY_SYNTAX, media_ranges, negotiate
from pacsbridge.dicomweb.auditing import RECEIPT
from pacsbridge.dicomweb.faults import fault
from pacsbridge.dicomweb.metadata import OFFERS
from pacsbridge.dicomweb.multipart import DICOM
from pacsbridge.dicomweb.receipt import Receipt
from pacsbridge.dicomweb.receiving import Arriving, Entrance, Outcome, UnsupportedPart
from pacsbridge.dicomweb.service import DicomwebSettings, Service, accept_of
from pacsbridge.dicomweb.target import target
from pacsbridge.errors import Conflicting, NotUnderstood, Refused, TooLarge, Unavailable
from pacsbridge.kernel.audit import Who
from pacsbridge.kernel.multipart_reader import End, Event, Head, MultipartReader

REQUESTS = 50
"""Bodies that are received at the same time; each takes memory for one instance that is no spool yet."""

REFUSED_PARTS = 100
"""Bad parts of one body: each is put on record, which takes longer than to send it."""

T = TypeVar("T")

_PLAIN = ("", "identity", "binary", "8bit", "7bit")
_METADATA = ("application/dicom+json", "application/dicom+xml", "application/json", "application/xml")

_log = structlog.get_logger("pacsbridge.dicomweb")


class Storing:
    """What all requests that store have in common: the way in, and how much may happen at once."""

    def __init__(self, entrance: Entrance, service: Service) -> None:
        self.entrance = entrance
        self.service = service
        self.requests = asyncio.Semaphore(REQUESTS)
        self._jobs = asyncio.Semaphore(service.settings.store_jobs)

    async def call(self, work: Callable[[], T]) -> T:
        """Run blocking work in the executor; it is finished before this ends, even when cancelled."""
        async with self._jobs:
            task = asyncio.ensure_future(self.service.call(work))
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                await asyncio.wait([task])
                raise


STORING = web.AppKey("pacsbridge_storing", Storing)


class _Stalled(NotUnderstood):
    """The client sends nothing more."""


class _Reception:
    """One body being received."""

    def __init__(self, storing: Storing, study: str | None, sender: Who) -> None:
        self._storing = storing
        self._entrance = replace(storing.entrance, sender=sender)
        self._study = study
        self._arriving: Arriving | None = None
        self._outcomes: list[Outcome] = []
        self._refused = 0
        self.bytes = 0

    async def receive(self, content: StreamReader, reader: MultipartReader) -> Receipt:
        """Store part after part, until the body ends or breaks off; ConnectionError when the client goes."""
        breach: Exception | None = None
        try:
            await self._read(content, reader)
        except (NotUnderstood, TooLarge) as exc:
            breach = exc
        finally:
            if self._arriving is not None:
                self._arriving.discard()
        return Receipt(self._outcomes, breach)

    async def _read(self, content: StreamReader, reader: MultipartReader) -> None:
        async for piece in _pieces(content, self._storing.service.settings):
            self.bytes += len(piece)
            for event in reader.feed(piece):
                await self._take(event)
            if reader.closed:
                return
        for event in reader.close():
            await self._take(event)

    async def _take(self, event: Event) -> None:
        if isinstance(event, Head):
            settings = self._storing.service.settings
            fault = _unsupported(event.headers)
            self._arriving = Arriving(self._entrance, settings, self._study, fault)
        elif self._arriving is None:
            raise NotUnderstood("content before the head of a part")
        elif isinstance(event, End):
            await self._store(self._arriving)
        elif self._arriving.add(event):
            await self._storing.call(self._arriving.flush)

    async def _store(self, arriving: Arriving) -> None:
        """One part is whole. Raises TooLarge where too many have been refused."""
        outcome = await self._storing.call(arriving.store)
        self._arriving = None
        self._outcomes.append(outcome)
        self._refused += isinstance(outcome.fault, Refused) and not isinstance(outcome.fault, Conflicting)
        if self._refused > REFUSED_PARTS:
            raise TooLarge(f"more than {REFUSED_PARTS} parts were refused")


async def _pieces(content: StreamReader, settings: DicomwebSettings) -> AsyncIterator[bytes]:
    """The body as it comes. Raises NotUnderstood for a broken one and for a client that stalls or drips.

    Only the time counts in which we wait for the client.
    """
    left, clock = settings.body_seconds, asyncio.get_running_loop().time
    while True:
        start = clock()
        try:
            async with asyncio.timeout(min(left, settings.stall_seconds)):
                piece = await content.readany()
        except TimeoutError as exc:
            raise _Stalled("the body did not come to its end in time") from exc
        except web.RequestPayloadError as exc:
            raise NotUnderstood("the body breaks off") from exc
        if not piece:
            return
        left += len(piece) / settings.bytes_per_second - (clock() - start)
        yield piece


async def store(request: web.Request) -> web.StreamResponse:
    """POST of instances: 200, 202 when some are stored, else by `receipt`; other errors by `faults`."""
    storing = request.app[STORING]
    offer = negotiate(accept_of(request), OFFERS, (ANY_SYNTAX,)).offer
    study = next(iter(target(request.match_info).uids), None)
    reader = MultipartReader(_boundary(request))
    if storing.requests.locked():
        raise Unavailable("too many clients are storing at the moment")
    async with storing.requests:
        reception = _Reception(storing, study, caller(request))
        receipt = request[RECEIPT] = await reception.receive(request.content, reader)
    _log.info(
        "store request received",
        address=request.remote,
        stored=receipt.stored,
        failed=len(receipt.outcomes) - receipt.stored,
        bytes=reception.bytes,
        reason=receipt.breach and str(receipt.breach),
    )
    response = _response(receipt, offer.type, storing.service.settings.base_url, study)
    if isinstance(receipt.breach, _Stalled):
        await _say_and_close(request, response)
    return response


def _response(receipt: Receipt, media_type: str, base_url: str, study: str | None) -> web.Response:
    if not receipt.stored:
        _check(receipt)
    if isinstance(receipt.breach, _Stalled) and not receipt.stored:
        return fault(HTTPStatus.REQUEST_TIMEOUT, str(receipt.breach))
    body = orjson.dumps(receipt.data_set(base_url, study))
    response = web.Response(status=receipt.status, body=body, headers={"Content-Type": media_type})
    response.headers["Cache-Control"] = "no-store"
    if receipt.status is HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = "5"
    if receipt.breach is not None:
        response.headers["Warning"] = f'299 pacsbridge "not all of the body was read: {receipt.breach}"'
    return response


def _check(receipt: Receipt) -> None:
    """Raises what is wrong with the body as a whole, when nothing of it was stored."""
    if receipt.breach is not None and not isinstance(receipt.breach, _Stalled):
        raise receipt.breach
    if receipt.breach is None and not receipt.outcomes:
        raise NotUnderstood("a body without instances")
    if receipt.status is HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
        raise web.HTTPUnsupportedMediaType(reason=str(receipt.outcomes[0].fault))


async def _say_and_close(request: web.Request, response: web.Response) -> None:
    """An answer to a client that stalls; nothing more is awaited of it."""
    await response.prepare(request)
    await response.write_eof()
    if request.transport is not None:
        request.transport.close()


def _boundary(request: web.Request) -> str:
    """The boundary of the body. Raises HTTPUnsupportedMediaType for what is no multipart of instances."""
    if request.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity"):
        raise web.HTTPUnsupportedMediaType(reason="instances are sent without a Content-Encoding")
    kinds = media_ranges(request.headers.get("Content-Type", ""))
    if len(kinds) != 1 or kinds[0].type != "multipart/related":
        raise web.HTTPUnsupportedMediaType(reason=f'instances are sent as multipart/related; type="{DICOM}"')
    root = kinds[0].parameters.get("type", DICOM).lower()
    if root != DICOM:
        raise web.HTTPUnsupportedMediaType(reason=_refusal(root))
    return kinds[0].parameters.get("boundary", "")


def _unsupported(headers: Mapping[str, str]) -> UnsupportedPart | None:
    """Why a part is not taken; one that gives no type is taken for what the whole says."""
    kinds = media_ranges(headers.get("content-type", DICOM))
    if len(kinds) != 1 or kinds[0].type != DICOM:
        return UnsupportedPart(_refusal(kinds[0].type if kinds else ""))
    codings = (headers.get("content-transfer-encoding", ""), headers.get("content-encoding", ""))
    if any(coding.lower() not in _PLAIN for coding in codings):
        return UnsupportedPart("instances are sent as they are, without an encoding of the part")
    return None


def _refusal(kind: str) -> str:
    if kind in _METADATA:
        return f"metadata with its bulk data apart is not taken: instances are sent whole, as {DICOM}"
    return f"the parts of a body are {DICOM}"
