"""Records of an archive (QIDO-RS, DICOM JSON) → what it says about a study."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

import orjson

from pacsbridge.bridge.archive_listing import STUDY_UID, Row, first_text, names, study_date
from pacsbridge.dicom.dicom_json import from_json
from pacsbridge.dicom.limits import DEFAULT, Limits
from pacsbridge.errors import NotUnderstood, PacsbridgeError, Refused
from pacsbridge.kernel.attributes import ELEMENTS, Attributes, Issue
from pacsbridge.kernel.extract import extract_levels
from pacsbridge.kernel.identity import Context
from pacsbridge.kernel.mapping import RULES, keywords
from pacsbridge.kernel.model import Level, Values, merge
from pacsbridge.kernel.reports import ONLINE, Report, ReportedSeries
from pacsbridge.kernel.values import uid as checked_uid
from pacsbridge.kernel.values import unsigned

_AVAILABILITY = "InstanceAvailability"
_PARENTS = ("StudyInstanceUID", "SeriesInstanceUID")


def _tags(*names: str) -> tuple[str, ...]:
    return tuple(f"{ELEMENTS[name].tag:08X}" for name in dict.fromkeys(names))


FIELDS: Mapping[str, tuple[str, ...]] = {
    "studies": _tags(*keywords(Level.PATIENT, Level.STUDY), _AVAILABILITY),
    "series": _tags(*keywords(Level.SERIES), *_PARENTS),
    "instances": _tags(*keywords(Level.SERIES, Level.INSTANCE), *_PARENTS),
}
"""Level → the elements that the mapping needs, which an archive gives only where they are named."""

LEVELS: Mapping[str, tuple[Level, ...]] = {
    "metadata": tuple(Level),
    "instance": (Level.SERIES, Level.INSTANCE),
    "series": (Level.SERIES,),
    "study": (),
}
"""How deep an archive is asked → the levels of the facts in a row."""


_COUNTED = frozenset(name for tag in FIELDS["studies"] for name in names(tag))
"""What tells a record from an earlier one."""

_OF_SERIES = frozenset(_tags(*keywords(Level.SERIES))) - frozenset(_tags(*keywords(Level.INSTANCE)))
"""The elements of an instance's row that are its series' alone."""


class Record(NamedTuple):
    """What an archive's list says about one study; `expected` instances, None where it does not say."""

    uid: str
    digest: bytes
    date: str | None
    attributes: Attributes
    expected: int | None


def record(row: Row, limits: Limits = DEFAULT) -> Record:
    """A row of a list of studies. Raises NotUnderstood where it has no Study Instance UID."""
    attributes = from_json(row, limits)
    uid = checked_uid(attributes.text("StudyInstanceUID") or "")
    if uid is None:
        raise NotUnderstood("StudyInstanceUID is missing or no UID", "StudyInstanceUID")
    expected = unsigned(attributes.text("NumberOfStudyRelatedInstances") or "")
    kept = {name: element for name, element in row.items() if name in _COUNTED}
    digest = sha256(orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)).digest()
    return Record(uid, digest, study_date(row), attributes, expected)


def study_of(row: Row, only: str | None) -> str | None:
    """The study that a row of series or instances belongs to; `only` where it does not say."""
    return checked_uid(first_text(row, STUDY_UID) or "") or only


def report(of: Record, rows: Iterable[Row], level: str, context: Context, limits: Limits = DEFAULT) -> Report:
    """What an archive says about a study, by its record and the rows of its series or instances."""
    facts, issues = extract_levels(of.attributes, (Level.PATIENT, Level.STUDY), context)
    found = _Series(level, context, limits)
    for row in sorted(rows, key=_place):
        found.take(of.uid, row)
    noted = [*((of.uid, issue) for issue in issues), *found.issues]
    availability = of.attributes.text(_AVAILABILITY) or ONLINE
    patient, study = found.over(facts[0], facts[1])
    return Report(patient, study, found.reported(), availability, tuple(noted))


def _place(row: Row) -> tuple[str, str]:
    """An order of rows that does not depend on the archive's."""
    return first_text(row, "0020000E") or "", first_text(row, "00080018") or ""


class _Series:
    """The series of one study while its rows are read."""

    def __init__(self, level: str, context: Context, limits: Limits) -> None:
        self._levels = LEVELS[level]
        self._context = context
        self._limits = limits
        self._facts: dict[str, Values] = {}
        self._instances: dict[str, dict[str, Values]] = {}
        self._series: dict[bytes, str] = {}
        self._above: tuple[Values, Values] = ({}, {})
        self.issues: list[tuple[str, Issue]] = []

    def take(self, study_uid: str, row: Row) -> None:
        """One row more; one that cannot be used is noted and left out.

        Instances of a series mostly say the same of it, which is then read once.
        """
        shared = {tag: one for tag, one in row.items() if tag in _OF_SERIES}
        uid = self._series.get(orjson.dumps(shared)) if self._levels == LEVELS["instance"] else None
        levels = self._levels if uid is None else (Level.INSTANCE,)
        own = row if uid is None else {tag: one for tag, one in row.items() if tag not in _OF_SERIES}
        try:
            facts, issues = extract_levels(from_json(own, self._limits), levels, self._context)
        except Refused as exc:
            self._note(study_uid, exc)
            return
        self.issues.extend((facts[3].get("uid", study_uid), issue) for issue in issues)
        if facts[1]:
            self._above = self.over(facts[0], facts[1])
        if uid is None:
            uid = self._merge(facts[2])
            self._series[orjson.dumps(shared)] = uid
        if facts[3]:
            self._instances.setdefault(uid, {})[facts[3]["uid"]] = facts[3]

    def _merge(self, series: Values) -> str:
        """Facts of a series over those that are known; returns its UID."""
        uid: str = series["uid"]
        known = self._facts.get(uid)
        rules = RULES[Level.SERIES]
        self._facts[uid] = series if known is None else merge(Level.SERIES, rules, known, series)[0]
        return uid

    def _note(self, study_uid: str, fault: PacsbridgeError) -> None:
        self.issues.append((study_uid, Issue(getattr(fault, "parameter", None) or "DataSet", "", str(fault))))

    def over(self, patient: Values, study: Values) -> tuple[Values, Values]:
        """Facts of patient and study, those of headers over them."""
        levels = zip((Level.PATIENT, Level.STUDY), (patient, study), self._above, strict=True)
        found = [merge(level, RULES[level], known, own)[0] if own else known for level, known, own in levels]
        return found[0], found[1]

    def reported(self) -> Sequence[ReportedSeries]:
        """Series and instances by their UIDs."""
        return [
            ReportedSeries(
                self._facts[uid], [one for _uid, one in sorted(self._instances.get(uid, {}).items())]
            )
            for uid in sorted(self._facts)
        ]
