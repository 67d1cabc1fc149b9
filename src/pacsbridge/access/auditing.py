"""What HTTP requests come to, for the audit log: a layer round all others that tells what happened."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from pacsbridge.access.guard import Handler, access_of
from pacsbridge.kernel.audit import SERIOUS, Event, Who
from pacsbridge.kernel.model import Values

log = structlog.get_logger("pacsbridge.access")

TURNED_AWAY = frozenset((HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.MISDIRECTED_REQUEST))
"""Statuses of those who may not have what they ask for."""

Told = Callable[[web.Request, web.StreamResponse | None], Iterable[Event]]
"""The events that a request came to, given its answer; None: the answer was cut off."""


@dataclass(frozen=True, slots=True)
class Witness:
    """Where events go: `record` returns at once. `patient` is the reference to a patient by its facts."""

    record: Callable[[Event], object]
    patient: Callable[[Values], str] = lambda _facts: ""


def audited(witness: Witness, told: Told) -> Middleware:
    """The outermost layer of an application; what goes wrong here harms no answer."""

    @web.middleware
    async def layer(request: web.Request, handler: Handler) -> web.StreamResponse:
        response: web.StreamResponse | None = None
        try:
            response = await handler(request)
            return response
        finally:
            _tell(witness, told, request, response)

    return layer


def _tell(witness: Witness, told: Told, request: web.Request, response: web.StreamResponse | None) -> None:
    try:
        for event in told(request, response):
            witness.record(event)
    except Exception:
        log.exception("audit_event_not_told")
        witness.record(Event("lost", SERIOUS, caller(request), details={"events": "1"}))


def layers(witness: Witness | None, told: Told) -> list[Middleware]:
    """The same as a list: empty where there is no audit log."""
    return [] if witness is None else [audited(witness, told)]


def caller(request: web.Request) -> Who:
    """Who sent a request, as far as that is known."""
    access = access_of(request)
    address = request.remote or ""
    return Who(address) if access is None else access.who.at(address)
