"""What archives can be asked for when a search finds nothing: a patient's studies, or an identifier's."""

from collections.abc import Callable, Iterator, Sequence

from pacsbridge.kernel.query import Clause, Kind, Query, ReferenceValue, TokenValue
from pacsbridge.kernel.values import uid

MOST = 10
"""Questions that one search may lead to."""

Question = tuple[str, str]
"""A matching key and its one value (PS3.4 C.2.2.2.1)."""

PatientIds = Callable[[str], Sequence[str]]
"""The PatientIDs of the Patient resource with an id."""

_PATIENT = ("patient", "subject")
_OID = "urn:oid:"
_WILD = frozenset("*?\\,")
"""What would make a value match others, or several values of one (PS3.4 C.2.2.2.4, PS3.18 8.3.4.1)."""


def questions(query: Query, patient_ids: PatientIds) -> Sequence[Question]:
    """What to ask, at most `MOST`; empty where the search is not by a patient or an identifier.

    One clause is enough: what archives answer is searched again as the query says.
    """
    if query.type != "ImagingStudy" or query.after is not None:
        return ()
    for clause in query.clauses:
        found = dict.fromkeys(_questions(clause, patient_ids))
        if found:
            return list(found)[:MOST]
    return ()


def _questions(clause: Clause, patient_ids: PatientIds) -> Iterator[Question]:
    if clause.negated:
        return
    for value in clause.values:
        for question in _of_value(clause, value, patient_ids):
            if question[1] and _WILD.isdisjoint(question[1]):
                yield question


def _of_value(clause: Clause, value: object, patient_ids: PatientIds) -> Iterator[Question]:
    if clause.param == "identifier" and isinstance(value, TokenValue):
        yield _of_study(value.value or "")
    elif clause.param in _PATIENT and isinstance(value, ReferenceValue):
        yield from (("PatientID", number) for number in patient_ids(value.target))
    elif number := _patient_number(clause, value):
        yield "PatientID", number


def _of_study(text: str) -> Question:
    found = uid(text.removeprefix(_OID)) if text.startswith(_OID) else None
    return ("StudyInstanceUID", found) if found else ("AccessionNumber", text)


def _patient_number(clause: Clause, value: object) -> str | None:
    """The PatientID of `patient.identifier=` and `patient:identifier=`."""
    if clause.kind is Kind.CHAIN and clause.param in _PATIENT:
        below: Clause = value.clause  # type: ignore[attr-defined] # a ChainValue
        tokens = below.values if below.param == "identifier" and not below.negated else ()
        return next((one.value for one in tokens if isinstance(one, TokenValue)), None)
    if clause.param in ("patient:identifier", "subject:identifier") and isinstance(value, TokenValue):
        return value.value
    return None
