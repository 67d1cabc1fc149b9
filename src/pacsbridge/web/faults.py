"""From errors to pages: one table, one place that catches all, and the fields of every answer."""

import re
import traceback
from collections.abc import Mapping
from http import HTTPStatus
from time import perf_counter
from typing import NamedTuple
from urllib.parse import urlencode

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from pacsbridge import errors, metrics
from pacsbridge.access.guard import Handler
from pacsbridge.access.sessions import LIVE, name_of, set_cookie
from pacsbridge.web.service import SERVICE
from pacsbridge.web.showing import page, see_other

_log = structlog.get_logger("pacsbridge.web")

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of every answer: a page asks nobody but us, runs nothing that is not ours, and nobody frames it."""


class Fault(NamedTuple):
    """How an error is answered, under which heading, and what may be done about it."""

    status: int
    title: str
    advice: str = ""


_INTERNAL = Fault(HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong here", "The log names the place.")
_BAD = Fault(HTTPStatus.BAD_REQUEST, "That could not be understood")
_ELSEWHERE = Fault(HTTPStatus.BAD_GATEWAY, "Another server gave no usable answer")

FAULTS: Mapping[type[errors.PacsbridgeError], Fault] = {
    errors.PacsbridgeError: _INTERNAL,
    errors.Refused: _BAD,
    errors.NotUnderstood: _BAD,
    errors.NotSupported: _BAD,
    errors.Mismatch: Fault(HTTPStatus.UNPROCESSABLE_ENTITY, "Two things contradict each other"),
    errors.TooLarge: Fault(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "That is too much"),
    errors.NotAcceptable: Fault(HTTPStatus.NOT_ACCEPTABLE, "There is no such form of this"),
    errors.Conflicting: Fault(HTTPStatus.CONFLICT, "Something else is held under this UID"),
    errors.Misdirected: Fault(HTTPStatus.MISDIRECTED_REQUEST, "Not under this name"),
    errors.Insecure: Fault(HTTPStatus.FORBIDDEN, "Not without encryption", "Go there by https."),
    errors.Denied: Fault(HTTPStatus.FORBIDDEN, "Not for you"),
    errors.Unauthenticated: Fault(HTTPStatus.UNAUTHORIZED, "Sign in first"),
    errors.Forbidden: Fault(
        HTTPStatus.FORBIDDEN, "Not with these rights", "Sign in with a token that has the scopes for it."
    ),
    errors.Absent: Fault(
        HTTPStatus.NOT_FOUND, "There is nothing here", "It may not have been published yet."
    ),
    errors.Gone: Fault(HTTPStatus.GONE, "This has been deleted"),
    errors.Unavailable: Fault(HTTPStatus.SERVICE_UNAVAILABLE, "Not now", "Try again in a moment."),
    errors.TooCostly: Fault(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "This takes too long",
        "Ask for less: another condition, a narrower range.",
    ),
    errors.BadAnswer: _ELSEWHERE,
    errors.Declined: _ELSEWHERE,
    errors.WrongKind: _ELSEWHERE,
    errors.Misconfigured: _INTERNAL,
}
"""Every error of pacsbridge → its page; a test holds the table complete."""

_HTTP: Mapping[int, Fault] = {
    HTTPStatus.NOT_FOUND: Fault(HTTPStatus.NOT_FOUND, "There is no such page"),
    HTTPStatus.METHOD_NOT_ALLOWED: Fault(
        HTTPStatus.METHOD_NOT_ALLOWED, "Not like this", "Go there by the form that leads there."
    ),
}

_METHODS = frozenset(("GET", "HEAD", "POST"))
_LOCAL = re.compile(r"/(?!/)[^\\\x00-\x20]*")
"""A path of ours, which `//host` is not."""


def answering() -> Middleware:
    """The outermost layer: faults become pages, every answer gets its fields, is counted and logged."""

    @web.middleware
    async def layer(request: web.Request, handler: Handler) -> web.StreamResponse:
        begun = perf_counter()
        response = await _answered(request, handler)
        response.headers.update(HEADERS)
        response.headers.setdefault("Cache-Control", "no-store")
        _count(request, response, perf_counter() - begun)
        return response

    return layer


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as exc:
        fault = _HTTP.get(exc.status, Fault(exc.status, exc.reason))
        kept = {"Allow": exc.headers["Allow"]} if "Allow" in exc.headers else {}
        said = "" if exc.reason == HTTPStatus(exc.status).phrase else exc.reason
        return page(request, "fault.html", exc.status, kept, fault=fault, said=said)
    except ConnectionError:
        raise
    except errors.PacsbridgeError as exc:
        return _told(request, exc)
    except Exception as exc:
        _log.error("request_failed", error=type(exc).__name__, at=_place(exc))
        return page(request, "fault.html", _INTERNAL.status, fault=_INTERNAL, said="")


def _told(request: web.Request, exc: errors.PacsbridgeError) -> web.Response:
    if isinstance(exc, errors.Unauthenticated) and _is_browsing(request):
        response = see_other(f"/login?{urlencode({'next': request.path_qs})}")
        if name_of(request):
            set_cookie(request, response, "")
        return response
    fault = next(FAULTS[base] for base in type(exc).__mro__ if base in FAULTS)
    parameter = getattr(exc, "parameter", None)
    said = f"{parameter}: {exc}" if parameter else str(exc)
    return page(request, "fault.html", fault.status, _headers(exc), fault=fault, said=said)


def _headers(exc: errors.PacsbridgeError) -> Mapping[str, str]:
    if isinstance(exc, errors.Denied):
        return {"WWW-Authenticate": exc.challenge}
    return {"Retry-After": "5"} if isinstance(exc, errors.Unavailable) else {}


def _is_browsing(request: web.Request) -> bool:
    """Whether somebody wants to look at a page, and can be asked to sign in on the way."""
    told = ("Authorization", LIVE)
    return request.method in ("GET", "HEAD") and not any(name in request.headers for name in told)


def local(path: str) -> str:
    """A path of ours to go on to; the first page where it is anything else."""
    return path if _LOCAL.fullmatch(path) else "/"


def _count(request: web.Request, response: web.StreamResponse, seconds: float) -> None:
    resource = request.match_info.route.resource
    route = "unknown" if resource is None else resource.canonical
    method = request.method if request.method in _METHODS else "other"
    metrics.HTTP_REQUESTS.labels(route, method, str(response.status)).inc()
    metrics.HTTP_SECONDS.labels(route).observe(seconds)
    if request.app[SERVICE].settings.access_log:
        milliseconds = round(seconds * 1000, 2)
        _log.info("request", method=method, route=route, status=response.status, milliseconds=milliseconds)


def _place(exc: Exception) -> str:
    """Where it was raised; the text of a foreign exception may hold patient data, so it is left out."""
    frames = traceback.extract_tb(exc.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
