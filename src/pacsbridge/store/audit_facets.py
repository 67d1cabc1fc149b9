"""What many audit events share, kept once: kind, outcome, who and where, and the rows that it is found by."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import orjson
from sqlalchemy import Connection, text

from pacsbridge.kernel.audit import Event, Who
from pacsbridge.kernel.audit_resource import audit_event
from pacsbridge.kernel.query import ReferenceRow, Row, StringRow
from pacsbridge.kernel.search_parameters import indexed
from pacsbridge.store.texts import indexed as bounded

_MOST = 10_000
"""Facets whose numbers are kept at hand."""

_OF_EVENTS = ("entity", "patient")
"""Parameters that each event is found by itself."""

_Name = tuple[str, str, Who | None, str, str]


class Facets:
    """The numbers of facets; used within transactions that write, so by one thread at a time."""

    def __init__(self) -> None:
        self._known: dict[_Name, int] = {}

    def of(self, connection: Connection, event: Event) -> int:
        """The number of an event's facet, which is made where there is none yet."""
        name = (event.kind, event.outcome, event.who, event.server, event.destination)
        found = self._known.get(name)
        return self._made(connection, name, event.facet) if found is None else found

    def forget(self) -> None:
        """What was made in a transaction that failed is not there."""
        self._known.clear()

    def _made(self, connection: Connection, name: _Name, facet: Event) -> int:
        digest = sha256(orjson.dumps(facet.as_dict(), option=orjson.OPT_SORT_KEYS)).digest()
        select = text("SELECT facet FROM audit_facet WHERE name = :n")
        number = connection.execute(select, {"n": digest}).scalar()
        if number is None:
            last = connection.execute(text("SELECT max(facet) FROM audit_facet")).scalar()
            number = (last or 0) + 1
            insert = text("INSERT INTO audit_facet (facet, name) VALUES (:f, :n)")
            connection.execute(insert, {"f": number, "n": digest})
            connection.execute(text(_TERMS), list(_terms(number, facet)))
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[name] = number
        return int(number)


_TERMS = "INSERT INTO audit_term (param, value, facet, system) VALUES (:param, :value, :facet, :system)"


def _terms(number: int, facet: Event) -> Iterator[dict[str, Any]]:
    """Its rows, each once."""
    for param, value, system in dict.fromkeys(map(_term, indexed(audit_event(0, 0, facet)).rows)):
        if param.partition(":")[0] not in _OF_EVENTS:
            yield {"param": param, "value": bounded(value), "facet": number, "system": bounded(system)}


def _term(row: Row) -> tuple[str, str, str]:
    if isinstance(row, ReferenceRow):
        return row.param, row.target, row.type
    if isinstance(row, StringRow):
        return row.param, row.value, ""
    return row.param, row.value, row.system
