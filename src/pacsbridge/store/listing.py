"""What C-FIND and QIDO-RS find studies and series by, and answer of them: written as they are published."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, Table, delete, select

from pacsbridge.kernel import matching
from pacsbridge.kernel.query_keys import TAGS, Record
from pacsbridge.kernel.study_records import StudyRecord
from pacsbridge.store import schema
from pacsbridge.store.records import Listing
from pacsbridge.store.texts import indexed

NONE = -1
"""A date or time that lacks, or is none."""


def put(connection: Connection, listings: Iterable[Listing]) -> None:
    """Write what queries answer of studies, in place of what they did."""
    latest = {one.study: one.record for one in listings}
    if not latest:
        return
    for table, rows in _wanted(connection, latest).items():
        connection.execute(delete(table).where(table.c.study.in_(latest)))
        _insert(connection, table, rows)


def differing(connection: Connection, listings: Iterable[Listing]) -> set[int]:
    """Those of some studies, by their row numbers, of which queries answer something else."""
    latest = {one.study: one.record for one in listings}
    found: set[int] = set()
    for table, rows in _wanted(connection, latest).items():
        wanted = {_comparable(row) for row in rows}
        query = select(table).where(table.c.study.in_(latest))
        there = {_comparable(row._mapping) for row in connection.execute(query)}
        found |= {dict(row)["study"] for row in wanted ^ there}
    return found


def _comparable(row: Mapping[Any, Any]) -> frozenset[tuple[str, Any]]:
    """A row as part of a set; the order of tags within a body says nothing."""
    return frozenset((name, _canonical(value) if name == "body" else value) for name, value in row.items())


def _canonical(body: str) -> bytes:
    try:
        return orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONDecodeError:
        return body.encode()


def _wanted(
    connection: Connection, latest: Mapping[int, StudyRecord | None]
) -> Mapping[Table, list[dict[str, Any]]]:
    """The rows of each table that make up what queries answer of studies."""
    living = [(study, record) for study, record in latest.items() if record is not None]
    patients = _patients(connection, [study for study, _record in living])
    return {
        schema.study_key: [_key(pk, patients[pk], one) for pk, one in living],
        schema.study_record: [{"study": pk, "body": _text(one.attributes)} for pk, one in living],
        schema.series_record: [row for pk, one in living for row in _series(pk, one)],
    }


def _insert(connection: Connection, table: Any, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        connection.execute(table.insert(), rows)


def _patients(connection: Connection, studies: Sequence[int]) -> dict[int, int]:
    c = schema.study.c
    query = select(c.pk, c.patient).where(c.pk.in_(studies))
    return {pk: patient for pk, patient in connection.execute(query)}  # noqa: C416 - rows into a dict


def _key(study: int, patient: int, record: StudyRecord) -> dict[str, Any]:
    values = record.attributes
    return {
        "study": study,
        "patient": patient,
        "uid": record.uid,
        "date": _number(values, "StudyDate", "DA"),
        "time": _number(values, "StudyTime", "TM"),
        "patient_id": indexed(_first(values, "PatientID")),
        "patient_name": indexed(name_column(_first(values, "PatientName"))),
        "birth_date": _number(values, "PatientBirthDate", "DA"),
        "sex": indexed(_first(values, "PatientSex")),
        "accession": indexed(_first(values, "AccessionNumber")),
        "study_id": indexed(_first(values, "StudyID")),
        "modalities": "\\".join(["", *values.get(TAGS["ModalitiesInStudy"], ()), ""]),
        "series": record.series_count,
        "instances": record.instance_count,
    }


def _series(study: int, record: StudyRecord) -> Iterator[dict[str, Any]]:
    for number, one in enumerate(record.series):
        yield {
            "study": study,
            "number": number,
            "uid": one[TAGS["SeriesInstanceUID"]][0],
            "modality": _first(one, "Modality"),
            "body": _text(one),
        }


def name_column(text: str) -> str:
    """A person name as it stands in its column: its groups, the first one first, in bounds of their own."""
    return matching.folded(text) + "=" if text else ""


def _first(record: Record, keyword: str) -> str:
    values = record.get(TAGS[keyword])
    return str(values[0]) if values else ""


def _number(record: Record, keyword: str, vr: str) -> int:
    span = matching.SPANS[vr](_first(record, keyword))
    return NONE if span is None else span[0]


def _text(record: Record) -> str:
    return orjson.dumps(record).decode()
