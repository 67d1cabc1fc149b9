"""Tables of what can be searched by, in FHIR and in DICOM."""

from collections.abc import Callable, Iterator, Mapping

from pacsbridge.kernel.model import Level
from pacsbridge.kernel.qido import DEFAULTS
from pacsbridge.kernel.query_keys import BY_TAG, KEYS, RETRIEVE_URL, UNIQUE, Key, kept_keywords
from pacsbridge.kernel.query_parsing import SearchSettings
from pacsbridge.kernel.search_parameters import ALIASES, SEARCHED, Parameter
from pacsbridge.kernel.search_results import CONTROLS
from pacsbridge.kernel.search_values import PREFIXES
from pacsbridge.manual.tables import code, codes, numbered, table, tag

MODIFIERS: Mapping[str, str] = {
    "missing": "`true`: the element is not there; `false`: it is. On every parameter.",
    "not": "None of the values. What lacks the element is found too.",
    "text": "The words of a code begin like this: `bodysite:text=chest`.",
    "of-type": "The type of an identifier before its value: `identifier:of-type=SYSTEM|CODE|VALUE`.",
    "identifier": "The identifier of a reference, where there is no URL: `basedon:identifier=SYSTEM|VALUE`.",
    "exact": "Letter by letter, instead of by the beginning and without regard to case and accents.",
    "contains": "Anywhere inside. Looks at every value there is.",
}
"""Modifier → what it does; those that name a type of resource stand for it."""

COMPARISONS: Mapping[str, str] = {
    "eq": "lies within what is asked for; meant without a prefix",
    "ne": "does not lie within it",
    "gt": "reaches beyond its end",
    "lt": "begins before its beginning",
    "ge": "lies within it, or reaches beyond its end",
    "le": "lies within it, or begins before its beginning",
    "sa": "begins at its end or later",
    "eb": "ends at its beginning or earlier",
    "ap": "overlaps it, made longer by its own length on both sides",
}
"""Prefix of a date → how the resource's time stands to it."""


MEANINGS: Mapping[str, str] = {
    "_id": "the id of the resource",
    "_lastUpdated": "when this version was published",
    "_profile": "a profile that it claims",
    "_source": "where it came from, such as `urn:dicom:ae:CT1`",
    "_tag": "a tag",
    "_security": "a security label",
    "ImagingStudy.identifier": "Study Instance UID, accession number, Study ID",
    "ImagingStudy.patient": "the patient",
    "ImagingStudy.subject": "the patient",
    "ImagingStudy.basedon": "the order",
    "ImagingStudy.bodysite": "the part of the body, of any series",
    "ImagingStudy.dicom-class": "the SOP class of any instance",
    "ImagingStudy.encounter": "the admission or visit",
    "ImagingStudy.endpoint": "where it can be fetched",
    "ImagingStudy.instance": "the SOP Instance UID of any instance",
    "ImagingStudy.interpreter": "who read it",
    "ImagingStudy.modality": "the modality of any series",
    "ImagingStudy.performer": "who or what made any series",
    "ImagingStudy.reason": "why it was asked for",
    "ImagingStudy.referrer": "who referred the patient",
    "ImagingStudy.series": "the Series Instance UID of any series",
    "ImagingStudy.started": "when it began",
    "ImagingStudy.status": "see [Status](concepts.md#status)",
    "Patient.identifier": "patient ID, with or without its system",
    "Patient.name": "any part of a name",
    "Patient.family": "the family name",
    "Patient.given": "a given or middle name",
    "Patient.birthdate": "the date of birth",
    "Patient.gender": "administrative gender",
    "AuditEvent.action": "create, read, update, delete or execute",
    "AuditEvent.address": "the network address of who did it",
    "AuditEvent.agent": "who did it",
    "AuditEvent.agent-name": "the name of who did it, such as an AE title",
    "AuditEvent.altid": "another name of who did it",
    "AuditEvent.date": "when it was recorded",
    "AuditEvent.entity": "what it was about",
    "AuditEvent.outcome": "how it ended: `0` well, `4`, `8` and `12` more or less badly",
    "AuditEvent.patient": "whose data it was about",
    "AuditEvent.subtype": "what exactly was done",
    "AuditEvent.type": "what kind of event it is",
    "Endpoint.connection-type": "see [Connection types](codes.md#connection-types-of-endpoints)",
    "Endpoint.identifier": "an identifier",
    "Endpoint.name": "the configured name",
    "Endpoint.organization": "who runs it",
    "Endpoint.payload-type": "what it gives",
    "Endpoint.status": "the configured status",
}
"""Parameter, with its type where it is one type's → what people mean by it."""


