r"""Reading of multipart bodies (RFC 2046 5.1.1): bytes in, parts out, in whatever pieces they come. Pure.

    preamble   delimiter  head ␍␊ content   delimiter  head ␍␊ content   closing delimiter   epilogue
    delimiter  ␍␊ -- boundary, perhaps -- (closing), blanks, ␍␊

A delimiter is a whole line: what only begins like one is content, so that no part breaks off early. Lengths
that a part's head gives are not believed. Little more than a delimiter is held back.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from pacsbridge.errors import NotUnderstood, TooLarge

PARTS = 10_000
"""Parts of a body at most."""

HEAD_BYTES = 16 << 10
"""Bytes of a part's head at most, and of the preamble."""

_BLANKS = rb"[ \t]{0,64}"
_BOUNDARY = re.compile(r"[\w'()+,./:=? -]{0,69}[\w'()+,./:=?-]", re.ASCII)
_FIELD = re.compile(rb"([\w!#$%&'*+.^`|~-]++)[ \t]*+:([^\x00-\x08\x0a-\x1f\x7f]*+)", re.ASCII)
_FOLD = re.compile(rb"\r\n[ \t]++")


@dataclass(frozen=True, slots=True)
class Head:
    """A part begins. Names of header fields are in lower case; a repeated one has its values joined."""

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class End:
    """A part is whole."""


Event = Head | bytes | End
"""What comes out: for each part its head, its content in pieces, its end."""


class _Place(Enum):
    PREAMBLE = "before the first part"
    HEAD = "in the head of a part"
    CONTENT = "in a part"
    EPILOGUE = "behind the last part"


class MultipartReader:
    """One body. Every iterator that it gives must be exhausted before the next is asked for."""

    def __init__(self, boundary: str, parts: int = PARTS, head_bytes: int = HEAD_BYTES) -> None:
        """Raises NotUnderstood for what is no boundary."""
        if not _BOUNDARY.fullmatch(boundary):
            raise NotUnderstood("the boundary is not one (RFC 2046 5.1.1)")
        mark = rb"\r\n--" + re.escape(boundary.encode())
        self.boundary = boundary
        self._mark = b"\r\n--" + boundary.encode()
        self._line = re.compile(mark + rb"(--)?" + _BLANKS + rb"\r\n")
        self._unfinished = re.compile(mark + rb"(?:-|(--)?" + _BLANKS + rb"\r?)\Z")
        self._most_parts = parts
        self._most_head = head_bytes
        self._place = _Place.PREAMBLE
        self._buffer = bytearray(b"\r\n")  # a delimiter may be the first line
        self._lead = 0
        self._parts = 0
        self._passed = 0

    @property
    def closed(self) -> bool:
        """Whether the closing delimiter has come; what follows means nothing."""
        return self._place is _Place.EPILOGUE

    def feed(self, data: bytes) -> Iterator[Event]:
        """The next bytes of the body. Raises NotUnderstood, TooLarge; what came out before stays true."""
        if not self.closed:
            self._buffer += data
        while not self.closed and (step := self._step(last=False)) is not None:
            yield from step

    def close(self) -> Iterator[Event]:
        """The body is over. Raises NotUnderstood when it is not whole."""
        while not self.closed:
            step = self._step(last=True)
            if step is None:
                raise NotUnderstood(f"the body ends {self._place.value}, without its closing boundary")
            yield from step

    def _step(self, *, last: bool) -> list[Event] | None:
        """What the buffer holds; None: nothing more before more bytes come."""
        return self._head() if self._place is _Place.HEAD else self._content(last)

    def _head(self) -> list[Event] | None:
        """The buffer begins with the end of the delimiter's line; that of the head's stays in it."""
        if self._parts > self._most_parts:
            raise TooLarge(f"more than {self._most_parts} parts")
        end = self._buffer.find(b"\r\n\r\n")
        if (len(self._buffer) - 4 if end < 0 else end) > self._most_head:
            raise TooLarge(f"the head of a part is longer than {self._most_head} bytes")
        if end < 0:
            return None
        headers = _headers(bytes(self._buffer[2:end]))
        del self._buffer[: end + 2]
        self._place, self._lead = _Place.CONTENT, 2
        return [Head(headers)]

    def _content(self, last: bool) -> list[Event] | None:
        end, start, following = self._delimiter(last)
        found: list[Event] = []
        if self._place is _Place.PREAMBLE:
            self._pass_over(end)
        elif end > self._lead:
            found.append(bytes(memoryview(self._buffer)[self._lead : end]))
        if following is not None and self._place is _Place.CONTENT:
            found.append(End())
        if end:
            self._lead = 0
        del self._buffer[:start]
        if following is not None:
            self._begin(following)
        return found if following is not None or found else None

    def _pass_over(self, count: int) -> None:
        self._passed += count
        if self._passed > self._most_head:
            raise NotUnderstood(f"no boundary within the first {self._most_head} bytes")

    def _begin(self, place: _Place) -> None:
        self._place, self._lead = place, 0
        self._parts += place is _Place.HEAD

    def _delimiter(self, last: bool) -> tuple[int, int, _Place | None]:
        """Where content ends, where the rest starts, and what begins there; None: that is not known yet."""
        buffer = self._buffer
        at = buffer.find(self._mark)
        while at >= 0:
            if line := self._line.match(buffer, at):
                return (at, len(buffer), _Place.EPILOGUE) if line[1] else (at, line.end() - 2, _Place.HEAD)
            if unfinished := self._unfinished.match(buffer, at):
                closing = last and unfinished[1]
                return at, len(buffer) if closing else at, _Place.EPILOGUE if closing else None
            at = buffer.find(self._mark, at + 2)
        at = buffer.find(b"\r", max(0, len(buffer) - len(self._mark) + 1))
        end = len(buffer) if at < 0 else at
        return end, end, None


def _headers(head: bytes) -> Mapping[str, str]:
    """The fields of a part's head, folded lines joined (RFC 5322 2.2.3). Raises NotUnderstood."""
    headers: dict[str, str] = {}
    for line in _FOLD.sub(b" ", head).split(b"\r\n") if head else ():
        field = _FIELD.fullmatch(line)
        if field is None:
            raise NotUnderstood("the head of a part cannot be read")
        name, value = field[1].decode().lower(), field[2].strip(b" \t").decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
