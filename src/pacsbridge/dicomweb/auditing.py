"""What requests of DICOMweb come to, for the audit log: retrievals, searches, what was stored and refused."""

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from aiohttp import web

from pacsbridge.access.auditing import TURNED_AWAY, Witness, caller
from pacsbridge.access.guard import access_of
from pacsbridge.access.rights import Right
from pacsbridge.dicomweb.receipt import Receipt
from pacsbridge.dicomweb.service import SERVICE
from pacsbridge.kernel.audit import LONGEST_QUERY, MINOR, SERIOUS, SUCCESS, Event, outcome_of

RECEIPT = web.RequestKey("pacsbridge_receipt", Receipt)
"""What became of each instance of a request that stores."""

_LISTS = frozenset({"studies", "series", "instances"})
_UID = re.compile("[0-9.]{1,64}")
_SEARCH = Right("ImagingStudy", "s")


def teller(witness: Witness) -> Callable[[web.Request, web.StreamResponse | None], Iterable[Event]]:
    """What tells the events of a request."""

    def told(request: web.Request, response: web.StreamResponse | None) -> Iterable[Event]:
        status = None if response is None else response.status
        common = Event(
            _kind(request),
            outcome_of(status),
            caller(request),
            request.app[SERVICE].settings.base_url,
            study=_study(request),
            reason="" if status is None or status < 400 else f"HTTP {status}",
        )
        if common.kind == "stow" and RECEIPT in request:
            return _stored(request[RECEIPT], common, witness)
        if common.kind == "refused":
            return (common,) if status in TURNED_AWAY else ()
        return (_searched(request, common),) if common.kind == "qido" else (common,)

    return told


def _kind(request: web.Request) -> str:
    resource = request.match_info.route.resource
    if request.method == "POST" and resource is not None:
        return "stow"
    if resource is None or resource.canonical in ("/dicomweb", "/dicomweb/"):
        return "refused"
    return "qido" if resource.canonical.rpartition("/")[2] in _LISTS else "wado"


def _study(request: web.Request) -> str:
    named = request.match_info.get("study", "")
    return named if _UID.fullmatch(named) else ""


def _searched(request: web.Request, event: Event) -> Event:
    """A search with its query, and with the one patient to whom its caller is confined."""
    text = f"{request.path.removeprefix('/dicomweb/')}?{request.rel_url.raw_query_string}"
    query = b64encode(text.encode("utf-8", "replace")[:LONGEST_QUERY]).decode("ascii")
    access = access_of(request)
    own = access is not None and _SEARCH not in access.everywhere and event.outcome == SUCCESS
    return replace(event, query=query, patient=(access.patient or "") if access is not None and own else "")


def _stored(receipt: Receipt, event: Event, witness: Witness) -> Iterator[Event]:
    """An event for each study of what was sent."""
    studies: dict[str, list[bool]] = {}
    patients: dict[str, str] = {}
    for one in receipt.outcomes:
        study = one.names.study or event.study
        studies.setdefault(study, []).append(one.fault is None)
        if one.patient and study not in patients:
            patients[study] = witness.patient(one.patient)
    for study, stored in studies.items():
        good, bad = stored.count(True), stored.count(False)
        outcome = SUCCESS if not bad else MINOR if good else SERIOUS
        counted = replace(event, outcome=outcome, study=study, instances=good, failed=bad)
        yield replace(counted, patient=patients.get(study, ""))
    if receipt.breach is not None or not receipt.outcomes:
        yield replace(event, outcome=MINOR, reason=event.reason or "the body broke off")
