"""Framing of PDUs and presentation data values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.pdu import P_DATA_TF

from pacsbridge.dimse import pdu

LIMIT = 1 << 20


def feed(inbound: pdu.Inbound, data: bytes) -> None:
    """Puts bytes in as a connection does, as many at a time as there is room."""
    while data:
        room = inbound.room()
        count = min(len(room), len(data))
        room[:count] = data[:count]
        inbound.filled(count)
        data = data[count:]


@given(st.lists(st.binary(max_size=700_000), max_size=4), st.integers(1, 300_000))
def test_any_cutting_of_the_stream_yields_the_same_pdus(bodies: list[bytes], piece: int) -> None:
    """Where the network cuts the stream makes no difference, for PDUs larger than the buffer too."""
    stream = b"".join(pdu.header(4, len(body)) + body for body in bodies)
    inbound, seen = pdu.Inbound(), []
    for start in range(0, len(stream), piece):
        feed(inbound, stream[start : start + piece])
        while (found := inbound.next(LIMIT)) is not None:
            seen.append((found[0], bytes(found[1])))
    assert seen == [(4, body) for body in bodies]
    assert not inbound


def test_a_large_pdu_leaves_no_large_buffer() -> None:
    """One PDU of a megabyte does not make the connection hold a megabyte for ever."""
    inbound = pdu.Inbound()
    feed(inbound, pdu.header(4, LIMIT) + bytes(LIMIT))
    assert inbound.next(LIMIT) is not None
    assert len(inbound.room()) == pdu.Inbound.SIZE


@pytest.mark.parametrize("kind", [0, 8, 0x20, 0xFF])
def test_unknown_types_are_named_before_their_length_is_trusted(kind: int) -> None:
    """An unknown PDU type is an unrecognised PDU, whatever its length says."""
    inbound = pdu.Inbound()
    feed(inbound, pdu.header(kind, 0xFFFFFFFF))
    with pytest.raises(pdu.Violation) as fault:
        inbound.next(LIMIT)
    assert fault.value.reason == pdu.UNRECOGNISED_PDU


@pytest.mark.parametrize(("kind", "length"), [(1, LIMIT + 1), (4, 0xFFFFFFFF), (5, 0), (7, 5), (6, 1 << 31)])
def test_lengths_beyond_the_limit_are_refused_from_the_header(kind: int, length: int) -> None:
    """Six bytes are enough to refuse; nothing is buffered in hope of the rest."""
    inbound = pdu.Inbound()
    feed(inbound, pdu.header(kind, length))
    with pytest.raises(pdu.Violation) as fault:
        inbound.next(LIMIT)
    assert fault.value.reason == pdu.INVALID_VALUE


@pytest.mark.parametrize(
    "body",
    [
        "",
        "00",
        "00000000",
        "000000010103",
        "0000000301",
        "000000ff0103aabb",
        "000000030103aa00",
        "ffffffff0103",
    ],
)
def test_values_that_do_not_add_up_are_violations(body: str) -> None:
    """A presentation data value that is too short, or longer than its PDU, ends the association."""
    with pytest.raises(pdu.Violation):
        list(pdu.pdvs(memoryview(bytes.fromhex(body))))


@given(st.binary(min_size=1, max_size=2000), st.integers(7, 600) | st.just(0))
def test_a_command_is_cut_to_what_the_peer_takes(encoded: bytes, max_length: int) -> None:
    """Our fragments are read back by pynetdicom; none is too long, only the last says it is the last."""
    stream, parts = memoryview(pdu.p_data(5, encoded, max_length)), []
    while stream:
        length = int.from_bytes(stream[2:6], "big")
        assert not max_length or length <= max_length
        decoded = P_DATA_TF()
        decoded.decode(bytes(stream[: 6 + length]))
        parts += decoded.to_primitive().presentation_data_value_list
        stream = stream[6 + length :]
    assert b"".join(value[1:] for _, value in parts) == encoded
    assert [value[0] for _, value in parts] == [1] * (len(parts) - 1) + [3]
    assert {context for context, _ in parts} == {5}
