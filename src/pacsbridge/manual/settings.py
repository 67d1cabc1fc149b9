"""The table of configuration keys, and the part of it that DICOM peers are concerned with."""

from collections.abc import Callable, Mapping

from pacsbridge.config import reference
from pacsbridge.manual.tables import codes

CONCERN_PEERS = ("dimse", "dimse.tls", "peer")
"""Tables of the file that a Conformance Statement names."""

BLOCKS: Mapping[str, Callable[[], str]] = {
    "configuration": reference.tables,
    "configuration-rules": lambda: reference.RULES,
    "configuration-dimse": lambda: reference.tables(CONCERN_PEERS),
    "configuration-sections": lambda: codes(reference.titles(), ", "),
}
"""Placeholder → Markdown."""
