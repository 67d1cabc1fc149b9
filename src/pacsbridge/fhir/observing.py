"""The one layer round all handlers: the request's id, faults as answers, the line in the log, the metrics."""

import re
from functools import cache
from itertools import count
from secrets import token_hex
from time import perf_counter
from typing import Any

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from pacsbridge import metrics
from pacsbridge.fhir.faults import Handler, answered

_log = structlog.get_logger("pacsbridge.fhir")

REQUEST_ID = "X-Request-Id"

_LEGAL_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_PROCESS = token_hex(6)
_NUMBERS = count(1)
"""Ids of our own: those of other processes begin otherwise."""

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


def observer(*, access_log: bool) -> Middleware:
    """The outermost layer: sees every answer, faults too; `access_log`: and writes a line for each."""
    log = _log.bind()

    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        begun = perf_counter()
        response = await answered(request, handler)
        response.headers[REQUEST_ID] = _request_id(request)
        response.headers["X-Content-Type-Options"] = "nosniff"
        seconds = perf_counter() - begun
        _count(request, response, seconds)
        if access_log:
            _write(log, request, response, seconds)
        return response

    return observe


def _request_id(request: web.Request) -> str:
    """The client's own id where it is a harmless one (FHIR R4 http, "custom headers")."""
    sent = request.headers.get(REQUEST_ID)
    return sent if sent and _LEGAL_ID.fullmatch(sent) else f"{_PROCESS}.{next(_NUMBERS):x}"


def _count(request: web.Request, response: web.StreamResponse, seconds: float) -> None:
    counter, timer = _meters(route_of(request), _method(request), response.status)
    counter.inc()
    timer.observe(seconds)


def _write(log: Any, request: web.Request, response: web.StreamResponse, seconds: float) -> None:
    log.info(
        "request",
        method=_method(request),
        route=route_of(request),
        type=request.match_info.get("type"),
        status=response.status,
        milliseconds=round(seconds * 1000, 2),
        request_id=response.headers[REQUEST_ID],
    )


def _method(request: web.Request) -> str:
    return request.method if request.method in _METHODS else "other"


@cache
def _meters(route: str, method: str, status: int) -> tuple[Any, Any]:
    """The metrics of requests; labels are few and closed, so that all of them can be kept."""
    return metrics.HTTP_REQUESTS.labels(route, method, str(status)), metrics.HTTP_SECONDS.labels(route)


def route_of(request: web.Request) -> str:
    """The route's pattern: paths themselves may hold what a client took for an id, queries patient data."""
    resource = request.match_info.route.resource
    return "unknown" if resource is None else resource.canonical
