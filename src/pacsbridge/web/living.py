"""Pages with regions that are kept up to date: the same URL gives the whole page, or the regions alone."""

from hashlib import sha256
from typing import Any

from aiohttp import web

from pacsbridge.access.sessions import LIVE
from pacsbridge.errors import Absent
from pacsbridge.web.operations import Operations
from pacsbridge.web.service import SERVICE, Web
from pacsbridge.web.showing import page


def living(request: web.Request, name: str, **values: Any) -> web.Response:
    """The page `name`, or its regions, 304 where these are as their ETag says (RFC 9110 13.1.2).

    What is asked for by the field `LIVE` is the regions.
    """
    if is_whole(request):
        response = page(request, f"{name}.html", **values)
        response.headers["Vary"] = LIVE
        return response
    response = page(request, f"{name}_live.html", **values)
    tag = f'"{sha256((response.text or "").encode()).hexdigest()[:32]}"'
    if request.headers.get("If-None-Match") == tag:
        response = web.Response(status=304)
    response.headers.update({"Vary": LIVE, "ETag": tag})
    return response


def is_whole(request: web.Request) -> bool:
    """Whether the page is asked for, and not its regions alone."""
    return LIVE not in request.headers


def operations(request: web.Request) -> tuple[Web, Operations]:
    """What the pages share, and what operators look at. Raises Absent where nothing runs that they could."""
    service = request.app[SERVICE]
    if service.operations is None:
        raise Absent("there is nothing to operate here")
    return service, service.operations
