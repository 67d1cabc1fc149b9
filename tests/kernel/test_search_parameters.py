"""The search parameter table, and the index rows that it makes of resources."""

import json
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import pytest

from pacsbridge.kernel.query import ReferenceRow, Row, Span, StringRow, TokenRow
from pacsbridge.kernel.search_parameters import ALIASES, INDEX_VERSION, PARAMETERS, Indexed, find, indexed

R4_CODES = {
    "ImagingStudy": "basedon bodysite dicom-class encounter endpoint identifier instance interpreter "
    "modality patient performer reason referrer series started status subject",
    "Patient": "identifier name family given birthdate gender",
    "Endpoint": "connection-type identifier name organization payload-type status",
}
EVERYWHERE = {"_id", "_lastUpdated", "_profile", "_source", "_tag", "_security"}

Resource = Mapping[str, Any]

HOUR = 3_600_000_000
NOON = 1_709_208_000_000_000  # 2024-02-29T12:00:00Z


def rows(type_: str, **content: Any) -> set[Row]:
    """The index rows of a resource of this content, but for those of what it lacks."""
    found = index(type_, **content).rows
    assert len(set(found)) == len(found)
    return {row for row in found if not row.param.endswith(":missing")}


def index(type_: str, **content: Any) -> Indexed:
    """The index of a resource of this content."""
    return indexed({"resourceType": type_, "id": "x", **content})


@pytest.mark.parametrize("type_", R4_CODES)
def test_the_table_has_the_codes_of_r4(type_: str) -> None:
    """Every code that is to be searched by, and no other."""
    assert set(PARAMETERS[type_]) == {*R4_CODES[type_].split(), *EVERYWHERE}


def test_every_parameter_is_described() -> None:
    """Each has a definition of HL7's, an expression on its type, and is found by its code."""
    for type_, table in PARAMETERS.items():
        for code, parameter in table.items():
            assert re.fullmatch(r"http://hl7.org/fhir/SearchParameter/[\w-]+", parameter.definition)
            assert parameter.expression(type_).startswith(f"{type_}.")
            assert find(type_, code) is parameter


def test_aliases_are_other_names() -> None:
    """The hyphenated codes of later releases mean R4's."""
    assert {find("ImagingStudy", name) for name in ALIASES} == {
        PARAMETERS["ImagingStudy"][code] for code in ("basedon", "bodysite")
    }


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            {
                "identifier": [
                    {"system": "s", "value": "1", "type": {"coding": [{"system": "t", "code": "ACSN"}]}}
                ]
            },
            {TokenRow("identifier", "s", "1"), TokenRow("identifier:of-type", "t", "ACSN|1")},
        ),
        ({"identifier": [{"value": "1"}]}, {TokenRow("identifier", "", "1")}),
        ({"status": "available"}, {TokenRow("status", "", "available")}),
        ({"meta": {"source": "urn:a"}}, {TokenRow("_source", "", "urn:a")}),
        (
            {"subject": {"reference": "Patient/p1", "identifier": {"system": "s", "value": "1"}}},
            {
                *(ReferenceRow(param, "Patient", "p1") for param in ("patient", "subject")),
                *(TokenRow(f"{param}:identifier", "s", "1") for param in ("patient", "subject")),
            },
        ),
        (
            {"subject": {"reference": "http://else/Patient/p1", "type": "Patient"}},
            {ReferenceRow(param, "Patient", "http://else/Patient/p1") for param in ("patient", "subject")},
        ),
        ({"subject": {"reference": "Group/g1"}}, {ReferenceRow("subject", "Group", "g1")}),
        (
            {"subject": {"type": "Group", "identifier": {"value": "1"}}},
            {ReferenceRow("subject", "Group", ""), TokenRow("subject:identifier", "", "1")},
        ),
        (
            {
                "meta": {
                    "tag": [{"system": "s", "code": "a"}],
                    "security": [{"code": "R"}],
                    "profile": ["urn:p"],
                }
            },
            {TokenRow("_tag", "s", "a"), TokenRow("_security", "", "R"), TokenRow("_profile", "", "urn:p")},
        ),
        (
            {"basedOn": [{"type": "ServiceRequest", "identifier": {"value": "1"}}]},
            {ReferenceRow("basedon", "ServiceRequest", ""), TokenRow("basedon:identifier", "", "1")},
        ),
        ({"subject": {"display": "unknown"}}, set()),
        (
            {
                "series": [
                    {"modality": {"system": "d", "code": "CT"}},
                    {"modality": {"system": "d", "code": "CT"}},
                ]
            },
            {TokenRow("modality", "d", "CT")},
        ),
        (
            {"series": [{"bodySite": {"display": "Whole  BODY"}}]},
            {TokenRow("bodysite", "", ""), StringRow("bodysite:text", "whole body")},
        ),
        (
            {
                "series": [
                    {"uid": "1.2", "instance": [{"uid": "1.2.3", "sopClass": {"system": "r", "code": "c"}}]}
                ]
            },
            {TokenRow("series", "", "1.2"), TokenRow("dicom-class", "r", "c")},
        ),
        (
            {"reasonCode": [{"text": "Pain"}, {"coding": [{"system": "s", "code": "c", "display": "Ache"}]}]},
            {
                TokenRow("reason", "", ""),
                TokenRow("reason", "s", "c"),
                StringRow("reason:text", "pain"),
                StringRow("reason:text", "ache"),
            },
        ),
        (
            {
                "endpoint": [{"reference": "Endpoint/a"}],
                "series": [{"endpoint": [{"reference": "Endpoint/b"}]}],
            },
            {ReferenceRow("endpoint", "Endpoint", "a"), ReferenceRow("endpoint", "Endpoint", "b")},
        ),
    ],
)
def test_the_rows_of_a_study(content: dict[str, Any], expected: set[Row]) -> None:
    """Each kind of element, repeating ones once, and what only modifiers look at."""
    assert rows("ImagingStudy", **content) == expected


