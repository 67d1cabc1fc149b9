"""Facts → ImagingStudy (R4 4.0.1); Patient and Endpoint stand beside it.

Strict where extraction is tolerant: only what R4 allows leaves here, nothing empty, every id legal. The work
is linear in the instances. Parts of a resource may be shared between resources: they are read, not changed.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from pacsbridge.errors import NotUnderstood
from pacsbridge.kernel import codes, endpoints
from pacsbridge.kernel import series as series_of
from pacsbridge.kernel.concepts import with_text
from pacsbridge.kernel.endpoints import endpoint
from pacsbridge.kernel.identity import FETCHED, order_id, study_id
from pacsbridge.kernel.model import InstanceState, SeriesState, StudyState, Values, fullest, union
from pacsbridge.kernel.patients import patient, subject
from pacsbridge.kernel.publication import EndpointSpec, Publication, expand, resource_type
from pacsbridge.kernel.references import reference, service_request
from pacsbridge.kernel.terminology import DICOM_UID, Coding
from pacsbridge.kernel.titles import KEY_OBJECT_SELECTION
from pacsbridge.kernel.values import is_uri

__all__ = ["EndpointSpec", "Publication", "endpoint", "imaging_study", "patient"]

Resource = dict[str, Any]

_UNAVAILABLE = "UNAVAILABLE"


def imaging_study(state: StudyState, publication: Publication) -> Resource:
    """The ImagingStudy of a study, without version and time; `meta.source` is the last writer.

    Raises NotUnderstood for a study that has neither a UID nor an accession number.
    """
    facts = state.study
    series = series_of.living(state.series)
    uid = facts.get("uid")
    specs = publication.endpoints_of(state.sources)
    elements = [series_of.built(one, _own_endpoints(one, specs, uid, publication)) for one in series]
    resource: Resource = {
        "resourceType": "ImagingStudy",
        "id": _id(facts, publication),
        "meta": _meta(state.sources),
        "contained": endpoints.contained(specs, uid),
        "identifier": _identifiers(facts),
        "status": _status(state, series),
        "modality": _modalities(facts, series),
        "subject": subject(state.patient, publication),
        "encounter": facts.get("encounter"),
        "started": facts.get("started"),
        "basedOn": _based_on(facts, series),
        "referrer": facts.get("referrer"),
        "interpreter": facts.get("interpreters"),
        "endpoint": endpoints.references(specs, uid),
        "numberOfSeries": max(len(series), facts.get("reported_series", 0)),
        "numberOfInstances": _number_of_instances(facts, elements),
        "procedureReference": _procedure(facts, series, publication),
        "procedureCode": _procedure_codes(facts),
        "location": _location(series),
        "reasonCode": fullest(_of_all(series, "reasons")),
        "reasonReference": _reason(facts, publication),
        "note": [{"text": facts["comments"]}] if "comments" in facts else None,
        "description": facts.get("description"),
        "series": elements,
    }
    return {name: value for name, value in resource.items() if value or value == 0}


def _id(facts: Values, publication: Publication) -> str:
    if "uid" in facts:
        return study_id(facts["uid"], publication.id_key, publication.id_form)
    if "accession" in facts:
        return order_id(facts["accession"], publication.id_key)
    raise NotUnderstood("a study needs a Study Instance UID or an accession number", "StudyInstanceUID")


def _meta(sources: Sequence[str]) -> dict[str, str] | None:
    return {"source": sources[0].removesuffix(FETCHED)} if sources and is_uri(sources[0]) else None


def _identifiers(facts: Values) -> list[dict[str, Any]]:
    own = {"use": "official", "system": DICOM_UID, "value": f"urn:oid:{facts.get('uid')}"}
    others = [facts[field] for field in ("accession", "study_id") if field in facts]
    return [own, *others] if "uid" in facts else others


def _status(state: StudyState, series: Iterable[SeriesState]) -> str:
    if state.withdrawn:
        return state.withdrawn
    instances = [one for each in series for one in each.instances]
    if instances:
        return _status_of(instances)
    if any(each.instances for each in state.series) or state.availability == _UNAVAILABLE:
        return "unknown"
    if state.availability is not None:
        return "available"
    return "cancelled" if state.discontinued else "registered"


def _status_of(instances: Sequence[InstanceState]) -> str:
    """A rejecting note doesn't count as rejected or not, so key objects speak only for themselves."""
    judged = [one for one in instances if one.sop_class != KEY_OBJECT_SELECTION] or instances
    if all(one.rejected for one in judged):
        return "entered-in-error"
    if all(one.availability == _UNAVAILABLE for one in instances):
        return "unknown"
    return "available"


