"""Studies put together as the store does it, from decoded instances, in memory."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from kernel.test_cases import CASES, context_of, publication_of

from pacsbridge.dicom.dicom_json import from_json
from pacsbridge.kernel.attributes import Attributes, Issue
from pacsbridge.kernel.endpoints import endpoint
from pacsbridge.kernel.extract import extract
from pacsbridge.kernel.identity import Context, names_same_patient
from pacsbridge.kernel.mapping import RULES
from pacsbridge.kernel.model import (
    Conflict,
    Facts,
    InstanceState,
    Level,
    SeriesState,
    StudyState,
    Values,
    merge,
)
from pacsbridge.kernel.resources import imaging_study, patient


@dataclass
class Assembly:
    """What is known of one study after its instances arrived, the way the store merges them."""

    patients: dict[str, Values] = field(default_factory=dict)
    patient: str = ""
    study: Values = field(default_factory=dict)
    series: dict[str, Values] = field(default_factory=dict)
    instances: dict[str, tuple[str, Values]] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    issues: list[Issue] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)

    def add(self, facts: Facts) -> None:
        """One more instance."""
        key = facts.patient.get("key", "")
        self.patients[key] = self._merged(Level.PATIENT, self.patients.get(key, {}), facts.patient)
        vague = names_same_patient(key, self.patient) and key != self.patient
        if (key and not vague) or not self.patient:
            if self.patient and key != self.patient and not names_same_patient(self.patient, key):
                self.conflicts.append(Conflict(Level.STUDY, "patient", self.patient, key))
            self.patient = key
        self.study = self._merged(Level.STUDY, self.study, facts.study)
        series = facts.series["uid"]
        self.series[series] = self._merged(Level.SERIES, self.series.get(series, {}), facts.series)
        self.instances[facts.instance["uid"]] = (series, facts.instance)
        self.rejected |= {one.sop_instance_uid: one.reason for one in facts.rejections}
        self.issues += facts.issues

    def state(self, sources: Iterable[str], series_sources: Mapping[str, Iterable[str]]) -> StudyState:
        """The state that the builder takes."""
        series = [
            SeriesState(facts, self._instances_of(uid), tuple(series_sources.get(uid, ())))
            for uid, facts in self.series.items()
        ]
        return StudyState(self.patients[self.patient], self.study, series, tuple(sources))

    def _merged(self, level: Level, known: Values, new: Values) -> Values:
        merged, conflicts = merge(level, RULES[level], known, new)
        self.conflicts += conflicts
        return merged

    def _instances_of(self, series: str) -> list[InstanceState]:
        found = [facts for uid, facts in self.instances.values() if uid == series]
        return [InstanceState(**facts, rejected=self.rejected.get(facts["uid"])) for facts in found]


Assemble = Callable[..., tuple[StudyState, Assembly]]


@pytest.fixture(scope="session")
def assemble() -> Assemble:
    """A function from decoded instances, in the order of their arrival, to the state of their study."""

    def assembled(
        instances: Iterable[Attributes],
        context: Context = Context(),
        sources: Iterable[str] = ("urn:dicom:ae:CT1",),
        series_sources: Mapping[str, Any] | None = None,
    ) -> tuple[StudyState, Assembly]:
        assembly = Assembly()
        for attributes in instances:
            assembly.add(extract(attributes, context))
        return assembly.state(sources, series_sources or {}), assembly

    return assembled


@pytest.fixture(scope="session")
def published_cases(assemble: Assemble) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """The resources that each of the golden cases becomes."""
    found = {}
    for name, case in CASES.items():
        instances = [from_json(instance) for instance in case["instances"]]
        sources = case.get("sources", ["urn:dicom:ae:CT1"])
        state, _ = assemble(instances, context_of(case), sources, case.get("series_sources"))
        publication = publication_of(case)
        endpoints = [endpoint(spec) for spec in publication.all_endpoints()]
        built = (imaging_study(state, publication), patient(state.patient, publication), *endpoints)
        found[name] = [resource for resource in built if resource is not None]
    return found