@pytest.mark.parametrize(
    ("type_", "content", "span"),
    [
        (
            "ImagingStudy",
            {"started": "2024-02-29T13:00:00+01:00"},
            Span(NOON, NOON + 1_000_000, NOON + HOUR, NOON + HOUR + 1_000_000),
        ),
        (
            "ImagingStudy",
            {"started": "2024-02-29"},
            Span(*(NOON - 12 * HOUR, NOON + 12 * HOUR) * 2),
        ),
        ("Patient", {"birthDate": "1970"}, Span(*(0, 365 * 24 * HOUR) * 2)),
        ("ImagingStudy", {}, None),
        ("Patient", {"gender": "female"}, None),
        ("Endpoint", {"period": {"start": "2024"}}, None),
    ],
)
def test_the_span_of_a_resource(type_: str, content: dict[str, Any], span: Span | None) -> None:
    """The one date that resources of a type are searched by: as instants, and as its wall clock shows it."""
    found = index(type_, **content)
    assert found.span == span
    assert (TokenRow("started:missing", "", "true") in found.rows) == (
        type_ == "ImagingStudy" and span is None
    )


@pytest.mark.parametrize("type_", R4_CODES)
def test_what_a_resource_lacks_has_a_row(type_: str) -> None:
    """One for each parameter of a resource without content, but for its id and moment, which none lacks."""
    lacking = {f"{parameter.param}:missing" for parameter in PARAMETERS[type_].values()}
    lacking -= {"_id:missing", "_lastUpdated:missing"}
    assert set(index(type_).rows) == {TokenRow(param, "", "true") for param in lacking}


@pytest.mark.parametrize(
    ("content", "lacks", "has"),
    [
        ({"subject": {"display": "unknown"}}, {"subject", "patient"}, set()),
        ({"subject": {"reference": "Group/g"}}, {"patient"}, {"subject"}),
        ({"subject": {"identifier": {"value": "1"}}}, set(), {"subject", "patient"}),
        ({"series": [{"uid": "1.2"}]}, {"modality", "bodysite", "instance", "dicom-class"}, {"series"}),
        ({"series": [{"uid": "1.2", "instance": [{"uid": "1.2.3"}]}]}, {"dicom-class"}, {"instance"}),
        ({"started": "2024"}, {"status"}, {"started"}),
    ],
)
def test_what_counts_as_missing(content: dict[str, Any], lacks: set[str], has: set[str]) -> None:
    """A reference that is only a display names nothing; an element that one series has is not missing."""
    missing = {row.param.removesuffix(":missing") for row in index("ImagingStudy", **content).rows}
    assert (missing & (lacks | has)) - rows_named("ImagingStudy", content) == lacks


def rows_named(type_: str, content: dict[str, Any]) -> set[str]:
    """The names of the rows that are there for what a resource has."""
    return {row.param for row in rows(type_, **content)}


def test_the_summary_is_indexed() -> None:
    """What the store keeps for the summary forms is the resource's summary."""
    content = {"status": "available", "series": [{"uid": "1.2", "instance": [{"uid": "1.2.3"}]}]}
    assert index("ImagingStudy", **content).summary["series"] == [{"uid": "1.2"}]


def test_the_rows_of_a_patient() -> None:
    """Every part of a name under name, family and given under their own codes too, and as it is written."""
    name = {"family": "Ünal", "given": ["Ay", "Can"], "prefix": ["Dr."], "extension": [{"url": "u"}]}
    assert rows("Patient", name=[name], gender="female") == {
        *(StringRow("name", text) for text in ("unal", "ay", "can", "dr")),
        *(TokenRow("name:exact", "", text) for text in ("Ünal", "Ay", "Can", "Dr.")),
        TokenRow("family:exact", "", "Ünal"),
        TokenRow("given:exact", "", "Ay"),
        TokenRow("given:exact", "", "Can"),
        StringRow("family", "unal"),
        StringRow("given", "ay"),
        StringRow("given", "can"),
        TokenRow("gender", "", "female"),
    }


def test_the_rows_of_an_endpoint() -> None:
    """The connection type is a Coding, the payload types are concepts."""
    content = {
        "connectionType": {"system": "c", "code": "dicom-wado-rs"},
        "payloadType": [{"coding": [{"system": "p", "code": "any"}]}, {"text": "DICOM"}],
        "managingOrganization": {"reference": "Organization/o"},
    }
    assert rows("Endpoint", **content) == {
        TokenRow("connection-type", "c", "dicom-wado-rs"),
        TokenRow("payload-type", "p", "any"),
        TokenRow("payload-type", "", ""),
        ReferenceRow("organization", "Organization", "o"),
    }


RECORDED = (1, "c2c80138743f28c5234a19c63ad2c91c2d1ad906cd9166a8587bdd0ec035d374")
"""The version of the index, and the digest of all that it holds for the golden cases."""


def test_another_index_is_another_version(published_cases: Mapping[str, Sequence[Resource]]) -> None:
    """Stores index again what they hold when INDEX_VERSION rises: once anything is indexed otherwise."""
    digest = sha256()
    for name, resources in published_cases.items():
        for resource in resources:
            found = indexed(resource)
            rows_ = sorted([type(row).__name__, *row] for row in found.rows)
            content = [name, rows_, found.span, found.summary]
            digest.update(json.dumps(content, sort_keys=True).encode())
    assert (INDEX_VERSION, digest.hexdigest()) == RECORDED, (
        "resources are indexed otherwise: raise INDEX_VERSION, and record it here with the new digest "
        f"{digest.hexdigest()}"
    )