def _modalities(facts: Values, series: Iterable[SeriesState]) -> list[Coding]:
    """Acquisition modalities (CID 29) in the order of their codes; any others only where no such remains."""
    found = sorted({*facts.get("modalities", ()), *(series_of.modality(one.facts) for one in series)})
    acquired = [code for code in found if codes.is_acquisition(code)]
    return [codes.modality(code) for code in acquired or found]


def _based_on(facts: Values, series: Iterable[SeriesState]) -> list[dict[str, Any]]:
    own = [service_request(facts["accession"])] if "accession" in facts else []
    return fullest([*own, *_of_all(series, "requests")])


def _number_of_instances(facts: Values, elements: Iterable[dict[str, Any]]) -> int:
    known: int = sum(element["numberOfInstances"] for element in elements)
    return max(known, int(facts.get("reported_instances", 0)))


def _own_endpoints(
    series: SeriesState, study: Sequence[EndpointSpec], uid: str | None, publication: Publication
) -> list[dict[str, Any]]:
    """The endpoints of a series where they are others than the study's."""
    own = publication.endpoints_of(series.sources) if series.sources else study
    return [] if set(own) == set(study) else endpoints.references(own, uid)


def _location(series: Sequence[SeriesState]) -> dict[str, Any] | None:
    """Where it was performed, else the department: of the first series that acquired, else of any."""
    ordered = sorted(series, key=lambda one: not codes.is_acquisition(series_of.modality(one.facts)))
    places = (read(one.facts) for read in (_performed_location, _department) for one in ordered)
    display = next(filter(None, places), None)
    return reference("Location", display=display) if display else None


def _performed_location(facts: Values) -> str | None:
    return facts.get("performed_location")


def _department(facts: Values) -> str:
    return ", ".join(facts[name] for name in ("department", "institution") if name in facts)


def _procedure_codes(facts: Values) -> list[dict[str, Any]]:
    """The performed codes, else the requested ones with their description."""
    performed: list[dict[str, Any]] = facts.get("procedures", [])
    requested = with_text(facts.get("requested_procedures", ()), facts.get("requested_description"))
    return performed or requested


def _procedure(
    facts: Values, series: Iterable[SeriesState], publication: Publication
) -> dict[str, Any] | None:
    steps = [*(step for one in series for step in one.facts.get("procedure_steps", ())), None]
    found = _looked_up(publication.procedure_reference, facts, steps[0])
    if found and steps[0]:
        found["identifier"] = {"system": DICOM_UID, "value": f"urn:oid:{steps[0]}"}
    return found


def _reason(facts: Values, publication: Publication) -> list[dict[str, Any]]:
    found = _looked_up(publication.reason_reference, facts, None)
    return [found] if found else []


def _looked_up(template: str | None, facts: Values, step: str | None) -> dict[str, Any] | None:
    accession = facts.get("accession", {}).get("value")
    named = {"study_uid": facts.get("uid"), "accession": accession, "uid": step}
    url = expand(template, named) if template else None
    return {"reference": url, "type": resource_type(url)} if url else None


def _of_all(series: Iterable[SeriesState], field: str) -> list[Any]:
    return union((), [value for one in series for value in one.facts.get(field, ())])
