"""Who is told of associations: of those that are turned away, and of each that ends."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from pacsbridge.dimse.receive import Caller


def _rejected(_caller: Caller, _reason: str) -> None:
    """Nobody is told."""


def _ended(_caller: Caller, _statuses: Mapping[int, int], _outcome: str) -> None:
    """Nobody is told."""


class Watch(NamedTuple):
    """Who hears of callers, from the threads of connections: both return at once.

    `rejected`: a reason of `admission.REFUSALS`, or what a peer may not use who comes in all the same.
    `ended`: how often C-STORE had each status, and how.
    """

    rejected: Callable[[Caller, str], object] = _rejected
    ended: Callable[[Caller, Mapping[int, int], str], object] = _ended
