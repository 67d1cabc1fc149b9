"""A Find as SQL, chunk by chunk: the newest studies first, so that a page can go on from a position.

Conditions on what `study_key` and `series_record` have are the database's. Where it cannot tell exactly what
a condition says, and for all others, it finds at least what matches, and each record is looked at by itself.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from pacsbridge.kernel.finding import Find
from pacsbridge.kernel.matching import (
    DAY,
    Between,
    Condition,
    Conditions,
    Like,
    Named,
    OneOf,
    has_wildcards,
    satisfies,
)
from pacsbridge.kernel.model import Level, StudyState
from pacsbridge.kernel.query_keys import TAGS, Record
from pacsbridge.kernel.study_records import instance_records
from pacsbridge.kernel.zones import in_zone, widened
from pacsbridge.store.sql import Ask, Sql, among, beyond, either, every, ordered, sql
from pacsbridge.store.texts import LONGEST, indexed

States = Callable[[Sequence[int]], Mapping[int, StudyState]]
"""Everything known of studies by their row numbers, with the attributes of their instances."""

_FEW = 20
"""Studies whose instances are loaded at a time."""

_LISTED = 500
"""Alternatives of a condition that a statement lists; SQLite takes 32,766 values in all."""

_NEWEST_FIRST = (True, True, False)
"""Whether date, study and series descend."""

Position = tuple[int, ...]


class Chunk(NamedTuple):
    """Records that match, each merged from all levels, and where to go on; None at the end."""

    records: Sequence[Record]
    next: Position | None


class _Part(NamedTuple):
    """A condition of the database's; `exact` unless it may hold of more. `narrow`: an index serves it.

    `below`: what lists the studies of the series or instances that it is about, but for its end.
    """

    where: Sql
    exact: bool = True
    narrow: bool = False
    below: Sql | None = None


def chunk(ask: Ask, states: States, find: Find, after: Position | None, limit: int, offset: int = 0) -> Chunk:
    """The next records, from at most `limit` rows of the database, behind a position or a number of rows."""
    return _LEVELS[find.level](ask, states, find, after, limit, offset)


def is_exact(find: Find) -> bool:
    """Whether the database tells alone what matches, so that rows can be counted off."""
    if find.level is Level.INSTANCE or find.moments or find.offset is not None:
        return False
    parts = {tag: _part(tag, one) for tag, one in find.conditions.items()}
    return all(part is not None and part.exact for part in parts.values())


# levels


def _studies(ask: Ask, _states: States, find: Find, after: Position | None, limit: int, offset: int) -> Chunk:
    rows = _rows(ask, find, after, limit, offset, "k.date, k.study, k.patient", ("k.date", "k.study"))
    records = [orjson.loads(row[-1]) for row in rows]
    _count_patients(ask, find, [row[2] for row in rows], records)
    return Chunk(_matching(find, records), _next(rows, 2, limit))


def _series(ask: Ask, _states: States, find: Find, after: Position | None, limit: int, offset: int) -> Chunk:
    columns = "k.date, k.study, s.number, k.patient, s.body"
    rows = _rows(ask, find, after, limit, offset, columns, ("k.date", "k.study", "s.number"))
    records = [{**orjson.loads(row[-1]), **orjson.loads(row[-2])} for row in rows]
    _count_patients(ask, find, [row[3] for row in rows], records)
    return Chunk(_matching(find, records), _next(rows, 3, limit))


def _instances(
    ask: Ask, states: States, find: Find, after: Position | None, limit: int, offset: int
) -> Chunk:
    few = min(limit, _FEW)
    rows = _rows(ask, find, after, few, offset, "k.date, k.study, k.patient", ("k.date", "k.study"))
    above = {row[1]: orjson.loads(row[-1]) for row in rows}
    _count_patients(ask, find, [row[2] for row in rows], list(above.values()))
    kept = [pk for pk, record in above.items() if satisfies(_zoned(find, record), find.upto(Level.STUDY))]
    known = states(kept) if kept else {}
    records = [
        {**above[pk], **series, **own}
        for pk in kept
        if pk in known
        for series, own in instance_records(known[pk])
    ]
    return Chunk(_matching(find, records), _next(rows, 2, few))


def _patients(
    ask: Ask, _states: States, find: Find, after: Position | None, limit: int, offset: int
) -> Chunk:
    """A patient by the newest of its studies: all have the same of him."""
    beyond = [] if after is None else [sql("k.patient > ?", after[0])]
    conditions = every([sql("TRUE"), *(part.where for part in _parts(find)), *beyond])
    grouped = sql("SELECT k.patient, max(k.study) AS study FROM study_key k WHERE") + conditions
    grouped += sql("GROUP BY k.patient ORDER BY k.patient LIMIT ? OFFSET ?", limit, offset)
    statement = sql("SELECT g.patient, b.body FROM (") + grouped
    rows = ask(statement + sql(") AS g JOIN study_record b ON b.study = g.study ORDER BY g.patient"))
    records = [orjson.loads(row[-1]) for row in rows]
    _count_patients(ask, find, [row[0] for row in rows], records)
    return Chunk(_matching(find, records), _next(rows, 1, limit))


_LEVELS: Mapping[Level, Callable[[Ask, States, Find, Position | None, int, int], Chunk]] = {
    Level.PATIENT: _patients,
    Level.STUDY: _studies,
    Level.SERIES: _series,
    Level.INSTANCE: _instances,
}


def _next(rows: Sequence[tuple[Any, ...]], keys: int, limit: int) -> Position | None:
    return tuple(rows[-1][:keys]) if len(rows) == limit else None


def _matching(find: Find, records: Iterable[Record]) -> Sequence[Record]:
    if is_exact(find):
        return list(records)
    return [
        one
        for one in (_zoned(find, record) for record in records)
        if satisfies(one, find.conditions) and all(moment.holds(one) for moment in find.moments)
    ]


def _zoned(find: Find, record: Record) -> Record:
    return record if find.offset is None else in_zone(record, find.offset)


def _rows(
    ask: Ask,
    find: Find,
    after: Position | None,
    limit: int,
    offset: int,
    columns: str,
    keys: Sequence[str],
) -> Sequence[tuple[Any, ...]]:
    """Rows in the order of `keys`, the body of the study's record last: the latest date first."""
    parts = _parts(find)
    directions = _NEWEST_FIRST[: len(keys)]
    by_index = not any(part.narrow for part in parts)
    tables = "study_key k CROSS JOIN study_record b" + (
        " CROSS JOIN series_record s" if len(keys) > 2 else ""
    )
    links = ["b.study = k.study", *(["s.study = k.study"] if len(keys) > 2 else [])]
    behind = [] if after is None else [beyond(keys, directions, after)]
    statement = sql(f"SELECT {columns}, b.body FROM {tables} WHERE")
    statement += every([*map(sql, links), *(part.where for part in parts), *behind])
    order = ordered(keys, directions)
    return ask(
        statement + sql(f"ORDER BY {order if by_index else f'+{order}'} LIMIT ? OFFSET ?", limit, offset)
    )


