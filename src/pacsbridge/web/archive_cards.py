"""An archive's standing in words, as its card on the page of sources shows it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pacsbridge.bridge.archive_standing import ArchiveStanding, Load, Reach
from pacsbridge.bridge.archive_state import ArchiveState
from pacsbridge.web.wording import number

REACHES: Mapping[Reach, tuple[str, str]] = {
    "new": ("not asked yet", "plain"),
    "asked": ("being asked", "good"),
    "reachable": ("reachable", "good"),
    "failing": ("failing", "bad"),
    "left alone": ("left alone for a while", "bad"),
}
"""How an archive stands → what is said, and the tone in which it is shown."""

_SECOND = 1_000_000
_NARROW = "\u202f"


class Fact(NamedTuple):
    """One line: a moment (microseconds since 1970) or none, and words; `letters`: there may be some."""

    name: str
    words: str
    moment: int | None = None
    letters: bool = False


class Card(NamedTuple):
    """One archive. `busy`: a round is under way. `error` is what went wrong since the last round."""

    name: str
    url: str
    reach: str
    tone: str
    busy: bool
    error: str | None
    error_at: int
    load: Load | None
    facts: Sequence[Fact]


def card(one: ArchiveStanding, now: int) -> Card:
    """What is shown of an archive at a moment."""
    words, tone = REACHES[one.reach]
    state = one.state
    facts = [*_rounds(one, now), *_first_load(state), *_studies(one)]
    busy = one.reach == "asked"
    return Card(one.name, one.url, words, tone, busy, state.error, state.error_at, one.load, facts)


def _rounds(one: ArchiveStanding, now: int) -> Iterator[Fact]:
    last = one.state.last
    if last.at:
        counts = (
            f"{number(last.listed)} listed, {number(last.changed)} new or changed, {number(last.gone)} gone,"
            f" {number(last.failed)} failed"
        )
        yield Fact("Last round", f"took {duration(last.seconds)}: {counts}", last.at)
    yield _next(one, now)
    if one.state.last_round:
        change = one.state.changes
        words = "" if change is None else f"change {number(change)}"
        yield Fact("Followed until", words, one.state.last_round)


def _next(one: ArchiveStanding, now: int) -> Fact:
    if one.reach == "asked":
        return Fact("Next round", "this one is under way")
    if one.waits is None:
        return Fact("Next round", "on demand")
    what = "Tried again" if one.state.error else "Next round"
    return Fact(what, "", round(now / _SECOND + one.waits) * _SECOND)


def _first_load(state: ArchiveState) -> Iterator[Fact]:
    if state.loaded:
        yield Fact("First load", "complete")
    elif state.frontier:
        yield Fact("First load", f"everything since {state.frontier}, going back")
    else:
        yield Fact("First load", "not begun")


def _studies(one: ArchiveStanding) -> Iterator[Fact]:
    known, owed, parked = one.backlog
    yield Fact("Studies known", number(known))
    words = [
        f"{number(studies)} {text}"
        for studies, text in ((owed, "to be asked for again"), (parked, "left alone until they change"))
        if studies
    ]
    yield Fact("Backlog", ", ".join(words) or "none", letters=bool(words))


def duration(seconds: float) -> str:
    """A length of time in the largest units that say it well enough."""
    if seconds < 60:
        return f"{seconds:.1f}{_NARROW}s" if seconds < 10 else f"{seconds:.0f}{_NARROW}s"
    if seconds < 3600:
        return f"{seconds / 60:.0f}{_NARROW}min"
    hours = round(seconds / 3600)
    return f"{hours}{_NARROW}h" if hours < 48 else f"{hours // 24} days"
