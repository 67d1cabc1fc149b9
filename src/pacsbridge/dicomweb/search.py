"""QIDO-RS: studies, series and instances that match, as DICOM JSON (PS3.18 10.6)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from http import HTTPStatus

import orjson
from aiohttp import web

from pacsbridge.bridge.querying import first
from pacsbridge.dicom.json_records import to_json
from pacsbridge.dicomweb.accept import ANY_SYNTAX, negotiate
from pacsbridge.dicomweb.confining import STUDIES, within
from pacsbridge.dicomweb.metadata import OFFERS
from pacsbridge.dicomweb.proxy import PROXY
from pacsbridge.dicomweb.service import SERVICE, Service, accept_of
from pacsbridge.dicomweb.target import Target, resource_url, target
from pacsbridge.kernel.model import Level
from pacsbridge.kernel.qido import Search, search
from pacsbridge.kernel.query_keys import RETRIEVE_URL, UNIQUE
from pacsbridge.turns import Turn

_LEVELS = (Level.STUDY, Level.SERIES, Level.INSTANCE)
_NAMES: Mapping[str, Level] = {"studies": Level.STUDY, "series": Level.SERIES, "instances": Level.INSTANCE}
_MORE = "there are more results than these: go on by limit and offset"


async def search_studies(request: web.Request) -> web.StreamResponse:
    """GET of a list of studies, series or instances, as its path says.

    200 with an array, 204 where nothing matches; errors by `faults`. Warnings are of code 299 (PS3.18 8.5).
    """
    service = request.app[SERVICE]
    level = _NAMES[request.path.rstrip("/").rsplit("/", 1)[-1]]
    offer = negotiate(accept_of(request), OFFERS, (ANY_SYNTAX,)).offer
    named = _named(target(request.match_info)) if request.match_info else {}
    asked = search(level, request.query.items(), named, service.settings.max_results)
    asked = replace(asked, find=within(asked.find, request.get(STUDIES)))
    body, warnings = await service.turns.take(partial(_answer, service, asked, proxied=PROXY in request.app))
    headers = [("Warning", f'299 pacsbridge "{warning}"') for warning in dict.fromkeys(warnings)]
    headers.append(("Cache-Control", "private, no-cache"))
    if body is None:
        return web.Response(status=HTTPStatus.NO_CONTENT, headers=headers)
    return web.Response(body=body, content_type=offer.type, headers=headers)


def _named(within: Target) -> Mapping[Level, str]:
    return dict(zip(_LEVELS, within.uids, strict=False))


def _answer(
    service: Service, asked: Search, turn: Turn, *, proxied: bool
) -> tuple[bytes | None, Sequence[str]]:
    """The array, None where it would be empty, and warnings; blocks.

    `proxied`: what only archives hold can be retrieved here too.
    """
    records, more = first(service.store, asked.find, asked.limit, asked.offset, turn.patience)
    warnings = [*asked.warnings, *((_MORE,) if more else ())]
    if not records:
        return None, warnings
    level, base_url = asked.find.level, service.settings.base_url
    named = _LEVELS[: _LEVELS.index(level) + 1]
    uids = [[record[UNIQUE[one]][0] for one in named] for record in records]
    here = (
        {one[-1] for one in uids}
        if proxied
        else service.store.holdings.held(level, [one[-1] for one in uids])
    )
    for record, path in zip(records, uids, strict=True):
        if path[-1] in here:
            record[RETRIEVE_URL] = [resource_url(base_url, path)]
    return orjson.dumps([to_json(one, asked.fields) for one in records]), warnings
