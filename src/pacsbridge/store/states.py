"""Studies as the builder of resources needs them, and studies that wait to be published."""

from collections import Counter
from collections.abc import Iterable, Sequence

import orjson
from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, func, null, select, update

from pacsbridge.kernel.model import InstanceState, SeriesState, StudyState
from pacsbridge.kernel.reports import combined
from pacsbridge.kernel.titles import RETENTION_EXPIRED
from pacsbridge.store import reports, schema
from pacsbridge.store.records import Due, Held


def due(connection: Connection, now: int, limit: int, uids: Sequence[str] | None = None) -> Sequence[Due]:
    """Studies whose new revision is to be published at `now`, the longest due first; of some, or of all."""
    c = schema.study.c
    query = select(c.pk, c.uid, c.revision).where(c.due <= now).order_by(c.due).limit(limit)
    if uids is not None:
        query = query.where(c.uid.in_(uids))
    rows = connection.execute(query).all()
    counts: Counter[int] = Counter()
    for table in (schema.instance, schema.reported_instance):
        column = table.c.study
        counted = select(column, func.count()).where(column.in_([row.pk for row in rows])).group_by(column)
        counts.update({study: count for study, count in connection.execute(counted)})  # noqa: C416
    return [Due(row.pk, row.uid, row.revision, counts[row.pk]) for row in rows]


def next_due(connection: Connection) -> int | None:
    """When the next study is to be published; None when none waits."""
    return connection.execute(select(func.min(schema.study.c.due))).scalar()


def outrun(connection: Connection, studies: Sequence[Due]) -> bool:
    """Whether another process has published one of these revisions, or a later one, meanwhile."""
    c = schema.study.c
    rows = connection.execute(select(c.pk, c.published).where(c.pk.in_([study.pk for study in studies])))
    published = {row.pk: row.published for row in rows}
    return any(published.get(study.pk, study.revision) >= study.revision for study in studies)


def settle(connection: Connection, studies: Sequence[Due]) -> None:
    """These revisions are published; what has changed since stays due."""
    c = schema.study.c
    current = c.revision == bindparam("published_revision")
    statement = (
        update(schema.study)
        .where(c.pk == bindparam("row"))
        .values(
            published=bindparam("published_revision"),
            changed=case((current, null()), else_=c.due),
            due=case((current, null()), else_=c.due),
        )
    )
    if studies:
        connection.execute(statement, [{"row": s.pk, "published_revision": s.revision} for s in studies])


def postpone(connection: Connection, study: Due, until: int) -> None:
    """Try a study again at `until`, unless it has changed meanwhile."""
    c = schema.study.c
    same = (c.pk == study.pk) & (c.revision == study.revision)
    connection.execute(update(schema.study).where(same).values(due=until))


def hasten(connection: Connection, now: int, uids: Sequence[str] | None = None) -> None:
    """What waits for quiet is due now: some studies, or all."""
    c = schema.study.c
    waiting = update(schema.study).where(c.due > now)
    connection.execute((waiting if uids is None else waiting.where(c.uid.in_(uids))).values(due=now))


def all_due(connection: Connection, now: int) -> int:
    """Every study is due now: after a change of configuration or of the mapping."""
    c = schema.study.c
    changed = connection.execute(
        update(schema.study).values(revision=c.revision + 1, changed=func.coalesce(c.changed, now), due=now)
    )
    return changed.rowcount


def study_states(
    connection: Connection, pks: Sequence[int], *, attributes: bool = False
) -> dict[int, StudyState]:
    """Everything known of these studies, by row number; the attributes of instances where they are wanted."""
    s, p = schema.study.c, schema.patient.c
    query = (
        select(s.pk, s.facts, s.sources, p.facts.label("patient"))
        .join_from(schema.study, schema.patient, s.patient == p.pk)
        .where(s.pk.in_(pks))
    )
    states = {
        row.pk: StudyState(
            patient=orjson.loads(row.patient),
            study=orjson.loads(row.facts),
            sources=tuple(orjson.loads(row.sources)),
        )
        for row in connection.execute(query)
    }
    for study, series in _series(connection, pks, attributes=attributes):
        if series.instances:
            states[study].series.append(series)
    told = reports.sourced(connection, list(states))
    return {pk: combined(state, told.get(pk, ())) for pk, state in states.items()}


def _series(
    connection: Connection, studies: Sequence[int], *, attributes: bool
) -> Iterable[tuple[int, SeriesState]]:
    c, i = schema.series.c, schema.instance.c
    found = connection.execute(select(c.pk, c.study, c.facts).where(c.study.in_(studies))).all()
    series = {row.pk: SeriesState(orjson.loads(row.facts)) for row in found}
    rejected = _rejected(connection, studies)
    query = select(i.series, i.uid, i.sop_class, i.number, i.title, i.availability).where(
        i.study.in_(studies)
    )
    if attributes:
        query = query.add_columns(i.attributes, i.transfer_syntax)
    for row in connection.execute(query):
        pk, uid, sop_class, number, title, availability = row[:6]
        instance = InstanceState(uid, sop_class, number, title, availability, rejected.get(uid))
        if attributes:
            instance.attributes = orjson.loads(row.attributes or b"{}")
            instance.transfer_syntax = row.transfer_syntax
        series[pk].instances.append(instance)
    return [(row.study, series[row.pk]) for row in found]


def _rejected(connection: Connection, studies: Sequence[int]) -> dict[str, str]:
    """SOP Instance UID → reason of the rejection notes about these studies."""
    c = schema.rejection.c
    uids = select(schema.study.c.uid).where(schema.study.c.pk.in_(studies))
    rows = connection.execute(select(c.sop_uid, c.reason).where(c.study_uid.in_(uids)).order_by(c.by_uid))
    return {row.sop_uid: row.reason for row in rows}


def held(
    connection: Connection, study_uid: str, series_uid: str | None = None, sop_uid: str | None = None
) -> Sequence[Held]:
    """The instances of a study, of one series or one instance of it, in the order of their bytes."""
    s, e, i = schema.study.c, schema.series.c, schema.instance.c
    conditions: list[ColumnElement[bool]] = [s.uid == study_uid]
    if series_uid is not None:
        conditions.append(e.uid == series_uid)
    if sop_uid is not None:
        conditions.append(i.uid == sop_uid)
    joined = schema.study.join(schema.instance, i.study == s.pk).join(schema.series, e.pk == i.series)
    query = (
        select(
            s.uid.label("study"),
            e.uid.label("series"),
            i.uid,
            i.sop_class,
            i.transfer_syntax,
            i.location,
            i.size,
            i.sha256,
        )
        .select_from(joined)
        .where(and_(*conditions), ~deleted())
        .order_by(i.pk)
    )
    return [Held(*row[:-1], bytes(row.sha256)) for row in connection.execute(query)]


def deleted() -> ColumnElement[bool]:
    """Whether a note says that the instance's retention has expired (DCM 113039)."""
    c = schema.rejection.c
    return select(c.sop_uid).where(c.sop_uid == schema.instance.c.uid, c.reason == RETENTION_EXPIRED).exists()
