"""The answer to an A-ASSOCIATE-RQ: who may come in, and on which terms (PS3.8 7.1, PS3.7 D)."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast

import structlog
from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassExtendedNegotiation,
)
from pynetdicom.presentation import PresentationContext

from pacsbridge import metrics
from pacsbridge.dimse.negotiation import (
    ACCEPTED,
    USER_REJECTION,
    FindOptions,
    Held,
    find_options,
    is_storage,
    negotiate,
    service_of,
)
from pacsbridge.dimse.receive import Caller, Context, Receiver
from pacsbridge.dimse.register import Member, Register
from pacsbridge.errors import PacsbridgeError
from pacsbridge.tls.pins import shows

log = structlog.get_logger("pacsbridge.dimse")

REFUSALS: Mapping[str, tuple[int, int, int]] = {
    "called AE title not recognised": (1, 1, 7),
    "calling AE title not recognised": (1, 1, 3),
    "calling AE title not from this address": (1, 1, 3),
    "calling AE title not of this certificate": (1, 1, 3),
    "shutting down": (2, 3, 1),
    "too little room on the disk": (2, 3, 2),
    "local limit exceeded": (2, 3, 2),
}
"""Reason → result, source and reason/diagnostic of the A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""

_WITHOUT_QUESTIONS = frozenset({"echo", "store"})


class _Terms(NamedTuple):
    """What a caller gets: services switched on, those he may use, SOP classes of which he is the provider.

    `providers` maps these to whether he may be their user as well.
    """

    offered: frozenset[str]
    allowed: frozenset[str]
    providers: Mapping[str, bool]

    @property
    def usable(self) -> frozenset[str]:
        """The services that he gets."""
        return self.offered & self.allowed


def admit(
    assoc: Association,
    request: A_ASSOCIATE,
    register: Register,
    member: Member,
    certificate: bytes | None = None,
) -> Receiver | None:
    """Queues the answer to `request`; the receiver for what follows, None if the caller is turned away.

    `certificate`: what the caller has shown of itself, in DER.
    """
    assoc.requestor.primitive = request
    assoc.requestor.ae_title = request.calling_ae_title
    caller = _caller(assoc, request, register)
    terms = _terms(request, register.settings.services, register.directory.services(caller.peer))
    refusal = _stranger(caller, register, certificate) or _refusal(register, member, _wanted(request, terms))
    if refusal is not None:
        _reject(assoc, caller, refusal)
        register.turn_away(caller, refusal)
        return None
    _accept(assoc, request, terms, _held(request, terms, register))
    forbidden = _forbidden(assoc._rejected_cx)
    if forbidden is not None:
        register.watch.rejected(caller, forbidden)
    return _receiver(assoc, caller, register, member, terms, forbidden)


def _caller(assoc: Association, request: A_ASSOCIATE, register: Register) -> Caller:
    calling = str(request.calling_ae_title).strip()
    host, port = assoc.requestor.address, assoc.requestor.port
    return Caller(
        calling, str(request.called_ae_title).strip(), (host, port), register.directory.find(calling, host)
    )


def _stranger(caller: Caller, register: Register, certificate: bytes | None) -> str | None:
    """Why this caller may not come in; None where he may."""
    settings = register.settings
    if settings.require_called_ae and caller.called_ae != settings.ae_title.strip():
        return "called AE title not recognised"
    if not register.directory.admits(caller.peer):
        known = register.directory.names(caller.calling_ae)
        return f"calling AE title not {'from this address' if known else 'recognised'}"
    pins = caller.peer.certificates if caller.peer else frozenset()
    return "calling AE title not of this certificate" if pins and not shows(certificate, pins) else None


def _refusal(register: Register, member: Member, wanted: frozenset[str]) -> str | None:
    """Why he cannot come in now; None lets him in, and then he holds one of the places.

    When the disk is nearly full those stay out who could do nothing here but store. Whoever proposes a query,
    a retrieval or storage commitment as well comes in, with all his contexts: the result of a refused
    context cannot say that it is for now (PS3.8 Table 9-18), the status of a C-STORE can (PS3.4 B.2.3).
    """
    if register.closing:
        return "shutting down"
    if "store" in wanted and wanted <= _WITHOUT_QUESTIONS and register.is_low():
        return "too little room on the disk"
    return None if register.associate(member) else "local limit exceeded"


def _reject(assoc: Association, caller: Caller, refusal: str) -> None:
    log.warning("association rejected", reason=refusal, **_names(caller))
    metrics.DIMSE_REJECTED.labels(refusal).inc()
    assoc.acse.send_reject(*REFUSALS[refusal])


def _terms(request: A_ASSOCIATE, offered: frozenset[str], allowed: frozenset[str]) -> _Terms:
    """Whoever may use C-GET may be the provider of the storage classes for which he proposes that role."""
    usable = offered & allowed
    items = (one for one in request.user_information if isinstance(one, SCP_SCU_RoleSelectionNegotiation))
    providers = {
        str(one.sop_class_uid): bool(one.scu_role) and "store" in usable
        for one in items
        if one.scp_role and is_storage(str(one.sop_class_uid))
    }
    return _Terms(offered, allowed, providers if "get" in usable else {})


