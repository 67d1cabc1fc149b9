"""The OpenAPI 3.1 description, made from the tables that the router and the search themselves read."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pacsbridge.fhir.interactions import SHAPES
from pacsbridge.fhir.negotiation import FHIR_JSON
from pacsbridge.fhir.routes import PARTS, ROUTES, Route
from pacsbridge.kernel.capability import documentation
from pacsbridge.kernel.search_parameters import PARAMETERS, SEARCHED

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_VALUES: Json = {"type": "array", "items": _TEXT}
"""Every value is a text with a syntax of its own, may be a list with commas, and may be repeated."""

_RESULTS: Mapping[str, tuple[Json, str]] = {
    "_count": ({"type": "integer", "minimum": 0}, "entries a page at most; 0 asks for the total alone"),
    "_sort": (_TEXT, "parameters separated by commas, - before one descends"),
    "_total": ({"enum": ["none", "estimate", "accurate"]}, "whether Bundle.total is wanted"),
    "_summary": (
        {"enum": ["true", "text", "data", "count", "false"]},
        "how much of each resource is returned",
    ),
    "_elements": (_TEXT, "names of elements at the root, separated by commas"),
    "_include": (_TEXT, "Source:parameter[:Target], or *: what matches refer to"),
    "_revinclude": (_TEXT, "Source:parameter[:Target]: what refers to matches"),
    "_cursor": (_TEXT, "a position, as the links of a page have it"),
}

_HISTORY: Mapping[str, tuple[Json, str]] = {
    "_since": (_TEXT, "an instant from which on versions are wanted"),
    "_at": (_TEXT, "a date or dateTime: the versions that were current then"),
    "_count": _RESULTS["_count"],
    "_cursor": _RESULTS["_cursor"],
}

_EDGE: Mapping[str, tuple[Json, str]] = {
    "_format": (_TEXT, "json, or a media type; goes before the header Accept"),
    "_pretty": ({"enum": ["true", "false"]}, "whether the answer is indented"),
}

_STATUSES: Mapping[str, str] = {
    "400": "the request is not understood, or asks for something that is not offered",
    "404": "there is nothing under that name",
    "406": "no representation of the answer is acceptable to the client",
    "410": "the resource has been deleted",
    "413": "the body is too large",
    "415": "the body is of a media type or coding that is not taken",
    "503": "the index is away, or the answer takes too long to find",
}

_OF_CODE: Mapping[str, tuple[str, ...]] = {
    "read": ("400", "404", "406", "410", "503"),
    "vread": ("400", "404", "406", "410", "503"),
    "history-instance": ("400", "404", "406", "503"),
    "capabilities": ("400", "406"),
    "openapi": ("400", "406"),
}
"""Interaction → the faults that it may be answered with; others as searches."""

_SEARCHED = ("400", "404", "406", "503")
_BODY = ("413", "415")


def openapi(
    base_url: str, software_version: str, *, tokens: bool = False, types: Sequence[str] = tuple(PARAMETERS)
) -> Json:
    """The description of everything below `base_url`; `tokens`: callers need one. `types`: what is served."""
    description = _described(base_url, software_version, types)
    return _secured(description) if tokens else description


def _secured(description: Json) -> Json:
    """The same with 401 and 403, and the kind of token (OpenAPI 3.1 "security scheme object")."""
    for operations in description["paths"].values():
        for operation in operations.values():
            if operation["operationId"] in _OPEN:
                operation["security"] = []
            else:
                operation["responses"] |= {one: {"$ref": f"#/components/responses/{one}"} for one in _DENIED}
    scheme = {"type": "http", "scheme": "bearer", "description": "an access token with SMART scopes"}
    description["components"]["securitySchemes"] = {"bearer": scheme}
    description["components"]["responses"] |= dict(map(_fault, _DENIED.items()))
    return {**description, "security": [{"bearer": []}]}


_OPEN = ("capabilities", "openapi")
_DENIED: Mapping[str, str] = {
    "401": "a token is needed, or this one is not good",
    "403": "the scopes of the token do not cover this",
}


def _described(base_url: str, software_version: str, types: Sequence[str]) -> Json:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pacsbridge FHIR API",
            "version": software_version,
            "description": "DICOM studies as FHIR R4 resources: read, search, history, batch.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base_url}],
        "paths": {path: found for route in ROUTES for path, found in _paths(route, types)} | _batch(),
        "components": {"schemas": _schemas(types), "responses": dict(map(_fault, _STATUSES.items()))},
    }


def _paths(route: Route, types: Sequence[str]) -> Iterable[tuple[str, Json]]:
    """The paths of a route: one for each resource type, as their parameters differ."""
    history = route.code.startswith("history")
    fitting = [one for one in types if one in PARAMETERS or not history]
    for type_ in fitting if "{type}" in route.path else (None,):
        path = route.path if type_ is None else route.path.replace("{type}", type_)
        yield path, {route.method.lower(): _operation(route, type_)}


def _operation(route: Route, type_: str | None) -> Json:
    query = [_query(name, *row) for name, row in _query_of(route, type_).items()]
    found: Json = {
        "operationId": "-".join(filter(None, (route.code, type_, "form" if route.form else None))),
        "summary": route.summary,
        "tags": [type_ or "system"],
        "parameters": [*_path_parameters(route), *([] if route.form else query), *_conditions(route)],
        "responses": _responses(route),
    }
    return found | ({"requestBody": _form(query)} if route.form else {})


def _query_of(route: Route, type_: str | None) -> Mapping[str, tuple[Json, str]]:
    if route.code == "search-type" and type_:
        searched = {p.code: (_VALUES, documentation(type_, p)) for p in SEARCHED[type_].values()}
        return {**searched, **_RESULTS, **_EDGE}
    if route.code.startswith("history"):
        return {**_HISTORY, **_EDGE}
    shapes = {name: (_TEXT, text) for name, text in SHAPES.items()} if route.code.endswith("read") else {}
    return {**shapes, **_EDGE}


def _query(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _path_parameters(route: Route) -> Iterable[Json]:
    for name in ("id", "version"):
        if f"{{{name}}}" in route.path:
            schema = {"type": "string", "pattern": f"^{PARTS[name]}$"}
            yield {"name": name, "in": "path", "required": True, "schema": schema}


def _conditions(route: Route) -> Iterable[Json]:
    if route.code == "read":
        for name in ("If-None-Match", "If-Modified-Since"):
            yield {"name": name, "in": "header", "schema": _TEXT}
    if route.code == "search-type":
        schema = {"enum": ["handling=strict", "handling=lenient"]}
        yield {"name": "Prefer", "in": "header", "schema": schema, "description": "of unknown parameters"}


def _form(query: Iterable[Json]) -> Json:
    properties = {one["name"]: one["schema"] for one in query}
    content = {"application/x-www-form-urlencoded": {"schema": {"type": "object", "properties": properties}}}
    return {"content": content, "required": True}


def _responses(route: Route) -> Json:
    faults = (*_OF_CODE.get(route.code, _SEARCHED), *(_BODY if route.form else ()))
    kind = _KINDS.get(route.code, "Bundle")
    found: Json = {"200": {"description": route.summary, "content": _content(kind)}}
    if route.code == "read":
        found["304"] = {"description": "the client holds the current version"}
    return found | {status: {"$ref": f"#/components/responses/{status}"} for status in sorted(faults)}


_KINDS: Mapping[str, str] = {
    "read": "Resource",
    "vread": "Resource",
    "capabilities": "CapabilityStatement",
    "openapi": "Description",
}


def _content(kind: str) -> Json:
    schema = {"$ref": f"#/components/schemas/{kind}"}
    return {media: {"schema": schema} for media in (FHIR_JSON, "application/json")}


def _fault(row: tuple[str, str]) -> tuple[str, Json]:
    status, description = row
    return status, {"description": description, "content": _content("OperationOutcome")}


def _schemas(types: Sequence[str]) -> Json:
    resources = {name: _resource(name) for name in ("Bundle", "CapabilityStatement", "OperationOutcome")}
    return {
        "Resource": {
            "type": "object",
            "required": ["resourceType", "id", "meta"],
            "properties": {"resourceType": {"enum": list(types)}, "id": _TEXT},
        },
        "Description": {"type": "object", "required": ["openapi"]},
        **resources,
    }


def _resource(name: str) -> Json:
    return {"type": "object", "required": ["resourceType"], "properties": {"resourceType": {"const": name}}}


def _batch() -> Json:
    faults = ("400", "406", *_BODY, "503")
    return {
        "/": {
            "post": {
                "operationId": "batch",
                "summary": "Several reads and searches in one request",
                "tags": ["system"],
                "requestBody": {"required": True, "content": _content("Bundle")},
                "responses": {
                    "200": {
                        "description": "an answer for each entry, in order",
                        "content": _content("Bundle"),
                    },
                    **{status: {"$ref": f"#/components/responses/{status}"} for status in faults},
                },
            }
        }
    }
