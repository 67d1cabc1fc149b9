"""Structured logs without patient data: lines for people or JSON lines, on standard error.

Three fences keep names, ids and raw values out:

    fields      only those of `FIELDS` are written; any other is there with its value masked
    exceptions  as their types and places, never their text: libraries quote what they were given
    libraries   standard logging, warnings and uncaught faults give their place, level and type alone
"""

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Hashable, Mapping, MutableMapping
from types import TracebackType
from typing import Any, Literal, TextIO

import structlog

Format = Literal["console", "json"]
Event = MutableMapping[str, Any]

LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

FIELDS = frozenset(
    """
    event level logger timestamp
    error at where trace reason
    address host port http_port dimse_port called_ae calling_ae outcome contexts refused status peer services
    uid study_uid series_uid sop_class_uid sop_instance_uid transfer_syntax_uid source location
    method route type milliseconds seconds request_id url
    pack start end size bytes indexed count instances studies stored failed skipped versions
    version revision state signal threads backlog attempt lost path data_dir database fhir dicomweb dimse
    server certificate until
    """.split()
)
"""What may stand in a line. UIDs may; names, ids, dates of birth, accession numbers and texts may not."""

MASK = "***"
LONGEST = 500
"""Characters kept of one value."""

_FIRST = ("timestamp", "level", "logger", "event")
_CONTROL = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029), " ")


class Seldom:
    """Keeps what others can have happen as often as they like from filling the log.

    Each is told once a minute, and of all together `most`; whoever tells one tells how many were passed over.
    """

    SECONDS = 60.0

    def __init__(self, most: int = 20, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._since = clock()
        self._told: set[Hashable] = set()
        self._passed_over = 0

    def turn(self, one: Hashable) -> int | None:
        """How many have been passed over since the last one that was told; None: this one is, too."""
        with self._lock:
            if self._clock() - self._since >= self.SECONDS:
                self._since = self._clock()
                self._told.clear()
            if one in self._told or len(self._told) >= self._most:
                self._passed_over += 1
                return None
            self._told.add(one)
            more, self._passed_over = self._passed_over, 0
            return more


class Lines:
    """Where lines go. One that cannot be written harms nobody: it is counted, and told with the next."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self.lost = 0

    def write(self, line: str) -> None:
        """One line, whole, flushed."""
        with self._lock:
            told = f"({self.lost} lines lost)\n" if self.lost else ""
            try:
                self._stream.write(f"{told}{line}\n")
                self._stream.flush()
                self.lost = 0
            except (OSError, ValueError):
                self.lost += 1


class Logger:
    """What structlog writes to: a name and the lines."""

    def __init__(self, lines: Lines, name: str) -> None:
        self.name = name
        self._lines = lines

    def _write(self, line: str) -> None:
        self._lines.write(line)

    debug = info = warning = error = critical = exception = msg = log = _write


def configure(level: str = "info", form: Format = "console", stream: TextIO | None = None) -> None:
    """Sets logging for this process; doing it again replaces what was set. `level` is one of `LEVELS`."""
    lines = Lines(stream or sys.stderr)
    structlog.configure(
        processors=[_names, _faults, allow, _renderer(form, stream or sys.stderr)],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *args: Logger(lines, str(args[0]) if args else "pacsbridge"),
        cache_logger_on_first_use=False,
    )
    _route_libraries()


def _renderer(form: Format, stream: TextIO) -> Any:
    if form == "json":
        return structlog.processors.JSONRenderer(ensure_ascii=False)
    return structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=24)


_stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)


def _names(logger: Any, method: str, event: Event) -> Event:
    """Adds when, how grave and where from."""
    event["level"] = "error" if method == "exception" else method
    event["logger"] = getattr(logger, "name", "pacsbridge")
    return _stamp(logger, method, event)


def _faults(_logger: Any, _method: str, event: Event) -> Event:
    """An exception becomes its type and the places it went through."""
    given = event.pop("exc_info", None)
    event.pop("stack_info", None)
    fault = given if isinstance(given, BaseException) else sys.exc_info()[1] if given else None
    return event if fault is None else {**event, **described(fault)}


def described(fault: BaseException) -> dict[str, Any]:
    """Type and places of a fault, innermost last, without a word of its message."""
    steps = traceback.extract_tb(fault.__traceback__)[-8:]
    places = [f"{_short(step.filename)}:{step.lineno}" for step in steps]
    return {"error": type(fault).__name__, "trace": " > ".join(places)}


def _short(path: str) -> str:
    return "/".join(path.replace("\\", "/").rsplit("/", 2)[-2:])


def allow(_logger: Any, _method: str, event: Event) -> Event:
    """Only what `FIELDS` names, in one line, of a bounded length."""
    first = {name: event[name] for name in _FIRST if name in event}
    return {name: _harmless(value) if name in FIELDS else MASK for name, value in {**first, **event}.items()}


def _harmless(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    if len(text) <= LONGEST and text.isascii() and text.isprintable():
        return text
    short = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return short.translate(_CONTROL).encode("utf-8", "replace").decode()


class Relay(logging.Handler):
    """Standard logging → one line with its place and kind, never its text; of each place one a minute."""

    def __init__(self, level: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(level)
        self._seldom = Seldom(clock=clock)

    def emit(self, record: logging.LogRecord) -> None:
        """One line for one record, unless there has been one of its kind in the last minute."""
        fault = record.exc_info[1] if record.exc_info else None
        more = self._seldom.turn((record.name, record.pathname, record.lineno, type(fault)))
        if more is None:
            return
        structlog.get_logger(record.name).log(
            min(record.levelno, logging.ERROR),
            "library_message",
            where=f"{_short(record.pathname)}:{record.lineno}",
            **({"skipped": more} if more else {}),
            **(described(fault) if fault else {}),
        )


def _route_libraries() -> None:
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, Relay)]:
        root.removeHandler(handler)
    root.addHandler(Relay(logging.WARNING))
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def _uncaught(kind: type[BaseException], fault: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, fault, trace)
        return
    structlog.get_logger("pacsbridge").error("uncaught", **described(fault))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    structlog.get_logger("pacsbridge").error("uncaught_in_thread", error=args.exc_type.__name__)
