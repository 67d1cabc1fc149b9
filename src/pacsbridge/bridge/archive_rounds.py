"""Keeping up with an archive: what is new, what has changed, what is gone; and the first load, newest first.

    list     windows of studies (QIDO-RS), their records compared with what is kept
    fetch    series and instances of the studies whose records differ, by several threads
    put      what the archive says, in one transaction a group; the studies are due to be published

A round that fails leaves everything as it is: the next one goes on from there. Only an archive's own answer,
asked for a study by its UID, makes that study gone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from types import MappingProxyType

import structlog

from pacsbridge import metrics
from pacsbridge.bridge.archive_ahead import Ahead, Listed, PagesAhead
from pacsbridge.bridge.archive_details import Details, batches
from pacsbridge.bridge.archive_failures import Failures
from pacsbridge.bridge.archive_listing import Listing, Lists, Row, count, study_date
from pacsbridge.bridge.archive_pipeline import Pipeline
from pacsbridge.bridge.archive_records import Record, record, report
from pacsbridge.bridge.archive_rules import MANY_GONE, MOST_OWED, UNCOUNTED, ArchiveRules, Tally
from pacsbridge.bridge.archive_state import DONE, ArchiveState, read_state, write_state
from pacsbridge.bridge.sources import Source
from pacsbridge.dicom.limits import DEFAULT, Limits
from pacsbridge.errors import BadAnswer, Refused, reason
from pacsbridge.kernel.windows import EVERYTHING, Window, before, length_for, lookback
from pacsbridge.remote.qido import Archive
from pacsbridge.store.records import KnownReport, Reported
from pacsbridge.store.store import Store

log = structlog.get_logger("pacsbridge.bridge")

_Pipeline = Pipeline[Sequence[Record], Sequence[Reported]]


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
        self.clock = clock
        self._stopping = stopping
        self._told = told
        self._limits = limits
        self.state = read_state(store, source.uri)
        self.tally, self.before = Tally(), Tally()
        self._taken: dict[str, bytes] = {}
        self._failures = Failures(store, source, clock)

    @property
    def heeds_deletions(self) -> bool:
        """Whether it matters what an archive no longer has."""
        return self._rules.on_delete != "ignore"

    def usual(self) -> Tally:
        """What a command does: the last days, and whatever is left of the first load."""
        before = self.recent()
        if not self.state.loaded:
            self.load()
            self.tally += before
        return self.tally

    def recent(self) -> Tally:
        """List the last days again, and take what has changed or is gone."""
        today = self._begin()
        days, listed = self._rules.lookback_days + 1, 0
        with self._pipeline() as pipeline:
            for window in lookback(today, self._rules.lookback_days, self.state.recent_days):
                if self._everything(pipeline, gone=True):
                    break
                listed += self._window(pipeline, window, gone=True)
            else:
                self.state.recent_days = min(length_for(days, listed, self._rules.page), days)
            gone = [uid for uid in self._owed() if not self._is_there(pipeline, uid)]
        self._withdraw(gone)
        if not self.heeds_deletions:
            for uid in gone:  # owed no more
                self._store.park_report(self._source.uri, uid, b"", None, self.clock())
        self.keep()
        return self.tally

    def load(self, until: Callable[[], bool] = lambda: False) -> Tally:
        """Go on with the first load, the newest first, until it is complete or `until` says so.

        One window at least is loaded, however short the time is.
        """
        self._begin()
        with self._pipeline() as pipeline, Ahead(self._listing) as ahead:
            frontier, days = self.state.frontier, self.state.days
            while frontier != DONE:
                frontier, days = self._load_window(pipeline, ahead, frontier, days)
                pipeline.then(lambda reached=frontier, length=days: self._reach(reached, length))  # type: ignore[misc]
                if until():
                    break
        return self.tally

    def _load_window(self, pipeline: _Pipeline, ahead: Ahead, frontier: str, days: int) -> tuple[str, int]:
        """The next window of the first load: the frontier behind it, and how long those after may be."""
        if self._everything(pipeline):
            return DONE, days
        if not frontier:
            first = lookback(self._today(), 0, 1)[0]
            self._window(pipeline, first)
            return str(first.first), days
        one = ahead.window_before(date.fromisoformat(frontier), days)
        if one is not None:
            listed = self._listed(pipeline, one)
            if one.window.first is not None:
                length = (date.fromisoformat(frontier) - one.window.first).days
                return str(one.window.first), length_for(length, listed, self._rules.page)
        self._undated(pipeline)
        return DONE, days

    def _undated(self, pipeline: _Pipeline) -> None:
        """What has no date, which no window finds; an archive that cannot list all keeps nothing waiting."""
        try:
            self._window(pipeline, EVERYTHING)
        except BadAnswer as exc:
            self._failures.bury("everything", f"studies without a date cannot be listed: {exc}")

    def _reach(self, frontier: str, days: int) -> None:
        self._settle()
        self.state.frontier, self.state.days = frontier, days
        self.keep()

    def full(self, since: date | None = None) -> Tally:
        """List everything again, or all since a day, with what is gone."""
        self._begin()
        with self._pipeline() as pipeline:
            self._window(pipeline, lookback(self._today(), 0, 1)[0], gone=True)
            if not self._everything(pipeline, gone=True):
                self._backwards(pipeline, since)
        self._settle()
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
            self._window(pipeline, EVERYTHING, gone=True)

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
            self.tally.listed += len(self._take(pipeline, rows))
        self.tally.failed += self._failures.settle()
        return self.tally

    # one window

    def _pipeline(self) -> _Pipeline:
        details = Details(self._archive, self._rules.level, self.state.habits)
        return Pipeline(lambda group: self._fetch(details, group), self._put, self._rules.connections)

    def _window(self, pipeline: _Pipeline, window: Window, *, gone: bool = False) -> int:
        """Take what has changed in a window; returns how many studies it lists."""
        known = self._store.count_reports(self._source.uri) if self._is_again(window) else -1
        with PagesAhead(self._archive, known, self._rules.connections) as archive:
            listing = self._listing(archive)
            return self._listed(pipeline, Listed(window, listing, listing.pages(window)), gone=gone)

    def _is_again(self, window: Window) -> bool:
        """Whether a window is all that was listed by dates before, and what has none."""
        return window == EVERYTHING and not self.state.habits.ignores_dates

    def _listing(self, archive: Lists | None = None) -> Listing:
        return Listing(archive or self._archive, self._rules.page, self.state.habits, self._today)

    def _listed(self, pipeline: _Pipeline, one: Listed, *, gone: bool = False) -> int:
        """The same for a window that is being listed."""
        window, listing, pages = one
        seen: dict[str, bytes] = {}
        again = self._is_again(window)
        for page in pages:
            self._check()
            records = self._take(pipeline, [row for row in page if not (again and study_date(row))], seen)
            self.tally.listed += sum(one.uid not in seen for one in records)
            if gone or window != EVERYTHING:
                seen.update((one.uid, one.digest) for one in records)
        for cut in listing.cut:
            why = "the archive fails at this window, or gives only a part of it as it knows no offset"
            self._failures.bury(" ".join(text for _key, text in cut.match()) or "everything", why)
        if gone and not listing.cut and self.heeds_deletions:
            self._look_for_gone(pipeline, window, seen)
        return len(seen)

    def _take(
        self, pipeline: _Pipeline, page: Sequence[Row], seen: Mapping[str, bytes] = MappingProxyType({})
    ) -> Sequence[Record]:
        """Take what has changed of a page of records, but for those that were seen; returns the others."""
        records = [one for one in self._records(page) if seen.get(one.uid) != one.digest]
        changed = [one for one in self._changed(records) if self._taken.get(one.uid) != one.digest]
        self._taken.update((one.uid, one.digest) for one in changed)
        if self._rules.level == "study":
            pipeline.submit([changed] if changed else [])
        else:
            pipeline.submit(list(batches(changed)))
        return records

    def _records(self, page: Sequence[Row]) -> Sequence[Record]:
        """The records of a page, each study once; what names no study is put on record."""
        found: dict[str, Record] = {}
        faults: set[str] = set()
        for row in page:
            try:
                one = record(row, self._limits)
                found[one.uid] = one
            except Refused as exc:
                self.tally.failed += 1
                faults.add(str(exc))
        for fault in sorted(faults):
            self._failures.bury(self._source.name, f"a record that cannot be used: {fault}")
        return list(found.values())

    def _changed(self, records: Sequence[Record]) -> Sequence[Record]:
        known = self._store.known_reports(self._source.uri, [one.uid for one in records])
        return [one for one in records if self._is_news(one, known.get(one.uid))]

    def _is_news(self, one: Record, known: KnownReport | None) -> bool:
        if known is None or known.gone is not None or known.digest != one.digest:
            return True
        uncounted = one.expected is None and self._rules.level != "study"
        return uncounted and known.usable and self.clock() - known.fetched > UNCOUNTED

    def _fetch(self, details: Details, group: Sequence[Record]) -> Sequence[Reported]:
        """What the archive says about a group of studies; those that cannot be had are put on record."""
        found = {} if self._rules.level == "study" else details.of(group)
        told: list[Reported] = []
        for one in group:
            try:
                told.append(self._reported(one, found.get(one.uid, ())))
            except Exception as exc:
                self._failures.note(one, reason(exc))
        return told

    def _reported(self, one: Record, rows: Sequence[Row] | Exception) -> Reported:
        if isinstance(rows, Exception):
            raise rows
        if one.expected and not rows and self._rules.level != "study":
            raise BadAnswer("the archive counts instances and gives none")
        told = report(one, rows, self._rules.level, self._source.context, self._limits)
        if rows and not told.series:
            raise BadAnswer(f"none of its rows can be used: {told.issues[-1][1].reason}")
        return Reported(one.uid, one.digest, one.date, told)

    def _put(self, groups: Sequence[Sequence[Reported]]) -> None:
        self._check()
        told = [one for group in groups for one in group]
        self._failures.one_went_well |= bool(told)
        self.tally.changed += self._store.put_reports(self._source.uri, told, self.clock())
        for one in told:
            self._taken.pop(one.uid, None)
        metrics.ARCHIVE_STUDIES.labels(self._source.name, "taken").inc(len(told))
        self._told(self.tally, self.state)

    # what is gone

    def _look_for_gone(self, pipeline: _Pipeline, window: Window, seen: Mapping[str, bytes]) -> None:
        """Studies that an archive had in a window and no longer lists: each is asked for by its UID."""
        known = self._known(window)
        missing = [uid for uid in known if uid not in seen]
        if len(missing) > max(MANY_GONE, len(known) // 2):
            log.error("too_many_gone", source=self._source.name, count=len(missing))
            self._failures.bury(
                self._source.name, f"{len(missing)} of {len(known)} studies are missing at once"
            )
            return
        self._withdraw([uid for uid in missing if not self._is_there(pipeline, uid)])

    def _known(self, window: Window) -> Sequence[str]:
        """The studies that the archive is known to have in a window; everything: those without a date too."""
        first = f"{window.first:%Y%m%d}" if window.first else "00000000"
        last = f"{window.last:%Y%m%d}" if window.last else "99999999"
        undated = self._store.undated_reports(self._source.uri) if window == EVERYTHING else ()
        if window == EVERYTHING and not self.state.habits.ignores_dates:
            return undated
        return [*self._store.dated_reports(self._source.uri, first, last), *undated]

    def _is_there(self, pipeline: _Pipeline, uid: str) -> bool:
        """Whether an archive has a study, by whatever date; it is taken. Only an empty answer denies it."""
        self._check()
        page = self._archive.studies([("StudyInstanceUID", uid)], limit=2)
        self.tally.listed += len(self._take(pipeline, [row for row in page.rows if row]))
        return count(page) > 0

    def _owed(self) -> Sequence[str]:
        """Studies that are to be asked for again, unless that has been done in this round."""
        owed = self._store.owed_reports(self._source.uri, MOST_OWED)
        return [uid for uid in owed if uid not in self._taken]

    def _withdraw(self, gone: Sequence[str]) -> None:
        if not gone or not self.heeds_deletions:
            return
        count = self._store.withdraw_reports(self._source.uri, gone, self._rules.on_delete, self.clock())
        self.tally.gone += count
        if count:
            metrics.ARCHIVE_STUDIES.labels(self._source.name, "gone").inc(count)
            log.info("studies_gone", source=self._source.name, studies=count)

    # odds and ends

    def _begin(self) -> date:
        """A new round; returns the day."""
        self._taken = {}
        self.before += self.tally
        self.tally, self._failures = Tally(), Failures(self._store, self._source, self.clock)
        return self._today()

    def _today(self) -> date:
        zone = self._source.context.zone or UTC
        return datetime.fromtimestamp(self.clock() / 1_000_000, zone).date()

    def _check(self) -> None:
        if self._stopping():
            raise Stopped

    def keep(self) -> None:
        """Keep the state: a round, or a step of it, has come to its end."""
        self._settle()
        self.state.last_round, self.state.error = self.clock(), None
        write_state(self._store, self._source.uri, self.state)

    def _settle(self) -> None:
        """Put on record what has failed. Raises BadAnswer where that is the archive's fault."""
        try:
            failed = self._failures.settle(self.state.fruitless)
        except BadAnswer:
            self.state.fruitless += 1
            write_state(self._store, self._source.uri, self.state)
            raise
        if failed:
            self.state.fruitless = 0
        self.tally.failed += failed

    def note_failure(self, fault: Exception) -> None:
        """Keep why a round failed."""
        self.state.error, self.state.error_at = reason(fault), self.clock()
        write_state(self._store, self._source.uri, self.state)
