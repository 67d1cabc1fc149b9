"""Keeping up with an archive: what is new, what has changed, what is gone; and the first load, newest first.

    list     windows of studies (QIDO-RS), their records compared with what is kept
    fetch    series and instances of the studies whose records differ, by several threads
    put      what the archive says, in one transaction a group; the studies are due to be published

A round that fails leaves everything as it is: the next one goes on from there. Only an archive's own answer,
asked for a study by its UID, makes that study gone.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import structlog

from pacsbridge import metrics
from pacsbridge.bridge.archive_details import Details, batches
from pacsbridge.bridge.archive_failures import Failures
from pacsbridge.bridge.archive_listing import Listing, Row
from pacsbridge.bridge.archive_pipeline import Pipeline
from pacsbridge.bridge.archive_records import Record, record, report
from pacsbridge.bridge.archive_state import DONE, ArchiveState, read_state, write_state
from pacsbridge.bridge.sources import Source
from pacsbridge.dicom.limits import DEFAULT, Limits
from pacsbridge.errors import BadAnswer, Refused, Unavailable, reason
from pacsbridge.kernel.windows import EVERYTHING, Window, before, length_for, lookback
from pacsbridge.remote.qido import Archive
from pacsbridge.store.records import KnownReport, Reported
from pacsbridge.store.store import Store

log = structlog.get_logger("pacsbridge.bridge")

UNCOUNTED = 600 * 1_000_000
"""How often a study is asked for whose record does not count its instances, in microseconds."""

MANY_GONE = 100
"""Studies that may vanish at once; more of them, and more than half of all, are taken for a fault."""

_Pipeline = Pipeline[Sequence[Record], Sequence[Reported]]


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


Told = Callable[[Tally, ArchiveState], None]
"""Hears of progress, after each group of studies."""


class Stopped(Exception):
    """The round is to end, for the process does."""


class Rounds:
    """Rounds with one archive; one thread at a time.

    `clock` gives microseconds since 1970, `stopping` says whether to end. Each round raises Unavailable,
    BadAnswer or Stopped where it could not be brought to its end.
    """

    def __init__(
        self,
        store: Store,
        archive: Archive,
        source: Source,
        rules: ArchiveRules,
        clock: Callable[[], int],
        *,
        stopping: Callable[[], bool] = lambda: False,
        told: Told = lambda _tally, _state: None,
        limits: Limits = DEFAULT,
    ) -> None:
        self._store = store
        self._archive = archive
        self._source = source
        self._rules = rules
        self._clock = clock
        self._stopping = stopping
        self._told = told
        self._limits = limits
        self.state = read_state(store, source.uri)
        self.tally = Tally()
        self._failures = Failures(store, source, clock)

    def usual(self) -> Tally:
        """What a command does: the last days, and whatever is left of the first load."""
        before = self.recent()
        if not self.state.loaded:
            tally = self.load()
            tally.listed, tally.changed = tally.listed + before.listed, tally.changed + before.changed
            tally.gone, tally.failed = tally.gone + before.gone, tally.failed + before.failed
        return self.tally

    def recent(self) -> Tally:
        """List the last days again, and take what has changed or is gone."""
        today = self._begin()
        with self._pipeline() as pipeline:
            for window in lookback(today, self._rules.lookback_days, self.state.recent_days):
                if self._everything(pipeline, gone=True):
                    break
                days = min((today - (window.first or today)).days + 1, self.state.recent_days)
                listed = self._window(pipeline, window, gone=True)
                longest = self._rules.lookback_days + 1
                self.state.recent_days = min(length_for(days, listed, self._rules.page), longest)
        self.keep()
        return self.tally

    def load(self, until: Callable[[], bool] = lambda: False) -> Tally:
        """Go on with the first load, the newest first, until it is complete or `until` says so."""
        self._begin()
        with self._pipeline() as pipeline:
            frontier, days = self.state.frontier, self.state.days
            while frontier != DONE and not until():
                frontier, days = self._load_window(pipeline, frontier, days)
                pipeline.then(lambda reached=frontier, length=days: self._reach(reached, length))  # type: ignore[misc]
        return self.tally

    def _load_window(self, pipeline: _Pipeline, frontier: str, days: int) -> tuple[str, int]:
        """The next window of the first load: the frontier behind it, and how long the one after may be."""
        if self._everything(pipeline):
            return DONE, days
        if not frontier:
            first = lookback(self._today(), 0, 1)[0]
            self._window(pipeline, first)
            return str(first.first), days
        window = before(date.fromisoformat(frontier), days)
        if window is not None:
            listed = self._window(pipeline, window)
            if window.first is not None:
                length = (date.fromisoformat(frontier) - window.first).days
                return str(window.first), length_for(length, listed, self._rules.page)
        self._window(pipeline, EVERYTHING)  # those without a date, which no window finds
        return DONE, days

    def _reach(self, frontier: str, days: int) -> None:
        self.state.frontier, self.state.days = frontier, days
        self.keep()

    def full(self, since: date | None = None) -> Tally:
        """List everything again, or all since a day, with what is gone."""
        self._begin()
        with self._pipeline() as pipeline:
            self._window(pipeline, lookback(self._today(), 0, 1)[0], gone=True)
            if not self._everything(pipeline, gone=True):
                self._backwards(pipeline, since)
        if since is None:
            self.state.frontier = DONE
        self.keep()
        return self.tally

    def _backwards(self, pipeline: _Pipeline, since: date | None) -> None:
        """All windows before today, to a day or to the end, and what has no date."""
        frontier, days = self._today(), 1
        while (window := before(frontier, days)) is not None and (since is None or frontier > since):
            if since is not None and (window.first is None or window.first < since):
                window = Window(since, window.last)
            listed = self._window(pipeline, window, gone=True)
            if window.first is None:
                break
            days = length_for((frontier - window.first).days, listed, self._rules.page)
            frontier = window.first
        if since is None:
            self._window(pipeline, EVERYTHING)

    def _everything(self, pipeline: _Pipeline, *, gone: bool = False) -> bool:
        """List all at once where an archive pays no heed to dates; whether it does not."""
        if self.state.habits.ignores_dates:
            self._window(pipeline, EVERYTHING, gone=gone)
        return self.state.habits.ignores_dates

    def named(self, study_uids: Iterable[str]) -> Tally:
        """Ask for some studies by their UIDs; those that the archive does not have are gone."""
        self._begin()
        with self._pipeline() as pipeline:
            gone = [uid for uid in sorted(set(study_uids)) if not self._is_there(pipeline, uid)]
        self._withdraw(gone)
        self.keep()
        return self.tally

    def found(self, rows: Sequence[Row]) -> Tally:
        """Take what has changed of records that were asked for elsewhere."""
        self._begin()
        with self._pipeline() as pipeline:
            self._take(pipeline, rows)
        self.tally.failed += self._failures.settle()
        return self.tally

    # one window

    def _pipeline(self) -> _Pipeline:
        details = Details(self._archive, self._rules.level, self.state.habits)
        return Pipeline(lambda group: self._fetch(details, group), self._put, self._rules.connections)

    def _window(self, pipeline: _Pipeline, window: Window, *, gone: bool = False) -> int:
        """Take what has changed in a window; returns how many studies it lists."""
        listing = Listing(self._archive, self._rules.page, self.state.habits, self._today)
        seen: set[str] = set()
        listed = 0
        for page in listing.pages(window):
            self._check()
            records = self._take(pipeline, page)
            listed += len(records)
            if gone:
                seen.update(one.uid for one in records)
        for cut in listing.cut:
            why = "the archive gives only a part of this window: it knows no offset, and too many at one time"
            self._failures.bury(" ".join(text for _key, text in cut.match()) or "everything", why)
        if gone and not listing.cut:
            self._look_for_gone(pipeline, window, seen)
        return listed

    def _take(self, pipeline: _Pipeline, page: Sequence[Row]) -> Sequence[Record]:
        """Take what has changed of a page of records; returns them."""
        records = self._records(page)
        changed = self._changed(records)
        if self._rules.level == "study":
            pipeline.submit([changed] if changed else [])
        else:
            pipeline.submit(list(batches(changed)))
        return records

    def _records(self, page: Sequence[Row]) -> Sequence[Record]:
        """The records of a page, each study once; what names no study is put on record."""
        found: dict[str, Record] = {}
        for row in page:
            try:
                one = record(row, self._limits)
                found[one.uid] = one
            except Refused as exc:
                self.tally.failed += 1
                self._failures.bury(self._source.name, f"a record that cannot be used: {exc}")
        self.tally.listed += len(found)
        return list(found.values())

    def _changed(self, records: Sequence[Record]) -> Sequence[Record]:
        known = self._store.known_reports(self._source.uri, [one.uid for one in records])
        return [one for one in records if self._is_news(one, known.get(one.uid))]

    def _is_news(self, one: Record, known: KnownReport | None) -> bool:
        if known is None or known.gone is not None or known.digest != one.digest:
            return True
        uncounted = one.expected is None and self._rules.level != "study"
        return uncounted and known.usable and self._clock() - known.fetched > UNCOUNTED

    def _fetch(self, details: Details, group: Sequence[Record]) -> Sequence[Reported]:
        """What the archive says about a group of studies. Raises Unavailable."""
        if self._rules.level == "study":
            return [self._reported(one, ()) for one in group]
        try:
            rows = details.of(group)
            return [self._reported(one, rows[one.uid]) for one in group]
        except Unavailable:
            raise
        except Exception:
            return [told for one in group for told in self._fetch_alone(details, one)]

    def _fetch_alone(self, details: Details, one: Record) -> Sequence[Reported]:
        """One study; where it cannot be had that is put on record, and the others go on."""
        try:
            return [self._reported(one, details.of([one])[one.uid])]
        except Unavailable:
            raise
        except Exception as exc:
            self._failures.note(one, reason(exc))
            return []

    def _reported(self, one: Record, rows: Sequence[Row]) -> Reported:
        if one.expected and not rows and self._rules.level != "study":
            raise BadAnswer("the archive counts instances and gives none")
        told = report(one, rows, self._rules.level, self._source.context, self._limits)
        return Reported(one.uid, one.digest, one.date, told)

    def _put(self, told: Sequence[Reported]) -> None:
        self._check()
        self._failures.one_went_well |= bool(told)
        self.tally.changed += self._store.put_reports(self._source.uri, told, self._clock())
        metrics.ARCHIVE_STUDIES.labels(self._source.name, "taken").inc(len(told))
        self._told(self.tally, self.state)

    # what is gone

    def _look_for_gone(self, pipeline: _Pipeline, window: Window, seen: set[str]) -> None:
        """Studies that an archive had in a window and no longer lists: each is asked for by its UID."""
        first = f"{window.first:%Y%m%d}" if window.first else "00000000"
        last = f"{window.last:%Y%m%d}" if window.last else "99999999"
        known = self._store.dated_reports(self._source.uri, first, last)
        missing = [uid for uid in known if uid not in seen]
        if len(missing) > max(MANY_GONE, len(known) // 2):
            log.error("too_many_gone", source=self._source.name, count=len(missing))
            self._failures.bury(
                self._source.name, f"{len(missing)} of {len(known)} studies are missing at once"
            )
            return
        self._withdraw([uid for uid in missing if not self._is_there(pipeline, uid)])

    def _is_there(self, pipeline: _Pipeline, uid: str) -> bool:
        """Whether an archive has a study, by whatever date; it is taken. Only an empty answer denies it."""
        page = self._archive.studies([("StudyInstanceUID", uid)], limit=2).rows
        self._take(pipeline, [row for row in page if row])
        return bool(page)

    def _withdraw(self, gone: Sequence[str]) -> None:
        if not gone or self._rules.on_delete == "ignore":
            return
        count = self._store.withdraw_reports(self._source.uri, gone, self._rules.on_delete, self._clock())
        self.tally.gone += count
        if count:
            metrics.ARCHIVE_STUDIES.labels(self._source.name, "gone").inc(count)
            log.info("studies_gone", source=self._source.name, studies=count)

    # odds and ends

    def _begin(self) -> date:
        """A new round; returns the day."""
        self.tally, self._failures = Tally(), Failures(self._store, self._source, self._clock)
        return self._today()

    def _today(self) -> date:
        zone = self._source.context.zone or UTC
        return datetime.fromtimestamp(self._clock() / 1_000_000, zone).date()

    def _check(self) -> None:
        if self._stopping():
            raise Stopped

    def keep(self) -> None:
        """Keep the state: a round, or a step of it, has come to its end."""
        self.tally.failed += self._failures.settle()
        self.state.last_round, self.state.error = self._clock(), None
        write_state(self._store, self._source.uri, self.state)

    def note_failure(self, fault: Exception) -> None:
        """Keep why a round failed."""
        self.state.error, self.state.error_at = reason(fault), self._clock()
        write_state(self._store, self._source.uri, self.state)
