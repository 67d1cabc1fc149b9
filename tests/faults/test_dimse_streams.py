"""T-PDU, T-MANGLE, T-ABORT: DICOM callers whose bytes lie, are mangled, or end in the middle."""

import random
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from hashlib import sha256

import pytest
from benchmarks.sender import uid
from bystander import bystander
from dimse_conversation import Talk, answered, peers, request
from pushing import SUCCESS
from raw_dimse import CT, EXPLICIT, IMPLICIT, RawPeer, Wire, unread

from .conftest import Site, sites

LONGEST = 1 << 20
"""`limits.pdu_bytes`."""

PATIENT = "first_pdu_seconds = 600\npdu_seconds_per_mib = 600\nnetwork_timeout = 600\nspool_bytes = 65536\n"
"""No deadline ends a connection: what is noticed is noticed at once."""


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A running bridge that is in no hurry, with a study of three instances to find, move and get."""
    with sites(tmp_path_factory.mktemp("site")) as make:
        site = make(dimse=PATIENT)
        with site.bridge.config.open("a") as config:
            config.write(peers(site.bridge.dimse_port))
        site.start()
        with site.line() as line:
            assert {site.push(line, number, size=1000) for number in (1, 2, 3)} == {SUCCESS}
        site.oracle.check()
        site.oracle.rest()
        yield site


# T-PDU

ABORT_TYPE, ABORT_VALUE, ABORT_PARAMETER = "abort 2 1", "abort 2 6", "abort 2 5"
"""A-ABORT of the provider: unrecognised PDU, invalid value, unexpected parameter (PS3.8 Table 9-26)."""

UNEXPECTED = "abort 0 0"
"""The answer to a PDU of another kind before the association: of the user (PS3.8 9.2.3, AA-1)."""

HUGE = (LONGEST + 1, (1 << 31) - 1, (1 << 32) - 1)


def lengths() -> Iterator[tuple[str, bytes, str]]:
    """Each PDU type with each length that cannot be, and each type that is none."""
    for kind in range(1, 8):
        for length in (0, 1, *HUGE):
            yield f"type {kind}, length {length}", Wire.pdu(kind, bytes(length & 1), length), ABORT_VALUE
    for kind in (0, *range(8, 256)):
        yield f"type {kind}", Wire.pdu(kind, bytes(40)), ABORT_TYPE


def proposing(*contexts: tuple[int, bytes, Sequence[bytes]]) -> bytes:
    """An A-ASSOCIATE-RQ with these presentation contexts."""
    return Wire.associate(contexts)


REQUESTS: Mapping[str, bytes] = {
    "cut short": Wire.pdu(1, request()[6:60]),
    "item length beyond the end": Wire.pdu(1, request()[6:] + b"\x50\0\xff\xff"),
    "user information lies": Wire.associate(extra=b"\x59\0\0\x08\xff\xff1.2"),
    "user information longer than the PDU": request().replace(b"\x50\0\0", b"\x50\0\xff"),
    "without user information": Wire.pdu(1, request()[6 : request().rindex(b"\x50\0\0")]),
    "without contexts": proposing(),
    "an even context": proposing((2, CT, [EXPLICIT]), (3, CT, [EXPLICIT])),
    "context 0": proposing((0, CT, [EXPLICIT])),
    "a context twice": proposing((1, CT, [EXPLICIT]), (1, CT, [IMPLICIT])),
    "a context without transfer syntax": proposing((1, CT, [EXPLICIT]), (3, CT, [])),
    "16 contexts of 6,000 syntaxes": proposing(
        *((number, b"1.2.3", [b"1.%d" % n for n in range(6000)]) for number in range(1, 33, 2))
    ),
    "250,000 empty items": Wire.pdu(1, request()[6:74] + b"\x52\0\0\0" * 250_000),
    "user information of 16,000 items": Wire.associate(extra=b"\x54\0\0\0" * 16_000),
}

ECHO, STORE = Wire.command(0x30, data=False), Wire.command(1)
WITH_DATA = Wire.data(1, 3, STORE)
VALUES: Mapping[str, tuple[bytes, str]] = {
    "value of length 0": (Wire.pdu(4, Wire.pdv(1, 3, b"abcd", 0)), ABORT_VALUE),
    "value of length 1": (Wire.pdu(4, Wire.pdv(1, 3, b"abcd", 1)), ABORT_VALUE),
    "value longer than its PDU": (Wire.pdu(4, Wire.pdv(1, 3, b"abcd", 5000)), ABORT_VALUE),
    "value of 4 GiB": (Wire.pdu(4, Wire.pdv(1, 3, b"abcd", (1 << 32) - 1)), ABORT_VALUE),
    "data set longer than its PDU": (WITH_DATA + Wire.pdu(4, Wire.pdv(1, 2, b"abcd", 5000)), ABORT_VALUE),
    "data set of length 1": (WITH_DATA + Wire.pdu(4, Wire.pdv(1, 2, b"", 1)[:-1]), ABORT_VALUE),
    "data set of a header": (WITH_DATA + Wire.pdu(4, b"\0\0\0\2"), ABORT_VALUE),
    "even context": (Wire.data(2, 3, STORE), ABORT_VALUE),
    "context not accepted": (Wire.data(99, 3, STORE), ABORT_VALUE),
    "data set without command": (Wire.data(1, 2, b"data"), ABORT_PARAMETER),
    "command after command": (WITH_DATA * 2, ABORT_PARAMETER),
    "change of context": (WITH_DATA + Wire.data(3, 2, b"data"), ABORT_VALUE),
    "command of 2 MiB": (Wire.data(1, 1, bytes(16_000)) * 131, ABORT_VALUE),
    "command in one PDU of 1 MiB": (Wire.data(1, 3, bytes(LONGEST - 6)), ABORT_VALUE),
    "command that is none": (Wire.data(1, 3, b"\x08\0\x05\0\x02\0\0\0IS"), ABORT_VALUE),
}


def lies() -> Iterator[tuple[str, bool, bytes, str]]:
    """What is told, whether within an association, in which bytes, and how that has to end."""
    for what, data, end in lengths():
        is_short_data = data[0] == 4 and len(data) <= 7 and int.from_bytes(data[2:6], "big") <= 1
        yield what, False, data, UNEXPECTED if is_short_data else end
        yield what, True, data, end
    for what, data in REQUESTS.items():
        yield what, False, data, ABORT_VALUE
    for what, (data, end) in VALUES.items():
        yield what, True, data, end


def told(site: Site, lie: bytes, *, within: bool) -> tuple[str, float]:
    """How the connection of a liar ends, and after which seconds."""
    with RawPeer(site.bridge.dimse_port) as peer:
        if within:
            peer.associate()
        start = time.monotonic()
        with suppress(ConnectionError):  # the abort is quicker than the rest of the lie
            peer.send(lie)
        try:
            return peer.ended(), time.monotonic() - start
        except TimeoutError:
            return "still open", time.monotonic() - start


def test_lies_are_aborted_at_once(attacked: Site, numbers: Callable[..., float]) -> None:
    """T-PDU: lengths, types, values and contexts that cannot be: the provider's A-ABORT, without waiting."""
    seconds = []
    with attacked.oracle.bounded(40), bystander(attacked.bridge, limit=numbers(5, 1)):
        for what, within, lie, expected in lies():
            end, taken = told(attacked, lie, within=within)
            assert end == expected, f"{what}, {'within' if within else 'before'}: {end}"
            seconds.append(taken)
    print(f"{len(seconds)} lies, the slowest answer after {max(seconds):.3f} s")
    assert max(seconds) < numbers(15, 1)
    attacked.oracle.check(settled=True)


