"""How an archive stands, in one value: whether it answers, its last round, what it owes, its first load."""

from dataclasses import dataclass
from typing import Literal

from pacsbridge.bridge.archive_state import ArchiveState
from pacsbridge.store.overview import Backlog

Reach = Literal["new", "asked", "reachable", "failing", "left alone"]
"""new: nobody has asked it yet. asked: a round is under way. failing: the last round came to nothing.
left alone: it failed so often that it is asked again only after a while (an open circuit)."""


@dataclass(frozen=True, slots=True)
class Load:
    """A first load that goes on: what share is there, how many seconds are left; None: nobody knows."""

    share: float | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ArchiveStanding:
    """One archive. `poll_seconds` is the pause between rounds, 0: it is asked on demand.

    `waits` is in how many seconds the next round begins, or, left alone, the next try may be made.
    """

    name: str
    url: str
    poll_seconds: float
    reach: Reach
    waits: float | None
    state: ArchiveState
    backlog: Backlog
    load: Load | None


def reach(state: ArchiveState, *, under_way: bool, left_alone: bool) -> Reach:
    """Which word says it; an error that was noted after the last round is what counts."""
    if under_way:
        return "asked"
    if left_alone:
        return "left alone"
    if state.error is not None:
        return "failing"
    return "reachable" if state.last_round else "new"


def load(state: ArchiveState, known: int, rate: float | None) -> Load | None:
    """How far the first load is; None once it is complete, or before it has begun.

    An Orthanc tells how many studies it has, others don't. `rate` is studies a second.
    """
    if state.loaded or not state.frontier:
        return None
    if not state.counted:
        return Load()
    left = max(0, state.counted - known)
    return Load(min(1.0, known / state.counted), left / rate if rate else None)
