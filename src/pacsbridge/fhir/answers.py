"""HTTP answers: bytes of JSON with what FHIR and good manners want round them."""

from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime

import orjson
from aiohttp import web
from aiohttp.web_response import ContentCoding

from pacsbridge.fhir.negotiation import media_type, pretty, takes_gzip
from pacsbridge.fhir.parameters import control
from pacsbridge.fhir.service import SERVICE

COMPRESS_FROM = 1024
"""Bodies of more bytes are compressed for clients that take it."""

_OFF_LOOP_FROM = 64 * 1024
_VARY = "Accept, Accept-Encoding"


def negotiated(request: web.Request) -> tuple[str, bool]:
    """Media type and whether to indent. Raises NotAcceptable, NotUnderstood."""
    accept = ",".join(request.headers.getall("Accept", ()))
    return media_type(accept, control(request, "_format")), pretty(control(request, "_pretty"))


def answer(
    request: web.Request, body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A JSON document, as the client wants it."""
    content_type, indented = negotiated(request)
    if indented:
        body = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2)
    return packed(request, body, content_type, status, headers)


def packed(
    request: web.Request, body: bytes, content_type: str, status: int, headers: Mapping[str, str] | None
) -> web.Response:
    """The body compressed where that is worth it."""
    response = web.Response(
        body=body,
        status=status,
        headers={"Content-Type": f"{content_type}; charset=utf-8", "Vary": _VARY, **(headers or {})},
        zlib_executor_size=_OFF_LOOP_FROM,
        zlib_executor=request.config_dict[SERVICE].executor,
    )
    if len(body) > COMPRESS_FROM and takes_gzip(request.headers.get("Accept-Encoding", "")):
        response.enable_compression(ContentCoding.gzip)
    return response


def validators(version: int, updated: datetime) -> dict[str, str]:
    """ETag and Last-Modified of a version (FHIR R4 http, "managing resource contention")."""
    return {"ETag": f'W/"{version}"', "Last-Modified": format_datetime(updated, usegmt=True), "Vary": _VARY}


def unchanged(request: web.Request, version: int, updated: datetime) -> bool:
    """Whether the client holds this version: If-None-Match, else If-Modified-Since (RFC 9110 13.2.2)."""
    tags = request.if_none_match
    if tags is not None:
        return any(tag.value in ("*", str(version)) for tag in tags)
    since = request.if_modified_since
    return since is not None and updated.replace(microsecond=0) <= since


def conditional(request: web.Request) -> bool:
    """Whether the request has a condition that may save the body."""
    return "If-None-Match" in request.headers or "If-Modified-Since" in request.headers
