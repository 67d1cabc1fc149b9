"""The audit log: appended to, never changed, each record bound to all before it by a hash (a chain).

    hash   SHA-256 of the hash before, the record's number and moment (8 bytes each, big endian), its content
    anchor where retention has removed what was at the front: number and hash of the last record removed

One process writes at a time (see `Database.write`), so that there is one chain whoever writes. What the log
is searched by stands in columns and rows beside the chain; they are made from the content alone.
"""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, text

from pacsbridge.kernel import elements
from pacsbridge.kernel.audit import Event, event_of
from pacsbridge.kernel.audit_resource import audit_event
from pacsbridge.kernel.query import Form, Query
from pacsbridge.store import audit_schema, audit_search
from pacsbridge.store.audit_facets import Facets
from pacsbridge.store.engine import Database
from pacsbridge.store.records import Document, Found, Page, Version
from pacsbridge.store.sql import PATIENT, Ask, Patience, sql
from pacsbridge.store.texts import indexed as bounded

TYPE = "AuditEvent"
FILE = "audit.sqlite"

_CHECKED = 2_000
"""Records of the chain that are looked at together."""

_CHECKING = Patience(6 * 3600.0)

_CHAIN = "SELECT seq, at, content, hash FROM audit_event WHERE seq >= ? ORDER BY seq LIMIT ?"

_CLAIM = (
    "UPDATE audit_forward SET owner = :o, until = :until"
    " WHERE destination = :d AND (owner = :o OR until < :now)"
)
_CLAIMED = "SELECT through FROM audit_forward WHERE destination = :d AND owner = :o"

_LONGEST_NUMBER = 18
"""Digits of a record's number."""


class Record(NamedTuple):
    """One record: its number, when it was recorded (microseconds since 1970), what is kept of the event."""

    number: int
    recorded: int
    content: bytes

    @property
    def event(self) -> Event:
        """The event itself."""
        return event_of(orjson.loads(self.content))

    @property
    def resource(self) -> dict[str, Any]:
        """The AuditEvent."""
        return audit_event(self.number, self.recorded, self.event)


class Head(NamedTuple):
    """The end of the chain: number, moment and hash of the last record, or of the anchor."""

    number: int
    recorded: int
    digest: bytes


def linked(before: bytes, record: Record) -> bytes:
    """The hash of a record, given that of the one before it."""
    place = record.number.to_bytes(8, "big") + record.recorded.to_bytes(8, "big")
    return sha256(before + place + record.content).digest()


