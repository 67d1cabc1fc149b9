"""Other content under a SOP Instance UID that is known, a study under another patient: what is done about it.

An instance has one content: two contents are never mixed. Which of them stands is a matter of policy, and of
who sends them: sources are the same where their URIs are (the calling AE title, all of STOW-RS, all imports,
what is fetched from one archive).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pacsbridge.kernel.audit import Who
from pacsbridge.kernel.identity import names_same_patient
from pacsbridge.kernel.model import Values


class Policy(StrEnum):
    """What other content under a known SOP Instance UID does."""

    REPLACE = "replace"
    KEEP_FIRST = "keep-first"
    REFUSE = "refuse"
    REPLACE_ANY = "replace-any"

    def lets(self, held_by: str, source: str) -> bool:
        """Whether what `source` sends takes the place of what `held_by` has sent."""
        return self is Policy.REPLACE_ANY or (self is Policy.REPLACE and held_by == source)


class Ruling(StrEnum):
    """What was decided of an instance before it came to the index; it is kept with its bytes.

    REPLACES: it was let take the place of what another source had sent.
    """

    NONE = ""
    REPLACES = "replaces"
    REFUSED = "refused"
    CHOSEN = "chosen"


class Done(StrEnum):
    """What came of a conflict."""

    REPLACED = "replaced"
    CHOSEN = "chosen"
    KEPT = "first kept"
    REFUSED = "refused"
    MOVED = "study moved"


@dataclass(frozen=True, slots=True)
class Clash:
    """A conflict of one instance with what is held, for whoever is to hear of it.

    `source` is that of the instance, `sender` who sent it where that is still known. `study` and `patient`
    (its facts) are those of what was there before. `apart`: what they differ in, of "content", "series",
    "study" and "patient".
    """

    done: Done
    source: str
    sender: Who | None
    study: str
    patient: Values
    apart: Sequence[str]


def is_other_patient(known: str | None, new: str | None) -> bool:
    """Whether two patient keys name two patients: one that lacks, or lacks its issuer, names no other."""
    if known is None or new is None or known == new:
        return False
    return not (names_same_patient(known, new) or names_same_patient(new, known))
