"""Facts as they are kept, and the rules by which facts of many instances become one study.

A fact is a FHIR-ready, JSON-able value under a field name of `mapping.ROWS`; what is absent has no key.
Facts of one level merge field by field, by the rule of the field's row:

    last     the last received wins; a differing earlier value is a conflict on record
    least    the smallest wins, so that the order of arrival changes nothing
    union    a sorted list of all distinct values, from one value an instance

A later data set that lacks a value erases nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pacsbridge.kernel.attributes import Issue

Values = dict[str, Any]
"""One level's facts: field name → JSON-able value."""


class Level(StrEnum):
    """The four levels of the DICOM information model (PS3.3 A.1.2)."""

    PATIENT = "patient"
    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"


class Merge(StrEnum):
    """How two values of one field become one."""

    LAST = "last"
    LEAST = "least"
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


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two instances disagree about one fact: `known` stood there, `new` replaces it."""

    level: Level
    field: str
    known: Any
    new: Any


@dataclass(slots=True)
class InstanceState:
    """One instance of a study as the builder needs it; `rejected` is the DCM code of a rejection note."""

    uid: str
    sop_class: str
    number: int | None = None
    title: str | None = None
    availability: str | None = None
    rejected: str | None = None


@dataclass(slots=True)
class SeriesState:
    """The merged facts of one series and its instances, in any order."""

    facts: Values
    instances: list[InstanceState] = field(default_factory=list)


@dataclass(slots=True)
class StudyState:
    """Everything the builder of an ImagingStudy needs; series in any order.

    `patient` holds merged patient facts; `sources` the URIs of the sources that hold the study, the last
    writer first.
    """

    patient: Values
    study: Values
    series: list[SeriesState] = field(default_factory=list)
    sources: tuple[str, ...] = ()


def merge(
    level: Level, rules: Mapping[str, Merge], known: Values, new: Values
) -> tuple[Values, Sequence[Conflict]]:
    """The facts of one level after `new` arrives, and what it overruled.

    Returns `known` itself (same object) when nothing changes, so that callers can tell cheaply.
    """
    if known == new:
        return known, ()
    merged: Values | None = None
    conflicts: list[Conflict] = []
    for name, value in new.items():
        before = known.get(name)
        if before == value:
            continue
        rule = rules.get(name, Merge.LAST)
        after = value if before is None else _MERGERS[rule](before, value)
        if before == after:
            continue
        if before is not None and rule is Merge.LAST:
            conflicts.append(Conflict(level, name, before, value))
        if merged is None:
            merged = dict(known)
        merged[name] = after
    return (known if merged is None else merged), conflicts


def _least(before: Any, value: Any) -> Any:
    return min(before, value)


def _union(before: Any, value: Any) -> Any:
    return sorted({*before, *value})


def _last(_before: Any, value: Any) -> Any:
    return value


_MERGERS = {Merge.LAST: _last, Merge.LEAST: _least, Merge.UNION: _union}