class AuditLog:
    """The audit log of one deployment; every method may be called from any thread.

    `url` and `password` are those of the index: a file has the log beside it in `data_dir`. Raises
    Unavailable when the database is away.
    """

    def __init__(self, url: str, data_dir: Path, password: str | None = None) -> None:
        server = url.startswith("postgresql")
        self._facets = Facets()
        self._database = Database(url if server else f"sqlite:///{data_dir / FILE}", data_dir, password)

    @property
    def embedded(self) -> bool:
        """Whether it is a file, which one process has for itself."""
        return self._database.embedded

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    def migrate(self) -> None:
        """Make the tables where they are not there. Raises Misconfigured, Unavailable."""
        with self._database.write(patient=True) as connection:
            audit_schema.make(connection)

    # writing

    def append(self, events: Sequence[Event], now: int) -> int:
        """Record events in their order, all or none, durably; returns the number of the last.

        Moments of records never go back, whatever the clock does.
        """
        try:
            with self._database.write() as connection:
                return _append(connection, events, now, self._facets)
        except BaseException:
            self._facets.forget()
            raise

    def forget(self, before: int, now: int) -> int:
        """Remove the records from before a moment, but none that is still to be forwarded.

        That it was done, and up to which hash, is on record. Returns how many were removed.
        """
        with self._database.write(patient=True) as connection:
            last = _removable(connection, before)
            if last is None:
                return 0
            details = {"through": str(last.number), "hash": last.digest.hex()}
            _append(connection, [Event("log-pruned", details=details)], now, self._facets)
            values = {"n": last.number, "h": last.digest}
            first = _anchor(connection).number
            connection.execute(text("UPDATE audit_anchor SET through = :n, hash = :h"), values)
            connection.execute(text("DELETE FROM audit_event WHERE seq <= :n"), {"n": last.number})
        return last.number - first

    def changed(self, name: str, value: str) -> str | None:
        """Keep a value under a name; what it was before where it was another one, "" where there was none."""
        with self._database.write() as connection:
            return _changed(connection, name, value)

    # reading, as `Store` does

    def version(self, type_: str, id_: str) -> Version | None:
        """That a record is there, and when it was recorded."""
        found = self._record(id_)
        return None if found is None or type_ != TYPE else Version(1, found.recorded, False)

    def document(self, type_: str, id_: str, number: int | None = None) -> Document | None:
        """A record as an AuditEvent; it has one version."""
        found = self._record(id_)
        if found is None or type_ != TYPE or number not in (None, 1):
            return None
        return Document(TYPE, id_, 1, found.recorded, False, orjson.dumps(found.resource))

    def summary(self, type_: str, id_: str) -> Document | None:
        """The same: a summary is made of the whole."""
        return self.document(type_, id_)

    def search(self, query: Query, patience: Patience = PATIENT) -> Page:
        """One page of the AuditEvents that match. TooCostly when it takes longer than that."""
        with self._database.asking(patience) as ask:
            page = audit_search.search(ask, query)
        short = query.form is Form.SUMMARY and not query.elements
        return Page(
            [_found(Record(*row), short=short) for row in page.rows],
            total=page.total,
            next=page.next,
            previous=page.previous,
        )

    def _record(self, id_: str) -> Record | None:
        if not id_.isascii() or not id_.isdigit() or len(id_) > _LONGEST_NUMBER or str(int(id_)) != id_:
            return None
        rows = self._database.one(sql("SELECT seq, at, content FROM audit_event WHERE seq = ?", int(id_)))
        return _records(rows)[0] if rows else None

    # the chain

    def head(self) -> Head:
        """The end of the chain: what it is worth noting elsewhere, as no chain shows that its end is gone."""
        with self._database.read() as connection:
            return _head(connection)

    def broken(self) -> int | None:
        """The number of the first record that is not what was recorded, or is not there; None: all hold."""
        with self._database.asking(_CHECKING) as ask:
            return broken(ask)

    # forwarding

    def reached(self, destination: str) -> int:
        """Up to which record a destination has everything; one that is new begins with what comes."""
        with self._database.write() as connection:
            found = connection.execute(
                text("SELECT through FROM audit_forward WHERE destination = :d"), {"d": destination}
            ).scalar()
            if found is not None:
                return int(found)
            last = _head(connection).number
            connection.execute(
                text("INSERT INTO audit_forward (destination, through) VALUES (:d, :n)"),
                {"d": destination, "n": last},
            )
        return last

    def claim(self, destination: str, owner: str, now: int, until: int) -> int | None:
        """Up to which record a destination has everything, for its owner to go on until a moment.

        None while somebody else is at it: of several processes one forwards.
        """
        values = {"d": destination, "o": owner, "now": now, "until": until}
        with self._database.write(durable=False) as connection:
            connection.execute(text(_CLAIM), values)
            found = connection.execute(text(_CLAIMED), {"d": destination, "o": owner}).scalar()
            return None if found is None else int(found)

    def reach(self, destination: str, number: int) -> None:
        """A destination has everything up to a record."""
        with self._database.write(durable=False) as connection:
            connection.execute(
                text("UPDATE audit_forward SET through = :n WHERE destination = :d"),
                {"d": destination, "n": number},
            )

    def drop_others(self, destinations: Sequence[str]) -> None:
        """Forget destinations that are no longer configured: nothing waits for them."""
        with self._database.write() as connection:
            known = connection.execute(text("SELECT destination FROM audit_forward")).scalars().all()
            for one in set(known) - set(destinations):
                connection.execute(text("DELETE FROM audit_forward WHERE destination = :d"), {"d": one})

    def following(self, number: int, limit: int) -> Sequence[Record]:
        """The records behind one."""
        rows = self._database.one(
            sql(
                "SELECT seq, at, content FROM audit_event WHERE seq > ? ORDER BY seq LIMIT ?",
                number,
                limit,
            )
        )
        return _records(rows)

    def last(self) -> int:
        """The number of the last record."""
        return self.head().number


