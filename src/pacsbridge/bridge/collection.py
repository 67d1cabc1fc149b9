"""Studies gathered in memory: what `translate` does with files."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pacsbridge.bridge.reading import readings
from pacsbridge.bridge.sources import Source
from pacsbridge.dicom.limits import DEFAULT, Limits
from pacsbridge.kernel.mapping import RULES
from pacsbridge.kernel.model import Facts, InstanceState, Level, SeriesState, StudyState, Values, merge
from pacsbridge.kernel.publication import Publication
from pacsbridge.kernel.resources import endpoint, imaging_study, patient


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file: nothing in `reason` when it was taken, `new` unless it was known already.

    `facts` are those of what was stored.
    """

    path: Path
    new: bool = False
    reason: str | None = None
    facts: Facts | None = None


class Collection:
    """Studies gathered in memory, for `translate`."""

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self._limits = limits
        self._studies: dict[str, _Study] = {}
        self._patients: dict[str, Values] = {}
        self._rejected: dict[str, str] = {}
        self.skipped: list[Outcome] = []

    def add(self, paths: Iterable[Path], source: Source) -> None:
        """Read every file below `paths`; what cannot be used goes to `skipped`."""
        for reading in readings(paths, source, self._limits):
            if reading.facts is not None:
                self._take(reading.facts, source)
            else:
                self.skipped.append(Outcome(reading.path, reason=reading.reason))

    def resources(self, publication: Publication) -> Iterator[dict[str, Any]]:
        """Endpoints, patients, studies."""
        yield from (endpoint(spec) for spec in publication.all_endpoints())
        for facts in self._patients.values():
            person = patient(facts, publication)
            if person is not None:
                yield person
        for study in self._studies.values():
            yield imaging_study(study.state(self._patients, self._rejected), publication)

    def _take(self, facts: Facts, source: Source) -> None:
        key = facts.patient_key
        self._patients[key] = _merged(Level.PATIENT, self._patients.get(key, {}), facts.patient)
        study = self._studies.setdefault(facts.study["uid"], _Study(source.uri))
        if "key" in facts.patient or study.patient is None:
            study.patient = key
        study.take(facts)
        self._rejected |= {note.sop_instance_uid: note.reason for note in facts.rejections}


@dataclass(slots=True)
class _Study:
    """One study while it is gathered."""

    source: str
    patient: str | None = None
    facts: Values = field(default_factory=dict)
    series: dict[str, Values] = field(default_factory=dict)
    instances: dict[str, tuple[str, InstanceState]] = field(default_factory=dict)

    def take(self, facts: Facts) -> None:
        """Merge one instance."""
        self.facts = _merged(Level.STUDY, self.facts, facts.study)
        uid = facts.series["uid"]
        self.series[uid] = _merged(Level.SERIES, self.series.get(uid, {}), facts.series)
        one = facts.instance
        state = InstanceState(
            one["uid"], one["sop_class"], one.get("number"), one.get("title"), one.get("availability")
        )
        self.instances[one["uid"]] = (uid, state)

    def state(self, patients: Mapping[str, Values], rejected: Mapping[str, str]) -> StudyState:
        """What the builder needs; `rejected`: SOP Instance UID → reason."""
        series = {uid: SeriesState(facts) for uid, facts in self.series.items()}
        for uid, instance in self.instances.values():
            instance.rejected = rejected.get(instance.uid)
            series[uid].instances.append(instance)
        held = [one for one in series.values() if one.instances]
        return StudyState(patients[self.patient or ""], self.facts, held, (self.source,))


def _merged(level: Level, known: Values, new: Values) -> Values:
    return merge(level, RULES[level], known, new)[0] if known else new
