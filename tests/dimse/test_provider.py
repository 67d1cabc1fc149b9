"""The connection's thread against peers that begin oddly, are late, or don't close."""

import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pacsbridge.dimse.transport import Connection

REQUESTS = {
    "titles of spaces": lambda wire: wire.associate(calling=b""),
    "unknown protocol version": lambda wire: wire.pdu(1, b"\0\2" + wire.associate()[8:]),
    "uid of garbage": lambda wire: wire.associate(contexts=((1, b"\xff\xfe garbage", (b"",)),)),
    "data before association": lambda wire: wire.data(1, 3, wire.command(1)),
    "release before association": lambda wire: wire.RELEASE,
}


@pytest.mark.parametrize("request_of", REQUESTS.values(), ids=REQUESTS)
def test_odd_beginnings_end_in_an_answer(house: Any, wire: Any, request_of: Callable[[Any], bytes]) -> None:
    """An A-ASSOCIATE-RQ that cannot be accepted, or something else instead, is aborted or rejected."""
    with house.dial() as peer:
        assert peer.send(request_of(wire)).read()[0] in (3, 7)
    assert house.echoes()


def test_a_second_association_request_is_aborted(house: Any, wire: Any) -> None:
    """An A-ASSOCIATE-RQ within an association is unexpected (AA-8)."""
    with house.dial().associate() as peer:
        assert peer.send(wire.associate()).ended().startswith("abort 2")


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


def flood(peer: Any, seconds: float) -> None:
    """Sends as much as it can for so long; ConnectionError when the connection has ended."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        peer.send(bytes(1 << 20))


def test_a_peer_that_never_stops_is_closed(
    serve: Callable[..., Any], wire: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an abort `linger` counts even where there is always more to read than is read."""
    read = Connection.read

    def slowly(connection: Connection, target: memoryview, deadline: float) -> int:
        threading.Event().wait(0.005)
        return read(connection, target, deadline)

    monkeypatch.setattr(Connection, "read", slowly)
    house = serve(limits={"linger": 0.2})
    with house.dial() as peer:
        peer.send(wire.pdu(0, b""))
        with pytest.raises(ConnectionError):
            flood(peer, 30)


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
