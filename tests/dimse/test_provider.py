"""The connection's thread against peers that break off, lie, mumble or say nothing."""

import contextlib
import os
import random
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest

MAX = 1 << 20
HUGE = (MAX + 1, (1 << 31) - 1, (1 << 32) - 1)


@pytest.mark.parametrize("length", HUGE)
@pytest.mark.parametrize("kind", range(1, 8))
def test_lying_lengths_are_aborted_at_once(house: Any, wire: Any, kind: int, length: int) -> None:
    """A length beyond the limit gets A-ABORT, provider, invalid parameter value, at once."""
    with house.dial() as before, house.dial().associate() as within:
        for peer in (before, within):
            peer.socket.settimeout(1)
            assert peer.send(wire.pdu(kind, b"", length)).ended() == "abort 2 6"
    assert house.echoes()


@pytest.mark.parametrize("kind", [0, *range(8, 256, 31), 255])
def test_unknown_pdu_types_are_aborted_at_once(house: Any, wire: Any, kind: int) -> None:
    """An unknown type gets A-ABORT, provider, unrecognised PDU."""
    with house.dial() as before, house.dial().associate() as within:
        for peer in (before, within):
            assert peer.send(wire.pdu(kind, bytes(40))).ended() == "abort 2 1"


VALUES = {
    "empty P-DATA": lambda wire: wire.pdu(4, b""),
    "value of length 0": lambda wire: wire.pdu(4, wire.pdv(1, 3, b"abcd", 0)),
    "value of length 1": lambda wire: wire.pdu(4, wire.pdv(1, 3, b"abcd", 1)),
    "value longer than its PDU": lambda wire: wire.pdu(4, wire.pdv(1, 3, b"abcd", 5000)),
    "even context": lambda wire: wire.data(2, 3, wire.command(1)),
    "context not accepted": lambda wire: wire.data(99, 3, wire.command(1)),
    "data set without command": lambda wire: wire.data(1, 2, b"data"),
    "command after command": lambda wire: wire.data(1, 3, wire.command(1)) + wire.data(1, 3, wire.command(1)),
    "change of context": lambda wire: wire.data(1, 3, wire.command(1)) + wire.data(3, 2, b"data"),
    "endless command": lambda wire: wire.data(1, 1, bytes(16000)) * 5,
    "command that is none": lambda wire: wire.data(1, 3, b"\x08\0\x05\0\x02\0\0\0IS"),
    "release with a body": lambda wire: wire.pdu(5, bytes(12)),
}


@pytest.mark.parametrize("lie", VALUES.values(), ids=VALUES)
def test_values_that_make_no_sense_are_aborted(house: Any, wire: Any, lie: Callable[[Any], bytes]) -> None:
    """Whatever contradicts PS3.8 Annex E ends the association with a provider's abort, and only that one."""
    with house.dial().associate() as peer:
        assert peer.send(lie(wire)).ended() in ("abort 2 5", "abort 2 6")
    assert house.echoes()
    assert not house.shelf.taken


REQUESTS = {
    "empty": lambda wire: wire.pdu(1, b""),
    "cut short": lambda wire: wire.pdu(1, wire.associate()[6:60]),
    "item length beyond the end": lambda wire: wire.pdu(1, wire.associate()[6:] + b"\x50\0\xff\xff"),
    "user information lies": lambda wire: wire.associate(extra=b"\x59\0\0\x08\xff\xff1.2"),
    "titles of spaces": lambda wire: wire.associate(calling=b""),
    "unknown protocol version": lambda wire: wire.pdu(1, b"\0\2" + wire.associate()[8:]),
    "no context": lambda wire: wire.associate(contexts=()),
    "uid of garbage": lambda wire: wire.associate(contexts=((1, b"\xff\xfe garbage", (b"",)),)),
    "data before association": lambda wire: wire.data(1, 3, wire.command(1)),
    "release before association": lambda wire: wire.RELEASE,
}


@pytest.mark.parametrize("request_of", REQUESTS.values(), ids=REQUESTS)
def test_odd_beginnings_end_in_an_answer(house: Any, wire: Any, request_of: Callable[[Any], bytes]) -> None:
    """An A-ASSOCIATE-RQ that cannot be read, or something else instead, is aborted, rejected or accepted."""
    with house.dial() as peer:
        assert peer.send(request_of(wire)).read()[0] in (2, 3, 7)
    assert house.echoes()


