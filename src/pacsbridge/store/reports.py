"""What archives say about studies: kept whole, a row for each archive and study, beside the pushed facts.

A study's rows of pushed instances can be rebuilt from the packs; these cannot, so that they name the study by
its UID and outlive a rebuilt index.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Connection, delete, func, select, update

from pacsbridge.kernel.model import Facts, Values
from pacsbridge.kernel.reports import Report, Sourced
from pacsbridge.store import schema
from pacsbridge.store.arrivals import note_studies
from pacsbridge.store.index import Batch, Timing
from pacsbridge.store.records import Arrival, KnownReport, Reported
from pacsbridge.store.upsert import upsert

_LEVEL = 1
"""Of compression: a report is written as often as it is read."""

_MANY = 500
"""Reports that are read in one go while they are restored."""


def known(connection: Connection, source: str, uids: Sequence[str]) -> Mapping[str, KnownReport]:
    """What is kept of an archive's word on these studies."""
    c = schema.report.c
    query = select(c.study_uid, c.digest, c.fetched, c.gone, c.body.is_not(None)).where(
        c.source == source, c.study_uid.in_(uids)
    )
    return {
        uid: KnownReport(None if digest is None else bytes(digest), fetched, gone, bool(usable))
        for uid, digest, fetched, gone, usable in connection.execute(query)
    }


def dated(connection: Connection, source: str, first: str, last: str) -> Sequence[str]:
    """The studies that an archive has between two dates, YYYYMMDD, both included, as far as is known."""
    c = schema.report.c
    query = select(c.study_uid).where(c.source == source, c.date.between(first, last), c.gone.is_(None))
    return list(connection.execute(query).scalars())


def undated(connection: Connection, source: str) -> Sequence[str]:
    """The studies without a date that an archive has, as far as is known."""
    c = schema.report.c
    query = select(c.study_uid).where(c.source == source, c.date.is_(None), c.gone.is_(None))
    return list(connection.execute(query).scalars())


def count(connection: Connection, source: str) -> int:
    """How many studies an archive has, as far as is known."""
    c = schema.report.c
    query = select(func.count()).where(c.source == source, c.gone.is_(None), c.body.is_not(None))
    return connection.execute(query).scalar() or 0


def put(connection: Connection, timing: Timing, source: str, told: Iterable[Reported], now: int) -> int:
    """Keep reports of an archive; those of which it says something new are due: returns how many."""
    latest = {one.uid: (one, _packed(one.report)) for one in told}
    before = _contents(connection, source, list(latest))
    news = {uid: entry for uid, entry in latest.items() if before.get(uid) != sha256(entry[1]).digest()}
    if news:
        arrivals = [_arrival(source, one, now) for one, _body in news.values()]
        pks = Batch(connection, timing).report(arrivals, now)
        _list(connection, source, [(pks[uid], one.report) for uid, (one, _body) in news.items()])
        note_studies(connection, ((now, source) for _uid in news), now)
    key = ("source", "study_uid")
    upsert(connection, schema.report, [_row(source, *entry, now) for entry in news.values()], key)
    same = [_seen(source, one, now) for uid, (one, _body) in latest.items() if uid not in news]
    upsert(connection, schema.report, same, key)
    return len(news)


def park(
    connection: Connection, source: str, uid: str, digest: bytes | None, date: str | None, now: int
) -> None:
    """An archive's record of a study cannot be used: it is not asked for again until the record changes.

    Without a digest it is.
    """
    row = {"source": source, "study_uid": uid, "digest": digest, "date": date, "fetched": now, "gone": None}
    upsert(connection, schema.report, [row], key=("source", "study_uid"))


def owed(connection: Connection, source: str, limit: int) -> Sequence[str]:
    """The studies that an archive is to be asked for again, the longest known first."""
    c = schema.report.c
    query = select(c.study_uid).where(c.source == source, c.digest.is_(None), c.gone.is_(None))
    return list(connection.execute(query.order_by(c.fetched, c.study_uid).limit(limit)).scalars())


def forget(connection: Connection, uids: Sequence[str]) -> int:
    """Ask every archive again that has one of the studies; returns how many reports that is about."""
    meant = update(schema.report).where(schema.report.c.study_uid.in_(uids))
    return connection.execute(meant.values(digest=None)).rowcount


def withdraw(
    connection: Connection, timing: Timing, source: str, uids: Sequence[str], status: str, now: int
) -> int:
    """An archive no longer has some studies; returns how many of those were published by its word."""
    c = schema.report.c
    there = select(c.study_uid, c.body.is_not(None)).where(
        c.source == source, c.study_uid.in_(uids), c.gone.is_(None)
    )
    named = {uid: bool(usable) for uid, usable in connection.execute(there)}
    lost = [uid for uid, usable in named.items() if usable]
    pks = Batch(connection, timing).withdraw(source, lost, now)
    _unlist(connection, source, list(pks.values()))
    gone = update(schema.report).where(c.source == source, c.study_uid.in_(named))
    connection.execute(gone.values(gone=status, digest=None, fetched=now, told=now))
    return len(lost)


