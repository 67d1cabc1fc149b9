"""How an archive is kept up with, and what a round with it comes to."""

from dataclasses import dataclass

UNCOUNTED = 600 * 1_000_000
"""How often a study is asked for whose record does not count its instances, in microseconds."""

MOST_OWED = 100
"""Studies outside the last days that a round asks for again: those that failed, or are to be retried."""

MANY_GONE = 100
"""Studies that may vanish at once; more of them, and more than half of all, are taken for a fault."""


@dataclass(frozen=True, slots=True)
class ArchiveRules:
    """How an archive is kept up with; `on_delete` is "entered-in-error", "unknown", "delete" or "ignore".

    `level`, a key of `LEVELS`, says how deep studies are asked for.
    """

    lookback_days: int = 7
    on_delete: str = "entered-in-error"
    level: str = "instance"
    page: int = 500
    connections: int = 4


@dataclass(slots=True)
class Tally:
    """What a round came to: studies that were listed, that are new or have changed, gone, or failed."""

    listed: int = 0
    changed: int = 0
    gone: int = 0
    failed: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        """Both together."""
        return Tally(
            self.listed + other.listed,
            self.changed + other.changed,
            self.gone + other.gone,
            self.failed + other.failed,
        )

    def __sub__(self, other: "Tally") -> "Tally":
        """What has come since."""
        return Tally(
            self.listed - other.listed,
            self.changed - other.changed,
            self.gone - other.gone,
            self.failed - other.failed,
        )