def test_an_association_request_of_the_largest_size_is_read(house: Any, wire: Any) -> None:
    """128 contexts with 50 transfer syntaxes each are negotiated."""
    transfers = [b"1.2.840.10008.1.2.4.%d" % n for n in range(50)]
    with house.dial().associate(contexts=[(n, b"1.2.3.%d" % n, transfers) for n in range(1, 256, 2)]) as peer:
        assert peer.send(wire.RELEASE).read()[0] == 6


def test_an_association_request_beyond_reason_is_aborted_quickly(house: Any, wire: Any) -> None:
    """Tens of thousands of transfer syntaxes are not decoded, which would take seconds."""
    transfers = [b"1.%d" % n for n in range(6000)]
    with house.dial() as peer:
        peer.socket.settimeout(2)
        contexts = [(n, b"1.2.3", transfers) for n in range(1, 33, 2)]
        assert peer.send(wire.associate(contexts=contexts)).ended() == "abort 2 6"


def test_a_second_association_request_is_aborted(house: Any, wire: Any) -> None:
    """An A-ASSOCIATE-RQ within an association is unexpected (AA-8)."""
    with house.dial().associate() as peer:
        assert peer.send(wire.associate()).ended().startswith("abort 2")


def test_silence_ends_within_the_first_deadline(serve: Callable[..., Any], wire: Any) -> None:
    """Who says nothing, or dribbles his request, is gone after `first_pdu`; others are served meanwhile."""
    house = serve(limits={"first_pdu": 0.3})
    silent, slow = house.dial(), house.dial()
    stop = threading.Event()

    def dribble() -> None:
        for byte in wire.associate():
            if stop.wait(0.05):
                return
            try:
                slow.socket.send(bytes((byte,)))
            except OSError:
                return

    dribbling = threading.Thread(target=dribble)
    dribbling.start()
    assert house.echoes()
    assert silent.ended() == "eof"
    assert slow.ended() in ("eof", "reset")
    stop.set()
    dribbling.join()
    silent.socket.close()
    slow.socket.close()


def test_a_pdu_must_arrive_in_its_time(serve: Callable[..., Any], wire: Any) -> None:
    """A PDU within an association that does not get finished is aborted, however regularly its bytes drip."""
    house = serve(limits={"pdu_per_mib": 0.3})
    with house.dial().associate() as peer:
        peer.send(wire.data(1, 0, bytes(1000))[:30])
        assert peer.ended() == "abort 2 0"


def test_an_idle_association_ends(serve: Callable[..., Any]) -> None:
    """After `idle` seconds without a PDU the association is aborted."""
    house = serve(limits={"idle": 0.2})
    with house.dial().associate() as peer:
        assert peer.ended() == "abort 2 0"


def test_a_peer_that_does_not_close_is_closed(serve: Callable[..., Any], wire: Any) -> None:
    """After the release response the connection does not outlive `linger`."""
    house = serve(limits={"linger": 0.2})
    with house.dial().associate() as peer:
        assert peer.send(wire.RELEASE).read()[0] == 6
        assert peer.ended() in ("eof", "reset")


def test_a_peer_that_reads_no_answers_is_let_go(
    serve: Callable[..., Any], wire: Any, wait_until: Callable[..., None]
) -> None:
    """Answers that nobody reads do not hold the connection for longer than `send`."""
    house = serve(limits={"send": 0.2, "linger": 0.1})
    with house.dial().associate() as peer:
        peer.socket.settimeout(0.5)
        echoes = wire.echo() * 1000
        with contextlib.suppress(OSError):  # it times out or is reset, as it happens
            while True:
                peer.socket.sendall(echoes)
        wait_until(lambda: house.connections == 0)


ENDS = ("FIN", "RST", "A-ABORT")


def end(peer: Any, how: str, wire: Any) -> None:
    """Ends a connection in one of the three ways."""
    if how == "A-ABORT":
        peer.send(wire.ABORT)
    if how == "RST":
        peer.reset()
    peer.socket.close()