def test_who_talks_on_is_closed(attacked: Site) -> None:
    """T-PDU: sending ever more after the A-ABORT does not help: the connections are closed all the same."""
    with bystander(attacked.bridge):
        run_all(TALKERS, [partial(talks_on, attacked)] * TALKERS)
    attacked.oracle.check(settled=True)


TALKERS = 8
"""So many that the bridge hardly finds one that has nothing to say for the moment."""


def talks_on(site: Site) -> None:
    """Tells a lie, and sends on until the connection is closed."""
    start, more = time.monotonic(), bytes(4 * LONGEST)
    with RawPeer(site.bridge.dimse_port) as peer, suppress(ConnectionError):
        peer.send(Wire.pdu(0, b""))
        while time.monotonic() < start + 60:
            peer.send(more)
    print(f"closed after {time.monotonic() - start:.1f} s")
    assert time.monotonic() < start + 30


def test_the_longest_pdus(attacked: Site, numbers: Callable[..., int]) -> None:
    """T-PDU: many callers who send all but the last byte of the longest PDU; at most 2 MiB each."""
    count = numbers(40, 190)
    peers_, data = list[RawPeer](), Wire.pdu(1, bytes(LONGEST))[:-1]
    with attacked.oracle.bounded(2 * count), bystander(attacked.bridge, limit=numbers(5, 1)):
        try:
            for _ in range(count):
                peers_.append(RawPeer(attacked.bridge.dimse_port).send(data))
            attacked.bridge.wait(lambda: not unread(attacked.bridge.dimse_port), 60)
        finally:
            for peer in peers_:
                peer.socket.close()
    attacked.oracle.check(settled=True)


