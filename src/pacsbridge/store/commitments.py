"""Storage commitment requests until their outcome has been told: durable, due at a moment, claimed singly."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, Row, delete, func, select, update

from pacsbridge.errors import Unavailable
from pacsbridge.store import findings, schema, states
from pacsbridge.store.engine import Database
from pacsbridge.store.records import DeadLetter

MOST = 1000
"""Requests of one application entity that may wait."""

_KEYS = 500

Pairs = Sequence[tuple[str, str]]
"""SOP Class and SOP Instance UIDs, in the order of the request."""


class Kept(NamedTuple):
    """An instance that the index has."""

    sop_class_uid: str
    location: str
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Order:
    """A request that somebody works on. `failures`: place in `pairs` → reason, None while nobody has looked.

    `requested` is in microseconds since 1970.
    """

    pk: int
    calling_ae: str
    transaction_uid: str
    pairs: Pairs
    failures: Mapping[int, int] | None
    requested: int
    attempts: int


class Commitments:
    """The requests of one database; raises as `Store` does. Moments are in microseconds since 1970."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, calling_ae: str, transaction_uid: str, pairs: Pairs, now: int, due: int) -> int:
        """Keep a request; one with the same transaction of the same caller is replaced.

        Returns its row number. Raises Unavailable when too many of that caller wait.
        """
        c = schema.commitment.c
        asked = zlib.compress(orjson.dumps([tuple(pair) for pair in pairs]), 1)
        row: dict[str, Any] = {"calling_ae": calling_ae, "transaction_uid": transaction_uid, "asked": asked}
        same = delete(schema.commitment).where(
            c.calling_ae == calling_ae, c.transaction_uid == transaction_uid
        )
        waiting = select(func.count()).where(c.calling_ae == calling_ae)
        with self._database.write() as connection:
            connection.execute(same)
            if (connection.execute(waiting).scalar() or 0) >= MOST:
                raise Unavailable(f"{MOST} commitment requests of this caller wait already")
            row |= {"requested": now, "attempts": 0, "due": due}
            key = connection.execute(schema.commitment.insert(), row).inserted_primary_key
        return int(key[0]) if key else 0

    def next_due(self) -> int | None:
        """When the next request is due; None when none waits."""
        with self._database.read() as connection:
            return connection.execute(select(func.min(schema.commitment.c.due))).scalar()

    def claim(self, now: int, until: int) -> Order | None:
        """Take the request that has been due longest; it is due again at `until`, should its taker vanish."""
        c = schema.commitment.c
        with self._database.write(durable=False) as connection:
            row = connection.execute(
                select(schema.commitment).where(c.due <= now).order_by(c.due, c.pk).limit(1)
            ).first()
            if row is not None:
                _set(connection, row.pk, due=until)
        return None if row is None else _order(row)

    def hasten(self, now: int) -> None:
        """All are due now: whoever had taken one is gone."""
        c = schema.commitment.c
        with self._database.write(durable=False) as connection:
            connection.execute(update(schema.commitment).where(c.due > now).values(due=now))

    def judge(self, pk: int, failures: Mapping[int, int]) -> None:
        """Keep what came of a look at the instances."""
        with self._database.write() as connection:
            _set(connection, pk, failures=zlib.compress(orjson.dumps(list(failures.items())), 1))

    def postpone(self, pk: int, attempts: int, until: int) -> None:
        """Note an attempt that failed; the next one is due at `until`."""
        with self._database.write(durable=False) as connection:
            _set(connection, pk, attempts=attempts, due=until)

    def finish(self, pk: int) -> None:
        """The outcome has been told. Nothing happens to a request that has replaced this one."""
        with self._database.write() as connection:
            connection.execute(delete(schema.commitment).where(schema.commitment.c.pk == pk))

    def give_up(self, pk: int, letter: DeadLetter, now: int) -> None:
        """The outcome cannot be told: a dead letter says why, unless the request has been replaced."""
        with self._database.write() as connection:
            if connection.execute(delete(schema.commitment).where(schema.commitment.c.pk == pk)).rowcount:
                findings.bury(connection, letter, now)

    def kept(self, uids: Iterable[str]) -> Mapping[str, Kept]:
        """The instances that the index has and does not hold back, by SOP Instance UID."""
        c = schema.instance.c
        query = select(c.uid, c.sop_class, c.location, c.sha256).where(~states.deleted())
        sought = list(dict.fromkeys(uids))
        with self._database.read() as connection:
            return {
                row.uid: Kept(row.sop_class, row.location, bytes(row.sha256))
                for start in range(0, len(sought), _KEYS)
                for row in connection.execute(query.where(c.uid.in_(sought[start : start + _KEYS])))
            }


def _set(connection: Connection, pk: int, **values: Any) -> None:
    connection.execute(update(schema.commitment).where(schema.commitment.c.pk == pk).values(**values))


def _order(row: Row[Any]) -> Order:
    pairs = [(sop_class, uid) for sop_class, uid in orjson.loads(zlib.decompress(row.asked))]
    failures = None if row.failures is None else dict(orjson.loads(zlib.decompress(row.failures)))
    return Order(row.pk, row.calling_ae, row.transaction_uid, pairs, failures, row.requested, row.attempts)
