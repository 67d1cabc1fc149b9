"""FHIR R4 search as a walk over JSON: slow, and written without sight of the code that it judges.

`find` keeps the resources that satisfy every pair of a query string. A parameter is a row of `PARAMETERS`,
which kinds take which modifiers stands in `MODIFIERS`. All arithmetic on time is on whole picoseconds,
so that twelve digits of a second and the years 0001 and 9999 are exact.
"""

import re
import unicodedata
from calendar import monthrange
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

Json = Mapping[str, Any]
Test = Callable[[Json], bool]
Token = tuple[str | None, str | None]
"""A system and a code; None in a query is any, in an element none."""


class Malformed(Exception):
    """The server must answer 400 and name this parameter."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class _Wrong(Exception):
    """A value that doesn't read as what its parameter takes."""


@dataclass(frozen=True)
class Parameter:
    """Where a parameter looks (dotted paths, all of them), and what it takes.

    `only` keeps references to that type; `chain` is the type whose parameters may follow a dot.
    """

    kind: str
    paths: tuple[str, ...]
    targets: tuple[str, ...] = ()
    only: str = ""
    chain: str = ""
    extra: tuple[str, ...] = ()

    @property
    def modifiers(self) -> tuple[str, ...]:
        """Every modifier that is to work."""
        return ("missing", *MODIFIERS[self.kind], *self.extra, *self.targets)


MODIFIERS: Mapping[str, tuple[str, ...]] = {
    "token": ("not",),
    "identifier": ("not", "of-type"),
    "uid": ("not",),
    "class": ("not",),
    "reference": ("identifier",),
    "string": ("exact", "contains"),
    "date": (),
    "uri": (),
}

_PRACTITIONERS = ("Practitioner", "PractitionerRole")
_ORDERS = ("Appointment", "AppointmentResponse", "CarePlan", "ServiceRequest", "Task")
_PERFORMERS = ("CareTeam", "Device", "Organization", "Patient", *_PRACTITIONERS, "RelatedPerson")

_COMMON: Mapping[str, Parameter] = {
    "_id": Parameter("token", ("id",)),
    "_lastUpdated": Parameter("date", ("meta.lastUpdated",)),
    "_profile": Parameter("uri", ("meta.profile",)),
    "_source": Parameter("uri", ("meta.source",)),
    "_tag": Parameter("token", ("meta.tag",)),
    "_security": Parameter("token", ("meta.security",)),
}

_BASED_ON = Parameter("reference", ("basedOn",), _ORDERS)
_BODY_SITE = Parameter("token", ("series.bodySite",), extra=("text",))

PARAMETERS: Mapping[str, Mapping[str, Parameter]] = {
    "ImagingStudy": {
        **_COMMON,
        "identifier": Parameter("identifier", ("identifier",)),
        "patient": Parameter("reference", ("subject",), ("Patient",), only="Patient", chain="Patient"),
        "subject": Parameter("reference", ("subject",), ("Patient", "Device", "Group"), chain="Patient"),
        "basedon": _BASED_ON,
        "based-on": _BASED_ON,
        "bodysite": _BODY_SITE,
        "body-site": _BODY_SITE,
        "dicom-class": Parameter("class", ("series.instance.sopClass",)),
        "encounter": Parameter("reference", ("encounter",), ("Encounter",)),
        "endpoint": Parameter("reference", ("endpoint", "series.endpoint"), ("Endpoint",), chain="Endpoint"),
        "instance": Parameter("uid", ("series.instance.uid",)),
        "interpreter": Parameter("reference", ("interpreter",), _PRACTITIONERS),
        "modality": Parameter("token", ("series.modality",)),
        "performer": Parameter("reference", ("series.performer.actor",), _PERFORMERS),
        "reason": Parameter("token", ("reasonCode",), extra=("text",)),
        "referrer": Parameter("reference", ("referrer",), _PRACTITIONERS),
        "series": Parameter("uid", ("series.uid",)),
        "started": Parameter("date", ("started",)),
        "status": Parameter("token", ("status",)),
    },
    "Patient": {
        **_COMMON,
        "identifier": Parameter("identifier", ("identifier",)),
        "name": Parameter("string", ("name",)),
        "family": Parameter("string", ("name.family",)),
        "given": Parameter("string", ("name.given",)),
        "birthdate": Parameter("date", ("birthDate",)),
        "gender": Parameter("token", ("gender",)),
    },
    "Endpoint": {
        **_COMMON,
        "connection-type": Parameter("token", ("connectionType",)),
        "identifier": Parameter("identifier", ("identifier",)),
        "name": Parameter("string", ("name",)),
        "organization": Parameter("reference", ("managingOrganization",), ("Organization",)),
        "payload-type": Parameter("token", ("payloadType",)),
        "status": Parameter("token", ("status",)),
    },
}

