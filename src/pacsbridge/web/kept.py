"""What forms asked for that must not stand in a URL: kept here, under a random name that does.

So the answer to a form is a page like any other, to go back to, to load again, to open in a second tab.
"""

import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from secrets import token_bytes
from typing import NamedTuple

from pacsbridge.access.sessions import SECONDS
from pacsbridge.errors import Absent, TooLarge
from pacsbridge.web.forms import Pairs

NAME = "search"
"""The parameter of a URL that names what is kept."""

MOST = 2_000
"""Searches at a time; the one that was looked at longest ago makes room."""

_LONGEST = 4_096


class _Search(NamedTuple):
    pairs: Pairs
    until: float


class Kept:
    """The searches of one process, each for the session that made it; for the loop's thread alone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._key = token_bytes(32)
        self._searches: OrderedDict[tuple[str, str], _Search] = OrderedDict()

    def keep(self, session: str, pairs: Pairs) -> str:
        """The name of a search, the same for the same. Raises TooLarge."""
        text = repr((session, pairs))
        if len(text) > _LONGEST:
            raise TooLarge(f"a search has at most {_LONGEST} characters")
        name = hmac.new(self._key, text.encode(errors="replace"), "sha256").hexdigest()[:32]
        self._searches.pop((session, name), None)
        self._searches[session, name] = _Search(pairs, self._clock() + SECONDS)
        while len(self._searches) > MOST:
            self._searches.popitem(last=False)
        return name

    def forget(self, session: str) -> None:
        """A session has ended: what it asked for is kept no longer."""
        for key in [key for key in self._searches if key[0] == session]:
            del self._searches[key]

    def pairs(self, session: str, name: str) -> Pairs:
        """What a search asks for. Raises Absent where it is kept no longer, or is another session's."""
        found = self._searches.get((session, name))
        if found is None or self._clock() >= found.until:
            raise Absent("this search is kept no longer: make it again")
        self._searches.move_to_end((session, name))
        return found.pairs
