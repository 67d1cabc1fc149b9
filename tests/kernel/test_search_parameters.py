"""The search parameter table, and the index rows that it makes of resources."""

import re
from typing import Any

import pytest

from pacsbridge.kernel.query import DateRow, ReferenceRow, Row, StringRow, TokenRow
from pacsbridge.kernel.search_parameters import ALIASES, PARAMETERS, find, index_rows

R4_CODES = {
    "ImagingStudy": "basedon bodysite dicom-class encounter endpoint identifier instance interpreter "
    "modality patient performer reason referrer series started status subject",
    "Patient": "identifier name family given birthdate gender",
    "Endpoint": "connection-type identifier name organization payload-type status",
}
EVERYWHERE = {"_id", "_lastUpdated", "_profile", "_source", "_tag"}

HOUR = 3_600_000_000
NOON = 1_709_208_000_000_000  # 2024-02-29T12:00:00Z


def rows(type_: str, **content: Any) -> set[Row]:
    """The index rows of a resource of this content."""
    return set(index_rows({"resourceType": type_, "id": "x", **content}))


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
            {ReferenceRow("subject", "Patient", "p1"), TokenRow("subject:identifier", "s", "1")},
        ),
        (
            {"subject": {"reference": "http://else/Patient/p1", "type": "Patient"}},
            {ReferenceRow("subject", "Patient", "http://else/Patient/p1")},
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
        (
            {"started": "2024-02-29T13:00:00+01:00"},
            {
                DateRow("started", NOON, NOON + 1_000_000),
                DateRow("started:local", NOON + HOUR, NOON + HOUR + 1_000_000),
            },
        ),
        (
            {"started": "2024-02-29"},
            {
                DateRow("started", NOON - 12 * HOUR, NOON + 12 * HOUR),
                DateRow("started:local", NOON - 12 * HOUR, NOON + 12 * HOUR),
            },
        ),
    ],
)
def test_the_rows_of_a_study(content: dict[str, Any], expected: set[Row]) -> None:
    """Each kind of element, repeating ones once, and what only modifiers look at."""
    assert rows("ImagingStudy", **content) == expected


def test_the_rows_of_a_patient() -> None:
    """Every part of a name under name, family and given under their own codes too."""
    name = {"family": "Ünal", "given": ["Ay", "Can"], "prefix": ["Dr."], "extension": [{"url": "u"}]}
    assert rows("Patient", name=[name], gender="female") == {
        *(StringRow("name", text) for text in ("unal", "ay", "can", "dr")),
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
