"""DICOMweb on the viewer's own origin: reads are handed on to the bridge, and nothing else is."""

from collections.abc import Mapping
from urllib.parse import unquote

import aiohttp
from aiohttp import web

DICOMWEB = "/dicomweb"
"""Where DICOMweb stands on the viewer's own origin."""

_ASKED = (
    *("Accept", "Accept-Encoding", "Authorization", "If-Match", "If-Modified-Since", "If-None-Match"),
    *("If-Range", "Range"),
)
"""Header fields of a request that are handed on."""

_ANSWERED = (
    *("Accept-Ranges", "Cache-Control", "Content-Encoding", "Content-Length", "Content-Location"),
    *("Content-Range", "Content-Type", "ETag", "Last-Modified", "Retry-After", "Vary", "Warning"),
    "WWW-Authenticate",
)
"""Header fields of an answer that are handed on."""

_ROOTS = frozenset({"studies", "series", "instances"})
_CHUNK = 1 << 18
_SECONDS = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=120)


def session() -> aiohttp.ClientSession:
    """Connections to the bridge: bodies are passed on as they come, redirects and cookies go no further."""
    return aiohttp.ClientSession(
        timeout=_SECONDS,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Accept-Encoding", "User-Agent"),
    )


class Forwarding:
    """Hands requests on to the DICOMweb service at `base`."""

    def __init__(self, base: str, client: aiohttp.ClientSession) -> None:
        self._base = base.rstrip("/")
        self._client = client

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The service's answer to GET or HEAD of a path below it.

        404 for a path that is none of DICOMweb's, 502 when there is no service, 504 when it is silent.
        """
        path = request.rel_url.raw_path.removeprefix(DICOMWEB + "/")
        if not _is_resource(path):
            raise web.HTTPNotFound
        query = request.rel_url.raw_query_string
        target = f"{self._base}/{path}?{query}" if query else f"{self._base}/{path}"
        try:
            async with self._client.request(
                request.method, target, headers=_chosen(request.headers, _ASKED), allow_redirects=False
            ) as answer:
                return await _passed_on(request, answer)
        except TimeoutError as exc:
            raise web.HTTPGatewayTimeout(text="the DICOMweb service does not answer") from exc
        except aiohttp.ClientError as exc:
            raise web.HTTPBadGateway(text="the DICOMweb service cannot be reached") from exc


def _is_resource(path: str) -> bool:
    """Whether a path names studies, series or instances, and no segment leads anywhere else."""
    segments = [unquote(one) for one in path.split("/")]
    return segments[0] in _ROOTS and not any(one in {"", ".", ".."} or "/" in one for one in segments)


def _chosen(fields: Mapping[str, str], names: tuple[str, ...]) -> Mapping[str, str]:
    return {name: fields[name] for name in names if name in fields}


async def _passed_on(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """Once it has begun it can only be cut off, which the browser sees as such."""
    response = web.StreamResponse(status=answer.status, headers=_chosen(answer.headers, _ANSWERED))
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_chunked(_CHUNK):
            await response.write(chunk)
    except (aiohttp.ClientError, TimeoutError):
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response
