"""What a round with an archive came to, for whoever asks later."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from pacsbridge.bridge.archive_rounds import Rounds
from pacsbridge.bridge.archive_rules import Tally
from pacsbridge.bridge.archive_state import LastRound


def so_far(rounds: Rounds) -> Tally:
    """What all rounds have come to since the process began."""
    return rounds.before + rounds.tally


@contextmanager
def measured(rounds: Rounds) -> Iterator[None]:
    """Keep what the rounds within came to, and how long they took, once they have come to their end."""
    began, before = rounds.clock(), so_far(rounds)
    yield
    seconds = (rounds.clock() - began) / 1_000_000
    rounds.state.last = LastRound(began, seconds, **asdict(so_far(rounds) - before))
    rounds.keep()
