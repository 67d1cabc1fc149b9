"""Streaming: memory, slow clients, damaged packs."""

import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.dicomweb import sendfile
from pacsbridge.dicomweb.multipart import Part
from pacsbridge.dicomweb.stream import BATCH, runs

from .conftest import STUDY, Bridge

LARGE = bytes(24 << 20)


@given(st.lists(st.integers(0, 3 * BATCH) | st.sampled_from([BATCH, 2 * BATCH])))
def test_runs_keep_order_and_bounds(sizes: Sequence[int]) -> None:
    """Bytes are neither lost nor reordered; what is read at once stays bounded; a head goes out once."""
    parts = [Part(str(index).encode(), "", size, bytes(32)) for index, size in enumerate(sizes)]
    groups = list(runs(parts))
    found = [one for group in groups for one in group]
    assert [one.head for one in found if one.head] == [part.head for part in parts]
    for part in parts:
        own = [one for one in found if one.part is part]
        assert [one.start for one in own] == [0, *(one.stop for one in own[:-1])]
        assert own[-1].stop == part.size
    assert all(sum(one.stop - one.start for one in group) <= BATCH for group in groups)


def test_truncated_instance_cuts_the_answer_off(bridge: Bridge) -> None:
    """A pack that has lost bytes never looks like a complete answer."""
    bridge.hold("1")
    bridge.hold("2", pixels=LARGE)
    name = bridge.store.held(STUDY)[1].location.split(":")[1]
    pack = next(path for path in bridge.folder.rglob("*") if path.stem == name)
    os.truncate(pack, pack.stat().st_size - 1000)
    with pytest.raises(requests.exceptions.RequestException):
        requests.get(bridge.study(), timeout=30)


def connect(url: str) -> socket.socket:
    """A client that has asked and takes nothing."""
    parts = urlsplit(url)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((parts.hostname, parts.port))
    client.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
    return client


def test_slow_clients_hold_no_threads(bridge: Bridge) -> None:
    """Many clients that take nothing leave the others served, with few threads and little memory."""
    instance = bridge.hold("1", pixels=LARGE)
    before = psutil.Process().memory_info().rss
    clients = [connect(bridge.instance(instance)) for _ in range(20)]
    try:
        for _ in range(3):
            assert requests.head(bridge.study(), timeout=10).status_code == 200
        grown = psutil.Process().memory_info().rss - before
        assert grown < 2 * len(clients) * BATCH
        assert requests.get(
            bridge.instance(instance), headers={"Accept": "application/dicom"}, timeout=30
        ).content == instance.file  # fmt: skip
        assert threading.active_count() < 15
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize("stall_seconds", [0.2])
@pytest.mark.parametrize("pixels", [LARGE, bytes(1 << 18), bytes(1 << 16)], ids=["large", "middle", "small"])
def test_stalled_client_is_cut_off(bridge: Bridge, pixels: bytes) -> None:
    """A client that takes nothing for long enough loses its connection, whatever it is sent."""
    for number in range(len(LARGE) // len(pixels)):
        bridge.hold(str(number + 1), pixels=pixels)
    with connect(bridge.study()) as client:
        assert becomes(True, client)  # before it is accepted it belongs to nobody
        assert becomes(False, client)


@pytest.mark.parametrize("stall_seconds", [0.5])
@pytest.mark.parametrize(
    "pixels", [bytes(8 << 20), bytes(1 << 19), bytes(1 << 16)], ids=["large", "middle", "small"]
)
def test_slow_client_gets_everything(bridge: Bridge, pixels: bytes) -> None:
    """Who takes a little at a time is served to the end, however long what is sent at once takes."""
    count = (8 << 20) // len(pixels)
    instances = [bridge.hold(str(number + 1), pixels=pixels) for number in range(count)]
    with connect(bridge.study()) as client:
        answer = HTTPResponse(client)
        answer.begin()
        got = bytearray()
        while piece := answer.read(1 << 16):
            got += piece
            time.sleep(0.02)
    assert len(got) == int(answer.headers["Content-Length"])
    assert all(instance.file in got for instance in instances)


@pytest.mark.parametrize("direct", [True, False])
def test_by_sendfile_and_from_memory(bridge: Bridge, monkeypatch: pytest.MonkeyPatch, direct: bool) -> None:
    """Whether the system sends the files or we do: the same message, each instance as it is stored."""
    ways: list[bool] = []

    def is_possible(*asked: Any) -> bool:
        ways.append(possible(*asked))
        return direct and ways[-1]

    possible = sendfile.is_possible
    monkeypatch.setattr(sendfile, "is_possible", is_possible)
    instances = [bridge.hold(str(size), pixels=os.urandom(size)) for size in (4, 5 << 20, 70_000, 1 << 20)]
    with requests.Session() as client:
        for _ in range(2):  # on one connection: nothing is left behind
            answer = client.get(bridge.study(), timeout=30)
            boundary = answer.headers["Content-Type"].rpartition("boundary=")[2].encode()
            _, *parts, end = answer.content.split(b"--" + boundary)
            found = [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts]
            assert sorted(found) == sorted(one.file for one in instances) and end == b"--\r\n"
    assert ways == [sys.platform == "linux"] * 2


def test_who_leaves_takes_everything_along(bridge: Bridge) -> None:
    """Clients that go in the middle of an answer leave no file and no socket open."""
    bridge.hold("1", pixels=LARGE)
    requests.head(bridge.study(), timeout=10)
    before = descriptors()
    for _ in range(5):
        with connect(bridge.study()) as client:
            client.recv(1000)
    deadline = time.monotonic() + 30
    while descriptors() > before and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    assert descriptors() <= before


def descriptors() -> int:
    """How many sockets and files of the blob store this process has open."""
    process = psutil.Process()
    return len(process.net_connections("tcp4")) + sum("pack" in file.path for file in process.open_files())


def becomes(state: bool, client: socket.socket) -> bool:
    """Whether the server's end of the connection is open, or closed, within reasonable time."""
    deadline = time.monotonic() + 20
    while established(client) is not state and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    return established(client) is state


def established(client: socket.socket) -> bool:
    """Whether the server's end of the connection is still open."""
    port = client.getsockname()[1]
    connections = psutil.Process().net_connections("tcp4")
    return any(c.raddr and c.raddr.port == port and c.status == psutil.CONN_ESTABLISHED for c in connections)
