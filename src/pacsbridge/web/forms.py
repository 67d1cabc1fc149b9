"""Names and values out of a URL or a form, decoded strictly: a fault is the sender's to mend."""

import asyncio
from urllib.parse import parse_qsl

from aiohttp import web

from pacsbridge.errors import NotUnderstood, TooLarge

Pairs = tuple[tuple[str, str], ...]

_FORM = "application/x-www-form-urlencoded"
_LONGEST = 64 << 10
_MOST = 200
_READ = web.RequestKey("pacsbridge_form", tuple)


def of_url(request: web.Request) -> Pairs:
    """The parameters of the URL, in their order, without those that are blank."""
    return _decoded(request.rel_url.raw_query_string)


async def of_form(request: web.Request, seconds: float) -> Pairs:
    """The fields of a form, read once, within so many seconds, without those that are blank."""
    if _READ not in request:
        request[_READ] = await _read(request, seconds)
    found: Pairs = request[_READ]
    return found


async def _read(request: web.Request, seconds: float) -> Pairs:
    if request.content_type != _FORM:
        raise NotUnderstood(f"a form is sent as {_FORM}")
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > _LONGEST:
                    raise TooLarge(f"a form is at most {_LONGEST} bytes")
    except TimeoutError as exc:
        raise web.HTTPRequestTimeout(reason="the form did not arrive in time") from exc
    return _decoded(body.decode("utf-8", errors="surrogateescape"))


def _decoded(text: str) -> Pairs:
    try:
        found = parse_qsl(text, errors="strict", max_num_fields=_MOST)
    except ValueError as exc:
        raise NotUnderstood("the parameters are not UTF-8, or too many") from exc
    pairs = tuple((name, value.strip()) for name, value in found if value.strip())
    for name, value in pairs:
        if not value.isprintable():
            raise NotUnderstood("a character is not allowed", parameter=name)
    return pairs


def value(pairs: Pairs, name: str) -> str:
    """The last value under a name; empty without one."""
    return next((text for key, text in reversed(pairs) if key == name), "")
