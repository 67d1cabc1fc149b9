"""What happened, who did it and to what, as one small value: what the audit log keeps.

`KINDS` is the one table of what is on record: its codes (PS3.15 A.5, PS3.16 CID 400 and 401, FHIR's own for
REST), its action, and which way data flows. An event is about one patient at most, so that whoever may see
what concerns one patient never sees another.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from pacsbridge.kernel.terminology import DCM, Coding

REST = "http://hl7.org/fhir/restful-interaction"
_TYPES = "http://terminology.hl7.org/CodeSystem/audit-event-type"

SUCCESS, MINOR, SERIOUS = "0", "4", "8"
"""Event outcomes (PS3.15 A.5.2, FHIR audit-event-outcome)."""

LONGEST_QUERY = 8192
"""Bytes of a query that are kept."""

_LONGEST_TEXT = 500


def dcm(code: str, display: str) -> Coding:
    """A code of PS3.16 annex D."""
    return {"system": DCM, "code": code, "display": display}


def _interaction(code: str) -> tuple[Coding]:
    return ({"system": REST, "code": code, "display": code},)


_RESTFUL: Coding = {"system": _TYPES, "code": "rest", "display": "Restful Operation"}
_TRANSFERRED = dcm("110104", "DICOM Instances Transferred")
_ACCESSED = dcm("110103", "DICOM Instances Accessed")
_QUERY = dcm("110112", "Query")
_USED = dcm("110101", "Audit Log Used")
_ACTIVITY = dcm("110100", "Application Activity")
_ALERT = dcm("110113", "Security Alert")
_AUTHENTICATION = dcm("110114", "User Authentication")
_MAINTAINED = (dcm("110142", "Local Service Operation Stopped"),)

LOGIN, LOGOUT = dcm("110122", "Login"), dcm("110123", "Logout")
NODE = dcm("110126", "Node Authentication")


class Kind(NamedTuple):
    """A row of `KINDS`. `action`: C, R, U, D or E; `flow`: which way data goes, `in` to us or `out` of here.

    `profile`: the IHE BALP pattern of a success, without and with a patient. `destination`: the role of one.
    `authenticates`: it is about who the user is, a person at a network address (PS3.15 A.5.3, "User
    Authentication").
    """

    type: Coding
    subtypes: tuple[Coding, ...]
    action: str
    flow: str = ""
    profile: str = ""
    destination: Coding = dcm("110152", "Destination Role ID")
    authenticates: bool = False


KINDS: Mapping[str, Kind] = {
    "read": Kind(_RESTFUL, _interaction("read"), "R", "out", "Read"),
    "vread": Kind(_RESTFUL, _interaction("vread"), "R", "out", "Read"),
    "search": Kind(_RESTFUL, _interaction("search"), "E", "in", "Query"),
    "history": Kind(_RESTFUL, _interaction("history"), "E", "in"),
    "batch": Kind(_RESTFUL, _interaction("batch"), "E", "in"),
    "log-read": Kind(_USED, _interaction("read"), "R", "out"),
    "log-search": Kind(_USED, _interaction("search"), "R", "in"),
    "log-pruned": Kind(_USED, _interaction("delete"), "D"),
    "wado": Kind(_TRANSFERRED, (), "R", "out"),
    "qido": Kind(_QUERY, (), "E", "in"),
    "stow": Kind(_TRANSFERRED, (), "C", "in"),
    "store": Kind(_TRANSFERRED, (), "C", "in"),
    "conflict": Kind(_ACCESSED, (), "U", "in"),
    "find": Kind(_QUERY, (), "E", "in"),
    "get": Kind(_TRANSFERRED, (), "R", "out"),
    "move": Kind(_TRANSFERRED, (), "R", "out"),
    "association": Kind(_AUTHENTICATION, (LOGIN,), "E"),
    "login": Kind(_AUTHENTICATION, (LOGIN,), "E", authenticates=True),
    "logout": Kind(_AUTHENTICATION, (LOGOUT,), "E", authenticates=True),
    "refused": Kind(_ALERT, (NODE,), "E"),
    "page": Kind(_RESTFUL, _interaction("read"), "R", "out"),
    "page-action": Kind(_RESTFUL, _interaction("operation"), "E", "in"),
    "import": Kind(dcm("110107", "Import"), (), "C", "in"),
    "sync": Kind(_QUERY, (), "E", "out"),
    "backup": Kind(dcm("110106", "Export"), (), "R", "out", "", dcm("110154", "Destination Media")),
    "deleted": Kind(dcm("110105", "DICOM Study Deleted"), (), "D"),
    "why": Kind(_QUERY, (), "E", "in"),
    "letters-retried": Kind(_ALERT, _MAINTAINED, "E"),
    "letters-discarded": Kind(_ALERT, _MAINTAINED, "D"),
    "migrate": Kind(_ALERT, _MAINTAINED, "U"),
    "reindex": Kind(_ALERT, _MAINTAINED, "U"),
    "verify": Kind(_ALERT, _MAINTAINED, "R"),
    "start": Kind(_ACTIVITY, (dcm("110120", "Application Start"),), "E"),
    "stop": Kind(_ACTIVITY, (dcm("110121", "Application Stop"),), "E"),
    "settings": Kind(_ALERT, (dcm("110131", "Software Configuration"),), "E"),
    "certificates": Kind(_ALERT, (dcm("110129", "Security Configuration"),), "E"),
    "lost": Kind(_ALERT, (dcm("110133", "Audit Recording Stopped"),), "E"),
}
"""Name → what is on record under it."""


@dataclass(frozen=True, slots=True)
class Who:
    """Who called: from which network address, under which AE title, or by whose token; never the token.

    `client` is the application (client_id), `user` the subject (sub) as its `issuer` knows it.
    """

    address: str = ""
    title: str = ""
    client: str = ""
    user: str = ""
    issuer: str = ""

    def at(self, address: str) -> "Who":
        """The same, calling from an address."""
        return Who(address, self.title, self.client, self.user, self.issuer)


@dataclass(frozen=True, slots=True)
class Event:
    """One event; what is empty is not known or does not apply.

    `who`: None where the application did it itself. `server`: under which address or AE title we were called.
    `patient` and `resource` are references; `study` is a Study Instance UID, of which so many `instances`
    were stored or sent, and so many `failed`. `query` is base64. `destination`: who was
    sent data or asked for it: the AE title of a C-MOVE, an archive's address, the folder of a backup.
    `reason`: in our own words. `details`: names and values of settings, counts and choices.
    """

    kind: str
    outcome: str = SUCCESS
    who: Who | None = None
    server: str = ""
    patient: str = ""
    resource: str = ""
    study: str = ""
    instances: int = 0
    failed: int = 0
    query: str = ""
    destination: str = ""
    request_id: str = ""
    reason: str = ""
    details: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """What is kept of it: JSON without what is empty."""
        found = {name: _bounded(value) for name in _PLAIN if (value := getattr(self, name))}
        if self.details:
            found["details"] = {_bounded(name): _bounded(value) for name, value in self.details.items()}
        if self.who is not None:
            found["who"] = {name: _bounded(value) for name in _WHO if (value := getattr(self.who, name))}
        return found

    @property
    def facet(self) -> "Event":
        """What it shares with others: what was done, what came of it, who did it and where."""
        return Event(self.kind, self.outcome, self.who, self.server, destination=self.destination)


_WHO = tuple(one.name for one in fields(Who))
_PLAIN = tuple(one.name for one in fields(Event) if one.name != "who")


def _bounded(value: Any) -> Any:
    """A text of bounded length that can be written anywhere; a query has a length of its own."""
    if type(value) is not str or (len(value) <= _LONGEST_TEXT and value.isascii() and value.isprintable()):
        return value
    longest = LONGEST_QUERY * 4 // 3 + 4 if value.isascii() and " " not in value else _LONGEST_TEXT
    return _ILLEGAL.sub("?", value[:longest])


_ILLEGAL = re.compile("[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


def event_of(kept: Mapping[str, Any]) -> Event:
    """An event of what is kept of it; what a later version added is passed over."""
    values = {name: value for name, value in kept.items() if name in _PLAIN}
    if "who" in kept:
        values["who"] = Who(**{name: kept["who"].get(name, "") for name in _WHO})
    return Event(**values)


def outcome_of(status: int | None) -> str:
    """The outcome that an HTTP status stands for; None: the answer was cut off."""
    if status is None:
        return MINOR
    if status < 400:
        return SUCCESS
    return SERIOUS if status >= 500 or status in (401, 403) else MINOR


_SUBJECT = b'"subject":{"reference":"'


def subject_in(body: bytes) -> str:
    """The reference to the subject in the JSON of a resource as it is stored; "" where there is none.

    Within a text the quotes would be escaped, so that nothing else looks like it.
    """
    start = body.find(_SUBJECT)
    if start < 0:
        return ""
    start += len(_SUBJECT)
    return body[start : body.index(b'"', start)].decode()
