"""Reading multipart bodies: every chunking, contents that look like delimiters, and Python's own parser."""

import time
from collections.abc import Iterable, Sequence
from email.parser import BytesParser
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.errors import NotUnderstood, TooLarge
from pacsbridge.kernel.multipart_reader import End, Head, MultipartReader

Part = tuple[dict[str, str], bytes]

B = "a-b.c"
DELIMITERS = [
    b"\r\n--a-b.c",
    b"--a-b.c--",
    b"\r\n--a-b.",
    b"\r\n",
    b"\r",
    b"\n",
    b"-",
    b" \t",
    b"--a-b.c\r\n",
]

contents = st.lists(st.sampled_from(DELIMITERS) | st.binary(max_size=8), max_size=8).map(b"".join)
headers = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True),
    st.from_regex(r"[!-~]([ -~]{0,12}[!-~])?", fullmatch=True),
    max_size=3,
)


def is_clean(content: bytes) -> bool:
    """Whether a content holds no delimiter of its own, in whatever it is wrapped."""
    lines = (b"\r\n" + content + b"\r\n").split(b"\r\n")
    return not any(line.rstrip(b" \t") in (b"--a-b.c", b"--a-b.c--") for line in lines)


parts = st.lists(st.tuples(headers, contents.filter(is_clean)), min_size=1, max_size=4)


def body(found: Iterable[Part], blanks: bytes = b"", end: bytes = b"\r\n") -> bytes:
    """A multipart body as RFC 2046 has it."""
    pieces = []
    for fields, content in found:
        head = b"".join(f"{name}: {value}\r\n".encode() for name, value in fields.items())
        pieces.append(b"--a-b.c" + blanks + b"\r\n" + head + b"\r\n" + content + b"\r\n")
    return b"".join(pieces) + b"--a-b.c--" + end


def read(pieces: Iterable[bytes], reader: MultipartReader | None = None) -> list[Part]:
    """The parts that come out."""
    reader = reader or MultipartReader(B)
    found: list[Part] = []
    whole: list[Part] = []
    for piece in pieces:
        _note(reader.feed(piece), found, whole)
    _note(reader.close(), found, whole)
    return whole


def _note(events: Iterable[object], found: list[Part], whole: list[Part]) -> None:
    for event in events:
        if isinstance(event, Head):
            found.append((dict(event.headers), b""))
        elif isinstance(event, bytes):
            assert event
            found[-1] = (found[-1][0], found[-1][1] + event)
        else:
            assert isinstance(event, End)
            whole.append(found[-1])


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """The bytes in pieces."""
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(bounds)]


@given(parts, st.lists(st.integers(0, 10_000), max_size=12), st.sampled_from([b"", b" ", b"\t "]))
def test_every_chunking_gives_the_same(found: list[Part], places: list[int], blanks: bytes) -> None:
    """What was put in comes out, whatever pieces the body comes in."""
    whole = body(found, blanks)
    assert read(cut(whole, places)) == found
    assert read(whole[at : at + 1] for at in range(len(whole))) == found


@given(
    parts, st.sampled_from([b"", b"hello\r\n", b"--a-b.cd\r\n"]), st.sampled_from([b"", b"\r\n", b"\r\nx"])
)
def test_as_the_standard_library_reads_it(found: list[Part], before: bytes, after: bytes) -> None:
    """Python's MIME parser finds the same parts."""
    whole = before + body(found, end=after)
    mine = read([whole])
    assert mine == found
    # the other takes bare CR and LF for line ends; here only CRLF counts
    if not any(b"--a-b.c" in content for _, content in found):
        head = b'Content-Type: multipart/related; boundary="a-b.c"\r\n\r\n'
        payloads = BytesParser().parsebytes(head + whole).get_payload()
        assert isinstance(payloads, list)
        assert mine == [(dict(part.items()), part.get_payload(decode=True)) for part in payloads]


@given(st.lists(st.sampled_from([*DELIMITERS, b"\r\n\r\n", b"a: b\r\n", b"x"]), max_size=30).map(b"".join))
def test_whatever_comes(data: bytes) -> None:
    """Any bytes give parts or one of our errors, the same in one piece and byte by byte."""
    outcomes = []
    for pieces in ([data], [data[at : at + 1] for at in range(len(data))]):
        found: list[Part] = []
        whole: list[Part] = []
        reader = MultipartReader(B)
        try:
            for piece in pieces:
                _note(reader.feed(piece), found, whole)
            _note(reader.close(), found, whole)
            fault = ""
        except (NotUnderstood, TooLarge) as exc:
            fault = str(exc)
        outcomes.append((whole, fault))
    assert outcomes[0] == outcomes[1]


