"""What is kept of an archive between rounds and restarts: how far the first load is, what was learned."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

import orjson

from pacsbridge.bridge.archive_listing import Habits
from pacsbridge.store.records import moment
from pacsbridge.store.store import Store

DONE = "done"


@dataclass(slots=True)
class LastRound:
    """The last round that came to its end: when it began, how long it took, what became of studies.

    `at` is in microseconds since 1970; 0: there was none.
    """

    at: int = 0
    seconds: float = 0.0
    listed: int = 0
    changed: int = 0
    gone: int = 0
    failed: int = 0


@dataclass(slots=True)
class ArchiveState:
    """`frontier`: the first load has all from this day on (ISO date); empty before it begins, `DONE` at last.

    `days`: how long a window is that makes about half a page. Moments are microseconds since 1970.
    `changes` is the number up to which Orthanc's changes have been followed, `counted` its studies then,
    `lost` those that are fewer since and have not been found. `fruitless` rounds had no study at all.
    """

    frontier: str = ""
    days: int = 1
    recent_days: int = 10_000
    habits: Habits = field(default_factory=Habits)
    changes: int | None = None
    counted: int = 0
    last_round: int = 0
    fruitless: int = 0
    lost: int = 0
    error: str | None = None
    error_at: int = 0
    last: LastRound = field(default_factory=LastRound)

    @property
    def loaded(self) -> bool:
        """Whether the first load is complete."""
        return self.frontier == DONE

    @property
    def frontier_day(self) -> date | None:
        """The frontier as a day, None before the first load begins."""
        return date.fromisoformat(self.frontier) if self.frontier not in ("", DONE) else None


def read_state(store: Store, uri: str) -> ArchiveState:
    """What is kept of an archive; of one that is new, or whose notes cannot be read, a beginning."""
    text = store.recall(_name(uri))
    try:
        plain: dict[str, Any] = orjson.loads(text or "{}")
        parts = {"habits": Habits(**plain.get("habits", {})), "last": LastRound(**plain.get("last", {}))}
        state = ArchiveState(**{**plain, **parts})
        _ = state.frontier_day
    except (ValueError, TypeError, AttributeError):
        return ArchiveState()
    return state


def write_state(store: Store, uri: str, state: ArchiveState) -> None:
    """Keep it."""
    store.remember(_name(uri), orjson.dumps(asdict(state)).decode())


def said(state: ArchiveState) -> Iterator[str]:
    """The last round and what went wrong since, in words."""
    last = state.last
    if last.at:
        yield (
            f"last round {_at(last.at)}, {last.seconds:.1f} s: {last.listed} listed, "
            f"{last.changed} new or changed, {last.gone} gone, {last.failed} failed"
        )
    if state.error is not None:
        yield f"failed {_at(state.error_at)}: {state.error}"


def _at(microseconds: int) -> str:
    return moment(microseconds).isoformat(timespec="seconds")


def _name(uri: str) -> str:
    return f"archive:{uri}"
