"""The CapabilityStatement, made from the tables that the code itself reads (FHIR R4 CapabilityStatement)."""

from collections.abc import Mapping
from typing import Any

from pacsbridge.kernel.search_parameters import PARAMETERS, Parameter

FHIR_VERSION = "4.0.1"

INTERACTIONS = ("read", "vread", "search-type")
"""What can be done with each resource type."""


def capability_statement(base_url: str, software_version: str, published: str) -> dict[str, Any]:
    """What this server can do. `published` is the dateTime that the statement was made."""
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": published,
        "kind": "instance",
        "software": {"name": "pacsbridge", "version": software_version},
        "implementation": {"description": "DICOM studies as FHIR resources", "url": base_url},
        "fhirVersion": FHIR_VERSION,
        "format": ["json", "application/fhir+json"],
        "rest": [{"mode": "server", "resource": [_resource(*row) for row in PARAMETERS.items()]}],
    }


def _resource(type_: str, parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    return {
        "type": type_,
        "profile": f"http://hl7.org/fhir/StructureDefinition/{type_}",
        "interaction": [{"code": code} for code in INTERACTIONS],
        "versioning": "versioned",
        "readHistory": True,
        "updateCreate": False,
        "conditionalCreate": False,
        "conditionalRead": "full-support",
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
        "searchParam": [_parameter(type_, parameter) for parameter in parameters.values()],
    }


def _parameter(type_: str, parameter: Parameter) -> dict[str, Any]:
    modifiers = ", ".join(f":{name}" for name in parameter.supported_modifiers)
    documentation = parameter.expression(type_) + (f"; modifiers {modifiers}" if modifiers else "")
    return {
        "name": parameter.code,
        "definition": parameter.definition,
        "type": parameter.type,
        "documentation": documentation,
    }
