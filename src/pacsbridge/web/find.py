"""The first page: studies by what is known of them, the newest first."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson
from aiohttp import web

from pacsbridge.access.confining import confined, shown
from pacsbridge.access.guard import access_of
from pacsbridge.access.rights import Access
from pacsbridge.access.sessions import name_of
from pacsbridge.access.ways import host_of
from pacsbridge.errors import NotUnderstood
from pacsbridge.kernel.query_parsing import CURSOR, parse
from pacsbridge.store.records import Page
from pacsbridge.turns import Turn
from pacsbridge.web import asking
from pacsbridge.web.asking import FIELDS, SORT, SORTS, Asked
from pacsbridge.web.auditing import QUERY
from pacsbridge.web.forms import Pairs, of_form, of_url, value
from pacsbridge.web.kept import NAME
from pacsbridge.web.reading import study_uid, value_of_type
from pacsbridge.web.routes import Route
from pacsbridge.web.service import SERVICE, Web
from pacsbridge.web.showing import page, see_other

STATUSES = ("available", "registered", "cancelled", "entered-in-error", "unknown")
"""Codes of FHIR's imagingstudy-status, as we publish them."""

MODALITIES = ("CR", "CT", "DX", "MG", "MR", "NM", "OT", "PT", "RF", "SR", "US", "XA")
"""Offered while a modality is typed; any other can be."""


class Row(NamedTuple):
    """One study as the list shows it."""

    uid: str
    study: Mapping[str, Any]
    patient_id: str
    accession: str
    source: str
    endpoints: Sequence[str]


async def show(request: web.Request) -> web.StreamResponse:
    """What the URL asks for, or names of what a form asked for."""
    pairs = of_url(request)
    name = value(pairs, NAME)
    kept = request.app[SERVICE].kept
    return await _answer(request, kept.pairs(name_of(request), name) if name else pairs)


async def ask(request: web.Request) -> web.StreamResponse:
    """What the form asks for, under a URL: kept here where it says something of a patient."""
    service = request.app[SERVICE]
    pairs = await of_form(request, service.settings.body_seconds)
    asked = asking.read(pairs)
    if asked.is_private:
        found = service.kept.keep(name_of(request), asked.turned(cursor=asked.cursor))
        return see_other(f"/?{urlencode({NAME: found})}")
    return see_other(f"/?{urlencode(asked.turned(cursor=asked.cursor))}".rstrip("?"))


async def _answer(request: web.Request, pairs: Pairs) -> web.StreamResponse:
    service = request.app[SERVICE]
    asked = asking.read(pairs)
    request[QUERY] = urlencode(asked.turned()) or f"{SORT}={asked.sort}"
    try:
        found, scope = await service.turns.take(partial(_found, service, asked, access_of(request)))
    except NotUnderstood as exc:
        fault = (asking.field_of(exc.parameter, asked), _said(exc))
        shown_ = _shown(request, asked, Page(()), "")
        return page(request, "find.html", HTTPStatus.BAD_REQUEST, **shown_, rows=(), fault=fault)
    names = _names(service, found)
    rows = [_row(service, entry.body, names) for entry in found.entries]
    return page(request, "find.html", **_shown(request, asked, found, scope), rows=rows, fault=None)


def _said(exc: NotUnderstood) -> str:
    where = "the place in the list: " if exc.parameter == CURSOR else ""
    return f"{where}{exc}"


def _found(service: Web, asked: Asked, access: Access | None, turn: Turn) -> tuple[Page, str]:
    """One page of studies, and what its links are sealed for; blocks. Raises NotUnderstood, Forbidden."""
    settings = service.settings.search(access, asked.sort)
    query = parse("ImagingStudy", asking.parameters(asked), settings, strict=True)
    query = replace(query, sort=asked.order or query.sort)
    found = service.store.search(confined(query, access, settings), turn.patience)
    return shown(found, access), query.scope


def _shown(request: web.Request, asked: Asked, found: Page, scope: str) -> dict[str, Any]:
    """What the template shows beside the rows."""
    settings = request.app[SERVICE].settings
    secret = settings.search(access_of(request), asked.sort).secret
    return {
        "asked": asked,
        "fields": FIELDS,
        "sorts": SORTS,
        "statuses": STATUSES,
        "modalities": MODALITIES,
        "private": lambda pairs: asking.read(pairs).is_private,
        "url": lambda pairs: f"/?{urlencode(pairs)}" if pairs else "/",
        "ends": {"next": found.next, "previous": found.previous},
        "cursor": lambda place: place.encode(secret, scope),
        "dimse": settings.dimse,
        "host": host_of(request.host),
    }


def _names(service: Web, found: Page) -> Mapping[str, str]:
    """The names of the endpoints that go with a page, by their references."""
    included = (orjson.loads(one.body) for one in found.included)
    return {f"Endpoint/{one['id']}": _name(service, one) for one in included}


def _name(service: Web, endpoint: Mapping[str, Any]) -> str:
    return str(endpoint.get("name") or service.name_of(endpoint.get("address", "")))


def _row(service: Web, body: bytes, names: Mapping[str, str]) -> Row:
    study = orjson.loads(body)
    source = study.get("meta", {}).get("source", "")
    contained = {f"#{one['id']}": _name(service, one) for one in study.get("contained", ())}
    references = [one.get("reference", "") for one in study.get("endpoint", ())]
    return Row(
        study_uid(study),
        study,
        study.get("subject", {}).get("identifier", {}).get("value", ""),
        value_of_type(study, "ACSN"),
        service.name_of(source),
        [name for one in references if (name := names.get(one) or contained.get(one))],
    )


ROUTES = (Route("GET", "/", show), Route("POST", "/", ask))
