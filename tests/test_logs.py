"""Logs: the allow-list, exceptions without their text, libraries that would quote what they were given."""

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from pacsbridge import logs

CANARY = "DOE^JANE"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """JSON lines into memory; afterwards logging is as it was."""
    before = (
        sys.excepthook,
        threading.excepthook,
        structlog.get_config(),
        list(logging.getLogger().handlers),
    )
    lines = io.StringIO()
    logs.configure("info", "json", lines)
    yield lines
    logging.captureWarnings(False)
    sys.excepthook, threading.excepthook = before[:2]
    structlog.configure(**before[2])
    logging.getLogger().handlers[:] = before[3]


@pytest.fixture
def written(stream: io.StringIO) -> Callable[[], list[dict[str, Any]]]:
    """The lines so far, none of which may hold the canary."""

    def read() -> list[dict[str, Any]]:
        assert CANARY not in stream.getvalue()
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    return read


log = structlog.get_logger("pacsbridge.test")


def test_a_line_says_when_how_grave_where_and_what(written: Callable[[], list[dict[str, Any]]]) -> None:
    """The four that every line has stand first; the time has its zone."""
    log.info("stored", uid="1.2.3", instances=4)
    (line,) = written()
    assert list(line)[:4] == ["timestamp", "level", "logger", "event"]
    assert line["timestamp"].endswith("Z")
    assert (line["level"], line["logger"], line["event"]) == ("info", "pacsbridge.test", "stored")
    assert (line["uid"], line["instances"]) == ("1.2.3", 4)


def test_an_unknown_field_is_masked(written: Callable[[], list[dict[str, Any]]]) -> None:
    """Whatever is not on the list shows that it was there, not what it was."""
    log.info("stored", patient_name=CANARY, accession=CANARY, uid="1.2")
    (line,) = written()
    assert (line["patient_name"], line["accession"], line["uid"]) == (logs.MASK, logs.MASK, "1.2")


def test_a_value_stays_in_its_line(written: Callable[[], list[dict[str, Any]]]) -> None:
    """Control characters and line separators become blanks, lone surrogates question marks."""
    log.info("refused", reason="a\r\nb\x1b[2J\u2028c\ud800" + "x" * 1000)
    (line,) = written()
    assert line["reason"].startswith("a  b [2J c?xxx")
    assert len(line["reason"]) == logs.LONGEST + 1


def test_an_exception_is_its_type_and_places(written: Callable[[], list[dict[str, Any]]]) -> None:
    """Its text may quote a header and is left out."""
    try:
        int(CANARY)
    except ValueError:
        log.exception("failed")
    (line,) = written()
    assert (line["level"], line["error"]) == ("error", "ValueError")
    assert "tests/test_logs.py:" in line["trace"]


def test_libraries_give_their_place_alone(written: Callable[[], list[dict[str, Any]]]) -> None:
    """Standard logging of warnings and above, and warnings; nothing below."""
    library = logging.getLogger("some.library")
    library.info(CANARY)
    library.warning("Invalid value for PN: %s", CANARY)
    try:
        int(CANARY)
    except ValueError:
        library.exception(CANARY)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn(CANARY, stacklevel=1)
    first, second, third = written()
    assert (first["level"], first["logger"], first["event"]) == ("warning", "some.library", "library_message")
    assert "test_logs.py" in first["where"]
    assert (second["level"], second["error"]) == ("error", "ValueError")
    assert third["logger"] == "py.warnings"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_uncaught_faults_are_told_without_their_text(written: Callable[[], list[dict[str, Any]]]) -> None:
    """In the main thread and in others."""
    fault = ValueError(CANARY)
    sys.excepthook(ValueError, fault, None)
    threading.excepthook(threading.ExceptHookArgs((ValueError, fault, None, None)))
    assert [line["event"] for line in written()] == ["uncaught", "uncaught_in_thread"]


def test_the_level_holds(stream: io.StringIO) -> None:
    """Less grave lines are not written."""
    logs.configure("error", "json", stream)
    log.info("small")
    log.error("grave")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["grave"]


def test_lines_for_people(stream: io.StringIO) -> None:
    """The console form has no colours off a terminal, and masks alike."""
    logs.configure("info", "console", stream)
    log.info("stored", uid="1.2", patient=CANARY)
    assert "uid=1.2" in stream.getvalue()
    assert CANARY not in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_configuring_twice_writes_once(stream: io.StringIO) -> None:
    """The relay of the libraries is replaced, not added."""
    logs.configure("info", "json", stream)
    logging.getLogger("aiohttp").warning("x")
    assert len(stream.getvalue().splitlines()) == 1


def test_what_others_provoke_is_told_seldom() -> None:
    """Each once a minute, of all together so many; the next that is told says how many were not."""
    now = [0.0]
    seldom = logs.Seldom(3, lambda: now[0])
    assert [seldom.turn(one) for one in ("a", "a", "b", "a", "c", "d", "e")] == [
        0,
        None,
        1,
        None,
        1,
        None,
        None,
    ]
    now[0] = seldom.SECONDS
    assert [seldom.turn(one) for one in ("a", "d", "d")] == [2, 0, None]


def test_a_library_says_the_same_once_a_minute(written: Callable[[], list[dict[str, Any]]]) -> None:
    """Whoever makes a library complain again and again fills no log; other complaints are told."""
    library = logging.getLogger("some.library")
    for _again in range(50):
        library.error("Error handling request from %s", CANARY)
    library.warning("another")
    first, second = written()
    assert first["where"] != second["where"]
    assert second["skipped"] == 49


class FullDisk(io.StringIO):
    """A stream that cannot be written while `full`."""

    full = True

    def write(self, text: str) -> int:
        """Fails while it is full."""
        if self.full:
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_a_line_that_cannot_be_written_harms_nobody() -> None:
    """It is counted, and told once lines can be written again."""
    disk = FullDisk()
    lines = logs.Lines(disk)
    lines.write("one")
    lines.write("two")
    disk.full = False
    lines.write("three")
    lines.write("four")
    assert disk.getvalue() == "(2 lines lost)\nthree\nfour\n"
