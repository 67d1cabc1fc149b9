"""Names and values out of a URL or a form, decoded strictly: a fault is the client's to mend."""

import asyncio
import zlib
from urllib.parse import parse_qsl, unquote

from aiohttp import web

from pacsbridge.errors import NotUnderstood, TooLarge
from pacsbridge.fhir.service import SERVICE, Pairs

_FORM = "application/x-www-form-urlencoded"
_JSON = ("application/fhir+json", "application/json")
_CHARSETS = ("utf-8", "utf8", "us-ascii")
_CODINGS = ("", "identity", "gzip")
_MOST = 1000


def check_path(request: web.Request) -> None:
    """Raises NotUnderstood when the path is not UTF-8 under its percent signs."""
    path = request.raw_path.partition("?")[0]
    if "%" in path:
        try:
            unquote(path, errors="strict")
        except UnicodeDecodeError as exc:
            raise NotUnderstood("the path is not UTF-8") from exc


def of_url(request: web.Request) -> Pairs:
    """The parameters of the URL, in their order."""
    query = request.raw_path.partition("?")[2]
    return decoded(query.partition("#")[0]) if query else ()


async def of_form(request: web.Request) -> Pairs:
    """The parameters of a form body (`POST …/_search`), at most `max_body` bytes."""
    _check_body(request, (_FORM,), "a search")
    return decoded((await _read(request)).decode("utf-8", errors="surrogateescape"))


async def of_bundle(request: web.Request) -> bytes:
    """The body of a batch, at most `max_body` bytes."""
    _check_body(request, _JSON, "a batch")
    return await _read(request)


async def _read(request: web.Request) -> bytes:
    settings = request.config_dict[SERVICE].settings
    try:
        async with asyncio.timeout(settings.body_seconds):
            body = await _bounded(request, settings.max_body)
    except TimeoutError as exc:
        raise web.HTTPRequestTimeout(reason="the body did not arrive in time") from exc
    return _inflated(body, settings.max_body) if _coding(request) == "gzip" else body


def _check_body(request: web.Request, types: tuple[str, ...], what: str) -> None:
    if request.content_type not in types:
        raise web.HTTPUnsupportedMediaType(reason=f"{what} is sent as {types[0]}")
    if (request.charset or "utf-8").lower() not in _CHARSETS:
        raise web.HTTPUnsupportedMediaType(reason=f"{what} is sent in UTF-8")
    if _coding(request) not in _CODINGS:
        raise web.HTTPUnsupportedMediaType(reason=f"{what} is sent plain or with gzip")


def _coding(request: web.Request) -> str:
    return request.headers.get("Content-Encoding", "identity").strip().lower()


def _inflated(body: bytes, most: int) -> bytes:
    """A gzip body, of which no more is inflated than may be."""
    engine = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        plain = engine.decompress(body, most + 1)
    except zlib.error as exc:
        raise NotUnderstood("the body is not gzip, which its header names") from exc
    if len(plain) > most:
        raise TooLarge(f"a body is at most {most} bytes")
    if not engine.eof:
        raise NotUnderstood("the body ends before its gzip does")
    return plain


async def _bounded(request: web.Request, most: int) -> bytes:
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > most:
            raise TooLarge(f"a body is at most {most} bytes")
    return bytes(body)


def decoded(text: str) -> Pairs:
    """The parameters of a text `name=value&…`. Raises NotUnderstood."""
    try:
        return tuple(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST))
    except ValueError as exc:
        raise NotUnderstood("the parameters are not UTF-8, or too many") from exc
