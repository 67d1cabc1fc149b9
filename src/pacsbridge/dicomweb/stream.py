"""Bytes from the packs to the socket, in constant memory and without a thread for each reader.

The system sends large instances itself (`sendfile`) where the connection allows it. Other parts are read by
the executor, small ones many at once and large ones piece by piece. One batch is in memory for each client:
the system has enough left to be sent while the next is read. Who takes nothing is cut off by the connection.
"""

import asyncio
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from aiohttp import web

from pacsbridge.blobs.packs import Packs
from pacsbridge.dicomweb import sendfile
from pacsbridge.dicomweb.multipart import Body, Part
from pacsbridge.dicomweb.stored import cut_short, opened, stored

BATCH = 3 * 1024 * 1024
"""Bytes that are read at a time."""

_PIECE = 512 * 1024
"""Bytes that are written at a time: the transport copies what the system does not take at once."""


class Stretch(NamedTuple):
    """Bytes of the content of a part, from `start` to `stop`; its head goes before the first of them."""

    part: Part
    start: int
    stop: int

    @property
    def head(self) -> bytes:
        """What goes before."""
        return b"" if self.start else self.part.head


@dataclass(frozen=True, slots=True)
class Courier:
    """Carries bodies to clients; one for all requests."""

    packs: Packs
    executor: Executor

    async def deliver(self, body: Body, request: web.Request, response: web.StreamResponse) -> None:
        """Send a body over a prepared response. Raises ConnectionError, OSError, errors.*."""
        if sendfile.is_possible(request, response, body):
            await sendfile.send(request, body, self.packs, self.executor)
        else:
            await self._copy(body, response)

    async def _copy(self, body: Body, response: web.StreamResponse) -> None:
        loop = asyncio.get_running_loop()
        for run in runs(body.parts):
            view = memoryview(await loop.run_in_executor(self.executor, read, self.packs, run))
            for start in range(0, len(view), _PIECE):
                await response.write(view[start : start + _PIECE])
        await response.write(body.closing)

    def check(self, body: Body) -> None:
        """Whether the first part can be opened, so that a store gone away is answered by a status; blocks."""
        opened(stored(self.packs, body.parts[0]).path).close()


def runs(parts: Iterable[Part]) -> Iterator[Sequence[Stretch]]:
    """Parts in groups, as they are read: up to `BATCH` bytes together, the last one perhaps not whole."""
    run: list[Stretch] = []
    room = BATCH
    for part in parts:
        if not room:
            yield run
            run, room = [], BATCH
        start, stop = 0, min(part.size, room)
        run.append(Stretch(part, start, stop))
        while stop < part.size:
            yield run
            start, stop = stop, min(part.size, stop + BATCH)
            run, room = [Stretch(part, start, stop)], BATCH
        room -= stop - start
    if run:
        yield run


def read(packs: Packs, run: Sequence[Stretch]) -> bytearray:
    """The bytes of parts with their heads, in one buffer; blocks. Each file is opened once."""
    buffer = bytearray(sum(len(one.head) + one.stop - one.start for one in run))
    view, at = memoryview(buffer), 0
    blobs = [stored(packs, one.part) for one in run]
    with ExitStack() as stack:
        files = {path: stack.enter_context(opened(path)) for path in {blob.path for blob in blobs}}
        for one, blob in zip(run, blobs, strict=True):
            start = at + len(one.head)
            view[at:start] = one.head
            at = start + one.stop - one.start
            _fill(files[blob.path], blob.offset + one.start, view[start:at])
        _read_ahead(files[blobs[-1].path], blobs[-1].offset + run[-1].stop)
    return buffer


def _fill(file: BinaryIO, offset: int, view: memoryview) -> None:
    done = 0
    while done < len(view):
        count = os.preadv(file.fileno(), [view[done:]], offset + done)
        if not count:
            raise cut_short()
        done += count


def _read_ahead(file: BinaryIO, offset: int) -> None:
    """Asks the system to bring the next batch into memory meanwhile; not every system can be asked."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), offset, BATCH, os.POSIX_FADV_WILLNEED)
