"""What archives say about studies, and how that goes together with the headers of pushed instances.

Of series and instances a header knows more than a record of an archive, so that it wins. Of counts the latest
record does. Patients are merged as they come, by the store. Each archive's word is kept apart: when one of
them no longer has a study, what the others hold stays.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pacsbridge.kernel.attributes import Issue
from pacsbridge.kernel.mapping import RULES
from pacsbridge.kernel.model import InstanceState, Level, SeriesState, StudyState, Values, merge

ONLINE = "ONLINE"
"""What an archive that says nothing else means (PS3.3 C.4.23.1.1)."""

DELETED = "delete"
"""A study's status when an archive's deletion takes the ImagingStudy with it."""

_COUNTS = ("reported_series", "reported_instances")


class ReportedSeries(NamedTuple):
    """One series: its facts, and those of its instances; none where only series were asked for."""

    facts: Values
    instances: Sequence[Values] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What one archive says about one study, `study["uid"]`; `issues` are those of all its records."""

    patient: Values
    study: Values
    series: Sequence[ReportedSeries] = ()
    availability: str = ONLINE
    issues: Sequence[tuple[str, Issue]] = field(default=(), compare=False)
    """Issues, each with the UID of the study or instance that it is about."""

    def plain(self) -> Mapping[str, Any]:
        """As JSON takes it; without the issues."""
        return {
            "patient": self.patient,
            "study": self.study,
            "series": [[one.facts, list(one.instances)] for one in self.series],
            "availability": self.availability,
        }

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> "Report":
        """What `plain` gave."""
        series = [ReportedSeries(facts, instances) for facts, instances in plain["series"]]
        return cls(plain["patient"], plain["study"], series, plain["availability"])

    @property
    def instance_uids(self) -> Sequence[str]:
        """The SOP Instance UIDs of all its series."""
        return [one["uid"] for series in self.series for one in series.instances]


class Sourced(NamedTuple):
    """A report with the URI of its archive; `gone`: what the archive's deletion of the study means."""

    source: str
    report: Report
    gone: str | None = None


def combined(held: StudyState, reports: Sequence[Sourced]) -> StudyState:
    """A study by its pushed instances and by what archives say, the latest report last.

    `held.sources` are all its sources, those of the reports among them.
    """
    living = [one for one in reports if one.gone is None]
    if not reports:
        return held
    if living or held.series:
        return _together(held, living)
    ghost = _together(StudyState(held.patient, held.study), reports)
    ghost.withdrawn = reports[-1].gone
    for series in ghost.series:
        series.sources = ()
    return ghost


def _together(held: StudyState, reports: Sequence[Sourced]) -> StudyState:
    return StudyState(
        patient=held.patient,
        study=_study(held, reports),
        series=_series(held, reports),
        sources=held.sources,
        availability=_availability(reports),
    )


def _study(held: StudyState, reports: Iterable[Sourced]) -> Values:
    """Study facts of all reports, those of headers over them; of the counts the largest."""
    facts: Values = {}
    for one in reports:
        facts = _over(Level.STUDY, facts, one.report.study)
    facts = _over(Level.STUDY, facts, held.study)
    counts = {
        name: max(numbers)
        for name in _COUNTS
        if (numbers := [one.report.study[name] for one in reports if name in one.report.study])
    }
    return facts | counts


def _series(held: StudyState, reports: Sequence[Sourced]) -> list[SeriesState]:
    """All series, with the sources of each where they are not those of the study."""
    found: dict[str, SeriesState] = {}
    known = {one.uid for series in held.series for one in series.instances}
    sources: dict[str, list[str]] = {}
    for one in reports:
        for series in one.report.series:
            _add(found, series, known)
            sources.setdefault(series.facts["uid"], []).append(one.source)
    reporting = {one.source for one in reports}
    pushed = [uri for uri in held.sources if uri not in reporting]
    for state in held.series:
        _put(found, state)
        sources.setdefault(state.facts["uid"], []).extend(pushed)
    for uid, state in found.items():
        state.sources = () if set(sources[uid]) == set(held.sources) else tuple(sources[uid])
    return list(found.values())


def _add(found: dict[str, SeriesState], series: ReportedSeries, known: set[str]) -> None:
    """One reported series more, without the instances that are known in better words."""
    state = found.setdefault(series.facts["uid"], SeriesState({}))
    state.facts = _over(Level.SERIES, state.facts, series.facts)
    here = {one.uid: one for one in state.instances}
    here |= {one["uid"]: InstanceState(**one) for one in series.instances if one["uid"] not in known}
    state.instances = list(here.values())


def _put(found: dict[str, SeriesState], held: SeriesState) -> None:
    """A series of pushed instances over what was reported of it."""
    state = found.setdefault(held.facts["uid"], SeriesState({}))
    counts = [facts[_COUNTS[1]] for facts in (state.facts, held.facts) if _COUNTS[1] in facts]
    state.facts = _over(Level.SERIES, state.facts, held.facts)
    if counts:
        state.facts = {**state.facts, _COUNTS[1]: max(counts)}
    state.instances = [*state.instances, *held.instances]


def _over(level: Level, known: Values, new: Values) -> Values:
    return merge(level, RULES[level], known, new)[0] if known else new


def _availability(reports: Iterable[Sourced]) -> str | None:
    """The best that any archive says; None without any."""
    said = [one.report.availability for one in reports]
    return next((word for word in said if word != "UNAVAILABLE"), said[0] if said else None)
