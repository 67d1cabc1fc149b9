"""WADO-RS retrieval of frames (PS3.18 10.4.1.1.5): streamed from the file, by an index kept in memory."""

import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise

from aiohttp import web

from pacsbridge.blobs.packs import Packs
from pacsbridge.dicom.frames import (
    ENCAPSULATED_UNCOMPRESSED,
    Encapsulated,
    Native,
    Pixels,
    Words,
    read_pixels,
)
from pacsbridge.dicomweb.media import OCTETS, media_of
from pacsbridge.dicomweb.sending import Content, Plan, Source, plan, send
from pacsbridge.dicomweb.service import SERVICE, Service, accept_of
from pacsbridge.dicomweb.target import find, instance_url, target
from pacsbridge.dicomweb.window import window
from pacsbridge.errors import Absent, NotAcceptable, NotSupported, NotUnderstood, Refused
from pacsbridge.store.records import Held

KEPT_FRAGMENTS = 2_000_000
"""What the indexes kept in memory hold together (some 24 bytes each)."""

_LIST = re.compile(r"[0-9]{1,9}(?:,[0-9]{1,9})*", re.ASCII)


class Shelf:
    """The indexes of the instances asked for last; for the event loop only."""

    def __init__(self, fragments: int = KEPT_FRAGMENTS) -> None:
        self._room = fragments
        self._kept: OrderedDict[tuple[str, bytes], Pixels] = OrderedDict()

    async def pixels(self, service: Service, held: Held) -> Pixels:
        """Where the pixel data of an instance stand. Raises Absent, Unavailable."""
        key = (held.location, held.sha256)
        if (found := self._known(key)) is not None:
            return found
        async with service.describing:
            pixels = self._known(key)
            if pixels is None:
                pixels = await service.call(partial(indexed, service.packs, held))
                self._keep(key, pixels)
        return pixels

    def _known(self, key: tuple[str, bytes]) -> Pixels | None:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def _keep(self, key: tuple[str, bytes], pixels: Pixels) -> None:
        if (before := self._kept.pop(key, None)) is not None:  # found twice at the same time
            self._room += before.frames.weight
        self._kept[key] = pixels
        self._room -= pixels.frames.weight
        while self._room < 0 and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._room += dropped.frames.weight


SHELF = web.AppKey("pacsbridge_dicomweb_frames", Shelf)


async def frames(request: web.Request) -> web.StreamResponse:
    """GET or HEAD of frames of an instance; errors by `faults`."""
    service = request.app[SERVICE]
    numbers = frame_list(request.match_info["frames"])
    (held,) = await service.call(partial(find, service.store, target(request.match_info)))
    pixels = await request.app[SHELF].pixels(service, held)
    return await send(
        request,
        service,
        await service.call(partial(_plan, service, held, pixels, numbers, accept_of(request))),
    )


def frame_list(text: str) -> Sequence[int]:
    """The numbers of a list, in its order. Raises NotUnderstood."""
    numbers = [int(number) for number in text.split(",")] if _LIST.fullmatch(text) else [0]
    if 0 in numbers:
        raise NotUnderstood("frames are numbers from 1, separated by commas", "frames")
    return numbers


def indexed(packs: Packs, held: Held) -> Pixels:
    """Finds the frames of a stored instance; blocks. Raises Absent where it is too damaged for that."""
    try:
        with window(packs.open(held.location, held.sha256)) as file:
            return read_pixels(file)
    except Refused as exc:
        raise Absent(f"the header of the instance cannot be read: {exc}") from exc


def media_types(pixels: Pixels) -> Sequence[str]:
    """As what its frames can be had. Raises NotAcceptable where they would have to be decoded."""
    if isinstance(pixels.frames, Native) or pixels.transfer_syntax_uid == ENCAPSULATED_UNCOMPRESSED:
        return (OCTETS,)
    return media_of(pixels.transfer_syntax_uid)


def all_frames(pixels: Encapsulated, url: str) -> Iterator[Source]:
    """Every frame of encapsulated pixel data; a video is one."""
    if pixels.video:
        yield url, pixels.frame(1)
        return
    yield from ((url, pixels.frame(number)) for number in range(1, pixels.count + 1))


def _plan(service: Service, held: Held, pixels: Pixels, numbers: Sequence[int], accept: str) -> Plan:
    base = f"{instance_url(service.settings.base_url, held)}/frames"
    _check_video(pixels)
    if pixels.deflated_from is not None and any(b <= a for a, b in pairwise(numbers)):
        raise NotSupported(
            "the instance is deflated: its frames can be had in ascending order only", "frames"
        )
    sources = [(f"{base}/{number}", pixels.frames.frame(number)) for number in numbers]
    content = Content(
        held,
        f"{base}/{','.join(map(str, numbers))}",
        media_types(pixels),
        pixels.transfer_syntax_uid,
        pixels.deflated_from,
        pixels.frames.words if isinstance(pixels.frames, Native) else Words(),
        len(sources),
        lambda: sources,
    )
    return plan(service, content, accept)


def _check_video(pixels: Pixels) -> None:
    if isinstance(pixels.frames, Encapsulated) and pixels.frames.video and pixels.frames.count > 1:
        raise NotAcceptable(
            f"a video cannot be taken apart without decoding it; all of it is at bulkdata/{pixels.tag:08X}"
        )
