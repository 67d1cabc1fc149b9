"""WADO-RS metadata (PS3.18 10.4.1.1.2): the DICOM JSON of what is held, streamed as one array."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import orjson
import structlog
from aiohttp import web

from pacsbridge.blobs.packs import Packs
from pacsbridge.dicom.metadata import metadata as describe
from pacsbridge.dicomweb.accept import ANY_SYNTAX, Offer, negotiate
from pacsbridge.dicomweb.service import SERVICE, Service, accept_of, tagged, unchanged
from pacsbridge.dicomweb.target import Target, digest, find, instance_url, target
from pacsbridge.dicomweb.window import window
from pacsbridge.errors import Refused
from pacsbridge.store.records import Held

OFFERS = (Offer("application/dicom+json"), Offer("application/json"))
"""The second only for clients that name it: many do."""

AT_ONCE = 8
"""Instances described in one go of the executor."""

_log = structlog.get_logger("pacsbridge.dicomweb")


async def metadata(request: web.Request) -> web.StreamResponse:
    """GET or HEAD of the metadata of a study, series or instance: a JSON array; errors by `faults`."""
    service = request.app[SERVICE]
    found = await service.call(partial(_find, service, target(request.match_info), accept_of(request)))
    held, offer, tag = found
    response = unchanged(request, tag) or web.StreamResponse(headers={"Content-Type": offer.type})
    tagged(response, tag, weak=True)
    if isinstance(response, web.Response):
        return response
    await _send(request, response, service, held)
    return response


async def _send(
    request: web.Request, response: web.StreamResponse, service: Service, held: Sequence[Held]
) -> None:
    """The first instances are described before the answer begins, so that a fault can still be its status."""
    for group in _groups(held):
        async with service.describing:
            text = await service.call(partial(described, service.packs, group, service.settings.base_url))
        await response.prepare(request)
        if request.method == "HEAD":
            break
        await response.write((b"[" if group[0] is held[0] else b",\n") + text)
    await response.write_eof(b"" if request.method == "HEAD" else b"]")


def described(packs: Packs, group: Sequence[Held], base_url: str) -> bytes:
    """The DICOM JSON of some instances, separated by commas; blocks."""
    return b",\n".join(orjson.dumps(_described(packs, held, base_url)) for held in group)


def _described(packs: Packs, held: Held, base_url: str) -> dict[str, Any]:
    try:
        with window(packs.open(held.location, held.sha256)) as file:
            return describe(file, f"{instance_url(base_url, held)}/bulkdata")
    except Refused as exc:
        _log.warning("instance without metadata", uid=held.sop_uid, reason=str(exc))
        return _least(held)


def _least(held: Held) -> dict[str, Any]:
    """What the index knows of an instance whose header is beyond reading; it is not passed over."""
    values = {
        "00080016": held.sop_class_uid,
        "00080018": held.sop_uid,
        "00083002": held.transfer_syntax_uid,
        "0020000D": held.study_uid,
        "0020000E": held.series_uid,
    }
    return {tag: {"vr": "UI", "Value": [value]} for tag, value in values.items()}


def _find(service: Service, wanted: Target, accept: str) -> tuple[Sequence[Held], Offer, str]:
    held = find(service.store, wanted)
    offer = negotiate(accept, OFFERS, (ANY_SYNTAX,)).offer
    return held, offer, digest(held, "metadata", offer.type, service.settings.base_url)


def _groups(held: Sequence[Held]) -> Iterator[Sequence[Held]]:
    for start in range(0, len(held), AT_ONCE):
        yield held[start : start + AT_ONCE]
