"""Streaming: memory, slow clients, damaged packs."""

import os
import socket
import threading
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.dicomweb.multipart import Part
from pacsbridge.dicomweb.stream import BATCH, SMALL, runs

from .conftest import STUDY, Bridge

LARGE = bytes(24 << 20)


@given(st.lists(st.integers(0, 3 * SMALL)))
def test_runs_keep_order_and_bounds(sizes: Sequence[int]) -> None:
    """Parts are neither lost nor reordered; what is read at once stays bounded; large parts stand alone."""
    parts = [Part(str(index).encode(), "", size) for index, size in enumerate(sizes)]
    groups = list(runs(parts))
    assert [part for group in groups for part in group] == parts
    for group in groups:
        assert len(group) == 1 or sum(part.size for part in group) <= BATCH
        assert len(group) == 1 or all(part.size <= SMALL for part in group)


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
        assert requests.get(
            bridge.instance(instance), headers={"Accept": "application/dicom"}, timeout=30
        ).content == instance.file  # fmt: skip
        assert threading.active_count() < 15
    finally:
        for client in clients:
            client.close()
    assert psutil.Process().memory_info().rss - before < 5 * len(LARGE)


@pytest.mark.parametrize("stall_seconds", [0.2])
@pytest.mark.parametrize("pixels", [LARGE, bytes(1 << 18)], ids=["sendfile", "read"])
def test_stalled_client_is_cut_off(bridge: Bridge, pixels: bytes) -> None:
    """A client that takes nothing for long enough loses its connection, whichever way the bytes go."""
    for number in range(len(LARGE) // len(pixels)):
        bridge.hold(str(number + 1), pixels=pixels)
    with connect(bridge.study()) as client:
        assert becomes(True, client)  # before it is accepted it belongs to nobody
        assert becomes(False, client)


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