def _parameters(type_: str) -> Callable[[], str]:
    head = ("Parameter", "Meaning", "Type", "Looks at", "Modifiers", "Chains to", "Sorts")
    return lambda: table(head, (_row(type_, one) for one in SEARCHED[type_].values()))


def _row(type_: str, one: Parameter) -> tuple[str, ...]:
    other = [alias for alias, own in ALIASES.items() if own == one.code]
    name = code(one.code) + (f" ({codes(other)})" if other else "")
    modifiers = codes(f":{modifier}" for modifier in one.supported_modifiers)
    chains = codes(f"{one.code}." if len(one.targets) == 1 else f"{one.code}:{to}." for to in one.chains)
    meaning = MEANINGS.get(one.code) or MEANINGS.get(f"{type_}.{one.code}", "")
    sorts = "yes" if one.orders else ""
    return name, meaning, one.type, code(one.expression(type_)), modifiers, chains, sorts


def _types() -> str:
    return "\n\n".join(f"### {type_}\n\n{_parameters(type_)()}" for type_ in SEARCHED)


def _modifiers() -> str:
    return table(("Modifier", "Meaning"), ((code(f":{name}"), text) for name, text in MODIFIERS.items()))


def _prefixes() -> str:
    rows = ((code(prefix), COMPARISONS[prefix]) for prefix in COMPARISONS if prefix in PREFIXES)
    return table(("Prefix", "The time of the resource"), rows)


def _controls() -> str:
    return codes(CONTROLS)


def _limits() -> str:
    least = SearchSettings("")
    rows = (
        ("Parameters of one search", numbered(least.max_parameters)),
        ("Values of one parameter, separated by commas", numbered(least.max_alternatives)),
        ("Entries a page, without `_count`", f"`fhir.default_count`, {numbered(least.default_count)}"),
        ("Entries a page, at most", f"`fhir.max_count`, {numbered(least.max_count)}"),
    )
    return table(("Limit", "Number"), rows)


def _keys() -> str:
    head = ("Attribute", "Tag", "VR", "Level", "Where its value comes from")
    return table(
        head, map(_key, sorted(KEYS.values(), key=lambda key: (tuple(Level).index(key.level), key.tag)))
    )


def _key(key: Key) -> tuple[str, ...]:
    kept = key.keyword in kept_keywords(key.level)
    unique = " (unique key)" if UNIQUE[key.level] == key.tag else ""
    return (
        key.keyword,
        tag(key.tag),
        key.vr,
        key.level.value + unique,
        "header" if kept else "what is known of it",
    )


def _returned() -> str:
    rows = ((level.value, ", ".join(_names(tags))) for level, tags in DEFAULTS.items())
    return table(("Level", "Returned without being asked for"), rows)


def _names(tags: tuple[str, ...]) -> Iterator[str]:
    for one in tags:
        yield "RetrieveURL" if one == RETRIEVE_URL else BY_TAG[one].keyword


BLOCKS: Mapping[str, Callable[[], str]] = {
    "search-parameters": _types,
    "search-modifiers": _modifiers,
    "search-prefixes": _prefixes,
    "search-controls": _controls,
    "search-limits": _limits,
    "query-keys": _keys,
    "query-defaults": _returned,
}
"""Placeholder → Markdown."""
