"""The pages of one study: what it is, what is in it, how it came here, what it was before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from aiohttp import web

from pacsbridge.access.confining import check_read, confined_past, shown_versions
from pacsbridge.access.guard import access_of
from pacsbridge.access.rights import Access, Right, reach
from pacsbridge.access.sessions import name_of
from pacsbridge.bridge.probing import Probed
from pacsbridge.errors import Absent, Gone, NotUnderstood
from pacsbridge.kernel.histories import parse_past
from pacsbridge.kernel.query_parsing import CURSOR, parse
from pacsbridge.store.records import Document
from pacsbridge.web import telling
from pacsbridge.web.auditing import STUDY
from pacsbridge.web.differences import MOST, Change, changes
from pacsbridge.web.forms import of_form, of_url, value
from pacsbridge.web.json_text import json_text
from pacsbridge.web.reading import study_uid
from pacsbridge.web.routes import Route
from pacsbridge.web.service import SERVICE, Web
from pacsbridge.web.showing import page, see_other

ON_THE_PAGE = 200
"""Instances up to which they are listed with their series; of larger studies each series has pages."""

SERIES_A_PAGE = 100
INSTANCES_A_PAGE = 100
VERSIONS_A_PAGE = 10

_TYPES = ("ImagingStudy", "Patient", "Endpoint")


class Place(NamedTuple):
    """Where the instances can be fetched, and whether that can be tried from here."""

    reference: str
    name: str
    type: str
    address: str
    known: bool


class Step(NamedTuple):
    """A version, and what changed with it; `more` changes are not shown."""

    document: Document
    changes: Sequence[Change]
    more: int
    first: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """A published study: its document and its JSON. `own`: only one patient's are for the caller."""

    document: Document
    study: Mapping[str, Any]
    uid: str
    own: bool


def opened(service: Web, uid: str, access: Access | None) -> Opened:
    """A study by its UID, else by its id; blocks. Raises Absent, Gone, Forbidden, Unavailable."""
    store = service.store
    named = (("identifier", f"urn:dicom:uid|urn:oid:{uid}"), ("_summary", "true"), ("_count", "1"))
    entries = store.search(parse("ImagingStudy", named, service.settings.search())).entries
    id_ = entries[0].id if entries else uid
    if access is not None:
        check_read(store, access, "ImagingStudy", id_)
    document = store.document("ImagingStudy", id_)
    if document is None:
        raise Absent(_missing(service, uid, access))
    if document.body is None:
        raise Gone("this study is published no longer")
    study = orjson.loads(document.body)
    own = reach(access, (Right("ImagingStudy", "r"),)) is not None
    return Opened(document, study, study_uid(study) or id_, own)


def _missing(service: Web, uid: str, access: Access | None) -> str:
    """Why a study is not there; callers of one patient are told no more than that."""
    if reach(access, (Right("ImagingStudy", "r"),)) is None and service.store.why(uid)["studies"]:
        return "this study has arrived and will be published once nothing more has come for a moment"
    return "no study is published under this UID"


async def show(request: web.Request) -> web.StreamResponse:
    """The study."""
    return await _overview(request)


async def try_place(request: web.Request) -> web.StreamResponse:
    """The study, with what came of trying one of its endpoints."""
    pairs = await of_form(request, request.app[SERVICE].settings.body_seconds)
    return await _overview(request, value(pairs, "endpoint"))


async def tried(request: web.Request) -> web.StreamResponse:
    """The address of what came of trying an endpoint leads to the study."""
    return see_other(f"/studies/{request.match_info['uid']}")


def _probed(service: Web, uid: str, places: Sequence[Place], asked: str, token: str | None) -> Probed:
    """What came of trying the endpoint of a reference; blocks. Raises NotUnderstood where there is none."""
    place = next((one for one in places if one.reference == asked), None)
    if place is None or service.probe is None:
        raise NotUnderstood("the study has no such endpoint", parameter="endpoint")
    return service.probe.ask(place.address, uid, token)


