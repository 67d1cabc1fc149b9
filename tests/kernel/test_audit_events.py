"""Audit events: what is kept of them, as AuditEvents in the shapes of IHE BALP, as DICOM audit messages."""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from r4_validation import assert_r4

from pacsbridge.kernel.audit import KINDS, SERIOUS, SUCCESS, Event, Who, event_of, outcome_of, subject_in
from pacsbridge.kernel.audit_message import audit_message
from pacsbridge.kernel.audit_resource import audit_event
from pacsbridge.kernel.search_parameters import SEARCHED, indexed

AT = 1_700_000_000_123_000
APP = Who("10.0.0.5", client="viewer", user="dr.who", issuer="https://login.example")
CT1 = Who("10.0.0.7", title="CT1")
FHIR = "https://pacs.example/fhir"
QUERY = b64encode(b"ImagingStudy?patient.name=m\xc3\xbcller").decode()

EVENTS: Mapping[str, Event] = {
    "read": Event("read", who=APP, server=FHIR, patient="Patient/p1", resource="ImagingStudy/1.2.3"),
    "search": Event("search", who=APP, server=FHIR, query=QUERY, request_id="r-1"),
    "store": Event("store", who=CT1, server="PB", patient="Patient/p1", study="1.2.3", instances=12),
    "move": Event("move", who=CT1, server="PB", destination="WS7", study="1.2.3", query="AAAA", failed=3),
    "backup": Event("backup", who=APP, server=FHIR, destination="/backup/pb", details={"files": "3"}),
    "import": Event("import", who=APP, server=FHIR, patient="Patient/p1", study="1.2.3", instances=2),
    "conflict": Event(
        "conflict", "4", CT1, "PB", "Patient/p1", study="1.2.3", details={"done": "first kept"}
    ),
    "refused": Event("refused", SERIOUS, CT1, "PB", reason="calling AE title not recognised"),
    "login": Event(
        "login", who=APP, server=FHIR, details={"by": "code", "until": "2023-11-15T10:13:20.123Z"}
    ),
    "no login": Event("login", SERIOUS, Who("10.0.0.5"), FHIR, reason="the token has expired"),
    "logout": Event("logout", who=APP, server=FHIR, details={"end": "asked for"}),
    "start": Event("start", server=FHIR, details={"settings": "ab12"}),
    "lost": Event("lost", SERIOUS, details={"events": "7"}),
    "unknown": Event("wado", "4", Who(), reason="HTTP 404"),
}


@pytest.mark.parametrize("name", EVENTS)
def test_each_is_legal_in_both_forms(name: str) -> None:
    """R4 as resources, well-formed as messages, and searched by every parameter of the table."""
    event = EVENTS[name]
    resource = audit_event(5, AT, event)
    assert_r4(resource)
    assert resource["recorded"] == "2023-11-14T22:13:20.123Z"
    assert ET.fromstring(audit_message(AT, event, "host")).tag == "AuditMessage"
    named = {row.param.partition(":")[0] for row in indexed(resource).rows}
    assert named == set(SEARCHED["AuditEvent"]) - {"_id", "_lastUpdated", "date"}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_legal(kind: str) -> None:
    """Every row of the table makes a resource and a message."""
    event = Event(kind, who=APP, server=FHIR)
    assert_r4(audit_event(1, AT, event))
    assert ET.fromstring(audit_message(AT, event, "h")).find("EventIdentification") is not None


def test_a_read_has_the_shape_of_balp() -> None:
    """PatientRead: data goes from the server to the client, for a user; resource and patient are entities."""
    found = audit_event(5, AT, EVENTS["read"])
    assert found["meta"]["profile"][0].endswith("/IHE.BasicAudit.PatientRead")
    assert (found["type"]["code"], found["subtype"][0]["code"], found["action"]) == ("rest", "read", "R")
    client, server, user = found["agent"]
    assert client["type"]["coding"][0]["code"] == "110152"
    assert client["who"]["identifier"]["value"] == "viewer"
    assert client["network"] == {"address": "10.0.0.5", "type": "2"}
    assert server["type"]["coding"][0]["code"] == "110153"
    assert server["network"] == {"address": FHIR, "type": "5"}
    assert user["type"]["coding"][0]["code"] == "IRCP"
    assert user["who"]["identifier"] == {"system": "https://login.example", "value": "dr.who"}
    assert [one["requestor"] for one in (client, server, user)] == [False, False, True]
    data, patient = found["entity"]
    assert (data["role"]["code"], data["what"]["reference"]) == ("4", "ImagingStudy/1.2.3")
    assert (patient["role"]["code"], patient["what"]["reference"]) == ("1", "Patient/p1")


def test_a_search_has_the_shape_of_balp() -> None:
    """Query: the client is the source; the query is there in base64 as it was sent, and the request's id."""
    found = audit_event(5, AT, EVENTS["search"])
    assert found["meta"]["profile"][0].endswith("/IHE.BasicAudit.Query")
    assert [one["type"]["coding"][0]["code"] for one in found["agent"]] == ["110153", "110152", "IRCP"]
    request, query = found["entity"]
    assert (request["type"]["code"], request["what"]["identifier"]["value"]) == ("XrequestId", "r-1")
    assert query["role"]["code"] == "24"
    assert b64decode(query["query"]).decode() == "ImagingStudy?patient.name=müller"