def test_the_largest_request(attacked: Site) -> None:
    """T-PDU: 128 contexts of 50 transfer syntaxes each are no lie; they are negotiated."""
    transfers = [b"1.2.840.10008.1.2.4.%d" % n for n in range(50)]
    with RawPeer(attacked.bridge.dimse_port) as peer:
        peer.associate(contexts=[(n, b"1.2.3.%d" % n, transfers) for n in range(1, 256, 2)])
        assert peer.send(Wire.RELEASE).read()[0] == 6


# T-MANGLE

SPOILED = ("request", "echo", "store", "find", "move", "release")
QUIET = 0.05
"""Seconds without an answer after which a caller says the rest and ends."""


def mutated(stream: bytes, dice: random.Random) -> bytes:
    """One of: a bit flipped, bytes dropped, repeated, swapped with those behind them, or the end cut off."""
    at, length = dice.randrange(len(stream)), dice.randrange(1, 40)
    head, piece, tail = stream[:at], stream[at : at + length], stream[at + length :]
    flipped = bytes((piece[0] ^ 1 << dice.randrange(8),)) + piece[1:]
    return dice.choice(
        (head + flipped + tail, head + tail, head + piece + piece + tail, tail + piece + head, head)
    )


def mangled(site: Site, number: int) -> None:
    """One conversation with one step mutated: it goes well until there, and what follows is said at once."""
    dice, talk = random.Random(number), Talk(number, number // 50, site.oracle.canary)
    steps, spoiled = talk.steps(), dice.choice(SPOILED)
    with RawPeer(site.bridge.dimse_port) as peer:
        for step in SPOILED[: SPOILED.index(spoiled)]:
            status = answered(peer, step, steps[step])
            assert status == (2 if step == "request" else SUCCESS), f"{number}: {step} answered {status}"
            if step == "store":
                site.oracle.note(uid(1, number), talk.data(), status)
        rest = SPOILED[SPOILED.index(spoiled) + 1 :]
        with suppress(OSError, EOFError):  # the bridge may have ended it at any byte
            peer.send(mutated(steps[spoiled], dice))
            hear(peer, QUIET)
            peer.send(b"".join(steps[step] for step in rest))
            peer.socket.shutdown(socket.SHUT_WR)
            hear(peer, 60)


def hear(peer: RawPeer, seconds: float) -> None:
    """Reads until nothing has come for so long; EOFError at the end."""
    peer.socket.settimeout(seconds)
    with suppress(TimeoutError):
        while peer.socket.recv(65536):
            pass
        raise EOFError
    peer.socket.settimeout(60)


def unforeseen(site: Site) -> list[str]:
    """Lines of the log that tell of an exception that nobody expected."""
    text = site.bridge.log.read_text(errors="replace")
    return [
        line
        for line in text.splitlines()
        if "connection failed" in line or "Traceback" in line or "Error at " in line
    ]


def run_all(threads: int, tasks: Sequence[Callable[[], None]]) -> None:
    """All of them, so many at a time; the first failure is raised."""
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(task) for task in tasks]:
            done.result()


