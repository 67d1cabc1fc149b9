"""What went wrong, and what is known of a key: issues, conflicts, dead letters."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, or_, select, update

from pacsbridge.kernel.values import clean
from pacsbridge.store import schema
from pacsbridge.store.records import DeadLetter, moment
from pacsbridge.store.texts import indexed

_AT = ("at", "received", "first", "last", "changed", "due")


def bury(connection: Connection, letter: DeadLetter, now: int) -> None:
    """Record what could not be taken; the same again counts up."""
    letter = _bounded(letter)
    c = schema.dead_letter.c
    same = (
        (c.kind == letter.kind)
        & (c.key == letter.key)
        & (c.source == letter.source)
        & (c.reason == letter.reason)
    )
    again = connection.execute(
        update(schema.dead_letter).where(same).values(attempts=c.attempts + 1, last=now)
    )
    if again.rowcount:
        return
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


def _bounded(letter: DeadLetter) -> DeadLetter:
    """The letter as both engines take it: what is refused may be named by anything."""
    key, reason, source = (indexed(clean(text)) for text in (letter.key, letter.reason, letter.source))
    return replace(letter, key=key, reason=reason, source=source)


def dead_letters(connection: Connection, limit: int) -> Sequence[DeadLetter]:
    """The latest first."""
    c = schema.dead_letter.c
    query = (
        select(c.kind, c.key, c.reason, c.source, c.location, c.attempts, c.first, c.last)
        .order_by(c.last.desc(), c.pk.desc())
        .limit(limit)
    )
    return [DeadLetter(*row) for row in connection.execute(query)]


def why(connection: Connection, key: str) -> Mapping[str, Sequence[Mapping[str, object]]]:
    """Every record that names a study, series or instance UID, by the kind of record."""
    s, e, i = schema.study.c, schema.series.c, schema.instance.c
    joined = schema.study.join(schema.instance, i.study == s.pk).join(schema.series, e.pk == i.series)
    named = or_(s.uid == key, e.uid == key, i.uid == key)
    instances = (
        select(s.uid.label("study"), e.uid.label("series"), i.uid, i.sop_class, i.transfer_syntax,
               i.location, i.size, i.source, i.received)
        .select_from(joined).where(named).order_by(i.pk).limit(100)
    )  # fmt: skip
    study = (
        select(s.uid, s.revision, s.published, s.changed, s.due, s.sources)
        .where(or_(s.uid == key, s.pk.in_(select(i.study).where(i.uid == key)),
                   s.pk.in_(select(e.study).where(e.uid == key))))
    )  # fmt: skip
    return {
        "studies": _rows(connection, study),
        "instances": _rows(connection, instances),
        "issues": _matching(connection, schema.issue, key),
        "conflicts": _matching(connection, schema.conflict, key),
        "dead_letters": _rows(connection, _dead(key)),
    }


def _matching(connection: Connection, table: Table, key: str) -> Sequence[Mapping[str, object]]:
    named: ColumnElement[bool] = or_(table.c.study_uid == key, table.c.instance_uid == key)
    return _rows(connection, select(table).where(named).limit(100))


def _dead(key: str) -> Any:
    c = schema.dead_letter.c
    return select(c.kind, c.key, c.reason, c.source, c.location, c.attempts, c.first, c.last).where(
        c.key == key
    )


def _rows(connection: Connection, query: Any) -> Sequence[Mapping[str, object]]:
    return [_plain(row) for row in connection.execute(query)]


def _plain(row: Row[Any]) -> Mapping[str, object]:
    return {
        name: moment(value).isoformat() if name in _AT and value is not None else value
        for name, value in row._mapping.items()
        if name != "pk"
    }
