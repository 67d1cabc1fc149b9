"""A batch of instances → rows: merged facts, revisions, conflicts, issues; one pass, one transaction.

The batch loads every row it may touch in four queries, merges in memory in the order of arrival, and
writes back what changed. An instance that is known with the same content changes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Connection, Table, func, select, update

from pacsbridge.kernel.conflicts import Policy, is_other_patient
from pacsbridge.kernel.identity import names_same_patient
from pacsbridge.kernel.mapping import ATTRIBUTES, RULES
from pacsbridge.kernel.model import Level, Values, merge
from pacsbridge.store import schema
from pacsbridge.store.arrivals import note_instances
from pacsbridge.store.conflicts import Conflicts, Holder
from pacsbridge.store.holdings import note_encodings
from pacsbridge.store.records import Arrival
from pacsbridge.store.texts import indexed
from pacsbridge.store.upsert import upsert


@dataclass(frozen=True, slots=True)
class Timing:
    """When a changed study is published: microseconds of quiet, and of waiting at most."""

    quiet: int
    max_wait: int


@dataclass(slots=True)
class _Row:
    """One loaded or new row of patient, study or series."""

    pk: int
    key: str
    facts: Values
    new: bool = False
    changed: bool = False


@dataclass(slots=True)
class _Study(_Row):
    patient: int = 0
    sources: list[str] = field(default_factory=list)
    revision: int = 0
    first_change: int | None = None
    touched: int | None = None


class Batch:
    """Merges arrivals into the rows of one transaction.

    `policy` says what other content under a known SOP Instance UID does; see `conflicts` for what came of it.
    """

    def __init__(self, connection: Connection, timing: Timing, policy: Policy = Policy.REPLACE) -> None:
        self._connection = connection
        self._timing = timing
        self._patients: dict[str, _Row] = {}
        self._studies: dict[str, _Study] = {}
        self._series: dict[tuple[int, str], _Row] = {}
        self._known: dict[str, Holder] = {}
        self._instances: dict[str, dict[str, Any]] = {}
        self.conflicts = Conflicts(connection, policy)
        self._issues: list[dict[str, Any]] = []
        self._rejections: list[dict[str, Any]] = []
        self._next: dict[str, int] = {}

    def put(self, arrivals: Sequence[Arrival], now: int) -> int:
        """Index `arrivals` in their order; `now` in microseconds. Returns how many changed something."""
        self._load(arrivals)
        changed = sum(self._add(arrival, now) for arrival in arrivals)
        self._write(now)
        return changed

    def report(self, told: Sequence[Arrival], now: int, *, last: bool = True) -> Mapping[str, int]:
        """Note what an archive says about studies: patients, sources, a new revision of each.

        The facts of an arrival here are those of the patient alone. `last`: the archive is the last writer.
        Returns the row of each study.
        """
        self._load_studies({one.facts.study["uid"] for one in told})
        self._load_patients({_patient_key(one) for one in told})
        for one in told:
            study = self._merge_study(one, now)
            if not last:
                study.sources = [*(uri for uri in study.sources if uri != one.source), one.source]
            self._touch(study, now)
            self._note(one, now)
        self._write(now)
        return {uid: study.pk for uid, study in self._studies.items()}

    def withdraw(self, source: str, uids: Sequence[str], now: int) -> Mapping[str, int]:
        """Note that an archive no longer has some studies. Returns the row of each that is known."""
        self._load_studies(uids)
        for study in self._studies.values():
            study.sources = [uri for uri in study.sources if uri != source]
            self._touch(study, now)
        self._write(now)
        return {uid: study.pk for uid, study in self._studies.items()}

    # loading

    def _load(self, arrivals: Sequence[Arrival]) -> None:
        self._load_instances({arrival.facts.instance["uid"] for arrival in arrivals})
        rejected = {rejection.study_uid for a in arrivals for rejection in a.facts.rejections}
        self._load_studies({arrival.facts.study["uid"] for arrival in arrivals} | rejected)
        self._load_patients({_patient_key(arrival) for arrival in arrivals})
        self._load_series({arrival.facts.series["uid"] for arrival in arrivals})

    def _load_instances(self, uids: Iterable[str]) -> None:
        instance, study, series = schema.instance.c, schema.study.c, schema.series.c
        query = (
            select(instance.uid, study.uid, series.uid, instance.sha256, instance.source, instance.received)
            .join_from(schema.instance, schema.study, study.pk == instance.study)
            .join(schema.series, series.pk == instance.series)
            .where(instance.uid.in_(uids))
        )
        for uid, study_uid, series_uid, sha256, *sent in self._connection.execute(query):
            self._known[uid] = Holder(study_uid, series_uid, bytes(sha256), *sent)

    def _load_studies(self, uids: Iterable[str]) -> None:
        c = schema.study.c
        query = select(c.pk, c.uid, c.facts, c.patient, c.sources, c.revision, c.changed).where(
            c.uid.in_(uids)
        )
        for pk, uid, facts, patient, sources, revision, changed in self._connection.execute(query):
            self._studies[uid] = _Study(
                pk, uid, orjson.loads(facts), patient=patient, sources=orjson.loads(sources),
                revision=revision, first_change=changed,
            )  # fmt: skip

    def _load_patients(self, keys: Iterable[str]) -> None:
        c = schema.patient.c
        known = [study.patient for study in self._studies.values()]
        query = select(c.pk, c.key, c.facts).where(c.key.in_(keys) | c.pk.in_(known))
        for pk, key, facts in self._connection.execute(query):
            self._patients[key] = _Row(pk, key, orjson.loads(facts))

    def _load_series(self, uids: Iterable[str]) -> None:
        c = schema.series.c
        studies = [study.pk for study in self._studies.values()]
        if not studies:
            return
        query = select(c.pk, c.study, c.uid, c.facts).where(c.study.in_(studies), c.uid.in_(uids))
        for pk, study, uid, facts in self._connection.execute(query):
            self._series[study, uid] = _Row(pk, uid, orjson.loads(facts))

    def _number(self, table: Table) -> int:
        """The next row number of a table; nobody else writes meanwhile."""
        if table.name not in self._next:
            self._next[table.name] = self._connection.execute(select(func.max(table.c.pk))).scalar() or 0
        self._next[table.name] += 1
        return self._next[table.name]

    # merging

    def _add(self, arrival: Arrival, now: int) -> bool:
        if not self._stands(self._known.get(arrival.facts.instance["uid"]), arrival, now):
            return False
        study = self._merge_study(arrival, now)
        series = self._merge_series(study, arrival, now)
        self._take(arrival, study, series)
        self._note(arrival, now)
        self._touch(study, now)
        return True

    def _stands(self, known: Holder | None, arrival: Arrival, now: int) -> bool:
        """Whether an instance is taken: what is known with the same content need not be."""
        if known is None:
            return self.conflicts.admits(arrival)
        if known.sha256 == arrival.sha256:
            return False
        taken = self.conflicts.judge(arrival, known, self._patient_of(known.study), now)
        if taken and known.study != arrival.facts.study["uid"]:
            self._touch_uid(known.study, now)
        return taken

    def _patient_of(self, study_uid: str) -> Values:
        """The facts of the patient whose study it is so far."""
        study = self._studies.get(study_uid)
        loaded = study and next((row for row in self._patients.values() if row.pk == study.patient), None)
        if loaded is not None:
            return loaded.facts
        patient, named = schema.patient.c, schema.study.c
        query = select(patient.facts).join_from(schema.patient, schema.study, named.patient == patient.pk)
        found = self._connection.execute(query.where(named.uid == study_uid)).scalar()
        return orjson.loads(found) if found else {}

    def _merge_study(self, arrival: Arrival, now: int) -> _Study:
        facts = arrival.facts
        patient = self._merge_patient(arrival, now)
        study = self._studies.get(facts.study["uid"])
        if study is None:
            pk = self._number(schema.study)
            study = _Study(pk, facts.study["uid"], facts.study, new=True, patient=patient.pk)
            self._studies[study.key] = study
        if study.patient != patient.pk:
            self._move(study, patient, arrival, now)
        self._merge(study, Level.STUDY, facts.study, arrival, now)
        if study.sources[:1] != [arrival.source]:
            study.sources = [arrival.source, *(uri for uri in study.sources if uri != arrival.source)]
        return study

    def _move(self, study: _Study, patient: _Row, arrival: Arrival, now: int) -> None:
        before = self._patient_of(study.key)
        known, new = before.get("key"), patient.facts.get("key")
        if known is not None and (new is None or names_same_patient(new, known)):
            return
        if is_other_patient(known, new):
            self.conflicts.moved(arrival, before, now)
        study.patient = patient.pk

    def _merge_patient(self, arrival: Arrival, now: int) -> _Row:
        key = _patient_key(arrival)
        patient = self._patients.get(key)
        if patient is None:
            patient = _Row(self._number(schema.patient), key, arrival.facts.patient, new=True)
            self._patients[key] = patient
        self._merge(patient, Level.PATIENT, arrival.facts.patient, arrival, now)
        return patient

    def _merge_series(self, study: _Study, arrival: Arrival, now: int) -> _Row:
        key = (study.pk, arrival.facts.series["uid"])
        series = self._series.get(key)
        if series is None:
            series = _Row(self._number(schema.series), key[1], arrival.facts.series, new=True)
            self._series[key] = series
        self._merge(series, Level.SERIES, arrival.facts.series, arrival, now)
        return series

    def _merge(self, row: _Row, level: Level, new: Values, arrival: Arrival, now: int) -> None:
        merged, conflicts = merge(level, RULES[level], row.facts, new)
        if merged is not row.facts:
            row.facts = merged
            row.changed = True
        if conflicts:
            self.conflicts.record(arrival, conflicts, now)

    def _take(self, arrival: Arrival, study: _Study, series: _Row) -> None:
        instance = arrival.facts.instance
        held = Holder(study.key, series.key, arrival.sha256, arrival.source, arrival.received)
        self._known[instance["uid"]] = held
        self._instances[instance["uid"]] = {
            "uid": instance["uid"],
            "study": study.pk,
            "series": series.pk,
            "sop_class": instance["sop_class"],
            "number": instance.get("number"),
            "title": instance.get("title"),
            "availability": instance.get("availability"),
            "attributes": _text(instance[ATTRIBUTES]) if ATTRIBUTES in instance else None,
            "transfer_syntax": arrival.transfer_syntax,
            "location": arrival.location,
            "size": arrival.size,
            "sha256": arrival.sha256,
            "source": arrival.source,
            "received": arrival.received,
        }

    def _note(self, arrival: Arrival, now: int) -> None:
        facts = arrival.facts
        uid, study_uid = facts.instance["uid"], facts.study["uid"]
        for issue in facts.issues:
            self._issues.append(
                {"instance_uid": uid, "study_uid": study_uid, "keyword": issue.keyword,
                 "reason": issue.reason, "value": issue.value, "at": now}
            )  # fmt: skip
        for rejection in facts.rejections:
            self._rejections.append(
                {"sop_uid": rejection.sop_instance_uid, "by_uid": uid,
                 "study_uid": rejection.study_uid, "reason": rejection.reason}
            )  # fmt: skip
            self._touch_uid(rejection.study_uid, now)

    def _touch(self, study: _Study, now: int) -> None:
        study.touched = now

    def _touch_uid(self, uid: str, now: int) -> None:
        if uid not in self._studies:
            self._load_studies([uid])
        if uid in self._studies:
            self._touch(self._studies[uid], now)

    # writing

    def _write(self, now: int) -> None:
        self._write_rows(schema.patient, self._patients.values(), _patient_values)
        self._touch_patients_studies(now)
        self._write_studies()
        self._write_series()
        upsert(self._connection, schema.instance, list(self._instances.values()), key=("uid",))
        note_encodings(self._connection, self._instances.values())
        taken = ((one["received"], one["source"]) for one in self._instances.values())
        note_instances(self._connection, taken, now)
        upsert(self._connection, schema.issue, self._issues, key=("instance_uid", "keyword", "reason"))
        upsert(self._connection, schema.rejection, self._rejections, key=("sop_uid", "by_uid"))
        self.conflicts.write(now)

    def _write_rows(self, table: Table, rows: Iterable[_Row], values: Any) -> None:
        written = [values(row) for row in rows if row.new or row.changed]
        upsert(self._connection, table, written, key=("pk",))

    def _touch_patients_studies(self, now: int) -> None:
        """A corrected patient shows in all studies that refer to it."""
        corrected = [row.pk for row in self._patients.values() if row.changed and not row.new]
        if not corrected:
            return
        c = schema.study.c
        loaded = [study.pk for study in self._studies.values() if study.touched is not None]
        self._connection.execute(
            update(schema.study)
            .where(c.patient.in_(corrected), c.pk.not_in(loaded))
            .values(
                revision=c.revision + 1, changed=func.coalesce(c.changed, now), due=now + self._timing.quiet
            )
        )

    def _write_studies(self) -> None:
        rows = [self._study_values(study) for study in self._studies.values() if study.touched is not None]
        upsert(self._connection, schema.study, rows, key=("pk",), keep=("published",))

    def _study_values(self, study: _Study) -> dict[str, Any]:
        touched = study.touched or 0
        changed = touched if study.first_change is None else study.first_change
        return {
            "pk": study.pk,
            "uid": study.key,
            "patient": study.patient,
            "facts": _text(study.facts),
            "sources": _text(study.sources),
            "revision": study.revision + 1,
            "published": 0,
            "changed": changed,
            "due": min(touched + self._timing.quiet, changed + self._timing.max_wait),
        }

    def _write_series(self) -> None:
        rows = [
            {"pk": row.pk, "study": study, "uid": row.key, "facts": _text(row.facts)}
            for (study, _uid), row in self._series.items()
            if row.new or row.changed
        ]
        upsert(self._connection, schema.series, rows, key=("pk",))


def _patient_key(arrival: Arrival) -> str:
    """The patient's key as it stands in the index."""
    return indexed(arrival.facts.patient_key)


def _patient_values(row: _Row) -> dict[str, Any]:
    return {"pk": row.pk, "key": row.key, "facts": _text(row.facts)}


def _text(value: Mapping[str, Any] | Sequence[Any]) -> str:
    return orjson.dumps(value).decode()
