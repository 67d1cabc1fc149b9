"""An audit event as a DICOM audit message, the XML that audit record repositories take (PS3.15 A.5.1)."""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import Element, SubElement, tostring

from pacsbridge.kernel.audit import KINDS, SUCCESS, Event, Who
from pacsbridge.kernel.audit_resource import APPLICATION, DESTINATION, SOURCE, instant
from pacsbridge.kernel.terminology import DCM, Coding

_FLOWS: Mapping[str, tuple[Coding, Coding]] = {"in": (SOURCE, DESTINATION), "out": (DESTINATION, SOURCE)}
"""Flow → the roles of the caller and of this server."""

_STUDY = ("2", "3", "110180", "Study Instance UID")
_PATIENT = ("1", "1", "2", "Patient Number")
_QUERIED = ("2", "24", "10", "Search Criteria")
_RESOURCE = ("2", "4", "12", "URI")
_URL, _ADDRESS = "5", "2"
_SERVER = "4"
"""Audit source type: application server process (PS3.15 A.5.2)."""


def audit_message(recorded: int, event: Event, source: str) -> bytes:
    """The message in UTF-8, recorded so many microseconds after 1970; `source` names this system."""
    message = Element("AuditMessage")
    _identification(message, recorded, event)
    for user, requestor, role, address in _participants(event, source):
        _participant(message, user, requestor, role, address)
    origin = SubElement(message, "AuditSourceIdentification", {"AuditSourceID": _legal(source)})
    SubElement(origin, "AuditSourceTypeCode", {"csd-code": _SERVER})
    for kind, id_, details, query in _objects(event):
        _object(message, kind, id_, details, query)
    text: bytes = tostring(message, encoding="utf-8")
    return b'<?xml version="1.0" encoding="UTF-8"?>' + text


def _identification(message: Element, recorded: int, event: Event) -> None:
    kind = KINDS[event.kind]
    head = SubElement(
        message,
        "EventIdentification",
        {
            "EventActionCode": kind.action,
            "EventDateTime": instant(recorded),
            "EventOutcomeIndicator": event.outcome,
        },
    )
    _code(head, "EventID", kind.type)
    for subtype in kind.subtypes:
        _code(head, "EventTypeCode", subtype)
    if event.outcome != SUCCESS and event.reason:
        SubElement(head, "EventOutcomeDescription").text = _legal(event.reason)


def _code(parent: Element, name: str, coding: Coding) -> None:
    system = "DCM" if coding["system"] == DCM else coding["system"]
    values = {
        "csd-code": coding["code"],
        "codeSystemName": system,
        "originalText": coding.get("display", coding["code"]),
    }
    SubElement(parent, name, values)


def _participants(event: Event, source: str) -> Iterator[tuple[str, bool, Coding | None, str]]:
    """User id, whether it is the requestor, role and address of all that took part."""
    server = event.server or source
    if event.who is None:
        yield server, False, APPLICATION, ""
        return
    caller, served = _FLOWS.get(KINDS[event.kind].flow, (None, None))
    who: Who = event.who
    node = who.client or who.title or who.address or "unknown"
    yield node, not who.user, None if event.destination else caller, who.address
    yield server, False, served, ""
    if event.destination:
        yield event.destination, False, KINDS[event.kind].destination, ""
    if who.user:
        yield who.user, True, None, who.address if KINDS[event.kind].authenticates else ""


def _participant(message: Element, user: str, requestor: bool, role: Coding | None, address: str) -> None:
    values = {"UserID": _legal(user), "UserIsRequestor": str(requestor).lower()}
    place = address or (user if "://" in user else "")
    if place:
        values |= {
            "NetworkAccessPointID": _legal(place),
            "NetworkAccessPointTypeCode": _URL if "://" in place else _ADDRESS,
        }
    participant = SubElement(message, "ActiveParticipant", values)
    if role is not None:
        _code(participant, "RoleIDCode", role)


_Object = tuple[tuple[str, str, str, str], str, Mapping[str, str], str]


def _objects(event: Event) -> Iterator[_Object]:
    """Kind, id, details and query of what was acted on."""
    counts = {"NumberOfInstances": event.instances, "Failed": event.failed}
    if event.study:
        yield _STUDY, event.study, {name: str(count) for name, count in counts.items() if count}, ""
    elif event.resource:
        yield _RESOURCE, event.resource, {}, ""
    if event.patient:
        yield _PATIENT, event.patient, {}, ""
    if event.query or event.details:
        yield _QUERIED, event.request_id or event.kind, event.details, event.query


def _object(
    message: Element, kind: tuple[str, str, str, str], id_: str, details: Mapping[str, str], query: str
) -> None:
    type_, role, code, text = kind
    values = {
        "ParticipantObjectID": _legal(id_),
        "ParticipantObjectTypeCode": type_,
        "ParticipantObjectTypeCodeRole": role,
    }
    found = SubElement(message, "ParticipantObjectIdentification", values)
    system = "DCM" if len(code) > 2 else "RFC-3881"
    known = {"csd-code": code, "codeSystemName": system, "originalText": text}
    SubElement(found, "ParticipantObjectIDTypeCode", known)
    if query:
        SubElement(found, "ParticipantObjectQuery").text = query
    for name, value in details.items():
        SubElement(found, "ParticipantObjectDetail", {"type": name, "value": _base64(value)})


def _base64(text: str) -> str:
    """PS3.15 A.5.1: a detail's value is base64."""
    return b64encode(text.encode("utf-8", "replace")).decode("ascii")


def _legal(text: str) -> str:
    """Without characters that XML cannot hold (XML 1.0, 2.2)."""
    return "".join(one if one in "\t\n\r" or ord(one) >= 0x20 else "?" for one in text)
