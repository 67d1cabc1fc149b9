"""Where instances can be fetched → Endpoint resources and the references to them."""

from collections.abc import Iterable
from typing import Any

from pacsbridge.kernel.publication import EndpointSpec, expand
from pacsbridge.kernel.terminology import CONNECTION_TYPES
from pacsbridge.kernel.values import clean


def endpoint(spec: EndpointSpec) -> dict[str, Any]:
    """The Endpoint resource of a configured endpoint."""
    resource: dict[str, Any] = {
        "resourceType": "Endpoint",
        "id": spec.id,
        "status": spec.status,
        "connectionType": dict(CONNECTION_TYPES[spec.connection_type]),
        "name": clean(spec.name or ""),
        "managingOrganization": _named(spec.managing_organization),
        "payloadType": [{"text": clean(spec.payload_type)}],
        "payloadMimeType": list(spec.mime_types),
        "address": spec.address,
    }
    return {name: value for name, value in resource.items() if value}


def contained(specs: Iterable[EndpointSpec], study_uid: str | None) -> list[dict[str, Any]]:
    """The Endpoints that one study has for itself, by templates."""
    return [
        {**endpoint(spec), "address": address}
        for spec in specs
        if spec.is_template and (address := expand(spec.address, {"study_uid": study_uid}))
    ]


def references(specs: Iterable[EndpointSpec], study_uid: str | None) -> list[dict[str, Any]]:
    """References to endpoints; those by templates are contained, and need a study UID."""
    return [
        {"reference": f"#{spec.id}" if spec.is_template else f"Endpoint/{spec.id}", "type": "Endpoint"}
        for spec in specs
        if study_uid or not spec.is_template
    ]


def _named(organization: str | None) -> dict[str, str] | None:
    display = clean(organization or "")
    return {"display": display} if display else None