@given(
    st.lists(st.tuples(headers, contents.filter(lambda content: B.encode() not in content)), min_size=1),
    st.integers(0, 10_000),
)
def test_cut_off(found: list[Part], place: int) -> None:
    """A body that breaks off is refused; what was whole before has come out, and nothing half."""
    whole = body(found, end=b"")
    shorter = whole[: place % len(whole)]
    reader = MultipartReader(B)
    begun: list[Part] = []
    done: list[Part] = []
    _note(reader.feed(shorter), begun, done)
    with pytest.raises(NotUnderstood, match="closing boundary"):
        _note(reader.close(), begun, done)
    assert done == found[: len(done)]
    assert not reader.closed


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"--a-b.c--", []),
        (b"--a-b.c\r\n\r\n\r\n--a-b.c--", [({}, b"")]),
        (b"--a-b.c\r\n\r\n--a-b.c--", [({}, b"")]),
        (b"--a-b.c\r\nA: 1\r\n\r\n--a-b.c--", [({"a": "1"}, b"")]),
        (b"--a-b.c\r\nA: 1\r\nA:2\r\n\r\nx\r\n--a-b.c-- \t", [({"a": "1, 2"}, b"x")]),
        (b"--a-b.c\r\nA: 1\r\n  2\r\n\r\nx\r\n--a-b.c--\r", [({"a": "1 2"}, b"x")]),
        (b"--a-b.c\r\n\r\n--a-b.cd\r\n--a-b.c--", [({}, b"--a-b.cd")]),
        (b"--a-b.c\r\n\r\n\n--a-b.c\n\r\n--a-b.c--", [({}, b"\n--a-b.c\n")]),
        (b"--a-b.c\r\n\r\nx\r\n--a-b.c--\r\n--a-b.c\r\n\r\ny", [({}, b"x")]),
    ],
)
def test_forms(data: bytes, expected: list[Part]) -> None:
    """Empty parts, no fields, repeated and folded fields, near misses, and what follows the end."""
    assert read([data]) == expected


@pytest.mark.parametrize("boundary", ["", "x" * 71, "a ", "ä", "a\r\nb", 'a"b', "a;b"])
def test_no_boundary(boundary: str) -> None:
    """1 to 70 characters of those that RFC 2046 names, the last one no space."""
    with pytest.raises(NotUnderstood, match="boundary"):
        MultipartReader(boundary)


@pytest.mark.parametrize("boundary", ["x" * 70, "a b", "'()+_,-./:=?", "gc0p4Jq0M:2Yt08jU534c0p"])
def test_legal_boundary(boundary: str) -> None:
    """Characters that mean something in a pattern are only themselves."""
    data = f"--{boundary}\r\n\r\nx\r\n--{boundary}--".encode()
    assert read([data], MultipartReader(boundary)) == [({}, b"x")]


@pytest.mark.parametrize("head", [b"no colon", b": x", b"A: \x00", b"A: 1\nB: 2", b"A B: 1", "ä: 1".encode()])
def test_illegible_head(head: bytes) -> None:
    """A head that is none ends the reading."""
    with pytest.raises(NotUnderstood, match="head of a part"):
        read([b"--a-b.c\r\n" + head + b"\r\n\r\nx\r\n--a-b.c--"])


@pytest.mark.parametrize("tail", [b"", b"\r\n\r\nx\r\n--a-b.c--"])
@pytest.mark.parametrize("size", [1 << 20, (16 << 10) + 8])
def test_head_too_long(tail: bytes, size: int) -> None:
    """A head that goes on and on is refused, whether its end is in sight or not."""
    data = b"--a-b.c\r\nA: " + b"x" * size + tail
    with pytest.raises(TooLarge, match="head of a part"):
        read(cut(data, range(0, len(data), 4096)))


def test_head_at_its_longest() -> None:
    """A head as long as it may be."""
    value = "x" * ((16 << 10) - 5)
    assert read([body([({"a": value}, b"1")])]) == [({"a": value}, b"1")]


def test_preamble_without_end() -> None:
    """A body that holds no boundary is not read for ever."""
    with pytest.raises(NotUnderstood, match="no boundary within"):
        list(MultipartReader(B).feed(b"x" * 20_000))


def test_too_many_parts() -> None:
    """One more than there may be; those before it have come out."""
    reader = MultipartReader(B, parts=3)
    whole: list[Part] = []
    with pytest.raises(TooLarge, match="more than 3 parts"):
        _note(reader.feed(body([({}, b"x")] * 4)), [], whole)
    assert len(whole) == 3


def test_content_is_handed_on_at_once() -> None:
    """Little is held back of a content, even where it looks like a delimiter again and again."""
    reader = MultipartReader(B)
    list(reader.feed(b"--a-b.c\r\n\r\n"))
    for piece in (b"x" * 100_000, b"\r\n--a-b.cx" * 10_000, b"\r" * 100_000):
        came = b"".join(event for event in reader.feed(piece) if isinstance(event, bytes))
        assert len(came) > len(piece) - 100


@pytest.mark.parametrize("content", [b"\r\n--a-b.cx" * 300_000, b"\r\n--a-b.c-" * 300_000, b"\r" * 3_000_000])
def test_lookalikes_take_no_time(content: bytes) -> None:
    """The time for contents that look like delimiters grows with their length, and no more."""
    start = time.process_time()
    assert read(cut(body([({}, content + b"!")]), range(0, len(content), 65536))) == [({}, content + b"!")]
    assert time.process_time() - start < 5
