"""What callers may have of DICOMweb by their scopes for ImagingStudy; one patient's studies where these end.

GET of a list       s   for one patient: a list of that patient's studies, see `within`
other GET, HEAD     r   for one patient: 403 for studies that are not published as that patient's
POST                c   never for one patient: what comes may be about anybody
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

import orjson
from aiohttp import web
from aiohttp.typedefs import Middleware

from pacsbridge.access.compartment import clauses, named
from pacsbridge.access.gate import Gate
from pacsbridge.access.guard import Handler, access_of
from pacsbridge.access.rights import Right, other_patient
from pacsbridge.dicomweb.service import SERVICE
from pacsbridge.errors import Forbidden, TooCostly
from pacsbridge.kernel.finding import MOST_VALUES, Find
from pacsbridge.kernel.matching import OneOf
from pacsbridge.kernel.model import Level
from pacsbridge.kernel.query import Form, Query
from pacsbridge.kernel.query_keys import UNIQUE
from pacsbridge.kernel.query_parsing import SearchSettings, parse
from pacsbridge.store.store import Store

STUDIES = web.RequestKey("pacsbridge_studies", frozenset[str])
"""The Study Instance UIDs to which a search is confined; without it, to none."""

LISTS = frozenset({"studies", "series", "instances"})
"""The last names of paths that list what matches; what stands behind one is a resource."""
_PAGE = 500
_NO_UID = frozenset({""})


def confine(gate: Gate) -> Middleware:
    """The layer behind the one that knows the caller."""

    @web.middleware
    async def confined(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        access = access_of(request)
        if resource is None or access is None:
            return await handler(request)
        letter = _letter(request.method, resource.canonical)
        patient = access.reach((Right("ImagingStudy", letter),))
        if patient is not None:
            request[STUDIES] = await _studies(request, letter, patient, gate.settings.base_url)
        return await handler(request)

    return confined


def _letter(method: str, path: str) -> str:
    """The interaction of SMART that a request is."""
    if method not in ("GET", "HEAD"):
        return "c"
    return "s" if path.rpartition("/")[2] in LISTS else "r"


async def _studies(request: web.Request, letter: str, patient: str, base_url: str) -> frozenset[str]:
    """The patient's studies that a request may be about. Raises Forbidden for that of another patient."""
    if letter == "c":
        raise Forbidden("a token for one patient stores nothing", "user/ImagingStudy.c")
    service = request.app[SERVICE]
    study = request.match_info.get("study")
    if study is None:
        return await service.call(partial(_all, service.store, patient, base_url))
    if not await service.call(partial(_is_own, service.store, study, patient, base_url)):
        raise other_patient()
    return frozenset({study})


def _is_own(store: Store, study: str, patient: str, base_url: str) -> bool:
    """Whether a study is published as one of the patient's; blocks. Raises NotUnderstood for no UID."""
    by_uid = (("identifier", f"urn:dicom:uid|urn:oid:{study}"),)
    query = parse("ImagingStudy", by_uid, SearchSettings(base_url, default_count=1))
    own = clauses("ImagingStudy", named(patient, base_url))
    return bool(store.search(replace(query, clauses=(*query.clauses, *own))).entries)


def _all(store: Store, patient: str, base_url: str) -> frozenset[str]:
    """The UIDs of the patient's studies; blocks. Raises TooCostly for more than a search can take."""
    own = tuple(clauses("ImagingStudy", named(patient, base_url)))
    query: Query | None = Query("ImagingStudy", own, count=_PAGE, form=Form.SUMMARY)
    found: set[str] = set()
    while query is not None:
        page = store.search(query)
        found.update(uid for entry in page.entries for uid in _uids(orjson.loads(entry.body)))
        query = None if page.next is None else replace(query, after=page.next)
        if len(found) > MOST_VALUES:
            raise TooCostly("the patient has too many studies for one search")
    return frozenset(found)


def _uids(study: Mapping[str, list[Mapping[str, str]]]) -> Iterator[str]:
    for one in study.get("identifier", ()):
        if one.get("system") == "urn:dicom:uid":
            yield one.get("value", "").removeprefix("urn:oid:")


def within(find: Find, studies: frozenset[str] | None) -> Find:
    """A query confined to studies. Raises Forbidden where it names others."""
    if studies is None:
        return find
    tag = UNIQUE[Level.STUDY]
    asked = find.conditions.get(tag)
    if isinstance(asked, OneOf) and not asked.texts <= studies:
        raise other_patient()
    fitting = studies if asked is None else frozenset(uid for uid in studies if asked.holds([uid]))
    return replace(find, conditions={**find.conditions, tag: OneOf(fitting or _NO_UID)})
