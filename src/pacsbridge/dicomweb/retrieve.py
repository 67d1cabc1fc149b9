"""WADO-RS retrieval of studies, series and instances (PS3.18 10.4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from aiohttp import web

from pacsbridge.dicomweb.accept import Offer, negotiate
from pacsbridge.dicomweb.multipart import DICOM, Body, related, single
from pacsbridge.dicomweb.service import SERVICE, Service, accept_of, tagged, unchanged
from pacsbridge.dicomweb.target import Target, digest, find, target
from pacsbridge.store.records import Held

_SINGLE = Offer(DICOM)
_RELATED = Offer("multipart/related", DICOM)

OFFERS: Mapping[str, Sequence[Offer]] = {
    "study": (_RELATED,),
    "series": (_RELATED,),
    "instance": (_RELATED, _SINGLE),
}
"""The representations of each level, the default first (PS3.18 10.4.1.1)."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """An answer decided on: its body, entity tag and further headers."""

    body: Body
    tag: str
    status: HTTPStatus
    headers: Mapping[str, str]


async def retrieve(request: web.Request) -> web.StreamResponse:
    """GET or HEAD of a study, series or instance.

    200, or 206 when the client accepts only the transfer syntaxes of some instances; errors by `faults`.
    """
    service = request.app[SERVICE]
    plan = await service.call(partial(_plan, service, target(request.match_info), accept_of(request)))
    response = unchanged(request, plan.tag) or _response(plan)
    tagged(response, plan.tag)
    if response.status == HTTPStatus.NOT_MODIFIED:
        return response
    await response.prepare(request)
    if request.method != "HEAD":
        await service.courier.deliver(plan.body, request, response)
    await response.write_eof()
    return response


def _plan(service: Service, wanted: Target, accept: str) -> _Plan:
    """Everything that may fail, before the first byte goes out; blocks."""
    held = find(service.store, wanted)
    choice = negotiate(accept, OFFERS[wanted.level], {one.transfer_syntax_uid for one in held})
    chosen = [one for one in held if one.transfer_syntax_uid in choice.syntaxes]
    tag = digest(chosen, choice.offer.type, service.settings.base_url)
    body = (
        single(chosen[0]) if choice.offer == _SINGLE else related(chosen, tag[:40], service.settings.base_url)
    )
    service.courier.check(body)
    status = HTTPStatus.OK if len(chosen) == len(held) else HTTPStatus.PARTIAL_CONTENT
    return _Plan(body, tag, status, _headers(choice.offer, chosen, len(held)))


def _headers(offer: Offer, chosen: Sequence[Held], total: int) -> dict[str, str]:
    headers: dict[str, str] = {}
    if offer == _SINGLE:
        headers["Content-Disposition"] = f'attachment; filename="{chosen[0].sop_uid}.dcm"'
    if len(chosen) < total:
        left_out = f"{total - len(chosen)} of {total} instances left out: no acceptable transfer syntax"
        headers["Warning"] = f'299 pacsbridge "{left_out}"'
    return headers


def _response(plan: _Plan) -> web.StreamResponse:
    response = web.StreamResponse(status=plan.status, headers=plan.headers)
    response.headers["Content-Type"] = plan.body.media_type
    response.content_length = plan.body.length
    return response