def test_mangled_conversations(attacked: Site, numbers: Callable[..., int]) -> None:
    """T-MANGLE: seeded mutations of echo, store, find, move: no unforeseen exception, nothing left over."""
    count = numbers(500, 10_000)
    with attacked.oracle.bounded(numbers(60, 200)), bystander(attacked.bridge, limit=numbers(5, 1)):
        run_all(8, [partial(mangled, attacked, 1_000_000 + number) for number in range(count)])
    print(f"{len(attacked.oracle.acknowledged)} instances acknowledged meanwhile")
    attacked.oracle.check(settled=True)
    assert unforeseen(attacked) == []


# T-ABORT

WAYS = ("A-ABORT", "FIN", "RST")


def end(peer: RawPeer, way: str) -> None:
    """Ends a connection in one of the ways."""
    if way == "A-ABORT":
        peer.send(Wire.ABORT)
    if way == "RST":
        peer.reset()
    peer.socket.close()


def points(talk: Talk) -> Iterator[tuple[str, bytes, int]]:
    """Forty points of a conversation: the step, what belongs to it, and how much of that is sent."""
    large = {"large store": talk.store(300_000, 16_000)}
    for step, data in {**talk.steps(), **large}.items():
        yield from ((step, data, cut) for cut in (0, 3, len(data) // 2, len(data) - 1, len(data)))


def ended(site: Site, number: int, point: int, way: str) -> None:
    """A conversation that ends at one of the points in one of the ways."""
    step, data, cut = list(points(Talk(number, 3, site.oracle.canary)))[point]
    if way == "A-ABORT":  # within a PDU it would be part of that
        cut = max(start for start in (*Wire.starts(data), len(data)) if start <= cut)
    with RawPeer(site.bridge.dimse_port) as peer:
        if step != "request":
            assert answered(peer, "request", request()) == 2
        with suppress(ConnectionError):
            peer.send(data[:cut])
            end(peer, way)


def test_every_point_may_be_the_last(attacked: Site, numbers: Callable[..., int]) -> None:
    """T-ABORT: forty points, each with A-ABORT, FIN and RST: no file, no thread, nothing half stored."""
    number, tasks = 2_000_000, list[Callable[[], None]]()
    for _ in range(numbers(1, 20)):
        for point in range(40):
            for way in WAYS:
                number += 1
                tasks.append(partial(ended, attacked, number, point, way))
    with attacked.oracle.bounded(60), bystander(attacked.bridge, limit=numbers(5, 1)):
        run_all(4, tasks)
    with attacked.line() as line:  # once this one is indexed, all before it are
        assert attacked.push(line, number + 1, study=3) == SUCCESS
    attacked.oracle.check(settled=True)
    assert unforeseen(attacked) == []
    whole(attacked, range(2_000_000, number + 1))


def whole(site: Site, numbers_: range) -> None:
    """Of instances nobody waited for: those that are there are there whole."""
    rows = {sop: bytes(digest) for sop, digest in site.oracle.rows("SELECT uid, sha256 FROM instance")}
    held = [number for number in numbers_ if uid(1, number) in rows]
    assert held, "not even the complete ones were stored"
    for number in held:
        talk = Talk(number, 3, site.oracle.canary)
        digests = {sha256(talk.data(size)).digest() for size in (3000, 300_000)}
        assert rows[uid(1, number)] in digests, f"half stored: {number}"
