"""The bytes of a pack, without files."""

from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.blobs.record import (
    DISCARDED,
    HEADER_SIZE,
    PREFIX_SIZE,
    decode_head,
    decode_prefix,
    draft,
    encode_head,
    header,
    header_mark,
)

MARK = b"12345678"


@given(st.dictionaries(st.text(), st.text()), st.binary(), st.lists(st.binary(), max_size=4))
def test_records_read_back(head: dict[str, str], prelude: bytes, content: list[bytes]) -> None:
    """Lengths, flags, head and digest stand in the record as they were given."""
    record = draft(encode_head(head), prelude, content)
    data = b"".join(record.buffers(MARK))
    prefix = decode_prefix(data, MARK)
    assert prefix is not None
    assert prefix.record_size == record.size == len(data)
    assert prefix.payload_size == len(prelude) + sum(map(len, content))
    assert decode_head(data[PREFIX_SIZE : PREFIX_SIZE + prefix.head_size], prefix) == head
    assert data.endswith(prelude + b"".join(content))
    marked = decode_prefix(prefix.discarded().encode(), MARK)
    assert marked is not None
    assert (marked.flags, marked.record_size) == (DISCARDED, prefix.record_size)


@given(st.integers(0, PREFIX_SIZE * 8 - 1))
def test_a_flipped_bit_is_noticed_in_prefixes(bit: int) -> None:
    """None of them goes by."""
    data = bytearray(draft(b"{}", b"", [b"x"]).buffers(MARK)[0])
    data[bit // 8] ^= 1 << bit % 8
    assert decode_prefix(data) is None


@given(st.integers(0, HEADER_SIZE * 8 - 1))
def test_a_flipped_bit_is_noticed_in_headers(bit: int) -> None:
    """None of them is taken for another mark or another version."""
    data = bytearray(header(MARK))
    assert header_mark(bytes(data)) == MARK
    data[bit // 8] ^= 1 << bit % 8
    assert header_mark(bytes(data)) is None


def test_prefixes_of_other_packs_are_none() -> None:
    """The mark tells."""
    data = draft(b"{}", b"", [b"x"]).buffers(MARK)[0]
    assert decode_prefix(data, MARK) is not None
    assert decode_prefix(data, b"87654321") is None
