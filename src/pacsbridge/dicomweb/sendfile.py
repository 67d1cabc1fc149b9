"""Stored bytes to the socket by sendfile(2): the system sends what it has of the files, we copy nothing.

A thread hands over what fits into the socket's buffer; until there is room again only the event loop waits.
Meanwhile the connection's own transport goes on reading, and ends it.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Generator, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, suppress

from aiohttp import web

from pacsbridge.blobs.blob import Blob
from pacsbridge.blobs.packs import Packs
from pacsbridge.dicomweb.multipart import Body
from pacsbridge.dicomweb.stored import cut_short, opened, stored

_SMALLEST = 128 * 1024
"""Bytes of a part on average from which on it pays: smaller ones are read many at a time."""

_TURN = 16 * 1024 * 1024
"""Bytes after which a thread is given back, however quickly the client takes them."""

_LOOK_SECONDS = 0.5
"""How often a connection that takes nothing is looked at: it may have been given up."""


def is_possible(request: web.Request, response: web.StreamResponse, body: Body) -> bool:
    """Whether a prepared response can go past its transport: in the clear, unframed, nothing before it."""
    transport = request.transport
    return (
        sys.platform == "linux"
        and response.content_length is not None
        and transport is not None
        and transport.get_extra_info("sslcontext") is None
        and not transport.get_write_buffer_size()
        and body.length >= _SMALLEST * len(body.parts)
    )


async def send(request: web.Request, body: Body, packs: Packs, executor: Executor) -> None:
    """Send a body where that is possible. Raises ConnectionError, OSError, errors.*."""
    if request.transport is None:
        raise ConnectionResetError
    connection = request.transport.get_extra_info("socket").dup()
    flow = _flow(connection, body, packs)

    def close(_: object = None) -> None:
        flow.close()
        connection.close()

    with ExitStack() as stack:
        stack.callback(close)
        full: bool | None = False
        while full is not None:
            turn = executor.submit(_turn, flow)
            stack.pop_all()
            stack.callback(turn.add_done_callback, close)  # it may outlast whoever waits for it
            full = await asyncio.wrap_future(turn)
            if full:
                await _room(request, connection)


async def _room(request: web.Request, connection: socket.socket) -> None:
    """Wait until there is room. Raises ConnectionResetError once the connection is given up."""
    loop, room = asyncio.get_running_loop(), asyncio.Event()
    loop.add_writer(connection, room.set)
    request.protocol.pause_writing()  # from here on the connection watches that something is taken
    try:
        while not room.is_set():
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError
            with suppress(TimeoutError):
                await asyncio.wait_for(room.wait(), _LOOK_SECONDS)
    finally:
        loop.remove_writer(connection)
        request.protocol.resume_writing()


def _turn(flow: Iterator[int]) -> bool | None:
    """Hand over as much as the system takes, within limits: whether it is full; None at the end."""
    spent = 0
    for sent in flow:
        if not sent:
            return True
        spent += sent
        if spent >= _TURN:
            return False
    return None


def _flow(connection: socket.socket, body: Body, packs: Packs) -> Generator[int, None, None]:
    """Hand over a body; blocks on the disk. Yields how many bytes went, 0 when the system is full."""
    for part in body.parts:
        yield from _text(connection, part.head, socket.MSG_MORE)
        yield from _content(connection, stored(packs, part))
    yield from _text(connection, body.closing)


def _content(connection: socket.socket, blob: Blob) -> Iterator[int]:
    at, end = blob.offset, blob.offset + blob.length
    with opened(blob.path) as file:
        while at < end:
            try:
                sent = os.sendfile(connection.fileno(), file.fileno(), at, min(end - at, _TURN))
            except BlockingIOError:
                yield 0
                continue
            if not sent:
                raise cut_short()
            at += sent
            yield sent


def _text(connection: socket.socket, text: bytes, flags: int = 0) -> Iterator[int]:
    while text:
        try:
            sent = connection.send(text, flags)
        except BlockingIOError:
            yield 0
            continue
        text = text[sent:]
        yield sent
