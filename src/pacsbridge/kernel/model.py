"""Facts as they are kept, and the rules by which facts of many instances become one study.

A fact is a FHIR-ready, JSON-able value under a field name of `mapping.ROWS`; what is absent has no key.
Facts of one level merge field by field, by the rule of the field's row:

    last      the last received wins; a differing earlier value is a conflict on record
    refine    as last, but of two that agree the fuller one stays: a date with its time over the date alone,
              an identifier with its system over the bare value
    newest    the last received wins, and no conflict: what changes by its nature, such as counts
    earliest  the earliest dateTime wins; one with a time stands before a date alone
    overlay   attribute by attribute the last received wins, and no conflict: other facts tell those
    union     a list of all distinct values in a fixed order, from one list an instance

All rules give the same for any order of instances that agree. A later data set that lacks a value erases
nothing.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from pacsbridge.kernel.attributes import Issue

Values = dict[str, Any]
"""One level's facts: field name → JSON-able value. Values are shared and never changed in place."""

MOST = 256
"""Values that a union keeps: the first ones in its order, so that any order of arrival keeps the same."""


class Level(StrEnum):
    """The four levels of the DICOM information model (PS3.3 A.1.2)."""

    PATIENT = "patient"
    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"


class Merge(StrEnum):
    """How two values of one field become one."""

    LAST = "last"
    REFINE = "refine"
    NEWEST = "newest"
    EARLIEST = "earliest"
    OVERLAY = "overlay"
    UNION = "union"


@dataclass(frozen=True, slots=True)
class Rejection:
    """One instance that a Key Object Selection document rejects (IHE RAD IOCM): `reason` is the DCM code."""

    study_uid: str
    sop_instance_uid: str
    reason: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What one data set says.

    `study["uid"]`, `series["uid"]`, `instance["uid"]` and `instance["sop_class"]` are always there.
    `patient` has a `key` (what tells patients apart: issuer and PatientID) unless PatientID is missing.
    """

    patient: Values
    study: Values
    series: Values
    instance: Values
    rejections: tuple[Rejection, ...] = ()
    issues: tuple[Issue, ...] = ()

    @property
    def patient_key(self) -> str:
        """What the patient is kept under; one without PatientID is known by its study alone."""
        return self.patient.get("key") or f"study:{self.study['uid']}"


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two instances disagree about one fact: `known` stood there, `new` replaces it."""

    level: Level
    field: str
    known: Any
    new: Any


@dataclass(slots=True)
class InstanceState:
    """One instance of a study as the builder needs it; `rejected` is the DCM code of a rejection note.

    `attributes` are those that queries are answered from, and `transfer_syntax` is what it is held in, where
    they were asked for.
    """

    uid: str
    sop_class: str
    number: int | None = None
    title: str | None = None
    availability: str | None = None
    rejected: str | None = None
    attributes: Values = field(default_factory=dict)
    transfer_syntax: str | None = None


@dataclass(slots=True)
class SeriesState:
    """The merged facts of one series and its instances, in any order.

    `sources` are the URIs of the sources that hold this series; empty: those that hold the study.
    """

    facts: Values
    instances: list[InstanceState] = field(default_factory=list)
    sources: tuple[str, ...] = ()


@dataclass(slots=True)
class StudyState:
    """Everything the builder of an ImagingStudy needs; series in any order.

    `patient` holds merged patient facts; `sources` the URIs of the sources that hold the study, the last
    writer first. A study without `study["uid"]` is known from an order alone. `discontinued`: its performed
    procedure step was (PS3.3 C.4.14). `availability` is what archives say of the whole (PS3.3 C.4.23.1.1),
    None where none has it. `withdrawn` is the status that a deletion upstream gives it, "delete" for none.
    """

    patient: Values
    study: Values
    series: list[SeriesState] = field(default_factory=list)
    sources: tuple[str, ...] = ()
    discontinued: bool = False
    availability: str | None = None
    withdrawn: str | None = None


def merge(
    level: Level, rules: Mapping[str, Merge], known: Values, new: Values
) -> tuple[Values, Sequence[Conflict]]:
    """The facts of one level after `new` arrives, and what it overruled.

    Returns `known` itself (same object) when nothing changes, so that callers can tell cheaply.
    """
    if known == new:
        return known, ()
    changes: Values = {}
    conflicts: list[Conflict] = []
    for name, value in new.items():
        before = known.get(name)
        if before == value:
            continue
        rule = rules.get(name, Merge.LAST)
        after = value if before is None else _MERGERS[rule](before, value)
        if before == after:
            continue
        changes[name] = after
        if before is not None and _overrules(rule, before, value):
            conflicts.append(Conflict(level, name, before, value))
    return ({**known, **changes} if changes else known), conflicts


def union(known: Sequence[Any], new: Sequence[Any]) -> list[Any]:
    """All distinct values of both in the order of their JSON text, at most `MOST`."""
    if not known and len(new) == 1:
        return list(new)
    by_text = {json.dumps(value, sort_keys=True): value for value in (*known, *new)}
    return [by_text[text] for text in sorted(by_text)[:MOST]]


def covers(full: Any, part: Any) -> bool:
    """Whether `full` says everything that `part` says: equal, or its members cover those of `part`."""
    if isinstance(part, dict) and isinstance(full, dict):
        return all(name in full and covers(full[name], value) for name, value in part.items())
    if isinstance(part, list) and isinstance(full, list):
        return len(part) == len(full) and all(map(covers, full, part))
    return bool(full == part)


def fullest(values: Sequence[Any]) -> list[Any]:
    """The distinct values that no other value covers, in their order."""
    distinct: list[Any] = []
    for value in values:
        if value not in distinct:
            distinct.append(value)
    if len(distinct) == 1:
        return distinct
    return [one for one in distinct if not any(other is not one and covers(other, one) for other in distinct)]


def _overrules(rule: Merge, before: Any, value: Any) -> bool:
    if rule is Merge.REFINE:
        return not _refines(value, before)
    return rule is Merge.LAST


def _refines(full: Any, part: Any) -> bool:
    """As `covers`, for top-level dateTimes too: `2020-01-31T10:00:00Z` refines `2020-01-31` and `2020`."""
    if isinstance(full, str) and isinstance(part, str):
        return full == part or (full.startswith(part) and full[len(part)] in "-T")
    return covers(full, part)


def _refine(before: Any, value: Any) -> Any:
    return before if _refines(before, value) else value


def _earliest(before: Any, value: Any) -> Any:
    return min(before, value, key=_moment)


def _moment(date_time: str) -> tuple[bool, float, str]:
    if "T" not in date_time:
        return (True, 0.0, date_time)
    return (False, datetime.fromisoformat(date_time).timestamp(), date_time)


def _union(before: Any, value: Any) -> Any:
    if all(one in before for one in value):
        return before
    return union(before, value)


def _overlay(before: Any, value: Any) -> Any:
    return {**before, **value}


def _last(_before: Any, value: Any) -> Any:
    return value


_MERGERS: Mapping[Merge, Callable[[Any, Any], Any]] = {
    Merge.LAST: _last,
    Merge.REFINE: _refine,
    Merge.NEWEST: _last,
    Merge.EARLIEST: _earliest,
    Merge.OVERLAY: _overlay,
    Merge.UNION: _union,
}
