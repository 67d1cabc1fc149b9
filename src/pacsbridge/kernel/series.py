"""Facts of a series and its instances → `ImagingStudy.series`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pacsbridge.kernel import codes
from pacsbridge.kernel.model import InstanceState, SeriesState, Values, fullest
from pacsbridge.kernel.terminology import Coding
from pacsbridge.kernel.titles import RETENTION_EXPIRED
from pacsbridge.kernel.values import is_id

Built = dict[str, Any]

_OTHER = "OT"


def living(series: Iterable[SeriesState]) -> list[SeriesState]:
    """The series in the order of their numbers, then UIDs, without instances that a note has deleted.

    A series goes with its last instance; one of which no instance was ever known stays.
    """
    kept = [
        SeriesState(state.facts, instances, state.sources)
        for state in series
        if is_id(state.facts["uid"])
        if (instances := _living(state.instances)) or not state.instances
    ]
    return sorted(kept, key=lambda state: _place(state.facts.get("number"), state.facts["uid"]))


def _living(instances: Iterable[InstanceState]) -> list[InstanceState]:
    return [one for one in instances if one.rejected != RETENTION_EXPIRED and is_id(one.uid)]


def _place(number: int | None, uid: str) -> tuple[bool, int, str]:
    """By number, then UID; what has no number comes last."""
    return (number is None, number or 0, uid)


def modality(facts: Values) -> str:
    """The code of a series' modality; one that lacks is OT."""
    return str(facts.get("modality", _OTHER))


def built(state: SeriesState, endpoints: Sequence[Mapping[str, Any]]) -> Built:
    """One member of `ImagingStudy.series`; `endpoints` are those that differ from the study's."""
    facts = state.facts
    element: Built = {
        "uid": facts["uid"],
        "number": facts.get("number"),
        "modality": codes.modality(modality(facts)),
        "description": facts.get("description") or facts.get("description_meaning"),
        "numberOfInstances": max(len(state.instances), facts.get("reported_instances", 0)),
        "endpoint": endpoints,
        "bodySite": _body_site(facts),
        "laterality": _laterality(facts),
        "specimen": fullest(facts.get("specimens", ())),
        "started": _started(facts),
        "performer": fullest([one for field in _PERFORMERS for one in facts.get(field, ())]),
        "instance": _instances(state.instances),
    }
    return {name: value for name, value in element.items() if value or value == 0}


_PERFORMERS = ("physicians", "operators", "devices")
_STARTED = ("started", "acquired_at", "acquired", "performed")


def _started(facts: Values) -> str | None:
    return next((facts[field] for field in _STARTED if field in facts), None)


def _body_site(facts: Values) -> Coding | None:
    """The one anatomic region of all instances, else the body part examined; a coded one before a text."""
    regions = fullest(facts.get("anatomic_regions", ()))
    candidates = regions if len(regions) == 1 else []
    if "body_part" in facts:
        candidates = [*candidates, facts["body_part"]]
    coded = [candidate for candidate in candidates if "code" in candidate]
    return next(iter((*coded, *candidates)), None)


def _laterality(facts: Values) -> Coding | None:
    """The side of the series, else that of its images where they agree."""
    if "laterality" in facts:
        return dict(facts["laterality"])
    sides = facts.get("image_laterality", ())
    return sides[0] if len(sides) == 1 and "system" in sides[0] else None


def _instances(instances: Sequence[InstanceState]) -> list[Built]:
    sop_class = _remembered(codes.sop_class)
    ordered = sorted(instances, key=lambda one: _place(one.number, one.uid))
    return [_instance(one, sop_class) for one in ordered]


def _instance(one: InstanceState, sop_class: Callable[[str], Coding]) -> Built:
    element: Built = {"uid": one.uid, "sopClass": sop_class(one.sop_class)}
    if one.number is not None:
        element["number"] = one.number
    if one.title:
        element["title"] = one.title
    return element


def _remembered(convert: Callable[[str], Coding]) -> Callable[[str], Coding]:
    """Thousands of instances share a few SOP classes, and so the codings of them."""
    known: dict[str, Coding] = {}

    def convert_once(text: str) -> Coding:
        if text not in known:
            known[text] = convert(text)
        return known[text]

    return convert_once