def _wanted(request: A_ASSOCIATE, terms: _Terms) -> frozenset[str]:
    """The services that he proposes and would get."""
    proposed = (cx.abstract_syntax for cx in request.presentation_context_definition_list)
    services = {service_of(str(one)) for one in proposed if one}
    return frozenset(one for one in services if one in terms.usable)


def _held(request: A_ASSOCIATE, terms: _Terms, register: Register) -> Held:
    """How instances are encoded that the caller may be sent, where there is a choice of transfer syntaxes."""
    classes = {
        str(cx.abstract_syntax)
        for cx in request.presentation_context_definition_list
        if str(cx.abstract_syntax) in terms.providers and len(cx.transfer_syntax) > 1
    }
    ask = register.outlet.syntaxes
    if ask is None or not classes:
        return {}
    try:
        return ask(sorted(classes))
    except PacsbridgeError as fault:
        log.warning("transfer syntaxes not known", reason=str(fault))
        return {}


def _accept(assoc: Association, request: A_ASSOCIATE, terms: _Terms, held: Held) -> None:
    contexts = request.presentation_context_definition_list
    results = negotiate(contexts, terms.offered, terms.allowed, frozenset(terms.providers), held)
    assoc._accepted_cx = {cast(int, cx.context_id): cx for cx in results if cx.result == ACCEPTED}
    assoc._rejected_cx = [cx for cx in results if cx.result != ACCEPTED]
    _answer_extended(assoc, request)
    _answer_roles(assoc, terms)
    assoc.acse.send_accept()
    assoc.is_established = True


def _receiver(
    assoc: Association,
    caller: Caller,
    register: Register,
    member: Member,
    terms: _Terms,
    forbidden: str | None,
) -> Receiver:
    options = _find_options(cast(A_ASSOCIATE, assoc.requestor.primitive))
    contexts = {number: _context(cx, options, terms) for number, cx in assoc._accepted_cx.items()}
    log.info(
        "association accepted",
        contexts=len(contexts),
        refused=len(assoc._rejected_cx),
        **({} if forbidden is None else {"reason": forbidden}),
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


def _context(cx: PresentationContext, options: Mapping[str, FindOptions], terms: _Terms) -> Context:
    abstract = str(cx.abstract_syntax)
    agreed = options.get(abstract, FindOptions())
    service = service_of(abstract)
    usable = service if service in terms.usable else None
    return Context(
        str(cx.transfer_syntax[0]),
        usable,
        abstract,
        agreed.relational,
        agreed.combined_times,
        abstract in terms.providers,
    )


def _extended(request: A_ASSOCIATE) -> dict[str, bytes]:
    """SOP class → what its extended negotiation asks for (PS3.7 D.3.3.5)."""
    items = (one for one in request.user_information if isinstance(one, SOPClassExtendedNegotiation))
    return {str(one.sop_class_uid): bytes(one.service_class_application_information or b"") for one in items}


def _find_options(request: A_ASSOCIATE) -> dict[str, FindOptions]:
    found = ((uid, find_options(uid, asked)) for uid, asked in _extended(request).items())
    return {uid: options for uid, options in found if options is not None}


def _answer_extended(assoc: Association, request: A_ASSOCIATE) -> None:
    """Tell what of the extended negotiation is agreed on."""
    asked = _extended(request)
    for uid, options in _find_options(request).items():
        item = SOPClassExtendedNegotiation()
        item.sop_class_uid = UID(uid)
        item.service_class_application_information = options.encoded(asked[uid])
        assoc.acceptor.add_negotiation_item(item)


def _answer_roles(assoc: Association, terms: _Terms) -> None:
    """Tell of which SOP classes the caller is the provider (PS3.7 D.3.3.4)."""
    accepted = {str(cx.abstract_syntax) for cx in assoc._accepted_cx.values()}
    for uid in sorted(accepted & terms.providers.keys()):
        item = SCP_SCU_RoleSelectionNegotiation()
        item.sop_class_uid = UID(uid)
        item.scu_role, item.scp_role = terms.providers[uid], True
        assoc.acceptor.add_negotiation_item(item)


def _forbidden(rejected: Iterable[PresentationContext]) -> str | None:
    """Why contexts were refused, where that is for the peer's `services`."""
    refused = (cx for cx in rejected if cx.result == USER_REJECTION)
    services = sorted({service_of(str(cx.abstract_syntax)) or "" for cx in refused})
    return f"peer may not use {', '.join(services)}" if services else None


def _names(caller: Caller) -> dict[str, str]:
    """The caller in a log record."""
    return {"calling_ae": caller.calling_ae, "called_ae": caller.called_ae, "address": caller.address[0]}
