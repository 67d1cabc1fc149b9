"""T-LORIS, T-TLS, T-HALF, T-IDLE: DICOM callers who are slow, silent or gone; others are served meanwhile."""

import contextlib
import ctypes
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import trustme
from bystander import bystander
from pushing import SUCCESS
from raw_dimse import RawPeer, Wire, unread
from slow_clients import crowd, dropped

from .conftest import MakeSite, Site

LINGER = 2.0
"""Seconds that a caller has to take his A-ABORT and close (PS3.8 9.2, Sta13)."""


QUICK = "first_pdu_seconds = 2\npdu_seconds_per_mib = 2\n"
"""For every change; at night it is the defaults that are tried."""


# T-LORIS


@dataclass(frozen=True)
class Slow:
    """A caller who says `first`, within an association or before, then a byte of `drip` now and then."""

    first: bytes
    drip: bytes = b"\0"
    associated: bool = False


SLOW = {
    "silent": Slow(b"", b""),
    "request": Slow(Wire.pdu(1, b"", 5000)),
    "instance": Slow(Wire.pdu(4, b"", 16_000), associated=True),
}


def seconds_of(slow: Slow, port: int, count: int) -> list[float]:
    """When each of so many is closed, from when the last of them has spoken."""
    begins = Wire.associate() if slow.associated else slow.first
    with crowd(port, count, begins, answered=slow.associated) as sockets:
        for one in sockets if slow.associated else ():
            one.sendall(slow.first)
        return dropped(sockets, 60, slow.drip)


def test_slow_callers_are_dropped(make_site: MakeSite, numbers: Callable[..., int], night: bool) -> None:
    """T-LORIS: silence, or a header and a byte now and then: gone in 15 s, in an association in 30 s/MiB."""
    count = numbers(40, 200)
    room = f"max_associations = {count + 20}\nmax_waiting = {2 * count + 20}\n"
    site = make_site(dimse=room if night else room + QUICK).start()
    site.oracle.rest()
    with bystander(site.bridge, limit=numbers(5, 1)), site.line() as line, ThreadPoolExecutor() as pool:
        tasks = [pool.submit(seconds_of, slow, site.bridge.dimse_port, count) for slow in SLOW.values()]
        for (name, slow), task in zip(SLOW.items(), tasks, strict=True):
            found, deadline = task.result(), numbers(2, 30 if slow.associated else 15)
            assert len(found) == count, f"{name}: {count - len(found)} are still there"
            print(f"{name}: {count} dropped within {max(found):.1f} s")
            assert max(found) < deadline + LINGER * slow.associated + numbers(20, 2)
        assert site.push(line, 1) == SUCCESS
    site.oracle.check(settled=True)


# T-TLS


def hello(*, old: bool = False) -> bytes:
    """A ClientHello, or one of a client that knows nothing newer than TLS 1.0."""
    context, outgoing = ssl.create_default_context(), ssl.MemoryBIO()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1").do_handshake()
    said = outgoing.read()
    return said[:9] + b"\3\1" + said[11:] if old else said


@pytest.fixture
def by_tls(make_site: MakeSite, tmp_path: Path, night: bool) -> Site:
    """A bridge whose DIMSE port speaks TLS."""
    authority, certificate, key = trustme.CA(), tmp_path / "tls.pem", tmp_path / "tls.key"
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(key)
    issued.cert_chain_pems[0].write_to_path(certificate)
    deadlines = "" if night else QUICK
    site = make_site(dimse=f'{deadlines}[dimse.tls]\ncertificate = "{certificate}"\nkey = "{key}"\n')
    site.bridge.dimse_tls = context = ssl.create_default_context()
    authority.configure_trust(context)
    return site.start()


