"""What went wrong, and what is known of a key: issues, conflicts, dead letters."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Table,
    and_,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    update,
)

from pacsbridge.kernel.values import clean
from pacsbridge.store import schema
from pacsbridge.store.records import DeadLetter, moment
from pacsbridge.store.texts import indexed

MOMENTS = ("at", "received", "first", "last", "changed", "due", "fetched")
"""Columns that hold moments; `why` tells them as ISO 8601."""


def bury(connection: Connection, letter: DeadLetter, now: int) -> int:
    """Record what could not be taken; the same again counts up, and is where it is now.

    Returns how often that has been.
    """
    letter = _bounded(letter)
    c = schema.dead_letter.c
    same = (
        (c.kind == letter.kind)
        & (c.key == letter.key)
        & (c.source == letter.source)
        & (c.reason == letter.reason)
    )
    again = connection.execute(
        update(schema.dead_letter)
        .where(same)
        .values(attempts=c.attempts + 1, last=now, location=func.coalesce(letter.location, c.location))
    )
    if again.rowcount:
        return connection.execute(select(c.attempts).where(same)).scalar() or 1
    connection.execute(
        schema.dead_letter.insert(),
        {
            "kind": letter.kind,
            "key": letter.key,
            "reason": letter.reason,
            "source": letter.source,
            "location": letter.location,
            "attempts": letter.attempts,
            "first": now,
            "last": now,
        },
    )
    return letter.attempts


def unbury(
    connection: Connection, kind: str, keys: Sequence[str], source: str, reason: str | None = None
) -> int:
    """Delete the dead letters of a kind and source under keys, for one reason or any; returns how many."""
    c = schema.dead_letter.c
    named = delete(schema.dead_letter).where(c.kind == kind, c.source == source, c.key.in_(keys))
    return connection.execute(named if reason is None else named.where(c.reason == reason)).rowcount


def _bounded(letter: DeadLetter) -> DeadLetter:
    """The letter as both engines take it: what is refused may be named by anything."""
    key, reason, source = (indexed(clean(text)) for text in (letter.key, letter.reason, letter.source))
    return replace(letter, key=key, reason=reason, source=source)


def dead_letters(connection: Connection, key: str | None, limit: int) -> Sequence[DeadLetter]:
    """The latest first; those under one key, or all."""
    c = schema.dead_letter.c
    query = (
        select(c.kind, c.key, c.reason, c.source, c.location, c.attempts, c.first, c.last)
        .order_by(c.last.desc(), c.pk.desc())
        .limit(limit)
    )
    if key is not None:
        query = query.where(c.key == indexed(clean(key)))
    return [DeadLetter(*row) for row in connection.execute(query)]


def why(connection: Connection, key: str) -> Mapping[str, Any]:
    """The records about a UID, an accession or a patient ID, by the kind of record, at most 100 of each.

    `counts` says how many there are of each kind.
    """
    c, e, i = schema.study.c, schema.series.c, schema.instance.c
    studies = _studies(connection, key)
    uids = [key, *connection.execute(select(c.uid).where(c.pk.in_(studies))).scalars()]
    joined = schema.study.join(schema.instance, i.study == c.pk).join(schema.series, e.pk == i.series)
    held: ColumnElement[bool] = c.pk.in_(studies)
    if _is_below(connection, key):
        held = and_(held, or_(e.uid == key, i.uid == key))
    shown = (c.uid.label("study"), e.uid.label("series"), i.uid, i.sop_class, i.transfer_syntax, i.location)
    instances = select(*shown, i.size, i.source, i.received).select_from(joined).where(held)
    state = select(c.uid, c.revision, c.published, c.changed, c.due, c.sources)
    queries = {
        "studies": state.where(c.pk.in_(studies)),
        "instances": instances.order_by(i.pk),
        "issues": _matching(schema.issue, uids),
        "conflicts": _matching(schema.conflict, uids),
        "dead_letters": _dead(uids),
        "reports": _reported(uids),
    }
    found = {kind: _rows(connection, query.limit(_MOST)) for kind, query in queries.items()}
    counts = {kind: _count(connection, query, len(found[kind])) for kind, query in queries.items()}
    return {**found, "counts": counts}


def _count(connection: Connection, query: Any, shown: int) -> int:
    """How many rows there are, `shown` of which have been read."""
    if shown < _MOST:
        return shown
    whole = query.order_by(None).subquery()
    return connection.execute(select(func.count()).select_from(whole)).scalar() or 0


def _is_below(connection: Connection, key: str) -> bool:
    """Whether the key names a series or an instance: then not all of the study is asked for."""
    e, i = schema.series.c, schema.instance.c
    found = select(literal(1)).where(or_(exists().where(e.uid == key), exists().where(i.uid == key)))
    return connection.execute(found).first() is not None


def _studies(connection: Connection, key: str) -> Sequence[int]:
    """Row numbers of the studies that a UID belongs to, or that are published under an identifier."""
    c, e, i, r, t = (table.c for table in (schema.study, schema.series, schema.instance, *_FOUND))
    identified = select(r.study).join_from(schema.resource, schema.token, r.pk == t.resource)
    queries = (
        select(c.pk).where(c.uid == key),
        select(e.study).where(e.uid == key),
        select(i.study).where(i.uid == key),
        select(schema.reported_instance.c.study).where(schema.reported_instance.c.uid == key),
        identified.where(t.param.in_(_IDENTIFIERS), t.value == key, r.study.is_not(None)),
    )
    found = {pk for query in queries for pk in connection.execute(query.limit(_MOST)).scalars()}
    return sorted(found)


_FOUND = (schema.resource, schema.token)
_IDENTIFIERS = ("ImagingStudy.identifier", "ImagingStudy.subject:identifier", "ImagingStudy.series")
_MOST = 100


def _matching(table: Table, keys: Sequence[str]) -> Any:
    named: ColumnElement[bool] = or_(table.c.study_uid.in_(keys), table.c.instance_uid.in_(keys))
    return select(table).where(named)


def _dead(keys: Sequence[str]) -> Any:
    c = schema.dead_letter.c
    shown = (c.kind, c.key, c.reason, c.source, c.location, c.attempts, c.first, c.last)
    return select(*shown).where(c.key.in_(keys))


def _reported(keys: Sequence[str]) -> Any:
    """What archives say; `parked`: the archive is not asked again until its record of the study changes."""
    c = schema.report.c
    parked = (c.body.is_(None)).label("parked")
    shown = (c.source, c.study_uid.label("study"), c.date, c.gone, c.fetched, parked)
    return select(*shown).where(c.study_uid.in_(keys))


def _rows(connection: Connection, query: Any) -> Sequence[Mapping[str, object]]:
    return [_plain(row) for row in connection.execute(query)]


def _plain(row: Row[Any]) -> Mapping[str, object]:
    return {
        str(name): moment(value).isoformat() if name in MOMENTS and value is not None else value
        for name, value in row._mapping.items()
        if name != "pk"
    }
