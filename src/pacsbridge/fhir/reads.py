"""Reading one resource, or what this server can do (FHIR R4 http: read, vread, capabilities)."""

from aiohttp import web

from pacsbridge.errors import Absent, Gone
from pacsbridge.fhir.answers import answer, conditional, negotiated, unchanged, validators
from pacsbridge.fhir.service import SERVICE, Service
from pacsbridge.store.records import Document, Version

_ROW_NUMBERS = 2**31


async def read(request: web.Request) -> web.Response:
    """`GET /{type}/{id}`: the current version; 304 is settled before its body is fetched."""
    service = request.config_dict[SERVICE]
    type_, id_ = request.match_info["type"], request.match_info["id"]
    if conditional(request):
        negotiated(request)
        known = _there(await service.point(lambda: service.store.version(type_, id_)))
        if unchanged(request, known.version, known.updated):
            return web.Response(status=304, headers=validators(known.version, known.updated))
    return _document(request, await service.point(lambda: service.store.document(type_, id_)))


async def vread(request: web.Request) -> web.Response:
    """`GET /{type}/{id}/_history/{version}`: one version."""
    service = request.config_dict[SERVICE]
    type_, id_ = request.match_info["type"], request.match_info["id"]
    number = int(request.match_info["version"])
    if not 0 < number < _ROW_NUMBERS:
        raise Absent("no such version")
    return _document(request, await service.point(lambda: service.store.document(type_, id_, number)))


async def metadata(request: web.Request) -> web.Response:
    """`GET /metadata`: the CapabilityStatement."""
    service: Service = request.config_dict[SERVICE]
    return answer(request, service.statement)


def _there(found: Version | None) -> Version:
    if found is None:
        raise Absent("there is no such resource")
    if found.deleted:
        raise Gone("the resource has been deleted")
    return found


def _document(request: web.Request, found: Document | None) -> web.Response:
    if found is None:
        raise Absent("there is no such resource or version")
    if found.deleted or found.body is None:
        raise Gone("the resource has been deleted")
    return answer(request, found.body, headers=validators(found.version, found.updated))
