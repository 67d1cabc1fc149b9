"""What is kept of a request: an id that both sides know, a log line without its query, the metrics."""

import re
from secrets import token_hex
from time import perf_counter

import structlog
from aiohttp import web

from pacsbridge import metrics
from pacsbridge.fhir.faults import Handler
from pacsbridge.fhir.service import SERVICE

_log = structlog.get_logger("pacsbridge.fhir")

REQUEST_ID = "X-Request-Id"

_LEGAL_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The outermost layer: sees every answer, faults too."""
    begun = perf_counter()
    response = await handler(request)
    response.headers[REQUEST_ID] = _request_id(request)
    response.headers["X-Content-Type-Options"] = "nosniff"
    _record(request, response, perf_counter() - begun)
    return response


def _request_id(request: web.Request) -> str:
    """The client's own id where it is a harmless one (FHIR R4 http, "custom headers")."""
    sent = request.headers.get(REQUEST_ID, "")
    return sent if _LEGAL_ID.fullmatch(sent) else token_hex(8)


def _record(request: web.Request, response: web.StreamResponse, seconds: float) -> None:
    route = route_of(request)
    method = request.method if request.method in _METHODS else "other"
    metrics.HTTP_REQUESTS.labels(route, method, str(response.status)).inc()
    metrics.HTTP_SECONDS.labels(route).observe(seconds)
    if request.config_dict[SERVICE].settings.access_log:
        _log.info(
            "request",
            method=method,
            route=route,
            type=request.match_info.get("type"),
            status=response.status,
            milliseconds=round(seconds * 1000, 2),
            request_id=response.headers[REQUEST_ID],
        )


def route_of(request: web.Request) -> str:
    """The route's pattern: paths themselves may hold what a client took for an id, queries patient data."""
    resource = request.match_info.route.resource
    return "unknown" if resource is None else resource.canonical
