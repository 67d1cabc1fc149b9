"""What a caller may have: decisions, without tokens and without HTTP."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from math import inf
from typing import NamedTuple

from pacsbridge.errors import Forbidden
from pacsbridge.kernel.audit import Who


class Right(NamedTuple):
    """An interaction with resources of a type: c, r, u, d or s as in SMART 2.

    r: read, versioned read, history of one resource; s: search, history of a type and of everything.
    """

    type: str
    letter: str


Rights = frozenset[Right]

OPERATOR = Right("", "r")
"""To see what operators see: metrics, and which part is at fault."""


@dataclass(frozen=True, slots=True)
class Access:
    """What one caller may have: `everywhere`, and as far as it is about `patient`.

    `patient` is the reference to the one Patient, as resources have it; without it `own` is empty. `who` it
    is, and until when (seconds since 1970), says nothing about that: callers who may have the same are equal.
    """

    everywhere: Rights = frozenset()
    own: Rights = frozenset()
    patient: str | None = None
    who: Who = field(default=Who(), compare=False)
    until: float = field(default=inf, compare=False)

    def reach(self, wanted: Sequence[Right]) -> str | None:
        """The patient to whom an interaction that needs these rights is confined; None: to nobody.

        Raises Forbidden where one of them is not there at all.
        """
        if self.everywhere.issuperset(wanted):
            return None
        for right in wanted:
            if not (right in self.everywhere or right in self.own):
                raise Forbidden(
                    f"no scope for this interaction with {right.type or 'the pages of operators'}",
                    _scope(right),
                )
        return self.patient

    def need(self, right: Right) -> None:
        """Raises Forbidden unless the right holds everywhere."""
        if right not in self.everywhere:
            raise Forbidden("no scope for this, or one that is confined to a patient", _scope(right))


def _scope(right: Right) -> str:
    return "system/*.rs" if right == OPERATOR else f"user/{right.type}.{right.letter}"


def reach(access: Access | None, wanted: Iterable[Right]) -> str | None:
    """As `Access.reach`; without authentication nobody is confined."""
    return None if access is None else access.reach(tuple(wanted))


def sealing(secret: bytes, access: Access | None) -> bytes:
    """What seals a caller's links: those who have one patient have a secret of their own."""
    if access is None or access.patient is None:
        return secret
    return sha256(secret + access.patient.encode()).digest()


OWNERS = frozenset({"AuditEvent", "ImagingStudy", "Patient"})
"""Types in the compartment of a patient; of the others, everything may be known to whoever may read them."""


def other_patient() -> Forbidden:
    """What is said to a caller that asks for another patient."""
    return Forbidden("this is not about the patient of the token")