# conditions


def _parts(find: Find) -> Sequence[_Part]:
    """What the database is told of a query."""
    zoned = find.offset is not None
    conditions = _widened(find.conditions) if zoned else find.conditions
    found = [part for tag, one in conditions.items() if (part := _part(tag, one)) is not None]
    days = [(one.low // DAY, one.high // DAY) for one in find.moments if one.date == _DATE]
    found += [_date_part(*(widened(*span) if zoned else span)) for span in days]
    return [one for part in found for one in _placed(find.level, part)]


def _placed(level: Level, part: _Part) -> Iterable[_Part]:
    """A condition where the tables of a level have what it looks at; one on what is below finds studies."""
    if not part.below:
        return (part,)
    study = part._replace(where=sql("k.study IN (") + part.below + part.where + sql(")"))
    return (part, study) if level is Level.SERIES and part.where.text.startswith("s.") else (study,)


def _widened(conditions: Conditions) -> Conditions:
    """Conditions that hold wherever those of another time zone do, of what the database can tell."""
    found = {tag: one for tag, one in conditions.items() if tag != _TIME}
    if isinstance(days := found.get(_DATE), Between):
        found[_DATE] = Between(days.vr, tuple(widened(*span) for span in days.ranges))
    return found


_DATE, _TIME = TAGS["StudyDate"], TAGS["StudyTime"]


def _date_part(low: int, high: int) -> _Part:
    return _Part(sql("k.date BETWEEN ? AND ?", low, high), exact=False)


def _part(tag: str, condition: Condition) -> _Part | None:
    """A condition in the database's words, where it has any for it."""
    make = _COLUMNS.get(tag)
    return None if make is None else make(condition)


def _text(column: str) -> Callable[[Condition], _Part | None]:
    def part(condition: Condition) -> _Part | None:
        if isinstance(condition, OneOf):
            if len(condition.texts) > _LISTED:
                return None
            return _Part(among(column, map(indexed, condition.texts)), narrow=True)
        return _like(column, condition.text) if isinstance(condition, Like) else None

    return part


def _like(column: str, text: str) -> _Part:
    """By the beginning, which an index serves, and by the whole as far as a database's LIKE is the same.

    SQLite's pays no heed to the case of ASCII letters.
    """
    first = _beginning(text)
    pieces = [sql(f"{column} LIKE ? ESCAPE '\\'", _pattern(text))]
    if first:
        pieces.append(sql(f"{column} >= ? AND {column} < ?", first, _behind(first)))
    rest = text[len(first) :]
    exact = not any(character.isalpha() for character in rest)
    return _Part(every(pieces), exact=exact and len(text) < LONGEST // 2, narrow=bool(first))


def _beginning(text: str) -> str:
    """The text before the first wildcard."""
    return text[: min(text.find(mark) for mark in "*?" if mark in text)]


def _behind(text: str) -> str:
    """The least text that is greater than all which begin with another."""
    return text[:-1] + chr(min(ord(text[-1]) + 1, 0x10FFFF))


def _pattern(text: str) -> str:
    """A value with wildcards as LIKE takes it."""
    escaped = "".join(f"\\{one}" if one in "%_\\" else one for one in text)
    return escaped.replace("*", "%").replace("?", "_")


def _name(column: str) -> Callable[[Condition], _Part | None]:
    """A name in one of its groups, each of which ends in `=` there."""

    def part(condition: Condition) -> _Part | None:
        if not isinstance(condition, Named):
            return None
        text = condition.text
        if "=" in text or len(text) >= LONGEST // 2:
            return None
        patterns = [_pattern(place) for form in condition.forms for place in (f"{form}=*", f"*={form}=*")]
        like = " OR ".join([f"{column} LIKE ? ESCAPE '\\'"] * len(patterns))
        exact = not has_wildcards(text.strip("*"))
        return _Part(sql(f"({like})", *patterns), exact=exact)

    return part


def _number(column: str) -> Callable[[Condition], _Part | None]:
    def part(condition: Condition) -> _Part | None:
        if not isinstance(condition, Between):
            return None
        ranges = [sql(f"{column} BETWEEN ? AND ?", max(low, 0), high) for low, high in condition.ranges]
        return _Part(either(ranges)) if len(ranges) <= _LISTED else None

    return part


def _modalities(condition: Condition) -> _Part | None:
    """Among the modalities of a study, which stand between backslashes."""
    if not isinstance(condition, OneOf) or len(condition.texts) > _LISTED:
        return None
    like = [sql("k.modalities LIKE ? ESCAPE '\\'", f"%\\\\{_pattern(text)}\\\\%") for text in condition.texts]
    return _Part(either(like), exact=all(map(_is_plain, condition.texts)))


def _is_plain(code: str) -> bool:
    """Whether LIKE says the same as equality, among codes that are in capitals throughout."""
    return code == code.upper()


def _of_series(column: str) -> Callable[[Condition], _Part | None]:
    own = _text(column)
    studies = sql("SELECT s.study FROM series_record s WHERE")

    def part(condition: Condition) -> _Part | None:
        found = own(condition)
        return found and found._replace(below=studies, narrow=found.narrow and column == "s.uid")

    return part


_INSTANCES = "SELECT study, uid FROM instance UNION ALL SELECT study, uid FROM reported_instance"


def _of_instance(condition: Condition) -> _Part | None:
    """Pushed instances and those that archives tell of."""
    found = _text("i.uid")(condition)
    return found and found._replace(below=sql(f"SELECT i.study FROM ({_INSTANCES}) i WHERE"))


_COLUMNS: Mapping[str, Callable[[Condition], _Part | None]] = {
    TAGS["StudyInstanceUID"]: _text("k.uid"),
    TAGS["StudyDate"]: _number("k.date"),
    TAGS["StudyTime"]: _number("k.time"),
    TAGS["PatientID"]: _text("k.patient_id"),
    TAGS["PatientName"]: _name("k.patient_name"),
    TAGS["PatientBirthDate"]: _number("k.birth_date"),
    TAGS["PatientSex"]: _text("k.sex"),
    TAGS["AccessionNumber"]: _text("k.accession"),
    TAGS["StudyID"]: _text("k.study_id"),
    TAGS["ModalitiesInStudy"]: _modalities,
    TAGS["SeriesInstanceUID"]: _of_series("s.uid"),
    TAGS["Modality"]: _of_series("s.modality"),
    TAGS["SOPInstanceUID"]: _of_instance,
}
"""Attribute → the database's words for a condition on it; None where it has none."""


def _count_patients(ask: Ask, find: Find, patients: Sequence[int], records: Sequence[Record]) -> None:
    """Add to records what is known of their patients, where that is asked for."""
    if not find.patient_counts or not patients:
        return
    listed = sorted(set(patients))
    counted: dict[int, Sequence[int]] = {}
    for start in range(0, len(listed), _LISTED):
        statement = sql("SELECT patient, count(*), sum(series), sum(instances) FROM study_key k WHERE")
        some = among("k.patient", listed[start : start + _LISTED])
        counted |= {row[0]: row[1:] for row in ask(statement + some + sql("GROUP BY patient"))}
    for patient, record in zip(patients, records, strict=True):
        for tag, number in zip(_PATIENT_COUNTS, counted.get(patient, ()), strict=False):
            record[tag] = [str(number)]


_PATIENT_COUNTS = tuple(
    TAGS[f"NumberOfPatientRelated{level}"] for level in ("Studies", "Series", "Instances")
)
