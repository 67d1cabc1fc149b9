"""From errors to DICOMweb answers: one table, one form `{"status", "reason"}`, one place that catches all."""

import json
import traceback
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

import structlog
from aiohttp import web

from pacsbridge import errors

_log = structlog.get_logger("pacsbridge.dicomweb")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

STATUS: Mapping[type[errors.PacsbridgeError], HTTPStatus] = {
    errors.PacsbridgeError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.Refused: HTTPStatus.BAD_REQUEST,
    errors.NotUnderstood: HTTPStatus.BAD_REQUEST,
    errors.NotSupported: HTTPStatus.BAD_REQUEST,
    errors.Mismatch: HTTPStatus.CONFLICT,
    errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.Conflicting: HTTPStatus.CONFLICT,
    errors.NotAcceptable: HTTPStatus.NOT_ACCEPTABLE,
    errors.Misdirected: HTTPStatus.MISDIRECTED_REQUEST,
    errors.Insecure: HTTPStatus.FORBIDDEN,
    errors.Denied: HTTPStatus.FORBIDDEN,
    errors.Unauthenticated: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.Absent: HTTPStatus.NOT_FOUND,
    errors.Gone: HTTPStatus.GONE,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.TooCostly: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.BadAnswer: HTTPStatus.BAD_GATEWAY,
    errors.Declined: HTTPStatus.BAD_GATEWAY,
    errors.WrongKind: HTTPStatus.BAD_GATEWAY,
    errors.Misconfigured: HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""PS3.18 8.5: the status of each error."""

_HEADERS: Mapping[HTTPStatus, Mapping[str, str]] = {HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": "5"}}

_ANSWERING = web.RequestKey("pacsbridge_answering", bool)


async def mark(request: web.Request, response: web.StreamResponse) -> None:
    """Before any response is sent: it has begun, and its content must be taken for what it says it is."""
    request[_ANSWERING] = True
    response.headers["X-Content-Type-Options"] = "nosniff"


@web.middleware
async def answer_faults(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns whatever a handler raises into an answer, or cuts an answer off that has already begun."""
    try:
        return await handler(request)
    except ConnectionError:
        raise
    except Exception as exc:
        if request.get(_ANSWERING):
            raise _cut(request, exc) from exc
        return _answer(exc)


def fault(status: int, reason: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """An error as JSON. `reason` carries no patient data."""
    body = json.dumps({"status": status, "reason": reason}).encode()
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def _answer(exc: Exception) -> web.Response:
    if isinstance(exc, web.HTTPException):
        kept = {name: exc.headers[name] for name in ("Allow", "Location") if name in exc.headers}
        return fault(exc.status, exc.reason, kept)
    if isinstance(exc, errors.Denied):
        return fault(STATUS[type(exc)], str(exc), {"WWW-Authenticate": exc.challenge})
    if isinstance(exc, errors.PacsbridgeError):
        status = next(STATUS[base] for base in type(exc).__mro__ if base in STATUS)
        return fault(status, str(exc), _HEADERS.get(status))
    _log.error("dicomweb fault", error=type(exc).__name__, at=_place(exc))
    return fault(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error")


def _cut(request: web.Request, exc: Exception) -> ConnectionResetError:
    """The client notices by the length (or the last chunk) that is missing."""
    _log.warning("answer cut off", error=type(exc).__name__, at=_place(exc))
    if request.transport is not None:
        request.transport.abort()
    return ConnectionResetError("the answer was cut off")


def _place(exc: Exception) -> str:
    """Where it was raised; the text of a foreign exception may hold patient data, so it is left out."""
    frames = traceback.extract_tb(exc.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