REFUSED = frozenset({"_has", "_list", "_filter", "_query", "_text", "_content"})
"""Parameters of R4 that would change what is found and are not there: silence would be a lie."""


def find(resources: Sequence[Json], type_: str, pairs: Sequence[tuple[str, str]], base_url: str) -> set[str]:
    """The ids of the resources of a type that satisfy every pair; unknown parameters ask nothing.

    Raises:
        Malformed: the server must refuse the query.
    """
    world = _World({f"{r['resourceType']}/{r['id']}": r for r in resources}, base_url.rstrip("/") + "/")
    tests = [test for name, value in pairs if (test := _condition(world, type_, name, value, name))]
    return {r["id"] for r in resources if r["resourceType"] == type_ and all(test(r) for test in tests)}


@dataclass(frozen=True)
class _World:
    """All that is served, by relative reference, and the prefix of its URLs."""

    resources: Mapping[str, Json] = field(repr=False)
    base: str


@dataclass(frozen=True)
class _Asked:
    """One parameter with its modifier, in the world in which it is asked."""

    world: _World
    parameter: Parameter
    modifier: str

    def elements(self, resource: Json) -> list[Any]:
        """What a resource has for the parameter to look at."""
        found = [e for path in self.parameter.paths for e in _walk(resource, path.split("."))]
        return [e for e in found if not self.parameter.only or _type_of(e) == self.parameter.only]


def _condition(world: _World, type_: str, name: str, value: str, sent: str) -> Test | None:
    """The test that one pair of a query string asks for; None for an unknown parameter.

    `name` is what is left of `sent` behind a chain's dot.
    """
    head, dot, tail = name.partition(".")
    code, _, modifier = head.partition(":")
    if code in REFUSED:
        raise Malformed(sent)
    parameter = PARAMETERS[type_].get(code)
    if parameter is None:
        return None
    if dot:
        return _chain(world, parameter, modifier, tail, value, sent)
    if modifier and modifier not in parameter.modifiers:
        raise Malformed(sent)
    try:
        return _test(_Asked(world, parameter, modifier), value)
    except _Wrong:
        raise Malformed(sent) from None


def _chain(world: _World, parameter: Parameter, modifier: str, tail: str, value: str, sent: str) -> Test:
    """Whether a reference leads to a resource, served here, that satisfies the rest of the name."""
    target = parameter.chain
    if not target or modifier not in {"", target} or "." in tail:
        raise Malformed(sent)
    inner = _condition(world, target, tail, value, sent)
    if inner is None:
        raise Malformed(sent)
    asked = _Asked(world, parameter, modifier)

    def leads(resource: Json) -> bool:
        references = [_local(world, element.get("reference", "")) for element in asked.elements(resource)]
        return any(
            inner(world.resources[reference])
            for reference in references
            if reference.startswith(f"{target}/") and reference in world.resources
        )

    return leads


