"""C-FIND as an SCP: Patient Root and Study Root, hierarchical and relational (PS3.4 C.4.1, C.6).

Keys that are not supported at a level are left out of the answers, which then say so (0xFF01). A query that
lacks the unique keys of the levels above is refused unless relational queries were agreed on.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import structlog

from pacsbridge.bridge.querying import matches
from pacsbridge.dicom.identifiers import Identifier, Writer, read
from pacsbridge.dimse import command
from pacsbridge.dimse.negotiation import PATIENT_ROOT
from pacsbridge.dimse.operations import Exchange, Steps, counted
from pacsbridge.dimse.status import SUCCESS
from pacsbridge.errors import Mismatch, NotUnderstood
from pacsbridge.kernel.finding import LEVELS, Find, Keys, is_known, understood
from pacsbridge.kernel.matching import has_wildcards
from pacsbridge.kernel.model import Level
from pacsbridge.kernel.query_keys import QUERY_RETRIEVE_LEVEL, TAGS, UNIQUE, Record
from pacsbridge.store.store import Store

log = structlog.get_logger("pacsbridge.dimse")

PENDING, PENDING_WITHOUT_KEYS, CANCELLED, LIMITED = 0xFF00, 0xFF01, 0xFE00, 0xB000
"""PS3.4 table C.4-1, which has no status for more matches than are given; PS3.7 C.3 calls 0xBxxx warnings."""

_LEVEL = QUERY_RETRIEVE_LEVEL
_RETRIEVE_AE = TAGS["RetrieveAETitle"]
_NAMES: Mapping[str, Level] = {
    "PATIENT": Level.PATIENT,
    "STUDY": Level.STUDY,
    "SERIES": Level.SERIES,
    "IMAGE": Level.INSTANCE,
}
_NO_KEYS = frozenset({_LEVEL, "00080053"})
"""Query/Retrieve Level and View: no keys, though they stand among them."""


@dataclass(frozen=True, slots=True)
class Finder:
    """Answers C-FIND requests from the store: `limit` answers to one at most, by the AE title `ae_title`."""

    store: Store
    ae_title: str
    limit: int

    def find(self, exchange: Exchange) -> Steps:
        """The operation of `dimse.operations`."""
        began = time.monotonic()
        identifier = read(exchange.identifier, exchange.transfer_syntax)
        level = level_of(identifier.keys, exchange.abstract_syntax)
        keys = {tag: asked for tag, asked in identifier.keys.items() if tag not in _NO_KEYS}
        check_hierarchy(keys, level, exchange.abstract_syntax, relational=exchange.relational)
        query = understood(level, keys, combined_times=exchange.combined_times)
        pending = PENDING_WITHOUT_KEYS if query.unknown else PENDING
        encoded = command.response(exchange.request, pending, has_data_set=True)
        writer = Writer(identifier, _returned(keys, level), exchange.transfer_syntax)
        status, number = SUCCESS, 0
        for record in self._records(query.find, identifier):
            if exchange.cancelled or number == self.limit:
                status = CANCELLED if exchange.cancelled else LIMITED
                break
            yield exchange.message(encoded, writer.write(record))
            number += 1
        comment = f"only the first {number} matches" if status == LIMITED else ""
        _log(exchange, counted("find", status), number, began)
        yield exchange.message(command.response(exchange.request, status, comment))

    def _records(self, find: Find, identifier: Identifier) -> Iterator[Record]:
        own = {_RETRIEVE_AE: [self.ae_title], _LEVEL: [_text(identifier.keys, _LEVEL)]}
        for chunk in matches(self.store, find):
            for record in chunk:
                record.update(own)
                yield record


def level_of(keys: Keys, abstract_syntax: str) -> Level:
    """The level of a query (PS3.4 C.6). Raises Mismatch where its information model does not have it."""
    name = _text(keys, _LEVEL)
    if not name:
        raise Mismatch("Query/Retrieve Level (0008,0052) is missing")
    level = _NAMES.get(name)
    if level is None:
        raise Mismatch("Query/Retrieve Level (0008,0052) is unknown")
    if level is Level.PATIENT and not abstract_syntax.startswith(PATIENT_ROOT):
        raise Mismatch("Study Root has no level PATIENT")
    return level


def check_hierarchy(keys: Keys, level: Level, abstract_syntax: str, *, relational: bool) -> None:
    """Raise Mismatch where a level above lacks a single value of its unique key (PS3.4 C.4.1.2.1)."""
    top = Level.PATIENT if abstract_syntax.startswith(PATIENT_ROOT) else Level.STUDY
    above = LEVELS[LEVELS.index(top) : LEVELS.index(level)]
    for one in () if relational else above:
        values = keys[UNIQUE[one]].values if UNIQUE[one] in keys else ()
        if len(values) != 1 or has_wildcards(values[0]):
            raise Mismatch(f"{UNIQUE_NAMES[one]} is needed, or relational queries")


UNIQUE_NAMES: Mapping[Level, str] = {
    Level.PATIENT: "Patient ID",
    Level.STUDY: "Study Instance UID",
    Level.SERIES: "Series Instance UID",
    Level.INSTANCE: "SOP Instance UID",
}
"""The unique key of each level as people call it."""


def _returned(keys: Keys, level: Level) -> Sequence[str]:
    return [_LEVEL, *(tag for tag in keys if is_known(tag, level))]


def _text(keys: Keys, tag: str) -> str:
    values = keys[tag].values if tag in keys else ()
    if len(values) > 1:
        raise NotUnderstood(f"({tag[:4]},{tag[4:]}): more than one value")
    return values[0] if values else ""


def _log(exchange: Exchange, status: int, number: int, began: float) -> None:
    log.info(
        "query answered",
        calling_ae=exchange.calling_ae,
        status=f"0x{status:04X}",
        count=number,
        milliseconds=round((time.monotonic() - began) * 1000),
    )