def _token(service: Web, request: web.Request) -> str | None:
    """The caller's own token, for asking ourselves."""
    if service.gate is None:
        return None
    sent = request.headers.get("Authorization", "").partition(" ")[2].strip()
    return sent or service.sessions.token(name_of(request))


async def _overview(request: web.Request, tried: str | None = None) -> web.StreamResponse:
    """The study, with what comes of trying the endpoint of a reference."""
    service, access = request.app[SERVICE], access_of(request)
    uid = request.match_info["uid"]
    number = _number(value(of_url(request), "series"))
    token = _token(service, request)

    def work() -> web.Response:
        found = opened(service, uid, access)
        request[STUDY] = found.uid
        shown = _told(service, found, access)
        probed = None if tried is None else _probed(service, found.uid, shown["places"], tried, token)
        return page(request, "study.html", **shown, number=number, probed=probed, tried=tried)

    return await service.call(work)


def _number(text: str) -> int:
    """A page's number from 1. Raises NotUnderstood."""
    if not text:
        return 1
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0 and len(text) < 9):
        raise NotUnderstood("pages have numbers from 1", parameter="page")
    return int(text)


def _told(service: Web, found: Opened, access: Access | None) -> dict[str, Any]:
    """What the page of a study shows; blocks."""
    store, study, uid = service.store, found.study, found.uid
    kept = None if found.own else store.why(uid)
    origins = () if found.own else store.overview.origins(uid)
    viewer = service.settings.viewer
    return {
        "study": study,
        "uid": uid,
        "document": found.document,
        "facts": telling.facts(study),
        "patient": _patient(service, study, access),
        "places": _places(service, found, access),
        "origins": [(service.name_of(one.source), one) for one in origins],
        "reports": [(service.name_of(str(one["source"])), one) for one in (kept or {}).get("reports", ())],
        "kept": kept,
        "whole": study.get("numberOfInstances", 0) <= ON_THE_PAGE,
        "size": SERIES_A_PAGE,
        "pictures": service.settings.pictures and bool(origins or found.own),
        "has_pictures": telling.has_pictures,
        "shows": any(map(telling.has_pictures, study.get("series", ()))),
        "viewer": None if viewer is None else viewer.replace("{study_uid}", uid),
    }


def _patient(service: Web, study: Mapping[str, Any], access: Access | None) -> Mapping[str, Any] | None:
    """The Patient of a study, where we serve it and the caller may have it."""
    type_, _, id_ = study.get("subject", {}).get("reference", "").partition("/")
    if type_ != "Patient" or not _may_read(access, "Patient"):
        return None
    document = service.store.document("Patient", id_)
    if document is None or document.body is None:
        return None
    patient = orjson.loads(document.body)
    return {"id": id_, "facts": telling.patient_facts(patient)}


def _may_read(access: Access | None, type_: str) -> bool:
    right = Right(type_, "r")
    return access is None or right in access.everywhere or right in access.own


def _places(service: Web, found: Opened, access: Access | None) -> Sequence[Place]:
    """The endpoints of a study and its series, each once; blocks."""
    study = found.study
    holders = (study, *study.get("series", ()))
    references = dict.fromkeys(
        one.get("reference", "") for each in holders for one in each.get("endpoint", ())
    )
    contained = {f"#{one['id']}": one for one in study.get("contained", ())}
    return [_place(service, one, contained.get(one) or _endpoint(service, one, access)) for one in references]


def _endpoint(service: Web, reference: str, access: Access | None) -> Mapping[str, Any]:
    id_ = reference.removeprefix("Endpoint/")
    document = service.store.document("Endpoint", id_) if _may_read(access, "Endpoint") else None
    if document is None or document.body is None:
        return {}
    found: Mapping[str, Any] = orjson.loads(document.body)
    return found


def _place(service: Web, reference: str, endpoint: Mapping[str, Any]) -> Place:
    address = str(endpoint.get("address", ""))
    type_ = endpoint.get("connectionType", {})
    return Place(
        reference,
        str(endpoint.get("name") or service.name_of(address) or reference),
        str(type_.get("display") or type_.get("code", "")),
        address,
        service.probe is not None and service.probe.knows(address),
    )


