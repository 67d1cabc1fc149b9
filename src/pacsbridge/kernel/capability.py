"""The CapabilityStatement, made from the tables that the code itself reads (FHIR R4 CapabilityStatement)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pacsbridge.kernel.search_parameters import PARAMETERS, SEARCHED, Parameter

FHIR_VERSION = "4.0.1"


def capability_statement(
    base_url: str,
    software_version: str,
    published: str,
    interactions: Iterable[str],
    security: Mapping[str, Any] | None = None,
    types: Iterable[str] = PARAMETERS,
) -> dict[str, Any]:
    """What this server can do. `published` is the dateTime that the statement was made.

    `interactions` are FHIR's codes: those of systems for the whole, the others for each resource type.
    `security` is CapabilityStatement.rest.security, where callers need a token. `types` are those of
    `SEARCHED` that are served.
    """
    codes = tuple(dict.fromkeys(interactions))
    resources = [_resource(type_, SEARCHED[type_], codes) for type_ in types]
    interaction = _coded(codes, _OF_SYSTEM)
    secured = {} if security is None else {"security": dict(security)}
    rest = _without_empty({"mode": "server", **secured, "resource": resources, "interaction": interaction})
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": published,
        "kind": "instance",
        "software": {"name": "pacsbridge", "version": software_version},
        "implementation": {"description": "DICOM studies as FHIR resources", "url": base_url},
        "fhirVersion": FHIR_VERSION,
        "format": ["json", "application/fhir+json"],
        "rest": [rest],
    }


_OF_SYSTEM = ("batch", "history-system")
_OF_TYPE = ("read", "vread", "history-instance", "history-type", "search-type")
_OF_LOG = ("read", "vread", "search-type")
"""Value sets system-restful-interaction and type-restful-interaction, as far as they are served."""


def _coded(codes: Iterable[str], among: Sequence[str]) -> list[dict[str, str]]:
    return [{"code": code} for code in codes if code in among]


def _resource(type_: str, parameters: Mapping[str, Parameter], codes: Iterable[str]) -> dict[str, Any]:
    published = type_ in PARAMETERS
    found = {
        "type": type_,
        "profile": f"http://hl7.org/fhir/StructureDefinition/{type_}",
        "interaction": _coded(codes, _OF_TYPE if published else _OF_LOG),
        "versioning": "versioned",
        "readHistory": published,
        "updateCreate": False,
        "conditionalCreate": False,
        "conditionalRead": "full-support",
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
        "searchInclude": [f"{type_}:{code}" for code in _references(parameters)],
        "searchRevInclude": list(_naming(type_)),
        "searchParam": [_parameter(type_, parameter) for parameter in parameters.values()],
    }
    return _without_empty(found)


def _without_empty(element: Mapping[str, Any]) -> dict[str, Any]:
    """R4 knows no empty lists."""
    return {name: value for name, value in element.items() if value != []}


def _references(parameters: Mapping[str, Parameter], target: str | None = None) -> Iterable[str]:
    """The codes of references to resources that are served here, or to those of one type."""
    for parameter in parameters.values():
        if target in parameter.chains or (target is None and parameter.chains):
            yield parameter.code


def _naming(type_: str) -> Iterable[str]:
    """What refers to a type."""
    for source, parameters in PARAMETERS.items():
        yield from (f"{source}:{code}" for code in _references(parameters, type_))


def _parameter(type_: str, parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.code,
        "definition": parameter.definition,
        "type": parameter.type,
        "documentation": documentation(type_, parameter),
    }


def documentation(type_: str, parameter: Parameter) -> str:
    """What a parameter looks at, and what may be said with it."""
    modifiers = ", ".join(f":{name}" for name in parameter.supported_modifiers)
    chains = [f"chained to the parameters of {target}" for target in parameter.chains]
    sorts = ["_sort"] if parameter.orders else []
    return "; ".join((parameter.expression(type_), f"modifiers {modifiers}", *chains, *sorts))
