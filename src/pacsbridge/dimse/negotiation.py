"""Presentation contexts: which are accepted, and with which transfer syntax (PS3.8 7.1.1.13)."""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from pydicom._uid_dict import UID_dictionary
from pynetdicom import sop_class
from pynetdicom.presentation import PresentationContext

VERIFICATION = "1.2.840.10008.1.1"
COMMITMENT = "1.2.840.10008.1.20.1"
"""Storage Commitment, push model."""

PATIENT_ROOT, STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.1", "1.2.840.10008.5.1.4.1.2.2"
"""The information models of queries and retrievals, without the number of the service (PS3.4 C.6)."""

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


_SERVICES = {
    VERIFICATION: "echo",
    COMMITMENT: "commitment",
    **{
        f"{root}.{number}": service
        for root in (PATIENT_ROOT, STUDY_ROOT)
        for number, service in enumerate(("find", "move", "get"), 1)
    },
}
_READ_HERE = frozenset({"commitment", "find", "move", "get"})
"""Services whose data sets are read here, and not only kept."""

_FIND_CLASSES = frozenset(f"{root}.1" for root in (PATIENT_ROOT, STUDY_ROOT))
_RELATIONAL, _COMBINED_TIMES, _ZONES = 0, 1, 3
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


Held = Mapping[str, Collection[str]]
"""SOP class → the transfer syntaxes in which instances of it are held."""

_NOTHING: Held = {}


def negotiate(
    proposed: Iterable[PresentationContext],
    offered: frozenset[str],
    allowed: frozenset[str],
    providers: frozenset[str] = frozenset(),
    held: Held = _NOTHING,
) -> list[PresentationContext]:
    """One result for each proposed context, in the order of their ids.

    `offered` are the services that are switched on, `allowed` those that this caller may use. The first
    transfer syntax proposed is taken: pixels are never decoded here, so each is as good as the next. What is
    read here, requests of `_READ_HERE`, has the first that is among `READABLE`.

    Roles are the default ones: the caller uses, we provide (PS3.7 D.3.3.4). Only of the SOP classes
    `providers` the caller is the provider, to whom C-GET sends: such a context has the first transfer syntax
    in which anything of its class is held.
    """
    results = [_result(one, held, _verdict(one, offered, allowed, providers)) for one in proposed]
    return sorted(results, key=lambda context: context.context_id or 0)


def _result(proposed: PresentationContext, held: Held, verdict: int) -> PresentationContext:
    context = PresentationContext()
    context.context_id = proposed.context_id
    context.abstract_syntax = proposed.abstract_syntax
    service = service_of(proposed.abstract_syntax or "")
    usable = [one for one in proposed.transfer_syntax if service not in _READ_HERE or one in READABLE]
    preferred = [one for one in usable if one in held.get(proposed.abstract_syntax or "", ())]
    context.transfer_syntax = [*(preferred or usable or proposed.transfer_syntax)[:1]]
    context.result = verdict
    if context.result == ACCEPTED and not usable:
        context.result = TRANSFER_SYNTAXES
    return context


def _verdict(
    proposed: PresentationContext,
    offered: frozenset[str],
    allowed: frozenset[str],
    providers: frozenset[str],
) -> int:
    if proposed.abstract_syntax in providers:
        return ACCEPTED
    service = service_of(proposed.abstract_syntax or "")
    if not proposed.abstract_syntax or service not in offered:
        return ABSTRACT_SYNTAX
    if service not in allowed:
        return USER_REJECTION
    return ACCEPTED


class FindOptions(NamedTuple):
    """What is agreed on about the queries of a SOP class (PS3.4 C.5.2.1)."""

    relational: bool = False
    combined_times: bool = False
    zones: bool = False

    def encoded(self, asked: bytes) -> bytes:
        """The answer to what was asked: as many bytes, 1 for what is supported."""
        return bytes((self.relational, self.combined_times, 0, self.zones, 0))[: len(asked)]


def find_options(sop_class: str, asked: bytes) -> FindOptions | None:
    """What of the extended negotiation of a SOP class is supported; None where there is none for it."""
    if sop_class not in _FIND_CLASSES:
        return None
    wanted = [byte == 1 for byte in asked.ljust(4, b"\0")]
    return FindOptions(wanted[_RELATIONAL], wanted[_COMBINED_TIMES], wanted[_ZONES])
