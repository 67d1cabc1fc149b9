"""Searching one resource type, by GET or by POST (FHIR R4 search)."""

import orjson
from aiohttp import web

from pacsbridge.fhir.answers import answer, negotiated
from pacsbridge.fhir.parameters import Pairs, of_form, of_url
from pacsbridge.fhir.service import SERVICE, Service
from pacsbridge.kernel.bundles import Match, searchset
from pacsbridge.kernel.query import Cursor, Query
from pacsbridge.kernel.query_parsing import parse
from pacsbridge.store.records import Page


async def search(request: web.Request) -> web.Response:
    """`GET /{type}?…`: what stands in the URL."""
    return await _search(request, of_url(request))


async def search_by_form(request: web.Request) -> web.Response:
    """`POST /{type}/_search`: what stands in the URL and in the form, together."""
    return await _search(request, [*of_url(request), *await of_form(request)])


async def _search(request: web.Request, pairs: Pairs) -> web.Response:
    service = request.config_dict[SERVICE]
    negotiated(request)
    query = parse(request.match_info["type"], pairs, service.settings.search, strict=_strict(request))
    return answer(request, await service.call(lambda: _bundle(service, query)))


def _strict(request: web.Request) -> bool:
    """Whether unknown parameters are errors (FHIR R4 search, "handling of unsupported parameters")."""
    preferences = ",".join(request.headers.getall("Prefer", ())).replace(";", ",").split(",")
    return "handling=strict" in (preference.strip().replace('"', "").lower() for preference in preferences)


def _bundle(service: Service, query: Query) -> bytes:
    page = service.store.search(query)
    matches = [Match(found.type, found.id, orjson.Fragment(found.body or b"null")) for found in page.entries]
    following = None if page.next is None else Cursor((page.next,))
    bundle = searchset(query, matches, service.settings.base_url, following, _total(query, page))
    return orjson.dumps(bundle)


def _total(query: Query, page: Page) -> int | None:
    """A search that fits its first page has been counted for nothing."""
    if page.total is None and query.after is None and page.next is None:
        return len(page.entries)
    return page.total
