"""What is kept from a caller whose rights end with one patient (SMART App Launch 2, "patient-specific").

A read of another patient's study is refused, a search is narrowed by one more clause so that pages and totals
are right, and every resource that goes with one is looked at before it leaves.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import orjson

from pacsbridge.access.compartment import clauses, named
from pacsbridge.access.rights import OWNERS, Access, Right, other_patient, reach
from pacsbridge.errors import Absent, Forbidden
from pacsbridge.kernel.histories import Past
from pacsbridge.kernel.query import ChainValue, Clause, Kind, Query, ReferenceValue, TokenValue
from pacsbridge.kernel.query_parsing import SearchSettings
from pacsbridge.kernel.search_parameters import PARAMETERS
from pacsbridge.store.audit import AuditLog
from pacsbridge.store.records import Document, Found, Page, Versions
from pacsbridge.store.store import Store

Documents = Store | AuditLog
_PATIENT = ("patient", "subject")


def check_read(store: Documents, access: Access, type_: str, id_: str, version: int | None = None) -> None:
    """Raises Forbidden where a resource, now or in that version, is not for the caller; Absent without it."""
    patient = access.reach((Right(type_, "r"),))
    if patient is None:
        return
    if type_ == "Patient" and f"Patient/{id_}" != patient:
        raise other_patient()
    if type_ == "ImagingStudy":
        _check_study(store, patient, id_, version)
    if type_ == "AuditEvent":
        _check_event(store, patient, id_)


def _check_event(store: Documents, patient: str, id_: str) -> None:
    found = store.document("AuditEvent", id_)
    if found is None or found.body is None:
        raise Absent("there is no such resource")
    entities = orjson.loads(found.body).get("entity", ())
    if not any(one.get("what", {}).get("reference") == patient for one in entities):
        raise other_patient()


def _check_study(store: Documents, patient: str, id_: str, version: int | None) -> None:
    current = store.document("ImagingStudy", id_)
    if current is None:
        raise Absent("there is no such resource")
    asked = current if version is None else store.document("ImagingStudy", id_, version)
    for one in (_with_body(store, current), asked):
        if one is not None and one.body is not None and not _is_about(one.body, patient):
            raise other_patient()


def _with_body(store: Documents, found: Document) -> Document:
    """The resource, or where it has been deleted, what it was before. Raises Forbidden without either."""
    if found.body is not None:
        return found
    before = store.document(found.type, found.id, found.version - 1)
    if before is None or before.body is None:
        raise other_patient()
    return before


def confined(query: Query, access: Access | None, settings: SearchSettings) -> Query:
    """The search as far as its caller may have it. Raises Forbidden, also where it names another patient.

    A chain needs the right to search what it leads to.
    """
    patient = reach(access, (Right(type_, "s") for type_ in _types(query)))
    if patient is None:
        return query
    own = named(patient, settings.base_url)
    if any(_names_another(query.type, clause, own) for clause in query.clauses):
        raise other_patient()
    if query.type not in OWNERS and query.revinclude:
        raise Forbidden("_revinclude: for a patient's studies search ImagingStudy", "user/ImagingStudy.rs")
    return replace(query, clauses=(*query.clauses, *clauses(query.type, own)))


def _types(query: Query) -> Iterator[str]:
    yield query.type
    for clause in query.clauses:
        yield from _chained(clause)


def _chained(clause: Clause) -> Iterator[str]:
    for value in clause.values:
        if isinstance(value, ChainValue):
            yield value.type
            yield from _chained(value.clause)


def _names_another(type_: str, clause: Clause, own: ReferenceValue) -> bool:
    """Whether a clause asks for a patient by reference or id who is not the caller's."""
    if clause.negated:
        return False
    return any(_is_another(type_, clause, value, own) for value in clause.values)


def _is_another(type_: str, clause: Clause, value: object, own: ReferenceValue) -> bool:
    if isinstance(value, ReferenceValue):
        return clause.param in _PATIENT and value.target != own.target
    if isinstance(value, ChainValue):
        return _names_another(value.type, value.clause, own)
    named = isinstance(value, TokenValue) and clause.kind is Kind.ID and type_ == "Patient"
    return named and value.value != own.target  # type: ignore[attr-defined] # a TokenValue


def shown(page: Page, access: Access | None) -> Page:
    """A page without what the caller may not have of the resources that go with it."""
    if access is None or not page.included:
        return page
    return replace(page, included=[one for one in page.included if _may_have(access, one)])


def _may_have(access: Access, found: Found) -> bool:
    right = Right(found.type, "s")
    return right in access.everywhere or (right in access.own and _is_own(found, access.patient))


def _is_own(found: Found | Document, patient: str | None) -> bool:
    """Whether a resource belongs to a patient, or to nobody; of one that was deleted nothing is told."""
    if found.type not in OWNERS or found.body is None:
        return True
    if found.type == "Patient":
        return f"Patient/{found.id}" == patient
    return _is_about(found.body, patient)


def _is_about(body: bytes, patient: str | None) -> bool:
    subject = orjson.loads(body).get("subject", {})
    return patient is not None and subject.get("reference") == patient


def confined_past(past: Past, access: Access | None, settings: SearchSettings) -> Past:
    """A history as far as its caller may have it: of all types that it goes over. Raises Forbidden."""
    if past.type is not None and past.id is not None:
        patient = reach(access, (Right(past.type, "r"),))
    else:
        patient = reach(access, (Right(type_, "s") for type_ in _of(past)))
    if patient is None:
        return past
    return replace(past, patient=named(patient, settings.base_url))


def _of(past: Past) -> Iterable[str]:
    return PARAMETERS if past.type is None else (past.type,)


def shown_versions(page: Versions, past: Past, access: Access | None) -> Versions:
    """A page of a history without versions that were about somebody else; then it has no total."""
    if past.patient is None or access is None:
        return page
    entries: Sequence[Document] = [one for one in page.entries if _is_own(one, access.patient)]
    return replace(page, entries=entries, total=page.total if len(entries) == len(page.entries) else None)
