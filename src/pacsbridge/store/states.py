"""Studies as the builder of resources needs them, and studies that wait to be published."""

from collections.abc import Sequence

import orjson
from sqlalchemy import ColumnElement, Connection, and_, func, select, update

from pacsbridge.kernel.model import InstanceState, SeriesState, StudyState
from pacsbridge.kernel.titles import RETENTION_EXPIRED
from pacsbridge.store import schema
from pacsbridge.store.records import Due, Held


def due(connection: Connection, now: int, limit: int) -> Sequence[Due]:
    """Studies whose new revision is to be published at `now`, the longest due first."""
    c = schema.study.c
    query = select(c.pk, c.uid, c.revision).where(c.due <= now).order_by(c.due).limit(limit)
    return [Due(row.pk, row.uid, row.revision) for row in connection.execute(query)]


def next_due(connection: Connection) -> int | None:
    """When the next study is to be published; None when none waits."""
    return connection.execute(select(func.min(schema.study.c.due))).scalar()


def pending(connection: Connection) -> int:
    """How many studies wait to be published."""
    return connection.execute(select(func.count()).where(schema.study.c.due.is_not(None))).scalar() or 0


def settle(connection: Connection, study: Due) -> None:
    """Revision `study.revision` is published; later changes stay due."""
    c = schema.study.c
    here = c.pk == study.pk
    connection.execute(update(schema.study).where(here).values(published=study.revision))
    connection.execute(
        update(schema.study).where(here, c.revision == study.revision).values(due=None, changed=None)
    )
    connection.execute(update(schema.study).where(here, c.revision != study.revision).values(changed=c.due))


def postpone(connection: Connection, study: Due, until: int) -> None:
    """Try a study again at `until`."""
    connection.execute(update(schema.study).where(schema.study.c.pk == study.pk).values(due=until))


def all_due(connection: Connection, now: int) -> int:
    """Every study is due now: after a change of configuration or of the mapping."""
    c = schema.study.c
    changed = connection.execute(
        update(schema.study).values(revision=c.revision + 1, changed=func.coalesce(c.changed, now), due=now)
    )
    return changed.rowcount


def study_state(connection: Connection, pk: int) -> StudyState | None:
    """Everything known of one study."""
    s, p = schema.study.c, schema.patient.c
    row = connection.execute(
        select(s.facts, s.sources, p.facts.label("patient"))
        .join_from(schema.study, schema.patient, s.patient == p.pk)
        .where(s.pk == pk)
    ).first()
    if row is None:
        return None
    series = _series(connection, pk)
    return StudyState(
        patient=orjson.loads(row.patient),
        study=orjson.loads(row.facts),
        series=[state for state in series.values() if state.instances],
        sources=tuple(orjson.loads(row.sources)),
    )


def _series(connection: Connection, study: int) -> dict[int, SeriesState]:
    c = schema.series.c
    rows = connection.execute(select(c.pk, c.facts).where(c.study == study))
    series = {row.pk: SeriesState(orjson.loads(row.facts)) for row in rows}
    i = schema.instance.c
    rejected = _rejected(connection, study)
    query = select(i.series, i.uid, i.sop_class, i.number, i.title, i.availability).where(i.study == study)
    for pk, uid, sop_class, number, title, availability in connection.execute(query):
        instance = InstanceState(uid, sop_class, number, title, availability, rejected.get(uid))
        series[pk].instances.append(instance)
    return series


def _rejected(connection: Connection, study: int) -> dict[str, str]:
    """SOP Instance UID → reason of the rejection notes about a study."""
    c = schema.rejection.c
    uid = select(schema.study.c.uid).where(schema.study.c.pk == study).scalar_subquery()
    rows = connection.execute(select(c.sop_uid, c.reason).where(c.study_uid == uid).order_by(c.by_uid))
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
        .where(and_(*conditions), ~_deleted())
        .order_by(i.pk)
    )
    return [Held(*row[:-1], bytes(row.sha256)) for row in connection.execute(query)]


def _deleted() -> ColumnElement[bool]:
    """Whether a note says that the instance's retention has expired (DCM 113039)."""
    c = schema.rejection.c
    return select(c.sop_uid).where(c.sop_uid == schema.instance.c.uid, c.reason == RETENTION_EXPIRED).exists()