def _test(asked: _Asked, value: str) -> Test:
    """The test of a parameter for a value of a query string."""
    if asked.modifier == "missing":
        wanted = {"true": True, "false": False}.get(value)
        if wanted is None:
            raise _Wrong
        says = _says_something if asked.parameter.kind == "reference" else _exists
        return lambda resource: wanted != any(says(element) for element in asked.elements(resource))
    read = _BY_MODIFIER.get(asked.modifier) or _BY_KIND[asked.parameter.kind]
    ones = [read(asked, alternative) for alternative in _split(_masked(value), ",")]
    if asked.modifier == "not":
        return lambda resource: not any(one(e) for e in asked.elements(resource) for one in ones)
    return lambda resource: any(one(e) for e in asked.elements(resource) for one in ones)


# escapes: an escaped character is kept out of the way in the private use area until the text has been split


def _masked(text: str) -> str:
    if not re.fullmatch(r"(?:[^\\]|\\[,|$\\])*", text, re.DOTALL):
        raise _Wrong
    return re.sub(r"\\(.)", lambda found: chr(0xE000 + ord(found[1])), text)


def _plain(text: str) -> str:
    return re.sub("[\ue000-\ue07f]", lambda found: chr(ord(found[0]) - 0xE000), text)


def _split(masked: str, separator: str) -> list[str]:
    parts = masked.split(separator)
    if separator == "," and "" in parts:
        raise _Wrong
    return parts


# elements


def _walk(node: Any, path: Sequence[str]) -> Iterator[Any]:
    if isinstance(node, list):
        for item in node:
            yield from _walk(item, path)
    elif not path:
        yield node
    elif path[0] in node:
        yield from _walk(node[path[0]], path[1:])


def _exists(element: Any) -> bool:
    return True


def _says_something(reference: Json) -> bool:
    return "reference" in reference or "identifier" in reference


def _type_of(reference: Json) -> str | None:
    parts = reference.get("reference", "").split("/")
    return parts[-2] if len(parts) > 1 else reference.get("type")


# tokens


def _tokens(element: Any) -> list[Token]:
    """The systems and codes of a code, Coding, CodeableConcept or Identifier."""
    if isinstance(element, str):
        return [(None, element)]
    codings = element.get("coding", [element])
    return [(coding.get("system"), coding.get("code", coding.get("value"))) for coding in codings]


def _as_identifier(system: str | None, code: str) -> list[tuple[str | None, str]]:
    alias = [("urn:dicom:uid", f"urn:oid:{code}")] if _is_uid(code) and system in _UID_IDENTIFIERS else []
    return [(system, code), *alias]


def _as_uid(system: str | None, code: str) -> list[tuple[str | None, str]]:
    return [(None if system in _UID_SYSTEMS else system, code.removeprefix("urn:oid:"))]


def _as_class(system: str | None, code: str) -> list[tuple[str | None, str]]:
    return [(system, f"urn:oid:{code}" if _is_uid(code) else code)]


def _as_token(system: str | None, code: str) -> list[tuple[str | None, str]]:
    return [(system, code)]


_UID_IDENTIFIERS = frozenset({None, "urn:dicom:uid"})
_UID_SYSTEMS = frozenset({"urn:dicom:uid", "urn:ietf:rfc:3986"})
_SPELLINGS: Mapping[str, Callable[[str | None, str], list[tuple[str | None, str]]]] = {
    "identifier": _as_identifier,
    "uid": _as_uid,
    "class": _as_class,
}


def _is_uid(code: str) -> bool:
    return bool(re.fullmatch(r"[0-9]+(\.[0-9]+)*", code))


def _token(asked: _Asked, masked: str) -> Callable[[Any], bool]:
    """`code`, `system|code`, `|code` (no system) or `system|` (any code)."""
    parts = [_plain(part) for part in _split(masked, "|")]
    if len(parts) > 2 or not any(parts):
        raise _Wrong
    system, code = parts if len(parts) == 2 else (None, parts[0])
    if not code:
        return lambda element: any(own == system for own, _ in _tokens(element))
    kind = "token" if asked.modifier == "identifier" else asked.parameter.kind
    wanted = _SPELLINGS.get(kind, _as_token)(system, code)

    def has(element: Any) -> bool:
        return any(
            own_code == code and (system is None or (own_system or "") == system)
            for own_system, own_code in _tokens(element)
            for system, code in wanted
        )

    return has


