"""The FHIR application: the route table as aiohttp's router and handlers."""

import asyncio
from datetime import UTC, datetime

import orjson
from aiohttp import web

from pacsbridge.access.auditing import Witness, layers
from pacsbridge.access.gate import Gate
from pacsbridge.access.guard import access_of, guard
from pacsbridge.access.smart import Smart
from pacsbridge.access.ways import right_way
from pacsbridge.fhir import auditing
from pacsbridge.fhir.answers import negotiated, written
from pacsbridge.fhir.batch import batch
from pacsbridge.fhir.faults import Handler, told
from pacsbridge.fhir.observing import observer
from pacsbridge.fhir.openapi import openapi
from pacsbridge.fhir.parameters import of_bundle, of_form, of_url
from pacsbridge.fhir.recent import Recent
from pacsbridge.fhir.routes import ROUTES, Route
from pacsbridge.fhir.service import SERVICE, Answer, Asked, Asking, FhirSettings, Pairs, Service
from pacsbridge.kernel.capability import capability_statement
from pacsbridge.kernel.search_parameters import PARAMETERS, SEARCHED
from pacsbridge.store.audit import AuditLog
from pacsbridge.store.store import Store
from pacsbridge.turns import Turn, Turns


def fhir_app(
    store: Store,
    settings: FhirSettings,
    turns: Turns,
    asking: Asking | None = None,
    gate: Gate | None = None,
    witness: Witness | None = None,
    audit: AuditLog | None = None,
) -> web.Application:
    """The application to be mounted under `/fhir`; `turns` runs all that blocks.

    `asking` asks archives for what a search does not find, `gate` knows callers by their tokens; without it
    everybody may have everything. `witness` hears what happens, `audit` is the log that can be searched.
    """
    guards = [] if gate is None else [guard(gate, UNGUARDED)]
    observed = observer(access_log=settings.access_log)
    app = web.Application(middlewares=[*layers(witness, auditing.told), observed, right_way, *guards])
    made = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    codes = (*(route.code for route in ROUTES), "batch")
    smart = None if gate is None else Smart(gate.settings)
    security = None if smart is None else smart.security()
    types = tuple(PARAMETERS if audit is None else SEARCHED)
    statement = capability_statement(
        settings.base_url, settings.software_version, made, codes, security, types
    )
    description = openapi(settings.base_url, settings.software_version, tokens=gate is not None, types=types)
    documents = (orjson.dumps(statement), orjson.dumps(description))
    service = Service(store, settings, turns, *documents, Recent(store), asking, audit)
    app[SERVICE] = service
    for route in ROUTES:
        add = app.router.add_post if route.form else app.router.add_get
        add(route.pattern, _handler(service, route))
    if smart is not None:
        app.router.add_get(SMART, _smart(service, smart))
    for path in ("", "/"):
        app.router.add_post(path, _batch(service))
    return app


SMART = "/.well-known/smart-configuration"

UNGUARDED = frozenset(f"/fhir{path}" for path in ("/metadata", "/openapi.json", SMART))
"""Whoever wants a token must first learn where there are any."""


def _smart(service: Service, smart: Smart) -> Handler:
    """What apps need to know before they have a token (SMART App Launch 2, "conformance")."""
    one_by_one = asyncio.Lock()  # an issuer that is slow keeps one thread, however many ask

    def configuration(turn: Turn) -> bytes:
        turn.leave()
        return orjson.dumps(smart.configuration())

    async def handle(_request: web.Request) -> web.StreamResponse:
        async with one_by_one:
            body = await service.turns.take(configuration)
        headers = {"Cache-Control": "max-age=60", "Access-Control-Allow-Origin": "*"}
        return web.Response(body=body, content_type="application/json", headers=headers)

    return handle


def _handler(service: Service, route: Route) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        pairs = of_url(request)
        if route.form:
            pairs += await of_form(request)
            request[auditing.FORM] = pairs
        form = negotiated(request, pairs)
        answer = await service.answer(route.run, _asked(request, pairs), brief=route.brief)
        return written(request, answer, form)

    return handle


def _asked(request: web.Request, pairs: Pairs) -> Asked:
    named, headers = request.match_info, request.headers
    tags = request.if_none_match if "If-None-Match" in headers else None
    return Asked(
        type=named.get("type"),
        id=named.get("id"),
        version=int(named["version"]) if "version" in named else None,
        pairs=pairs,
        strict="Prefer" in headers and _strict(request),
        tags=None if tags is None else tuple(tag.value for tag in tags),
        since=request.if_modified_since if "If-Modified-Since" in headers else None,
        access=access_of(request),
    )


def _strict(request: web.Request) -> bool:
    """Whether unknown parameters are errors (FHIR R4 search, "handling of unsupported parameters")."""
    preferences = ",".join(request.headers.getall("Prefer", ())).replace(";", ",").split(",")
    return "handling=strict" in (preference.strip().replace('"', "").lower() for preference in preferences)


def _batch(service: Service) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        form = negotiated(request, of_url(request))
        body = await of_bundle(request)
        strict = _strict(request)
        events = request[auditing.ENTRIES] = []

        def heard(code: str, asked: Asked, status: int, answer: Answer | None) -> None:
            events.extend(auditing.of_entry(request, code, asked, status, answer))

        answer = await service.turns.take(
            lambda turn: batch(service, turn, body, told, access_of(request), heard, strict=strict)
        )
        return written(request, answer, form)

    return handle