def restore(connection: Connection, timing: Timing, now: int) -> None:
    """Note again what archives say, once the facts of pushed instances have been rebuilt."""
    c = schema.report.c
    query = select(c.source, c.study_uid, c.digest, c.date, c.body, c.told, c.gone).where(c.body.is_not(None))
    rows = connection.execute(query.order_by(c.told), execution_options={"yield_per": _MANY})
    for row in rows:
        one = Reported(row.study_uid, row.digest, row.date, _unpacked(row.body))
        arrival = _arrival(row.source, one, now)
        older = _pushed_since(connection, one.uid, row.told)
        if older:
            arrival = replace(arrival, facts=replace(arrival.facts, patient=_key_of(one.report.patient)))
        pks = Batch(connection, timing).report([arrival], now, last=not older)
        note_studies(connection, [(row.told, row.source)], now)
        if row.gone is None:
            _list(connection, row.source, [(pks[one.uid], one.report)])
        else:
            Batch(connection, timing).withdraw(row.source, [one.uid], now)


def _pushed_since(connection: Connection, study_uid: str, moment: int) -> bool:
    """Whether a header is newer than a report: then it is the one to name the patient."""
    s, i = schema.study.c, schema.instance.c
    query = (
        select(i.pk)
        .join_from(schema.instance, schema.study, i.study == s.pk)
        .where(s.uid == study_uid, i.received > moment)
        .limit(1)
    )
    return connection.execute(query).first() is not None


def _key_of(patient: Values) -> Values:
    return {name: value for name, value in patient.items() if name == "key"}


def sourced(connection: Connection, pks: Sequence[int]) -> Mapping[int, Sequence[Sourced]]:
    """What archives say about studies by their row numbers, the latest last."""
    found: dict[int, list[Sourced]] = {}
    for pk, one in _usable(connection, schema.study.c.pk.in_(pks)):
        found.setdefault(pk, []).append(one)
    return found


def of_study(connection: Connection, study_uid: str) -> Sequence[Sourced]:
    """What archives say about a study, the latest last."""
    return [one for _pk, one in _usable(connection, schema.study.c.uid == study_uid)]


class Placed(NamedTuple):
    """An instance that an archive has, and the row number of the study by which it is found."""

    study: int
    source: str
    uid: str


def listed(connection: Connection, pks: Sequence[int]) -> set[Placed]:
    """The instances of some studies as archives tell them."""
    told = ((pk, one) for pk, some in sourced(connection, pks).items() for one in some if one.gone is None)
    return {Placed(pk, one.source, uid) for pk, one in told for uid in one.report.instance_uids}


def placed(connection: Connection, *, pks: Sequence[int] = (), uids: Sequence[str] = ()) -> set[Placed]:
    """How some instances are found: those of studies, and those of SOP Instance UIDs."""
    c = schema.reported_instance.c
    asked = [c.study.in_(pks), *(c.uid.in_(uids[at : at + _MANY]) for at in range(0, len(uids), _MANY))]
    queries = (select(c.study, c.source, c.uid).where(one) for one in asked)
    return {Placed(*row) for query in queries for row in connection.execute(query)}


def _usable(connection: Connection, which: ColumnElement[bool]) -> Iterator[tuple[int, Sourced]]:
    """The reports of studies that have facts, with the studies' row numbers, the latest last."""
    c, s = schema.report.c, schema.study.c
    query = (
        select(s.pk, c.source, c.body, c.gone)
        .join_from(schema.report, schema.study, c.study_uid == s.uid)
        .where(which, c.body.is_not(None))
        .order_by(c.told, c.source)
    )
    for pk, source, body, gone in connection.execute(query):
        yield pk, Sourced(source, _unpacked(body), gone)


def _contents(connection: Connection, source: str, uids: Sequence[str]) -> Mapping[str, bytes]:
    """What tells the facts of reports from others, of those that are not gone."""
    c = schema.report.c
    query = select(c.study_uid, c.content).where(
        c.source == source, c.study_uid.in_(uids), c.gone.is_(None), c.content.is_not(None)
    )
    return {uid: bytes(content) for uid, content in connection.execute(query)}


def _arrival(source: str, one: Reported, now: int) -> Arrival:
    """A report as the index of facts takes it: with the patient alone."""
    issues = tuple(issue for _uid, issue in one.report.issues)
    facts = Facts(one.report.patient, {"uid": one.uid}, {}, {"uid": one.uid}, issues=issues)
    return Arrival(facts, source, now, "", "", 0, b"")


def _row(source: str, one: Reported, body: bytes, now: int) -> dict[str, Any]:
    return {
        "source": source,
        "study_uid": one.uid,
        "digest": one.digest,
        "date": one.date,
        "body": zlib.compress(body, _LEVEL),
        "content": sha256(body).digest(),
        "fetched": now,
        "told": now,
        "gone": None,
    }


def _seen(source: str, one: Reported, now: int) -> dict[str, Any]:
    """What changes in the row of a report that says nothing new."""
    return {"source": source, "study_uid": one.uid, "digest": one.digest, "date": one.date, "fetched": now}


def _packed(report: Report) -> bytes:
    return orjson.dumps(report.plain())


def _unpacked(body: bytes | memoryview) -> Report:
    return Report.of_plain(orjson.loads(zlib.decompress(bytes(body))))


def _list(connection: Connection, source: str, told: Sequence[tuple[int, Report]]) -> None:
    """Which study each instance belongs to, for searches by it."""
    _unlist(connection, source, [pk for pk, _report in told])
    rows = [
        {"uid": uid, "source": source, "study": pk} for pk, report in told for uid in report.instance_uids
    ]
    upsert(connection, schema.reported_instance, rows, key=("uid", "source"))


def _unlist(connection: Connection, source: str, pks: Sequence[int]) -> None:
    c = schema.reported_instance.c
    connection.execute(delete(schema.reported_instance).where(c.study.in_(pks), c.source == source))
