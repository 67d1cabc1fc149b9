"""What retrievals ask beforehand: whose studies these are, and how instances of a SOP class are encoded."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, select

from pacsbridge.store import schema
from pacsbridge.store.engine import Database
from pacsbridge.store.texts import indexed
from pacsbridge.store.upsert import upsert


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


def note_encodings(connection: Connection, instances: Iterable[Mapping[str, Any]]) -> None:
    """Note how the instances of some rows are encoded."""
    pairs = sorted({(row["sop_class"], row["transfer_syntax"]) for row in instances})
    rows = [{"sop_class": sop_class, "transfer_syntax": syntax} for sop_class, syntax in pairs]
    upsert(connection, schema.encoding, rows, key=("sop_class", "transfer_syntax"))
