"""HTTP answers: bytes of JSON with what FHIR and good manners want round them."""

from collections.abc import Sequence
from email.utils import formatdate
from functools import lru_cache

import orjson
from aiohttp import web
from aiohttp.web_response import ContentCoding

from pacsbridge.fhir.negotiation import media_type, pretty, takes_gzip
from pacsbridge.fhir.service import Answer

COMPRESS_FROM = 1024
"""Bodies of more bytes are compressed for clients that take it."""

_OFF_LOOP_FROM = 64 * 1024
_VARY = "Accept, Accept-Encoding"


def negotiated(request: web.Request, pairs: Sequence[tuple[str, str]]) -> tuple[str, bool]:
    """Media type and whether to indent; the first of several. Raises NotAcceptable, NotUnderstood."""
    controls = {name: text for name, text in reversed(pairs) if name in ("_format", "_pretty")}
    accept = ",".join(request.headers.getall("Accept", ()))
    return media_type(accept, controls.get("_format")), pretty(controls.get("_pretty"))


def written(request: web.Request, answer: Answer, form: tuple[str, bool]) -> web.Response:
    """An answer in the form that was negotiated."""
    content_type, indented = form
    headers = {"Vary": _VARY}
    if answer.version is not None:  # FHIR R4 http, "managing resource contention"
        headers["ETag"] = f'W/"{answer.version}"'
        headers["Last-Modified"] = _http_date(answer.published // 1_000_000)
    if answer.status == 304:
        return web.Response(status=304, headers=headers)
    body = answer.body
    if indented:
        body = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2)
    return packed(request, body, content_type, answer.status, headers)


@lru_cache(maxsize=4096)
def _http_date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


def packed(
    request: web.Request,
    body: bytes,
    content_type: str,
    status: int,
    headers: dict[str, str],
) -> web.Response:
    """The body compressed where that is worth it."""
    headers["Content-Type"] = f"{content_type}; charset=utf-8"
    response = web.Response(
        body=body,
        status=status,
        headers=headers,
        zlib_executor_size=_OFF_LOOP_FROM,
    )
    if len(body) > COMPRESS_FROM and takes_gzip(request.headers.get("Accept-Encoding", "")):
        response.enable_compression(ContentCoding.gzip)
    return response
