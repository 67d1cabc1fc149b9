"""The logs of pynetdicom and pydicom: identifiers are switched off, warnings go to ours without their text.

Both libraries quote what they received in their messages, so only the place of a complaint is passed on, and
each place once a minute: a peer decides how often they complain. The next line tells how many more came.
None is an error of ours, whatever the library calls it: what fails for it comes to us as an exception.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from pynetdicom import _config

from pacsbridge.logs import Seldom

log = structlog.get_logger("pacsbridge.dimse")

LIBRARIES = ("pynetdicom", "pydicom")


class Relay(logging.Handler):
    """Passes on where a library complained, and the kind of exception, but never what it said."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._seldom = Seldom()

    def emit(self, record: logging.LogRecord) -> None:
        """One line for one record, unless there has been one from the same place in the last minute."""
        where = f"{record.name}:{record.lineno}"
        more = self._seldom.turn(where)
        if more is None:
            return
        kind = record.exc_info[0] if record.exc_info else None
        error = kind.__name__ if kind else None
        log.warning("library complained", where=where, error=error, skipped=more)


def tame() -> None:
    """Sets the libraries' logging for this process; doing it again changes nothing."""
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
    warnings.filterwarnings("ignore", module=r"pydicom\.valuerep")
    for name in LIBRARIES:
        _relay(logging.getLogger(name))


@contextmanager
def hushed() -> Iterator[None]:
    """pynetdicom says nothing while we call others: what came of the call is its result, or its exception."""
    tame()
    library = logging.getLogger("pynetdicom")
    library.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        library.setLevel(logging.WARNING)


def _relay(library: logging.Logger) -> None:
    library.propagate = False
    library.setLevel(logging.WARNING)
    if not any(isinstance(handler, Relay) for handler in library.handlers):
        library.addHandler(Relay())
