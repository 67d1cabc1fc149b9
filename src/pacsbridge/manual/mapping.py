"""Tables of the mapping: which element becomes what, and the code systems in between."""

from collections.abc import Callable, Iterator, Mapping

from pacsbridge.kernel import body_parts, codes, modalities, schemes
from pacsbridge.kernel.attributes import ELEMENTS
from pacsbridge.kernel.mapping import ATTRIBUTES, ROWS, Row
from pacsbridge.kernel.model import Level, Merge
from pacsbridge.kernel.terminology import CONNECTION_TYPES, Coding
from pacsbridge.manual.tables import code, table, tag

HOW: Mapping[Level, Mapping[str, str]] = {
    Level.PATIENT: {
        "key": "Issuer and PatientID together tell patients apart; the id is a keyed hash of both. Without "
        "PatientID there is no Patient: the study's subject is then a name without a reference.",
        "identifier": "Type MR, under the system of its issuer, if there is [one](#who-issued-a-number).",
        "other_identifiers": "One more identifier for each item, each with the issuer that its item names.",
        "name": "Family, given and middle names, prefix, suffix. Ideographic and phonetic groups are names "
        "of their own, marked with the extension iso21090-EN-representation.",
        "gender": "M male, F female, O other; anything else unknown.",
        "birth_date": "A date, a month or a year, as precise as the header is. No zone ever shifts it.",
    },
    Level.STUDY: {
        "uid": "Identifier with system `urn:dicom:uid`, value `urn:oid:…`. It is the id as well, unless "
        "`fhir.id_form` is `hash`. A data set without it is refused.",
        "accession": "Identifier of type ACSN, and a reference by that identifier to a ServiceRequest.",
        "study_id": "Identifier under the system that `systems.study_id` or the peer's `study_id_system` "
        "names; left out where neither does.",
        "modalities": "Added to the modalities of the series. Archives tell it; modalities do not.",
        "encounter": "A reference by identifier of type VN.",
        "started": "Date and time of the study; see [Times](#times).",
        "referrer": "A Practitioner by name and identification code.",
        "interpreters": "Practitioners by names and identification codes, paired by order where there are "
        "equally many.",
        "reported_series": "What an archive counts, where that is more than is known here.",
        "reported_instances": "What an archive counts, where that is more than is known here.",
        "procedures": "Concepts, one for each item.",
        "requested_procedures": "Taken where no performed procedure is coded.",
        "requested_description": "Text of the requested procedure, where no performed one is coded.",
        "comments": "Published only with `mapping.study_comments`.",
        "description": "As it is.",
    },
    Level.SERIES: {
        "uid": "As it is. A data set without it is refused.",
        "number": "Only from 0 up, as R4 has it; a negative one is left out and noted.",
        "modality": "A coding of DCM; a series without one is OT. The study has the acquisition modalities "
        "of its series (CID 29), others only where there is none of these.",
        "description": "As it is.",
        "description_meaning": "The code's meaning, where there is no description in words.",
        "reported_instances": "What an archive counts, where that is more than is known here.",
        "anatomic_regions": "The first item as a coding; taken where all instances of the series agree.",
        "body_part": "SNOMED CT by [PS3.16 Annex L](codes.md#body-parts); what is not listed there stays a "
        "display without a code. Taken where no coded region is.",
        "laterality": "L, R or B as SNOMED CT; see [Sides](codes.md#sides).",
        "image_laterality": "The same, where all images of the series agree and the series has none itself.",
        "specimens": "References by identifier, with the issuer that the item names.",
        "started": "Date and time of the series; see [Times](#times).",
        "acquired_at": "The earliest of all instances, where the series has no date.",
        "acquired": "The earliest of all instances, where the series has no date.",
        "performed": "The earliest of all instances, where neither series nor acquisition has a date.",
        "physicians": "Practitioners with function PRF, by names and identification codes.",
        "operators": "Practitioners with function SPRF, by names and identification codes.",
        "devices": "A Device by maker, model and serial number; only with `mapping.device_performer`.",
        "requests": "ServiceRequests by requested procedure, placer, filler and accession number, of the "
        "root and of each request.",
        "reasons": "Codes and words together, of the root and of each request.",
        "procedure_steps": "The first step's UID is put into the template `fhir.procedure_reference`; "
        "without a template nothing is published.",
        "performed_location": "The place of the first series that acquired, else of any.",
        "department": "Together with the institution, where no performed location is given.",
        "institution": "Together with the department, where no performed location is given.",
    },
    Level.INSTANCE: {
        "uid": "As it is. A data set without it is refused.",
        "sop_class": "`urn:ietf:rfc:3986` and `urn:oid:…`, with the standard's name. A data set without it "
        "is refused.",
        "number": "Only from 0 up, as R4 has it.",
        "title": "Encapsulated documents have the Document Title, structured reports and key objects the "
        "meaning of the Concept Name, presentation states the Content Label, all others the Image Type.",
        "availability": "A study of which every instance is UNAVAILABLE has the status unknown.",
    },
}
"""Level → fact → what is made of it, for people; a test holds it complete."""

