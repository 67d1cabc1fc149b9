"""What retrievals ask beforehand: whose studies these are, and how instances of a SOP class are encoded."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, Select, exists, select

from pacsbridge.kernel.model import Level
from pacsbridge.store import schema
from pacsbridge.store.engine import Database
from pacsbridge.store.texts import indexed
from pacsbridge.store.upsert import upsert

_AT_A_TIME = 500
"""UIDs in one question."""


class Holdings:
    """Questions of retrievals; every method raises Unavailable when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def studies_of_patient(self, patient_id: str) -> Sequence[str]:
        """The published studies of patients with a PatientID, whoever issued it, as C-FIND shows them."""
        c = schema.study_key.c
        query = select(c.uid).where(c.patient_id == indexed(patient_id)).order_by(c.study)
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def patient_id(self, study_uid: str) -> str | None:
        """The PatientID of a study's patient; None where there is none, or no such study."""
        s, p = schema.study.c, schema.patient.c
        query = select(p.facts).join_from(schema.study, schema.patient, s.patient == p.pk)
        with self._database.read() as connection:
            facts = connection.execute(query.where(s.uid == study_uid)).scalar()
        key = orjson.loads(facts or b"{}").get("key")
        return None if key is None else str(key).partition("|")[2]

    def transfer_syntaxes(self, sop_classes: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """SOP class → the transfer syntaxes in which instances of it are held; for a few classes."""
        c = schema.encoding.c
        query = select(c.sop_class, c.transfer_syntax).where(c.sop_class.in_(sop_classes))
        found: dict[str, list[str]] = {}
        with self._database.read() as connection:
            for sop_class, syntax in connection.execute(query):
                found.setdefault(sop_class, []).append(syntax)
        return found

    def held(self, level: Level, uids: Sequence[str]) -> frozenset[str]:
        """Which of these studies, series or instances are held, in part at least."""
        found: set[str] = set()
        with self._database.read() as connection:
            for start in range(0, len(uids), _AT_A_TIME):
                asked = _HELD[level](uids[start : start + _AT_A_TIME])
                found.update(connection.execute(asked).scalars())
        return frozenset(found)


def _held_studies(uids: Sequence[str]) -> Select[Any]:
    s, i = schema.study.c, schema.instance.c
    return select(s.uid).where(s.uid.in_(uids), exists().where(i.study == s.pk))


def _held_series(uids: Sequence[str]) -> Select[Any]:
    e, i = schema.series.c, schema.instance.c
    return select(e.uid).where(e.uid.in_(uids), exists().where(i.study == e.study, i.series == e.pk))


def _held_instances(uids: Sequence[str]) -> Select[Any]:
    i = schema.instance.c
    return select(i.uid).where(i.uid.in_(uids))


_HELD: Mapping[Level, Callable[[Sequence[str]], Select[Any]]] = {
    Level.STUDY: _held_studies,
    Level.SERIES: _held_series,
    Level.INSTANCE: _held_instances,
}


def note_encodings(connection: Connection, instances: Iterable[Mapping[str, Any]]) -> None:
    """Note how the instances of some rows are encoded."""
    pairs = sorted({(row["sop_class"], row["transfer_syntax"]) for row in instances})
    rows = [{"sop_class": sop_class, "transfer_syntax": syntax} for sop_class, syntax in pairs]
    upsert(connection, schema.encoding, rows, key=("sop_class", "transfer_syntax"))