def _of_type(asked: _Asked, masked: str) -> Callable[[Any], bool]:
    """`system|code|value`: the type's and the identifier's own."""
    parts = [_plain(part) for part in _split(masked, "|")]
    if len(parts) != 3 or not all(parts):
        raise _Wrong
    system, code, value = parts

    def has(identifier: Json) -> bool:
        types = identifier.get("type", {}).get("coding", [])
        return identifier.get("value") == value and (system, code) in [t for e in types for t in _tokens(e)]

    return has


def _text(asked: _Asked, masked: str) -> Callable[[Any], bool]:
    """The beginning of a display or a text."""
    wanted = _wanted(masked)

    def begins(element: Json) -> bool:
        texts = [element.get("text"), element.get("display")]
        texts += [coding.get("display") for coding in element.get("coding", [])]
        return any(_normal(text).startswith(wanted) for text in texts if text)

    return begins


# references

_ID = r"[A-Za-z0-9\-.]{1,64}"
_LOCAL = rf"([A-Za-z]+)/({_ID})"


def _local(world: _World, reference: str) -> str:
    return reference.removeprefix(world.base)


def _reference(asked: _Asked, masked: str) -> Callable[[Any], bool]:
    """`id`, `Type/id` or an absolute URL."""
    targets = asked.parameter.targets if asked.modifier in {"", "identifier"} else (asked.modifier,)
    text = _plain(masked)
    if re.fullmatch(r"(https?://|urn:)\S*", text) and not re.fullmatch(_LOCAL, _local(asked.world, text)):
        return lambda element: element.get("reference") == text
    named = re.fullmatch(f"{_ID}|{_LOCAL}", _local(asked.world, text))
    if not named or named[1] not in {None, *targets}:
        raise _Wrong
    type_, id_ = named[1], named[2] or text
    wanted = {f"{target}/{id_}" for target in targets if type_ in {None, target}}
    return lambda element: _local(asked.world, element.get("reference", "")) in wanted


def _logical(asked: _Asked, masked: str) -> Callable[[Any], bool]:
    """The identifier of a reference, as a token."""
    test = _token(asked, masked)
    return lambda element: "identifier" in element and test(element["identifier"])


# strings


def _normal(text: str) -> str:
    """Without case, accents, apostrophes, and with other punctuation as blanks."""
    letters = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    letters = "".join(c for c in letters if not unicodedata.combining(c) and c not in "'\u2019\u02bc")
    return " ".join("".join(" " if unicodedata.category(c)[0] == "P" else c for c in letters).split())


def _wanted(masked: str) -> str:
    wanted = _normal(_plain(masked))
    if not wanted:
        raise _Wrong
    return wanted


def _strings(element: Any) -> list[str]:
    """A text, or the texts of a HumanName."""
    if isinstance(element, str):
        return [element]
    return [
        text for part in ("text", "family", "given", "prefix", "suffix") for text in _walk(element, [part])
    ]


def _starts(asked: _Asked, masked: str) -> Callable[[Any], bool]:
    wanted = _wanted(masked)
    return lambda element: any(_normal(text).startswith(wanted) for text in _strings(element))


def _contains(asked: _Asked, masked: str) -> Callable[[Any], bool]:
    wanted = _wanted(masked)
    return lambda element: any(wanted in _normal(text) for text in _strings(element))


def _exact(asked: _Asked, masked: str) -> Callable[[Any], bool]:
    wanted = _plain(masked)
    return lambda element: wanted in _strings(element)


def _uri(asked: _Asked, masked: str) -> Callable[[Any], bool]:
    wanted = _plain(masked)
    return lambda element: bool(element == wanted)


# dates

_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,12}))?)?(Z|[+ -]\d\d:\d\d)?)?)?)?",
    re.ASCII,
)
_SECOND = 10**12
_DAY = 86400 * _SECOND


