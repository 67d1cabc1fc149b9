"""WADO-RS retrieval of bulk data (PS3.18 10.4.1.1.6): what `metadata` names by a BulkDataURI."""

import re
from collections.abc import Sequence
from functools import partial

from aiohttp import web

from pacsbridge.blobs.packs import Packs
from pacsbridge.dicom.frames import PIXEL_DATA, PIXEL_TAGS, Native, Pixels, Value, Words, read_value
from pacsbridge.dicomweb.frames import SHELF, all_frames, media_types
from pacsbridge.dicomweb.media import OCTETS, media_of
from pacsbridge.dicomweb.sending import Content, plan, send
from pacsbridge.dicomweb.service import SERVICE, accept_of
from pacsbridge.dicomweb.target import find, instance_url, target
from pacsbridge.dicomweb.window import window
from pacsbridge.errors import Absent, NotUnderstood, Refused
from pacsbridge.store.records import Held

_PATH = re.compile(r"[0-9A-F]{8}(?:/[0-9]{1,6}/[0-9A-F]{8}){0,64}", re.ASCII | re.IGNORECASE)


async def bulkdata(request: web.Request) -> web.StreamResponse:
    """GET or HEAD of one value of an instance, or a range of it; errors by `faults`."""
    service = request.app[SERVICE]
    text = request.match_info["path"]
    path = value_path(text)
    (held,) = await service.call(partial(find, service.store, target(request.match_info)))
    url = f"{instance_url(service.settings.base_url, held)}/bulkdata/{text}"
    pixels = await request.app[SHELF].pixels(service, held) if path[0] in PIXEL_TAGS else None
    if pixels is not None and path == [pixels.tag]:
        content = _of_pixels(held, url, pixels)
    else:
        async with service.describing:
            value = await service.call(partial(valued, service.packs, held, path))
        content = _of_value(held, url, value, path[-1])
    decided = await service.call(partial(plan, service, content, accept_of(request)))
    return await send(request, service, decided)


def value_path(text: str) -> Sequence[int]:
    """`TAG/item/TAG…` as numbers. Raises NotUnderstood."""
    if not _PATH.fullmatch(text):
        raise NotUnderstood("bulk data are named by a tag, or TAG/item/TAG for one in a sequence", "bulkdata")
    return [int(name, 10 if index % 2 else 16) for index, name in enumerate(text.split("/"))]


def valued(packs: Packs, held: Held, path: Sequence[int]) -> Value:
    """Finds a value of a stored instance; blocks. Raises Absent, also where the header cannot be read."""
    try:
        with window(packs.open(held.location, held.sha256)) as file:
            return read_value(file, path)
    except Refused as exc:
        raise Absent(f"the header of the instance cannot be read: {exc}") from exc


def _of_pixels(held: Held, url: str, pixels: Pixels) -> Content:
    """Native frames are one value; of encapsulated ones each frame is a part."""
    types, frames = media_types(pixels), pixels.frames
    if isinstance(frames, Native):
        pieces = frames.whole()
        return Content(
            held,
            url,
            types,
            pixels.transfer_syntax_uid,
            pixels.deflated_from,
            frames.words,
            1,
            lambda: ((url, pieces),),
            single_first=True,
        )
    count = 1 if frames.video else frames.count
    sources = partial(all_frames, frames, url)
    return Content(
        held, url, types, pixels.transfer_syntax_uid, pixels.deflated_from, Words(), count, sources
    )


def _of_value(held: Held, url: str, value: Value, tag: int) -> Content:
    encoded = value.encapsulated and tag == PIXEL_DATA
    types = media_of(value.transfer_syntax_uid) if encoded else (OCTETS,)
    return Content(
        held,
        url,
        types,
        value.transfer_syntax_uid,
        value.deflated_from,
        value.words,
        1,
        lambda: ((url, value.pieces),),
        single_first=not encoded,
    )