def _holds(row: Sequence[Any], before: bytes, expected: int) -> bool:
    """Whether a row is the record of that number, given the hash before; there may be anything in it."""
    seq, at, content, digest = row
    try:
        return bool(seq == expected and linked(before, Record(seq, at, bytes(content))) == bytes(digest))
    except (TypeError, ValueError, AttributeError, OverflowError):
        return False


def _records(rows: Sequence[Sequence[Any]]) -> Sequence[Record]:
    return [Record(seq, at, bytes(content)) for seq, at, content in rows]


def broken(ask: Ask) -> int | None:
    """See `AuditLog.broken`."""
    [[through, digest]] = ask(sql("SELECT through, hash FROM audit_anchor"))
    before, expected = bytes(digest), through + 1
    while rows := ask(sql(_CHAIN, expected, _CHECKED)):
        for row in rows:
            if not _holds(row, before, expected):
                return int(expected)
            before, expected = bytes(row[-1]), expected + 1
    return None


def continues(ask: Ask, number: int, digest: str) -> bool:
    """Whether a log has the record that was its last once (its hash in hex), or has removed it since."""
    past = "SELECT through, hash FROM audit_anchor UNION ALL SELECT seq, hash FROM audit_event WHERE seq = ?"
    found = [(seq, bytes(hash_).hex()) for seq, hash_ in ask(sql(past, number))]
    return found[0][0] > number or (number, digest) in found


def _found(record: Record, *, short: bool) -> Found:
    resource = record.resource
    return Found(TYPE, str(record.number), orjson.dumps(elements.summary(resource) if short else resource))


def _append(connection: Connection, events: Sequence[Event], now: int, facets: Facets) -> int:
    head = _head(connection)
    number, digest, recorded = head.number, head.digest, max(now // 1000 * 1000, head.recorded)
    rows: list[tuple[Any, ...]] = []
    for event in events:
        number += 1
        content = orjson.dumps(event.as_dict(), option=orjson.OPT_SORT_KEYS)
        digest = linked(digest, Record(number, recorded, content))
        found_by = (facets.of(connection, event), *_found_by(event))
        rows.append((number, recorded, *found_by, content, digest))
    if rows:
        mark = "?" if connection.dialect.name == "sqlite" else "%s"
        connection.exec_driver_sql(_INSERT.format(marks=", ".join([mark] * len(rows[0]))), rows)
    return number


_INSERT = "INSERT INTO audit_event (seq, at, facet, patient, entity, study, content, hash) VALUES ({marks})"


def _found_by(event: Event) -> tuple[str, str, str]:
    """Patient, resource and study, as a search has them."""
    return bounded(event.patient.removeprefix("Patient/")), bounded(event.resource), bounded(event.study)


def _head(connection: Connection) -> Head:
    row = connection.execute(text("SELECT seq, at, hash FROM audit_event ORDER BY seq DESC LIMIT 1")).first()
    return _anchor(connection) if row is None else Head(row.seq, row.at, bytes(row.hash))


def _anchor(connection: Connection) -> Head:
    row = connection.execute(text("SELECT through, hash FROM audit_anchor")).one()
    return Head(row.through, 0, bytes(row.hash))


def _removable(connection: Connection, before: int) -> Head | None:
    """The last record from before a moment that every destination has."""
    waiting = connection.execute(text("SELECT min(through) FROM audit_forward")).scalar()
    row = connection.execute(
        text(
            "SELECT seq, at, hash FROM audit_event WHERE at < :at AND seq <= :seq ORDER BY seq DESC LIMIT 1"
        ),
        {"at": before, "seq": 2**62 if waiting is None else waiting},
    ).first()
    return None if row is None else Head(row.seq, row.at, bytes(row.hash))


def _changed(connection: Connection, name: str, value: str) -> str | None:
    before = connection.execute(text("SELECT value FROM audit_setting WHERE name = :n"), {"n": name}).scalar()
    if before == value:
        return None
    statement = (
        "INSERT INTO audit_setting (name, value) VALUES (:n, :v)"
        if before is None
        else "UPDATE audit_setting SET value = :v WHERE name = :n"
    )
    connection.execute(text(statement), {"n": name, "v": value})
    return str(before or "")
