"""Bytes from the packs to the socket, in constant memory and without a thread for each reader.

Small parts are read by the executor, many at once, while those before them are being sent. A large part
goes from the file to the socket in the kernel (sendfile), 4 MiB at a time with the next 4 MiB asked of the
disk, so that the event loop does not wait for it. At most two batches are in memory for each client.
A client that takes nothing for `stall_seconds` is cut off.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

from aiohttp import web

from pacsbridge.blobs.blob import Blob
from pacsbridge.blobs.packs import Packs
from pacsbridge.dicomweb.multipart import Body, Part
from pacsbridge.errors import Unavailable

SMALL = 1024 * 1024
"""Parts up to this size (bytes) are read rather than sent by sendfile, which costs some 300 µs a call."""

BATCH = 2 * 1024 * 1024
SLICE = 4 * 1024 * 1024

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Courier:
    """Carries bodies to clients; one for all requests."""

    packs: Packs
    executor: Executor
    stall_seconds: float = 60.0

    async def deliver(self, body: Body, request: web.Request, response: web.StreamResponse) -> None:
        """Send a body over a prepared response. Raises ConnectionError, TimeoutError, OSError, errors.*."""
        groups = list(runs(body.parts))
        ahead = self._begin(groups[0])
        try:
            for index, group in enumerate(groups, 1):
                data = await ahead if ahead else None
                ahead = self._begin(groups[index]) if index < len(groups) else None
                if data is None:
                    await self._large(group[0], request, response)
                else:
                    await self._write(response, data)
            await self._write(response, body.closing)
        finally:
            if ahead:
                ahead.cancel()

    def check(self, body: Body) -> None:
        """Whether the first part can be opened, so that a store gone away is answered by a status; blocks."""
        _opened(self.packs, body.parts[0])[1].close()

    def _begin(self, group: Sequence[Part]) -> asyncio.Future[bytearray] | None:
        """Has small parts read while those before them are being sent; a large one is not read at all."""
        if group[0].size > SMALL:
            return None
        return asyncio.get_running_loop().run_in_executor(self.executor, read, self.packs, group)

    async def _large(self, part: Part, request: web.Request, response: web.StreamResponse) -> None:
        blob, file = await self._call(partial(_opened, self.packs, part))
        try:
            await self._write(response, part.head)
            for start in range(0, part.size, SLICE):
                await self._slice(file, blob.offset + start, min(SLICE, part.size - start), request.transport)
        finally:
            file.close()

    async def _slice(
        self, file: BinaryIO, offset: int, count: int, transport: asyncio.BaseTransport | None
    ) -> None:
        if not isinstance(transport, asyncio.WriteTransport) or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        _read_ahead(file, offset + count)
        async with asyncio.timeout(self.stall_seconds):
            sent = await asyncio.get_running_loop().sendfile(transport, file, offset, count)
        if sent != count:
            raise Unavailable("a stored instance is shorter than recorded")

    async def _write(self, response: web.StreamResponse, data: bytes | bytearray) -> None:
        async with asyncio.timeout(self.stall_seconds):
            await response.write(data)

    async def _call(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.executor, work)


def runs(parts: Iterable[Part]) -> Iterator[list[Part]]:
    """Parts in groups, as they are sent: a large one alone, small ones up to `BATCH` bytes together."""
    run: list[Part] = []
    total = 0
    for part in parts:
        if run and (max(part.size, run[0].size) > SMALL or total + part.size > BATCH):
            yield run
            run, total = [], 0
        run.append(part)
        total += part.size
    if run:
        yield run


def read(packs: Packs, run: Sequence[Part]) -> bytearray:
    """The bytes of parts with their heads, in one buffer; blocks. Each file is opened once."""
    buffer = bytearray(sum(len(part.head) + part.size for part in run))
    view, at = memoryview(buffer), 0
    blobs = [_blob(packs, part) for part in run]
    with ExitStack() as stack:
        files = {path: stack.enter_context(_open(path)) for path in {blob.path for blob in blobs}}
        for part, blob in zip(run, blobs, strict=True):
            start = at + len(part.head)
            view[at:start] = part.head
            at = start + part.size
            _fill(files[blob.path], blob.offset, view[start:at])
        _read_ahead(files[blobs[-1].path], blobs[-1].offset + blobs[-1].length)
    return buffer


def _fill(file: BinaryIO, offset: int, view: memoryview) -> None:
    done = 0
    while done < len(view):
        count = os.preadv(file.fileno(), [view[done:]], offset + done)
        if not count:
            raise Unavailable("a stored instance is shorter than recorded")
        done += count


def _opened(packs: Packs, part: Part) -> tuple[Blob, BinaryIO]:
    blob = _blob(packs, part)
    return blob, _open(blob.path)


def _open(path: Path) -> BinaryIO:
    return path.open("rb", buffering=0)


def _blob(packs: Packs, part: Part) -> Blob:
    blob = packs.open(part.location)
    if blob.length != part.size:
        raise Unavailable("a stored instance has another length than recorded")
    return blob


def _read_ahead(file: BinaryIO, offset: int) -> None:
    """Asks the system to bring the next slice into memory meanwhile; not every system can be asked."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), offset, SLICE, os.POSIX_FADV_WILLNEED)
