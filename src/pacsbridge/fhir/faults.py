"""From errors to FHIR answers: one table, an OperationOutcome each, one place that catches all."""

import traceback
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson
import structlog
from aiohttp import web

from pacsbridge import errors
from pacsbridge.fhir.answers import packed
from pacsbridge.fhir.negotiation import FHIR_JSON
from pacsbridge.fhir.parameters import check_path
from pacsbridge.kernel.outcomes import Code, Severity, issue, outcome

_log = structlog.get_logger("pacsbridge.fhir")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Fault(NamedTuple):
    """How an error is answered."""

    status: int
    code: Code


FAULTS: Mapping[type[errors.PacsbridgeError], Fault] = {
    errors.PacsbridgeError: Fault(HTTPStatus.INTERNAL_SERVER_ERROR, Code.EXCEPTION),
    errors.Refused: Fault(HTTPStatus.BAD_REQUEST, Code.INVALID),
    errors.NotUnderstood: Fault(HTTPStatus.BAD_REQUEST, Code.VALUE),
    errors.NotSupported: Fault(HTTPStatus.BAD_REQUEST, Code.NOT_SUPPORTED),
    errors.Mismatch: Fault(HTTPStatus.UNPROCESSABLE_ENTITY, Code.PROCESSING),
    errors.TooLarge: Fault(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, Code.TOO_LONG),
    errors.Conflicting: Fault(HTTPStatus.CONFLICT, Code.DUPLICATE),
    errors.NotAcceptable: Fault(HTTPStatus.NOT_ACCEPTABLE, Code.NOT_SUPPORTED),
    errors.Misdirected: Fault(HTTPStatus.MISDIRECTED_REQUEST, Code.SECURITY),
    errors.Insecure: Fault(HTTPStatus.FORBIDDEN, Code.SECURITY),
    errors.Denied: Fault(HTTPStatus.FORBIDDEN, Code.FORBIDDEN),
    errors.Unauthenticated: Fault(HTTPStatus.UNAUTHORIZED, Code.LOGIN),
    errors.Forbidden: Fault(HTTPStatus.FORBIDDEN, Code.FORBIDDEN),
    errors.Absent: Fault(HTTPStatus.NOT_FOUND, Code.NOT_FOUND),
    errors.Gone: Fault(HTTPStatus.GONE, Code.DELETED),
    errors.Unavailable: Fault(HTTPStatus.SERVICE_UNAVAILABLE, Code.TRANSIENT),
    errors.TooCostly: Fault(HTTPStatus.SERVICE_UNAVAILABLE, Code.TOO_COSTLY),
    errors.BadAnswer: Fault(HTTPStatus.BAD_GATEWAY, Code.TRANSIENT),
    errors.Declined: Fault(HTTPStatus.BAD_GATEWAY, Code.TRANSIENT),
    errors.WrongKind: Fault(HTTPStatus.BAD_GATEWAY, Code.TRANSIENT),
    errors.Misconfigured: Fault(HTTPStatus.INTERNAL_SERVER_ERROR, Code.EXCEPTION),
}
"""Every error of pacsbridge → its answer; a test holds the table complete."""

_CODES: Mapping[int, Code] = {
    HTTPStatus.NOT_FOUND: Code.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED: Code.NOT_SUPPORTED,
    HTTPStatus.REQUEST_TIMEOUT: Code.TRANSIENT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Code.TOO_LONG,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: Code.NOT_SUPPORTED,
    HTTPStatus.NOT_IMPLEMENTED: Code.NOT_SUPPORTED,
}
"""Issue types of the answers that the HTTP library raises."""

_REASONS: Mapping[str, str] = {
    "Not Found": "nothing is served at this path: see /metadata",
    "Method Not Allowed": "this method is not allowed here: see the header Allow",
}
"""What aiohttp's router says, in more words."""

_HEADERS: Mapping[int, Mapping[str, str]] = {HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": "5"}}


async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What a handler answers; whatever it raises becomes an OperationOutcome."""
    try:
        check_path(request)
        return await handler(request)
    except web.HTTPException as exc:
        return _of_http(request, exc)
    except ConnectionError:
        raise
    except Exception as exc:
        status, body = told(exc)
        return _answer(request, status, body, _headers(exc, status))


def _headers(exc: Exception, status: int) -> Mapping[str, str] | None:
    if isinstance(exc, errors.Denied):
        return {"WWW-Authenticate": exc.challenge}
    return _HEADERS.get(status)


def told(exc: Exception) -> tuple[int, Mapping[str, Any]]:
    """The status and the OperationOutcome of an exception; one that is not ours is logged."""
    if isinstance(exc, errors.PacsbridgeError):
        fault = next(FAULTS[base] for base in type(exc).__mro__ if base in FAULTS)
        found = issue(Severity.ERROR, fault.code, str(exc), getattr(exc, "parameter", None))
        return fault.status, outcome(found)
    _log.error("request_failed", error=type(exc).__name__, at=_place(exc))
    fault = FAULTS[errors.PacsbridgeError]
    return fault.status, outcome(issue(Severity.ERROR, fault.code, "internal error"))


def _of_http(request: web.Request, exc: web.HTTPException) -> web.Response:
    """An answer that aiohttp raises, such as 404 and 405 of its router."""
    kept = {name: exc.headers[name] for name in ("Allow", "Location") if name in exc.headers}
    code = _CODES.get(exc.status, Code.INVALID)
    found = issue(Severity.ERROR, code, _REASONS.get(exc.reason, exc.reason))
    return _answer(request, exc.status, outcome(found), kept)


def _answer(
    request: web.Request, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None
) -> web.Response:
    """Faults are told in FHIR JSON, whatever the client would rather have."""
    found = {"Vary": "Accept-Encoding", **(headers or {})}
    return packed(request, orjson.dumps(body), FHIR_JSON, status, found)


def _place(exc: Exception) -> str:
    """Where it was raised; the text of a foreign exception may hold patient data, so it is left out."""
    frames = traceback.extract_tb(exc.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