@pytest.mark.parametrize("how", ENDS)
def test_every_step_may_be_the_last(
    serve: Callable[..., Any], wire: Any, wait_until: Callable[..., None], how: str
) -> None:
    """Wherever the stream breaks off, no thread, descriptor or spool stays, and nothing half is stored."""
    house = serve(limits={"memory": 2000, "linger": 0.3, "first_pdu": 2.0})
    request, store = wire.associate(), wire.store(data=bytes(9000), piece=1000)
    within_pdus = () if how == "A-ABORT" else (1, 6, 80, -1)  # an A-ABORT within a PDU would be part of it
    for cut in (0, *within_pdus):
        end(house.dial().send(request[:cut]), how, wire)
    for cut in (*wire.starts(store), *within_pdus):
        end(house.dial().associate().send(store[:cut]), how, wire)
    wait_until(lambda: house.connections == 0)
    assert not house.shelf.taken
    assert not house.shelf.leftovers()
    assert house.echoes()


def mutate(stream: bytes, dice: random.Random) -> bytes:
    """One of: a bit flipped, bytes dropped, repeated, swapped with others, or the end cut off."""
    at, length = dice.randrange(len(stream)), dice.randrange(1, 40)
    head, piece, tail = stream[:at], stream[at : at + length], stream[at + length :]
    flipped = bytes((piece[0] ^ 1 << dice.randrange(8),)) + piece[1:]
    return dice.choice(
        (head + flipped + tail, head + tail, head + piece + piece + tail, tail + piece + head, head)
    )


def test_mangled_streams_harm_nobody(
    serve: Callable[..., Any], wire: Any, wait_until: Callable[..., None], capfd: Any
) -> None:
    """300 seeded mutations of a good conversation: no unforeseen exception, and echoes in between."""
    house = serve(limits={"first_pdu": 1.0, "pdu_per_mib": 0.5, "linger": 0.2, "idle": 1.0})
    good = wire.associate() + wire.echo() + wire.store(data=bytes(3000), piece=1000) + wire.RELEASE
    dice = random.Random(20)
    for number in range(300):
        with house.dial() as peer, contextlib.suppress(OSError):
            peer.send(mutate(good, dice)).socket.shutdown(socket.SHUT_WR)
            peer.ended()  # answers are read, or the reset for them would hide the rest of the stream
        if number % 100 == 0:
            assert house.echoes()
    wait_until(lambda: house.connections == 0)
    assert len(house.shelf.taken) > 50
    output = "".join(capfd.readouterr())
    assert "connection failed" not in output
    assert "Traceback" not in output


def test_load_balancer_checks_leave_nothing(house: Any, wait_until: Callable[..., None]) -> None:
    """Connections that are opened and closed again cost nothing that stays."""
    for _ in range(300):
        house.dial().socket.close()
    wait_until(lambda: house.connections == 0)
    assert house.echoes()


def test_a_storm_leaves_the_established_ones_alone(serve: Callable[..., Any], wire: Any) -> None:
    """While 200 connections are turned away, those who are in go on."""
    house = serve(max_associations=5)
    inside = [house.dial().associate() for _ in range(5)]
    for _ in range(200):
        with house.dial() as peer:
            assert peer.send(wire.associate()).read() == (3, bytes((0, 2, 3, 2)))
    for peer in inside:
        assert peer.send(wire.store()).status() == 0
        peer.socket.close()


def test_idle_associations_cost_no_time(house: Any) -> None:
    """Twenty idle associations use less than a tenth of a core (pynetdicom's two loops each: half a core)."""
    peers = [house.dial().associate() for _ in range(20)]
    before, pause = sum(os.times()[:2]), threading.Event()
    pause.wait(1.0)
    used = sum(os.times()[:2]) - before
    for peer in peers:
        peer.socket.close()
    assert used < 0.1


def test_nothing_of_the_data_set_is_logged(house: Any, wire: Any, capfd: Any) -> None:
    """A name that stands in the data set, or in an exception over it, is in no line of the log."""
    house.shelf.fault = ValueError("CANARY^PATIENT")
    with house.dial().associate() as peer:
        peer.send(wire.store(data=b"CANARY^PATIENT"))
        peer.answer()
        peer.send(wire.data(1, 3, b"CANARY^PATIENT"))
        peer.ended()
    assert "CANARY" not in "".join(capfd.readouterr())


def test_length_of_messages_is_packed_big_endian(wire: Any) -> None:
    """The builder of this file's hostile PDUs lies only where it is told to."""
    assert struct.unpack(">BxL", wire.pdu(4, b"abc")[:6]) == (4, 3)
