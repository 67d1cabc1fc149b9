"""Whether a study can be had where its Endpoint says: asked there and then, at configured addresses alone."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from pacsbridge.errors import Absent, PacsbridgeError

Question = Callable[[str, str | None], str]
"""Asks one place for a study (its UID), with the caller's token where it is our own; what to say of it."""


class Probed(NamedTuple):
    """What came of it, in words, and how long that took."""

    good: bool
    words: str
    milliseconds: float


class Probe:
    """`places`: address, as Endpoints have it, → what asks there. No other address is ever asked."""

    def __init__(self, places: Mapping[str, Question], clock: Callable[[], float] = time.monotonic) -> None:
        self._places = places
        self._clock = clock

    def knows(self, address: str) -> bool:
        """Whether an address can be tried."""
        return address in self._places

    def ask(self, address: str, study_uid: str, token: str | None = None) -> Probed:
        """Try an address; blocks. Raises Absent for one that is not configured."""
        question = self._places.get(address)
        if question is None:
            raise Absent("this address is not one that is asked from here")
        begun = self._clock()
        try:
            good, words = True, question(study_uid, token)
        except PacsbridgeError as exc:
            good, words = False, str(exc)
        return Probed(good, words, (self._clock() - begun) * 1000)