MERGES: Mapping[Merge, str] = {
    Merge.LAST: "The last received wins. A value that differed is on record as a conflict.",
    Merge.REFINE: "As last, but of two values that agree the fuller stays: a date with its time over the "
    "date, an identifier with its system over the bare number.",
    Merge.NEWEST: "The last received wins without a conflict: counts change by their nature.",
    Merge.EARLIEST: "The earliest wins.",
    Merge.OVERLAY: "Attribute by attribute the last received wins, without a conflict.",
    Merge.UNION: "All distinct values stay, in an order that does not depend on that of arrival.",
}
"""Rule → what it does, for people."""

_HEAD = ("DICOM attribute", "FHIR R4", "How", "Merge")


def _level(level: Level) -> Callable[[], str]:
    return lambda: table(_HEAD, map(_row, (row for row in ROWS if row.level is level and row.path)))


def _row(row: Row) -> tuple[str, ...]:
    how = HOW[row.level][row.name]
    return "; ".join(map(attribute, row.keywords)), _path(row.path), how, row.merge.value


def attribute(keyword: str) -> str:
    """A keyword with its tag."""
    return f"{keyword} {tag(f'{ELEMENTS[keyword].tag:08X}')}"


def _path(path: str) -> str:
    return ", ".join(map(code, path.split(", ")))


def _merging() -> str:
    return table(("Rule", "What it does"), ((rule.value, MERGES[rule]) for rule in Merge))


def _kept() -> str:
    rows = ((row.level.value, ", ".join(row.keywords)) for row in ROWS if row.name == ATTRIBUTES)
    return table(("Level", "Attributes that queries are answered from"), rows)


def _modalities() -> str:
    return table(("Code", "Meaning", "Kind"), _modality_rows())


def _modality_rows() -> Iterator[tuple[str, ...]]:
    for name in sorted(modalities.MODALITIES.keys() | modalities.DERIVED):
        kind = "derived" if name in modalities.DERIVED else "acquisition"
        yield code(name), modalities.MODALITIES.get(name, ""), kind


def _body_parts() -> str:
    rows = ((code(term), code(found.code), found.meaning) for term, found in body_parts.body_parts().items())
    return table(("Body Part Examined", "SNOMED CT", "Meaning"), rows)


def _schemes() -> str:
    systems: dict[str, list[str]] = {}
    for designator, system in schemes.BY_DESIGNATOR.items():
        systems.setdefault(system, []).append(designator)
    rows = ((", ".join(map(code, names)), code(system)) for system, names in systems.items())
    return table(("Coding Scheme Designator", "FHIR system"), rows)


def _sides() -> str:
    rows = ((code(side), *map(_shown, _codings(side))) for side in "LRB")
    return table(("Value", "By default", "With `mapping.r4_laterality`"), rows)


def _codings(side: str) -> Iterator[Coding | None]:
    yield codes.laterality(side)
    yield codes.laterality(side, r4_example=True)


def _shown(coding: Coding | None) -> str:
    return f"{code(str(coding['code']))} {coding.get('display', '')}" if coding else ""


def _connection_types() -> str:
    rows = ((code(name), str(coding.get("display", ""))) for name, coding in CONNECTION_TYPES.items())
    return table(("`connection_type`", "Meaning"), rows)


BLOCKS: Mapping[str, Callable[[], str]] = {
    **{f"mapping-{level.value}": _level(level) for level in Level},
    "merging": _merging,
    "kept-attributes": _kept,
    "modalities": _modalities,
    "body-parts": _body_parts,
    "schemes": _schemes,
    "sides": _sides,
    "connection-types": _connection_types,
}
"""Placeholder → Markdown."""
