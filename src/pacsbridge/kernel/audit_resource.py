"""An audit event as a FHIR R4 AuditEvent, in the shapes of IHE BALP (Basic Audit Log Patterns 1.1)."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pacsbridge.kernel.audit import KINDS, SUCCESS, Event, Who, dcm
from pacsbridge.kernel.terminology import DICOM_UID, PARTICIPATION_TYPE, Coding

_BALP = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
_REQUEST: Coding = {
    "system": "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType",
    "code": "XrequestId",
}
_ENTITY_TYPE = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_SOURCE_TYPE = "http://terminology.hl7.org/CodeSystem/security-source-type"

_PERSON: Coding = {"system": _ENTITY_TYPE, "code": "1", "display": "Person"}
_SYSTEM: Coding = {"system": _ENTITY_TYPE, "code": "2", "display": "System Object"}
_OF_PATIENT: Coding = {"system": _ROLE, "code": "1", "display": "Patient"}
_OF_REPORT: Coding = {"system": _ROLE, "code": "3", "display": "Report"}
_OF_RESOURCE: Coding = {"system": _ROLE, "code": "4", "display": "Domain Resource"}
_OF_QUERY: Coding = {"system": _ROLE, "code": "24", "display": "Query"}

SOURCE, DESTINATION = dcm("110153", "Source Role ID"), dcm("110152", "Destination Role ID")
APPLICATION = dcm("110150", "Application")
_USER: Coding = {"system": PARTICIPATION_TYPE, "code": "IRCP", "display": "information recipient"}

_HUMAN: Coding = {
    "system": "http://terminology.hl7.org/CodeSystem/extra-security-role-type",
    "code": "humanuser",
    "display": "human user",
}

_CLIENT_ROLES: Mapping[str, Coding] = {"in": SOURCE, "out": DESTINATION}
_SERVER_ROLES: Mapping[str, Coding] = {"in": DESTINATION, "out": SOURCE}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_IP, _URI = "2", "5"
"""FHIR network-type."""


def instant(recorded: int) -> str:
    """A FHIR instant of microseconds since 1970, in UTC with milliseconds."""
    moment = _EPOCH + timedelta(microseconds=recorded)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def audit_event(number: int, recorded: int, event: Event) -> dict[str, Any]:
    """The AuditEvent of the log's record `number`, recorded so many microseconds after 1970."""
    kind = KINDS[event.kind]
    moment = instant(recorded)
    meta: dict[str, Any] = {"versionId": "1", "lastUpdated": moment}
    if kind.profile and event.outcome == SUCCESS:
        meta["profile"] = [f"{_BALP}{'Patient' if event.patient else ''}{kind.profile}"]
    found = {
        "resourceType": "AuditEvent",
        "id": str(number),
        "meta": meta,
        "type": kind.type,
        "subtype": list(kind.subtypes),
        "action": kind.action,
        "recorded": moment,
        "outcome": event.outcome,
        "outcomeDesc": event.reason,
        "agent": list(_agents(event)),
        "source": {
            "observer": {"identifier": {"value": event.server or "pacsbridge"}, "display": "pacsbridge"},
            "type": [{"system": _SOURCE_TYPE, "code": "4", "display": "Application Server"}],
        },
        "entity": list(_entities(event)),
    }
    return {name: value for name, value in found.items() if value}


def _agents(event: Event) -> Iterator[dict[str, Any]]:
    flow = KINDS[event.kind].flow
    if event.who is None:
        yield _agent(APPLICATION, {"identifier": {"value": event.server or "pacsbridge"}})
        return
    role = None if event.destination else _CLIENT_ROLES.get(flow)
    yield _client(role, event.who)
    if event.server:
        yield {**_agent(_SERVER_ROLES.get(flow), _named(event.server)), **_network(event.server)}
    if event.destination:
        role = KINDS[event.kind].destination
        yield _titled(_agent(role, _named(event.destination)), event.destination)
    if event.who.user:
        yield _user(event.who, at_work=not KINDS[event.kind].authenticates)


def _client(role: Coding | None, who: Who) -> dict[str, Any]:
    """The node that called; it is the requestor where no person is known."""
    name = who.client or who.title
    known = _named(name) if name else {"display": who.address or "unknown"}
    agent = _agent(role, known, requestor=not who.user)
    return _titled({**agent, **_network(who.address)}, who.title)


def _user(who: Who, *, at_work: bool) -> dict[str, Any]:
    """The person: who gets the data, or `at_work` false, who signs in or out, and from where."""
    agent = _agent(_USER if at_work else _HUMAN, _identified(who.issuer, who.user), requestor=True)
    return agent if at_work else {**agent, **_network(who.address)}


def _agent(role: Coding | None, who: Mapping[str, Any], *, requestor: bool = False) -> dict[str, Any]:
    typed = {} if role is None else {"type": {"coding": [role]}}
    return {**typed, "who": who, "requestor": requestor}


def _titled(agent: dict[str, Any], title: str) -> dict[str, Any]:
    """An application entity has its title as another id and as its name (PS3.15 A.5.2)."""
    return {**agent, "altId": title, "name": title} if title else agent


def _named(name: str) -> dict[str, Any]:
    return {"identifier": {"value": name}}


def _identified(system: str, value: str) -> dict[str, Any]:
    return {"identifier": {**({"system": system} if system else {}), "value": value}}


def _network(address: str) -> dict[str, Any]:
    if not address:
        return {}
    is_url = "://" in address
    known = is_url or ":" in address or address[:1].isdigit()
    return {"network": {"address": address, "type": _URI if is_url else _IP}} if known else {}


def _entities(event: Event) -> Iterator[dict[str, Any]]:
    if event.request_id:
        yield {"what": _named(event.request_id), "type": _REQUEST}
    if event.resource and not event.study:
        yield {"what": {"reference": event.resource}, "type": _SYSTEM, "role": _OF_RESOURCE}
    if event.study:
        yield _study(event)
    if event.patient:
        yield {"what": {"reference": event.patient}, "type": _PERSON, "role": _OF_PATIENT}
    if event.query or event.details:
        known = {"role": _OF_QUERY, "query": event.query} if event.query else {"name": event.kind}
        yield {"type": _SYSTEM, **known, **_details(event.details)}


def _study(event: Event) -> dict[str, Any]:
    what: dict[str, Any] = {"identifier": {"system": DICOM_UID, "value": f"urn:oid:{event.study}"}}
    if event.resource:
        what["reference"] = event.resource
    counts = {"instances": event.instances, "failed": event.failed}
    told = {name: str(number) for name, number in counts.items() if number}
    return {"what": {**what, "type": "ImagingStudy"}, "type": _SYSTEM, "role": _OF_REPORT, **_details(told)}


def _details(details: Mapping[str, str]) -> dict[str, Any]:
    found = [{"type": name, "valueString": value} for name, value in details.items() if value]
    return {"detail": found} if found else {}
