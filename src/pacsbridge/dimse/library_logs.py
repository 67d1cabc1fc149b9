"""pynetdicom's own log: its identifiers are switched off, its warnings go to ours without their text.

pynetdicom formats what it received into its messages, so only their place is passed on.
"""

import logging

import structlog
from pynetdicom import _config

log = structlog.get_logger("pacsbridge.dimse")


class Relay(logging.Handler):
    """Passes on where pynetdicom complained, and the kind of exception, but never what it said."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line for one record."""
        kind = record.exc_info[0] if record.exc_info else None
        log.log(
            record.levelno,
            "pynetdicom complained",
            where=f"{record.name}:{record.lineno}",
            error=kind.__name__ if kind else None,
        )


def tame() -> None:
    """Sets pynetdicom's logging for this process; doing it again changes nothing."""
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
    library = logging.getLogger("pynetdicom")
    library.propagate = False
    library.setLevel(logging.WARNING)
    if not any(isinstance(handler, Relay) for handler in library.handlers):
        library.addHandler(Relay(logging.WARNING))