@dataclass(frozen=True)
class Range:
    """From `low` to before `high`: picoseconds of a clock that is `offset` ahead of UTC, if that is known."""

    low: int
    high: int
    offset: int | None

    def instants(self) -> tuple[int, int]:
        """The same in UTC; a clock of no known offset is taken for UTC's."""
        return self.low - (self.offset or 0), self.high - (self.offset or 0)


def read_date(text: str) -> Range | None:
    """A date, dateTime or instant of any precision; None when it is none."""
    found = _DATE.fullmatch(text)
    if not found:
        return None
    given = [part or "" for part in found.groups()]
    year, month, day, hour, minute, second = (
        int(part or default) for part, default in zip(given, "111000", strict=False)
    )
    offset = _offset(given[7])
    try:
        first = date(year, month, day).toordinal()
    except ValueError:
        return None
    if hour > 23 or minute > 59 or second > 60 or abs(offset or 0) > 14 * 3600 * _SECOND:
        return None
    widths = (
        10 ** (12 - len(given[6])) if given[5] else 0,
        60 * _SECOND if given[3] else 0,
        _DAY if given[2] else 0,
        monthrange(year, month)[1] * _DAY if given[1] else 0,
        (date(year, 12, 31).toordinal() - first + 1) * _DAY,
    )
    low = first * _DAY + (hour * 3600 + minute * 60 + min(second, 59)) * _SECOND
    low += int(given[6] or 0) * 10 ** (12 - len(given[6]))
    return Range(low, low + next(width for width in widths if width), offset)


def _offset(zone: str) -> int | None:
    """Picoseconds ahead of UTC; a blank is a + that was not encoded; far too many for minutes above 59."""
    if not zone or zone == "Z":
        return 0 if zone else None
    hours, minutes = int(zone[1:3]), int(zone[4:])
    seconds = hours * 3600 + minutes * 60 if minutes < 60 else 10**9
    return (-seconds if zone[0] == "-" else seconds) * _SECOND


_PREFIXES: Mapping[str, Callable[[int, int, int, int], bool]] = {
    "eq": lambda first, end, low, high: first >= low and end <= high,
    "ne": lambda first, end, low, high: not (first >= low and end <= high),
    "gt": lambda first, end, low, high: end > high,
    "lt": lambda first, end, low, high: first < low,
    "ge": lambda first, end, low, high: end > high or (first >= low and end <= high),
    "le": lambda first, end, low, high: first < low or (first >= low and end <= high),
    "sa": lambda first, end, low, high: first >= high,
    "eb": lambda first, end, low, high: end <= low,
    "ap": lambda first, end, low, high: end > low - (high - low) and first < high + (high - low),
}
"""R4's prefixes: a resource's range, then the value's."""


def _date(asked: _Asked, masked: str) -> Callable[[Any], bool]:
    found = re.fullmatch(f"({'|'.join(_PREFIXES)})?(.*)", _plain(masked), re.DOTALL)
    value = read_date(found[2]) if found else None
    if found is None or value is None:
        raise _Wrong
    compare = _PREFIXES[found[1] or "eq"]

    def stands(element: str) -> bool:
        own = read_date(element)
        assert own is not None, element
        if value.offset is None:
            return compare(own.low, own.high, value.low, value.high)
        return compare(*own.instants(), *value.instants())

    return stands


_BY_KIND: Mapping[str, Callable[[_Asked, str], Callable[[Any], bool]]] = {
    "token": _token,
    "identifier": _token,
    "uid": _token,
    "class": _token,
    "reference": _reference,
    "string": _starts,
    "date": _date,
    "uri": _uri,
}
_BY_MODIFIER: Mapping[str, Callable[[_Asked, str], Callable[[Any], bool]]] = {
    "of-type": _of_type,
    "text": _text,
    "identifier": _logical,
    "exact": _exact,
    "contains": _contains,
}
