"""The answer to an A-ASSOCIATE-RQ: who may come in, and on which terms (PS3.8 7.1, PS3.7 D)."""

from collections.abc import Iterable, Mapping
from typing import cast

import structlog
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext

from pacsbridge import metrics
from pacsbridge.dimse.negotiation import ACCEPTED, USER_REJECTION, negotiate, service_of
from pacsbridge.dimse.receive import Caller, Context, Receiver
from pacsbridge.dimse.register import Member, Register

log = structlog.get_logger("pacsbridge.dimse")

REFUSALS: Mapping[str, tuple[int, int, int]] = {
    "called AE title not recognised": (1, 1, 7),
    "calling AE title not recognised": (1, 1, 3),
    "calling AE title not from this address": (1, 1, 3),
    "shutting down": (2, 3, 1),
    "local limit exceeded": (2, 3, 2),
}
"""Reason → result, source and reason/diagnostic of the A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""


def admit(assoc: Association, request: A_ASSOCIATE, register: Register, member: Member) -> Receiver | None:
    """Queues the answer to `request`; the receiver for what follows, None if the caller is turned away."""
    assoc.requestor.primitive = request
    assoc.requestor.ae_title = request.calling_ae_title
    caller = _caller(assoc, request, register)
    refusal = _refusal(caller, register, member)
    if refusal is not None:
        _reject(assoc, caller, refusal)
        return None
    _accept(assoc, request, register.settings.services, register.directory.services(caller.peer))
    return _receiver(assoc, caller, register, member)


def _caller(assoc: Association, request: A_ASSOCIATE, register: Register) -> Caller:
    calling = str(request.calling_ae_title).strip()
    host, port = assoc.requestor.address, assoc.requestor.port
    return Caller(
        calling, str(request.called_ae_title).strip(), (host, port), register.directory.find(calling, host)
    )


def _refusal(caller: Caller, register: Register, member: Member) -> str | None:
    """Why this caller is turned away; None lets him in, and then he holds one of the places."""
    settings = register.settings
    if settings.require_called_ae and caller.called_ae != settings.ae_title.strip():
        return "called AE title not recognised"
    if not register.directory.admits(caller.peer):
        known = register.directory.names(caller.calling_ae)
        return f"calling AE title not {'from this address' if known else 'recognised'}"
    if register.closing:
        return "shutting down"
    return None if register.associate(member) else "local limit exceeded"


def _reject(assoc: Association, caller: Caller, refusal: str) -> None:
    log.warning("association rejected", reason=refusal, **_names(caller))
    metrics.DIMSE_REJECTED.labels(refusal).inc()
    assoc.acse.send_reject(*REFUSALS[refusal])


def _accept(
    assoc: Association, request: A_ASSOCIATE, offered: frozenset[str], allowed: frozenset[str]
) -> None:
    results = negotiate(request.presentation_context_definition_list, offered, allowed)
    assoc._accepted_cx = {cast(int, cx.context_id): cx for cx in results if cx.result == ACCEPTED}
    assoc._rejected_cx = [cx for cx in results if cx.result != ACCEPTED]
    assoc.acse.send_accept()
    assoc.is_established = True


def _receiver(assoc: Association, caller: Caller, register: Register, member: Member) -> Receiver:
    contexts = {
        number: _context(str(cx.transfer_syntax[0]), service_of(str(cx.abstract_syntax)))
        for number, cx in assoc._accepted_cx.items()
    }
    log.info(
        "association accepted",
        contexts=len(contexts),
        refused=len(assoc._rejected_cx),
        **_forbidden(assoc._rejected_cx),
        **_names(caller),
    )
    return Receiver(
        contexts,
        caller,
        register.outlet,
        register.settings.limits,
        max_length=assoc.requestor.maximum_length or 0,
        wake=member.wake,
    )


def _context(transfer_syntax: str, service: str | None) -> Context:
    return Context(transfer_syntax, storage=service == "store", commitment=service == "commitment")


def _forbidden(rejected: Iterable[PresentationContext]) -> dict[str, str]:
    """Why contexts were refused, where that is for the peer's `services`."""
    refused = (cx for cx in rejected if cx.result == USER_REJECTION)
    services = sorted({service_of(str(cx.abstract_syntax)) or "" for cx in refused})
    return {"reason": f"peer may not use {', '.join(services)}"} if services else {}


def _names(caller: Caller) -> dict[str, str]:
    """The caller in a log record."""
    return {"calling_ae": caller.calling_ae, "called_ae": caller.called_ae, "address": caller.address[0]}