def test_a_backup_as_an_export() -> None:
    """PS3.15 A.5.3.6: from us to media, asked for by a user; the same in both forms."""
    agents = audit_event(5, AT, EVENTS["backup"])["agent"]
    roles = [one["type"]["coding"][0]["code"] for one in agents if "type" in one]
    assert roles == ["110153", "110154", "IRCP"]
    message = ET.fromstring(audit_message(AT, EVENTS["backup"], "host"))
    found = {one.attrib["UserID"]: one.find("RoleIDCode") for one in message.iter("ActiveParticipant")}
    media = found["/backup/pb"]
    assert media is not None
    assert media.attrib["csd-code"] == "110154"


@pytest.mark.parametrize(("name", "code"), [("login", "110122"), ("logout", "110123")])
def test_signing_in_and_out_as_user_authentication(name: str, code: str) -> None:
    """PS3.15 A.5.3: who was authenticated is the requestor, a person at a network address; in both forms."""
    found = audit_event(5, AT, EVENTS[name])
    assert (found["type"]["code"], found["subtype"][0]["code"], found["action"]) == ("110114", code, "E")
    [person] = [one for one in found["agent"] if one["requestor"]]
    assert person["type"]["coding"][0]["code"] == "humanuser"
    assert person["who"]["identifier"] == {"system": "https://login.example", "value": "dr.who"}
    assert person["network"] == {"address": "10.0.0.5", "type": "2"}
    message = ET.fromstring(audit_message(AT, EVENTS[name], "host"))
    head = message.find("EventIdentification")
    assert head is not None
    assert [one.attrib["csd-code"] for one in head] == ["110114", code]
    [user] = [one for one in message.iter("ActiveParticipant") if one.attrib["UserIsRequestor"] == "true"]
    assert (user.attrib["UserID"], user.attrib["NetworkAccessPointID"]) == ("dr.who", "10.0.0.5")


def test_a_sign_in_of_nobody_known() -> None:
    """The requestor is the node alone, and why it has failed is told in both forms."""
    found = audit_event(5, AT, EVENTS["no login"])
    [node] = [one for one in found["agent"] if one["requestor"]]
    assert (node["who"], node["network"]["address"]) == ({"display": "10.0.0.5"}, "10.0.0.5")
    assert (found["outcome"], found["outcomeDesc"]) == ("8", "the token has expired")
    message = ET.fromstring(audit_message(AT, EVENTS["no login"], "host"))
    told = message.find("EventIdentification/EventOutcomeDescription")
    assert told is not None
    assert told.text == "the token has expired"


def test_what_failed_claims_no_pattern() -> None:
    """The patterns of BALP are those of successes."""
    assert "profile" not in audit_event(5, AT, replace(EVENTS["read"], outcome="8"))["meta"]


def test_a_stored_study_as_a_dicom_audit_message() -> None:
    """PS3.15 A.5.3.7: instances transferred from the modality to us, study and patient as objects."""
    message = ET.fromstring(audit_message(AT, EVENTS["store"], "host"))
    head = message.find("EventIdentification")
    assert head is not None and head.attrib["EventActionCode"] == "C"
    assert head.find("EventID").attrib["csd-code"] == "110104"  # type: ignore[union-attr]
    roles = [one.find("RoleIDCode").attrib["csd-code"] for one in message.iter("ActiveParticipant")]  # type: ignore[union-attr]
    users = [one.attrib["UserID"] for one in message.iter("ActiveParticipant")]
    assert list(zip(users, roles, strict=True)) == [("CT1", "110153"), ("PB", "110152")]
    objects = [one.attrib["ParticipantObjectID"] for one in message.iter("ParticipantObjectIdentification")]
    assert objects == ["1.2.3", "Patient/p1"]
    assert message.find("AuditSourceIdentification").attrib["AuditSourceID"] == "host"  # type: ignore[union-attr]


TEXTS = st.text(max_size=600)


@given(reason=TEXTS, title=TEXTS, query=TEXTS, details=st.dictionaries(TEXTS, TEXTS, max_size=3))
def test_whatever_comes_can_be_kept_and_told(
    reason: str, title: str, query: str, details: dict[str, str]
) -> None:
    """Any text: what is kept is JSON without control characters, and both forms can be made of it."""
    event = Event("find", "4", Who("h", title=title), "PB", reason=reason, query=query, details=details)
    kept = json.loads(json.dumps(event.as_dict()).encode())
    again = event_of(kept)
    assert again.as_dict() == event.as_dict()
    assert not any(ord(one) < 0x20 for one in again.reason)
    ET.fromstring(audit_message(AT, again, "h"))
    json.dumps(audit_event(1, AT, again)).encode()


def test_what_a_later_version_kept_is_passed_over() -> None:
    """A field that is not known yet harms nobody."""
    assert event_of({"kind": "stop", "outcome": "0", "colour": "red"}) == Event("stop")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "0"), (304, "0"), (401, "8"), (403, "8"), (404, "4"), (500, "8"), (None, "4")],
)
def test_outcomes_of_statuses(status: int | None, outcome: str) -> None:
    """Refusals and our own faults are serious; what was broken off, or not found, is minor."""
    assert outcome_of(status) == outcome


def test_the_subject_of_a_stored_study() -> None:
    """It is found in the bytes as they are kept; what looks like it within a text is none."""

    def stored(**more: Any) -> bytes:
        return json.dumps({"resourceType": "ImagingStudy", **more}, separators=(",", ":")).encode()

    assert subject_in(stored(subject={"reference": "Patient/p1"})) == "Patient/p1"
    assert subject_in(stored(description='"subject":{"reference":"Patient/p2"')) == ""
    assert SUCCESS == "0"
