"""What a copy came to: what was copied, and what it still has that its source has lost."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Loss(NamedTuple):
    """One finding of a backup: its kind, a file below the data directory, and more in words."""

    kind: str
    place: str
    detail: str


MEANINGS: Mapping[str, str] = {
    "damaged": "the file has been damaged, cut short or emptied; the copy keeps what it has of it",
    "gone": "the file is in the copy alone, and was not erased: there it stays",
    "other": "another pack has taken the number of one that was lost; both are in the copy",
    "behind": "the database has gone back behind what was copied before; that copy stays",
    "unread": "the file, or a part of it, cannot be read; the copy keeps what it has of it",
}
"""Kind of loss → what it means."""

_INSTEAD = "put the copy's file in place of this one and of all that begins with its name"

REMEDIES: Mapping[str, str] = {
    "damaged": f"stop the service, back up once more, {_INSTEAD}",
    "gone": "stop the service, put the copy's file back",
    "other": "stop the service, give this one a free number, put the copy's file back, reindex",
    "behind": f"stop the service, {_INSTEAD}; or move the copy's away to accept this one",
    "unread": "look after the disk and the rights of the file, then back up again",
}
"""Kind of loss → what to do."""


@dataclass(slots=True)
class Copied:
    """Files and bytes that were written, files that were there already, files that were removed.

    `losses` is what the source has lost; `told` hears of each.
    """

    files: int = 0
    bytes: int = 0
    kept: int = 0
    removed: int = 0
    losses: list[Loss] = field(default_factory=list)
    told: Callable[[Loss], object] = bool

    def lose(self, kind: str, place: str, detail: str = "") -> None:
        """Note a loss: a kind of `MEANINGS`, the file below the data directory, more in words."""
        self.losses.append(Loss(kind, place, detail))
        self.told(self.losses[-1])