async def show_series(request: web.Request) -> web.StreamResponse:
    """The instances of one series, a page of them."""
    service, access = request.app[SERVICE], access_of(request)
    number = _number(value(of_url(request), "page"))

    def work() -> web.Response:
        found = opened(service, request.match_info["uid"], access)
        request[STUDY] = found.uid
        wanted = request.match_info["series"]
        series = next((one for one in found.study.get("series", ()) if one.get("uid") == wanted), None)
        if series is None:
            raise Absent("the study has no such series")
        shown = {"study": found.study, "uid": found.uid, "series": series}
        return page(request, "series.html", **shown, number=number, size=INSTANCES_A_PAGE)

    return await service.call(work)


async def show_history(request: web.Request) -> web.StreamResponse:
    """The versions of a study, the newest first, with what changed."""
    service, access = request.app[SERVICE], access_of(request)
    pairs = tuple(pair for pair in of_url(request) if pair[0] == CURSOR)

    def work() -> web.Response:
        found = opened(service, request.match_info["uid"], access)
        request[STUDY] = found.uid
        settings = service.settings.search(access)
        asked = (*pairs, ("_count", str(VERSIONS_A_PAGE)))
        past = confined_past(parse_past("ImagingStudy", found.document.id, asked, settings), access, settings)
        versions = shown_versions(service.store.history(past), past, access)
        steps = [_step(service, one, found) for one in versions.entries]
        after = None if versions.next is None else versions.next.encode(settings.secret, past.scope)
        return page(request, "history.html", study=found.study, uid=found.uid, steps=steps, after=after)

    return await service.call(work)


def _step(service: Web, document: Document, found: Opened) -> Step:
    """A version beside the one before it, where the caller may have that."""
    before = service.store.document(document.type, document.id, document.version - 1)
    old = _json(before)
    if found.own and old is not None and old.get("subject") != found.study.get("subject"):
        old = None
    all_ = changes(old, _json(document))
    first = old is None
    return Step(document, () if first else all_[:MOST], 0 if first else max(0, len(all_) - MOST), first)


def _json(document: Document | None) -> Mapping[str, Any] | None:
    if document is None or document.body is None:
        return None
    found: Mapping[str, Any] = orjson.loads(document.body)
    return found


async def show_resource(request: web.Request) -> web.StreamResponse:
    """The JSON of a resource, or of one of its versions."""
    service, access = request.app[SERVICE], access_of(request)
    type_, id_ = request.match_info["type"], request.match_info["id"]
    text = value(of_url(request), "version")
    version = _number(text) if text else None
    reach(access, (Right(type_, "r"),))

    def work() -> web.Response:
        if access is not None:
            check_read(service.store, access, type_, id_, version)
        document = service.store.document(type_, id_, version)
        if document is None:
            raise Absent("there is no such resource, or not in this version")
        found = _json(document)
        if found is None:
            raise Gone("this resource has been deleted")
        uid = request[STUDY] = study_uid(found) if type_ == "ImagingStudy" else ""
        return page(
            request, "resource.html", document=document, version_of=version, text=json_text(found), uid=uid
        )

    return await service.call(work)


_UID = "{uid:[A-Za-z0-9.-]{1,64}}"
_RESOURCE = f"/resources/{{type:{'|'.join(_TYPES)}}}/{{id:[A-Za-z0-9.-]{{1,64}}}}"

ROUTES = (
    Route("GET", f"/studies/{_UID}", show),
    Route("POST", f"/studies/{_UID}/try", try_place),
    Route("GET", f"/studies/{_UID}/try", tried),
    Route("GET", f"/studies/{_UID}/series/{{series:[A-Za-z0-9.-]{{1,64}}}}", show_series),
    Route("GET", f"/studies/{_UID}/history", show_history),
    Route("GET", _RESOURCE, show_resource, ()),
)
