"""Presentation contexts: which are accepted, and with which transfer syntax (PS3.8 7.1.1.13)."""

from collections.abc import Iterable

from pydicom._uid_dict import UID_dictionary
from pynetdicom import sop_class
from pynetdicom.presentation import PresentationContext

VERIFICATION = "1.2.840.10008.1.1"
COMMITMENT = "1.2.840.10008.1.20.1"
"""Storage Commitment, push model."""

READABLE = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
"""Transfer syntaxes of data sets that are read and written here: Explicit and Implicit VR Little Endian."""

ACCEPTED, USER_REJECTION, ABSTRACT_SYNTAX, TRANSFER_SYNTAXES = 0, 1, 3, 4
"""Results of a proposed context (PS3.8 Table 9-18)."""

_NOT_INSTANCES = ("Storage Commitment", "Media Storage", "Storage Management")


def _named_storage() -> dict[str, bool]:
    """Every UID of PS3.6 → whether it is a SOP class that C-STORE carries, by its standard name."""
    return {
        uid: kind == "SOP Class" and "Storage" in name and not name.startswith(_NOT_INSTANCES)
        for uid, (name, kind, *_) in UID_dictionary.items()
    }


def _other_services() -> frozenset[str]:
    """The SOP classes of every other service that pynetdicom knows, newer than PS3.6 in pydicom perhaps."""
    storage = (sop_class._STORAGE_CLASSES, sop_class._NON_PATIENT_OBJECT_CLASSES)
    tables = (
        value
        for name, value in vars(sop_class).items()
        if name.endswith("_CLASSES") and name != "_SERVICE_CLASSES"
    )
    return frozenset(uid for table in tables if table not in storage for uid in table.values())


_SERVICES = {VERIFICATION: "echo", COMMITMENT: "commitment"}
_NAMED_STORAGE = _named_storage()
_OTHER_SERVICES = _other_services()


def is_storage(abstract_syntax: str) -> bool:
    """Whether C-STORE may carry it: any storage SOP class, and any UID not known to be something else."""
    return _NAMED_STORAGE.get(abstract_syntax, abstract_syntax not in _OTHER_SERVICES)


def service_of(abstract_syntax: str) -> str | None:
    """The service that an abstract syntax belongs to, None for one we do not have."""
    if abstract_syntax in _SERVICES:
        return _SERVICES[abstract_syntax]
    return "store" if is_storage(abstract_syntax) else None


def negotiate(
    proposed: Iterable[PresentationContext], offered: frozenset[str], allowed: frozenset[str]
) -> list[PresentationContext]:
    """One result for each proposed context, in the order of their ids.

    `offered` are the services that are switched on, `allowed` those that this caller may use. The first
    transfer syntax proposed is taken: pixels are never decoded here, so each is as good as the next. What is
    read here, requests of storage commitment, has the first that is among `READABLE`.
    Roles are the default ones, whatever is proposed: the caller uses, we provide (PS3.7 D.3.3.4).
    """
    results = [_result(context, offered, allowed) for context in proposed]
    return sorted(results, key=lambda context: context.context_id or 0)


def _result(
    proposed: PresentationContext, offered: frozenset[str], allowed: frozenset[str]
) -> PresentationContext:
    context = PresentationContext()
    context.context_id = proposed.context_id
    context.abstract_syntax = proposed.abstract_syntax
    service = service_of(proposed.abstract_syntax or "")
    usable = [one for one in proposed.transfer_syntax if service != "commitment" or one in READABLE]
    context.transfer_syntax = [*(usable or proposed.transfer_syntax)[:1]]
    context.result = _verdict(proposed, service, offered, allowed)
    if context.result == ACCEPTED and not usable:
        context.result = TRANSFER_SYNTAXES
    return context


def _verdict(
    proposed: PresentationContext, service: str | None, offered: frozenset[str], allowed: frozenset[str]
) -> int:
    if not proposed.abstract_syntax or service not in offered:
        return ABSTRACT_SYNTAX
    if service not in allowed:
        return USER_REJECTION
    return ACCEPTED
