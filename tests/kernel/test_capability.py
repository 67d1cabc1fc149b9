"""The CapabilityStatement: valid R4, and all that it offers is understood."""

import json
from typing import Any

import fhirkit
import pytest

from pacsbridge.kernel.capability import FHIR_VERSION, capability_statement, documentation
from pacsbridge.kernel.query_parsing import SearchSettings, parse
from pacsbridge.kernel.search_parameters import PARAMETERS

BASE = "http://fhir.example/fhir"
SETTINGS = SearchSettings(BASE, secret=b"secret")
OF_TYPE = ["read", "vread", "history-instance", "history-type", "search-type"]
OF_SYSTEM = ["batch", "history-system"]
PUBLISHED = "2026-03-01T12:00:00Z"

STATEMENT = capability_statement(BASE, "1.2", PUBLISHED, [*OF_TYPE, *OF_SYSTEM])
RESOURCES: dict[str, Any] = {found["type"]: found for found in STATEMENT["rest"][0]["resource"]}


def codes(interactions: list[dict[str, str]]) -> list[str]:
    """The codes of interactions."""
    return [found["code"] for found in interactions]


@pytest.mark.parametrize(
    "interactions",
    [[*OF_TYPE, *OF_SYSTEM], [*OF_SYSTEM, *OF_TYPE, *OF_TYPE], ["read"], ["batch"]],
)
def test_the_statement_is_valid(interactions: list[str]) -> None:
    """By the R4 definitions, whichever interactions there are; each is named once, where it belongs."""
    built = capability_statement(BASE, "1.2", PUBLISHED, iter(interactions))
    [rest] = built["rest"]
    assert set(codes(rest.get("interaction", []))) == {*interactions} & {*OF_SYSTEM}
    for resource in rest["resource"]:
        offered = codes(resource.get("interaction", []))
        assert set(offered) == {*interactions} & {*OF_TYPE}
        assert len(offered) == len(set(offered))
    assert fhirkit.validate(json.dumps(built)) == []


def test_the_statement_says_who_speaks() -> None:
    """FHIR's version, the server's own, its address, and when that was said."""
    assert (STATEMENT["fhirVersion"], STATEMENT["date"]) == (FHIR_VERSION, PUBLISHED)
    assert STATEMENT["software"]["version"] == "1.2"
    assert STATEMENT["implementation"]["url"] == BASE


@pytest.mark.parametrize(
    ("type_", "includes", "revincludes"),
    [
        ("ImagingStudy", {"ImagingStudy:patient", "ImagingStudy:subject", "ImagingStudy:endpoint"}, set()),
        ("Patient", set(), {"ImagingStudy:patient", "ImagingStudy:subject"}),
        ("Endpoint", set(), {"ImagingStudy:endpoint"}),
    ],
)
def test_includes_that_are_offered(type_: str, includes: set[str], revincludes: set[str]) -> None:
    """The references between types that are served here, from both ends, and none that is not understood."""
    resource = RESOURCES[type_]
    assert set(resource.get("searchInclude", ())) == includes
    assert set(resource.get("searchRevInclude", ())) == revincludes
    for name, values in (("_include", includes), ("_revinclude", revincludes)):
        for value in values:
            assert parse(type_, [(name, value)], SETTINGS, strict=True).understood == ((name, value),)


@pytest.mark.parametrize("type_", PARAMETERS)
def test_parameters_that_are_offered(type_: str) -> None:
    """Those of the table, all of them."""
    offered = {found["name"]: found for found in RESOURCES[type_]["searchParam"]}
    assert list(offered) == list(PARAMETERS[type_])
    for code, parameter in PARAMETERS[type_].items():
        assert (offered[code]["type"], offered[code]["definition"]) == (parameter.type, parameter.definition)
        assert offered[code]["documentation"] == documentation(type_, parameter)


@pytest.mark.parametrize(
    ("type_", "code", "told"),
    [
        ("ImagingStudy", "started", "ImagingStudy.started; modifiers :missing; _sort"),
        ("ImagingStudy", "status", "ImagingStudy.status; modifiers :not, :missing"),
        (
            "ImagingStudy",
            "patient",
            (
                "ImagingStudy.subject.where(resolve() is Patient); modifiers :identifier, :Patient, "
                ":missing; chained to the parameters of Patient"
            ),
        ),
        (
            "ImagingStudy",
            "endpoint",
            (
                "ImagingStudy.endpoint | ImagingStudy.series.endpoint; modifiers :identifier, :Endpoint, "
                ":missing; chained to the parameters of Endpoint"
            ),
        ),
        ("Patient", "family", "Patient.name.family; modifiers :exact, :contains, :missing"),
    ],
)
def test_what_is_said_of_a_parameter(type_: str, code: str, told: str) -> None:
    """The expression, the modifiers, what it can be chained to, whether results are sorted by it."""
    assert documentation(type_, PARAMETERS[type_][code]) == told


VALUES = {
    "missing": "true",
    "of-type": "s|T|1",
    "_id": "a",
    "date": "2024",
}


@pytest.mark.parametrize(
    ("type_", "code", "modifier"),
    [
        (type_, code, modifier)
        for type_, table in PARAMETERS.items()
        for code, parameter in table.items()
        for modifier in ("", *parameter.supported_modifiers)
    ],
)
def test_every_modifier_that_is_offered_is_understood(type_: str, code: str, modifier: str) -> None:
    """One clause for each."""
    value = VALUES.get(modifier) or VALUES.get(PARAMETERS[type_][code].type, "a")
    name = f"{code}:{modifier}" if modifier else code
    assert len(parse(type_, [(name, value)], SETTINGS, strict=True).clauses) == 1
