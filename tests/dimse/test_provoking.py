"""What strangers can have written into the log by what they send: bounded, and counted all the same."""

import io
import json
import logging
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from raw_dimse import CT, IMPLICIT, Wire

from pacsbridge import logs
from pacsbridge.dimse.library_logs import LIBRARIES, tame

from .conftest import until

TIMES = 25


@pytest.fixture
def written() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """The lines so far; nobody has been told anything yet. Afterwards logging is as it was."""
    before = sys.excepthook, threading.excepthook, structlog.get_config()
    handlers = {name: list(logging.getLogger(name).handlers) for name in ("", *LIBRARIES)}
    for name in LIBRARIES:
        logging.getLogger(name).handlers[:] = []
    lines = io.StringIO()
    logs.configure("info", "json", lines)
    tame()
    yield lambda: [json.loads(line) for line in lines.getvalue().splitlines()]
    logging.captureWarnings(False)
    sys.excepthook, threading.excepthook = before[:2]
    structlog.configure(**before[2])
    for name, kept in handlers.items():
        logging.getLogger(name).handlers[:] = kept


CALLS: dict[str, bytes] = {
    "no DICOM": b"GET / HTTP/1.1\r\n\r\n",
    "an AE title that is none": Wire.associate(calling=b"A\\B\x01"),
    "no ASCII": Wire.associate(calling=b"\xff\xfe"),
    "a long UID": Wire.associate(contexts=((1, b"1." + b"1" * 70, (IMPLICIT,)),)),
    "an identity of no type": Wire.associate(extra=Wire.item(0x58, bytes((9, 1, 0, 1, 97, 0, 0)))),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_caller_who_breaks_the_protocol(
    house: Any, counted: Callable[..., float], written: Callable[[], list[dict[str, Any]]], call: bytes
) -> None:
    """However often: each is aborted and counted; of one address a line a minute, and none is an error."""
    for _again in range(TIMES):
        with house.dial() as peer:
            assert peer.send(call).ended().startswith("abort 2")
    assert counted("pacsbridge_dimse_rejected_total", reason="protocol violation") == TIMES
    told = Counter((line["level"], line["event"], line.get("where")) for line in written())
    assert told["warning", "protocol violation", None] == 1
    assert set(told.values()) == {1}
    assert {level for level, _event, _where in told} == {"warning"}
    assert house.echoes()


@pytest.mark.parametrize("source", [(1, 0), (9, 9), (2, 3), (2, 255)])
def test_an_abort_that_says_nonsense_is_an_abort(
    house: Any, written: Callable[[], list[dict[str, Any]]], source: tuple[int, int]
) -> None:
    """PS3.8 Table 9-26 has no such source or reason: the association ends as by any other."""
    for _again in range(3):
        with house.dial().associate() as peer:
            assert peer.send(struct.pack(">BxLBBBB", 7, 4, 0, 0, *source)).ended() == "eof"
    until(lambda: sum(line["event"] == "association ended" for line in written()) >= 3, 30)
    assert {line["level"] for line in written()} == {"info"}
    ended = [line["outcome"] for line in written() if line["event"] == "association ended"]
    assert ended == ["aborted by the peer"] * 3
    assert house.echoes()


def test_what_the_library_dislikes_is_told_once_a_minute(
    house: Any, written: Callable[[], list[dict[str, Any]]]
) -> None:
    """A transfer syntax that is none is no reason to turn anybody away, nor for a line each time."""
    for _again in range(TIMES):
        with house.dial() as peer:
            peer.associate(contexts=((1, CT, (b"x.y.z",)),))
    told = Counter(line["where"] for line in written() if line["event"] == "library complained")
    assert told
    assert set(told.values()) == {1}
    assert not [line for line in written() if line["level"] == "error"]
