"""What an Orthanc tells of its own changes: an unchanged archive costs two small questions a round."""

import math
import time
from collections.abc import Callable

from pacsbridge.bridge.archive_rounds import Rounds
from pacsbridge.remote.orthanc import OrthancChanges

ANYWAY_SECONDS = 600.0
"""How often the last days are listed all the same: Orthanc forgets changes when it is stopped."""

SEARCHED_SECONDS = 3600.0
"""How long at most until all is listed again to find what was deleted: Orthanc counts studies, and no more.

It is sooner where that takes little: a twentieth of the time goes into it.
"""

_LEAST_SECONDS = 2.0


class Changes:
    """Follows the changes of one Orthanc (its REST API, `/changes` and `/statistics`).

    `find` looks whether the archive is one; `clock` is monotonic, in seconds.
    """

    def __init__(
        self, find: Callable[[], OrthancChanges | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._find = find
        self._clock = clock
        self._orthanc: OrthancChanges | None = None
        self._listed = self._search_again = -math.inf

    def follow(self, rounds: Rounds) -> None:
        """Take what has changed: by the changes where there are any, else by listing the last days.

        These are listed at first, and now and then. Raises as rounds do.
        """
        due = self._clock() - self._listed > ANYWAY_SECONDS
        if due and self._orthanc is None:
            self._orthanc = self._find()  # it may have been away before
        if self._orthanc is not None:
            self._follow(self._orthanc, rounds, due)
            return
        rounds.recent()
        self._listed = self._clock()

    def _follow(self, orthanc: OrthancChanges, rounds: Rounds, due: bool) -> None:
        state = rounds.state
        if due and (state.changes is None or orthanc.last() < state.changes):  # new here, or begun anew there
            last, counted = orthanc.last(), orthanc.count()
            rounds.full() if state.loaded else rounds.recent()
            self._listed = self._clock()
            state.changes, state.counted, state.lost = last, counted, 0
            rounds.keep()
            return
        changed = self._take_named(orthanc, rounds)
        counted = orthanc.count()
        if rounds.heeds_deletions and (counted < state.counted or state.lost):
            self._look_for_gone(rounds, counted)
        elif due or (counted > state.counted and not changed):
            rounds.recent()
            self._listed = self._clock()
        state.counted = counted
        rounds.keep()

    def _take_named(self, orthanc: OrthancChanges, rounds: Rounds) -> bool:
        """Take the studies that the changes name; whether there are any."""
        named: set[str] = set()
        number, done = rounds.state.changes or 0, False
        while not done:
            found = orthanc.since(number)
            number, done = found.last, found.done
            named |= {uid for one in found.studies if (uid := orthanc.study_uid(one))}
        if named:
            rounds.named(named)
        rounds.state.changes = number
        return bool(named)

    def _look_for_gone(self, rounds: Rounds, counted: int) -> None:
        """Find the studies that were deleted: among the last days, else among all, but not all the time."""
        state = rounds.state
        gone = rounds.recent().gone
        self._listed = self._clock()
        state.lost = max(0, state.lost + max(0, state.counted - counted) - gone)
        state.counted = counted
        begun = self._clock()
        if state.lost and begun >= self._search_again:
            rounds.full()
            took = self._clock() - begun
            self._search_again = self._clock() + min(SEARCHED_SECONDS, max(_LEAST_SECONDS, 20 * took))
            state.lost = 0