def test_handshakes_that_stall_or_fail(by_tls: Site, numbers: Callable[..., float]) -> None:
    """T-TLS: no ClientHello, half of one, one of TLS 1.0, plain DICOM: all end; who speaks TLS comes in."""
    site, port = by_tls, by_tls.bridge.dimse_port
    site.oracle.rest()
    count = int(numbers(10, 50))
    with contextlib.ExitStack() as stack, bystander(site.bridge, limit=numbers(5, 0.5)):
        crowds = [
            stack.enter_context(crowd(port, count, first))
            for first in (b"", hello()[: len(hello()) // 2], hello(old=True), Wire.associate())
        ]
        with site.line() as line:
            assert site.push(line, 1) == SUCCESS
        stalled, failed = [*crowds[0], *crowds[1]], [*crowds[2], *crowds[3]]
        at_once, later = dropped(failed, 60), dropped(stalled, 60)
    assert (len(at_once), len(later)) == (2 * count, 2 * count)
    print(f"failed within {max(at_once):.2f} s, stalled within {max(later):.1f} s")
    assert max(later) < numbers(30, 17)
    site.oracle.check(settled=True)


# T-HALF

SO_ATTACH_FILTER = 26
"""Linux: a filter of what a socket is given of its packets."""


def vanish(one: socket.socket) -> None:
    """From now on the kernel drops whatever comes for this socket, and answers nothing, not even by a reset.

    To the other side that is a cable that has been pulled. No privilege is needed (socket(7), one statement
    of the filter language that takes no packet).
    """
    statement = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    program = struct.pack("HxxxxxxQ", 1, ctypes.addressof(statement))
    one.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


STAGES: dict[str, tuple[bool, bytes]] = {
    "before the request": (False, b""),
    "between requests": (True, b""),
    "in the middle of an instance": (True, Wire.store(data=bytes(90_000), piece=30_000)[:-30_012]),
    "in the middle of a PDU": (True, Wire.store(data=bytes(90_000))[:-100]),
    "when the answer is due": (True, Wire.echo()),
}


@contextlib.contextmanager
def gone(site: Site, stage: str, count: int) -> Iterator[list[int]]:
    """So many callers who are gone at a stage: their ports."""
    associated, data = STAGES[stage]
    lost: list[RawPeer] = []
    try:
        for _ in range(count):
            lost.append(RawPeer(site.bridge.dimse_port))
            if associated:
                lost[-1].associate()
            lost[-1].send(data)
            if stage != "when the answer is due":
                site.bridge.wait(lambda: not unread(site.bridge.dimse_port), 60)
            vanish(lost[-1].socket)
        yield [one.socket.getsockname()[1] for one in lost]
    finally:
        for one in lost:
            one.reset()


def held(site: Site) -> set[int]:
    """The ports of the callers whose connections the bridge has."""
    own, found = site.bridge.dimse_port, site.oracle.process().net_connections("tcp")
    return {one.raddr.port for one in found if one.laddr.port == own and one.status != psutil.CONN_LISTEN}


def test_callers_who_vanish(make_site: MakeSite, numbers: Callable[..., int], night: bool) -> None:
    """T-HALF: callers whose packets are all lost from some moment on: each is let go of in its time."""
    deadlines = "" if night else QUICK + "network_timeout = 2\n"
    site = make_site(dimse="max_associations = 120\n" + deadlines).start()
    site.oracle.rest()
    count, seconds = numbers(4, 20), dict[str, float]()
    with contextlib.ExitStack() as stack, bystander(site.bridge, limit=numbers(5, 1)):
        start = time.monotonic()
        there = {stage: stack.enter_context(gone(site, stage, count)) for stage in STAGES}
        while len(seconds) < len(STAGES):
            left = held(site)
            for stage, ports in there.items():
                if stage not in seconds and left.isdisjoint(ports):
                    seconds[stage] = time.monotonic() - start
            late = time.monotonic() > start + numbers(40, 120)
            assert not late, f"not let go of: {STAGES.keys() - seconds.keys()}"
            threading.Event().wait(0.2)
    print("".join(f"{stage}: {taken:.0f} s\n" for stage, taken in seconds.items()))
    assert max(seconds.values()) < numbers(40, 90)
    site.oracle.check(settled=True)


# T-IDLE


def cores(process: psutil.Process, seconds: float) -> float:
    """How many cores a process takes in the next seconds."""
    start, before = time.monotonic(), sum(process.cpu_times()[:2])
    threading.Event().wait(seconds)
    return (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - start)


def test_idle_associations_cost_nothing(make_site: MakeSite, numbers: Callable[..., float]) -> None:
    """T-IDLE: fifty idle associations take less than 0.1 of a core (0.3 is allowed), and serve."""
    site = make_site(dimse="max_associations = 60\n").start()
    site.oracle.rest()
    alone = cores(site.oracle.process(), numbers(1, 10))
    lines = [site.dial() for _ in range(50)]
    with_all = cores(site.oracle.process(), numbers(3, 60))
    print(f"{alone:.3f} of a core without, {with_all:.3f} with fifty")
    assert with_all < 0.1
    with bystander(site.bridge, limit=numbers(5, 1)):
        for number in range(200):
            assert site.push(lines[number % 50], number) == SUCCESS
        for line in lines:
            line.release()
    site.oracle.check(settled=True)
