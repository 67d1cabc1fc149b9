"""The store's contract: a dozen verbs over one database, SQLite or PostgreSQL."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select

from pacsbridge.kernel.conflicts import Clash, Policy
from pacsbridge.kernel.finding import Find
from pacsbridge.kernel.histories import Past
from pacsbridge.kernel.model import StudyState
from pacsbridge.kernel.query import Query
from pacsbridge.kernel.reports import Sourced
from pacsbridge.store import (
    conflicts,
    documents,
    finding,
    findings,
    history,
    kept,
    listing,
    migrations,
    planning,
    publishing,
    refreshing,
    reports,
    schema,
    search,
    states,
)
from pacsbridge.store.commitments import Commitments
from pacsbridge.store.engine import Database
from pacsbridge.store.holdings import Holdings
from pacsbridge.store.index import Batch, Timing
from pacsbridge.store.inventory import Inventory
from pacsbridge.store.overview import Overview
from pacsbridge.store.records import (
    Arrival,
    DeadLetter,
    Document,
    Draft,
    Due,
    Held,
    KnownReport,
    Listing,
    Page,
    Reported,
    Standing,
    Version,
    Versions,
)
from pacsbridge.store.shelf import Shelf
from pacsbridge.store.sql import PATIENT, Patience, sql
from pacsbridge.store.upsert import upsert

_SECOND = 1_000_000

ARCHIVE = "archive"
"""The kind of dead letters about studies that an archive could not give."""


class Store:
    """Facts, states and documents of one deployment; every method may be called from any thread.

    Raises Unavailable when the database is away, NotUnderstood when it refuses a value.
    """

    def __init__(
        self,
        url: str,
        data_dir: Path,
        *,
        password: str | None = None,
        quiet_seconds: float = 2,
        max_wait_seconds: float = 30,
        on_conflict: str = Policy.REPLACE,
    ) -> None:
        self._database = Database(url, data_dir, password)
        self.commitments = Commitments(self._database)
        self.holdings = Holdings(self._database)
        self.inventory = Inventory(self._database)
        self.overview = Overview(self._database)
        self._counts = planning.Counts()
        self._shelf: search.Bodies = Shelf()
        self._timing = Timing(int(quiet_seconds * _SECOND), int(max_wait_seconds * _SECOND))
        self.policy = Policy(on_conflict)
        """What other content under a known SOP Instance UID does."""
        self.clashed: Callable[[Sequence[Clash]], object] = bool
        """Hears of the conflicts of each batch, once it is committed; it must be quick, and raise nothing."""

    @property
    def embedded(self) -> bool:
        """Whether the database lives in this process, so that a point read costs no round trip."""
        return self._database.embedded

    def state(self) -> int | None:
        """A number that differs once anything has been committed, by whatever process.

        What was found after a number was read holds for as long as it stays the same. None: that cannot be
        told without a round trip.
        """
        return self._database.state()

    @property
    def label(self) -> str:
        """The database's address without its password."""
        return self._database.label

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    def migrate(self) -> int:
        """Bring schema and search index up to date; returns how many migrations ran."""
        done = migrations.migrate(self._database)
        refreshing.refresh(self._database)
        return done

    def search_anew(self) -> None:
        """Make all that published resources are searched by again, from their content."""
        refreshing.refresh(self._database, anew=True)

    def pending_migrations(self) -> int:
        """How many migrations are to run. Misconfigured when the database is newer than this code."""
        return migrations.pending(self._database)

    def ping(self) -> None:
        """Raise Unavailable unless the database answers."""
        with self._database.read() as connection:
            connection.execute(select(1))

    # facts

    def put(self, arrivals: Sequence[Arrival], checkpoints: Mapping[str, int], now: int) -> int:
        """Index a batch in one transaction, with the pack positions that it reaches.

        Returns how many instances changed something; a re-sent instance changes nothing.
        """
        with self._database.write(durable=False) as connection:
            batch = Batch(connection, self._timing, self.policy)
            changed = batch.put(arrivals, now)
            rows = [{"pack": pack, "position": position} for pack, position in checkpoints.items()]
            upsert(connection, schema.checkpoint, rows, key=("pack",))
        if batch.conflicts.clashes:
            self.clashed(batch.conflicts.clashes)
        return changed

    def standing(self, sop_uid: str) -> Standing | None:
        """What is indexed under a SOP Instance UID."""
        rows = self._database.one(sql("SELECT sha256, source, received FROM instance WHERE uid = ?", sop_uid))
        return Standing(bytes(rows[0][0]), *rows[0][1:]) if rows else None

    def put_aside(self, sop_uid: str, source: str) -> str | None:
        """The location of what a source has sent under a SOP Instance UID last, where that was put aside."""
        with self._database.read() as connection:
            return conflicts.put_aside(connection, sop_uid, source)

    def checkpoints(self) -> Mapping[str, int]:
        """Up to where each pack has been indexed."""
        c = schema.checkpoint.c
        with self._database.read() as connection:
            return {row.pack: row.position for row in connection.execute(select(c.pack, c.position))}

    def forget_facts(self) -> None:
        """Empty the index of facts, for it to be rebuilt from the packs; documents keep their versions."""
        tables = (schema.issue, schema.conflict, schema.rejection, schema.instance, schema.series)
        listed = (schema.study_key, schema.study_record, schema.series_record, schema.encoding)
        counted = (schema.arrival, schema.checkpoint)
        facts = (*listed, schema.reported_instance, schema.study, schema.patient, *counted)
        with self._database.write() as connection:
            for table in (*tables, *facts):
                connection.execute(delete(table))

    def restore_reports(self, now: int) -> None:
        """Put what archives say back into an index that is being rebuilt."""
        with self._database.write(patient=True) as connection:
            reports.restore(connection, self._timing, now)

    def held(
        self, study_uid: str, series_uid: str | None = None, sop_uid: str | None = None
    ) -> Sequence[Held]:
        """The instances held of a study, one series or one instance of it, in the order of their bytes."""
        with self._database.read() as connection:
            return states.held(connection, study_uid, series_uid, sop_uid)

    # what archives say

    def known_reports(self, source: str, uids: Sequence[str]) -> Mapping[str, KnownReport]:
        """What is kept of an archive's word on these studies, by study UID."""
        with self._database.read() as connection:
            return reports.known(connection, source, uids)

    def dated_reports(self, source: str, first: str, last: str) -> Sequence[str]:
        """The studies that an archive is known to have between two dates, YYYYMMDD, both included."""
        with self._database.read() as connection:
            return reports.dated(connection, source, first, last)

    def undated_reports(self, source: str) -> Sequence[str]:
        """The studies without a date that an archive is known to have."""
        with self._database.read() as connection:
            return reports.undated(connection, source)

    def count_reports(self, source: str) -> int:
        """How many studies an archive is known to have."""
        with self._database.read() as connection:
            return reports.count(connection, source)

    def put_reports(self, source: str, told: Sequence[Reported], now: int) -> int:
        """Keep what an archive says about studies; returns of how many it says something new.

        A study that had been parked is so no longer: its dead letters are gone.
        """
        with self._database.write(durable=False) as connection:
            changed = reports.put(connection, self._timing, source, told, now)
            findings.unbury(connection, ARCHIVE, [one.uid for one in told], source)
        return changed

    def park_report(self, source: str, uid: str, digest: bytes | None, date: str | None, now: int) -> None:
        """Do not ask an archive again for a study until its record changes; without a digest: do."""
        with self._database.write() as connection:
            reports.park(connection, source, uid, digest, date, now)

    def owed_reports(self, source: str, limit: int) -> Sequence[str]:
        """The studies that an archive is to be asked for again, by whatever date."""
        with self._database.read() as connection:
            return reports.owed(connection, source, limit)

    def told_by(self, study_uid: str) -> Sequence[Sourced]:
        """What archives say that have a study, the one that said something new last at the end."""
        with self._database.read() as connection:
            return [one for one in reports.of_study(connection, study_uid) if one.gone is None]

    def forget_reports(self, uids: Sequence[str]) -> int:
        """Have every archive that has one of the studies asked for it again; returns how often that is."""
        with self._database.write() as connection:
            return reports.forget(connection, uids)

    def withdraw_reports(self, source: str, uids: Sequence[str], status: str, now: int) -> int:
        """An archive no longer has some studies; `status` is what becomes of those that nobody else has."""
        with self._database.write() as connection:
            return reports.withdraw(connection, self._timing, source, uids, status, now)

    def recall(self, name: str) -> str | None:
        """What is kept under a name."""
        with self._database.read() as connection:
            return kept.recall(connection, name)

    def remember(self, name: str, value: str) -> None:
        """Keep a text under a name."""
        with self._database.write(durable=False) as connection:
            kept.remember(connection, name, value)

    # publishing

    def due(self, now: int, limit: int = 100, uids: Sequence[str] | None = None) -> Sequence[Due]:
        """Studies to be published at `now` (microseconds since 1970), of those named or of all."""
        with self._database.read() as connection:
            return states.due(connection, now, limit, uids)

    def next_due(self) -> int | None:
        """When the next study is to be published; None when none waits."""
        with self._database.read() as connection:
            return states.next_due(connection)

    def study_states(self, studies: Sequence[Due]) -> Mapping[int, StudyState]:
        """Everything known of these studies, by their row numbers."""
        with self._database.read() as connection:
            return states.study_states(connection, [study.pk for study in studies])

    def publish(
        self,
        drafts: Iterable[Draft],
        now: int,
        settled: Sequence[Due] = (),
        listings: Iterable[Listing] = (),
    ) -> int:
        """Write new versions of the drafts whose content differs from what is published.

        `listings` are what queries answer of the same studies from now on.
        `settled` are the studies whose revisions the drafts show: where another process has been quicker with
        one of them, nothing is written. Returns how many versions were written.
        """
        now = now // 1000 * 1000
        with self._database.write() as connection:
            if states.outrun(connection, settled):
                return 0
            written = publishing.publish(connection, drafts, now)
            listing.put(connection, listings)
            states.settle(connection, settled)
        return written

    def postpone(self, study: Due, until: int) -> None:
        """Try to publish a study again at `until`."""
        with self._database.write() as connection:
            states.postpone(connection, study, until)

    def hasten(self, now: int, uids: Sequence[str] | None = None) -> None:
        """Studies that wait for quiet are due now, those named or all."""
        with self._database.write() as connection:
            states.hasten(connection, now, uids)

    def published_under(self, settings: str, now: int) -> int:
        """Every study is due now unless it is published under these settings already; returns how many."""
        with self._database.write() as connection:
            if not kept.remember(connection, "publication", settings):
                return 0
            return states.all_due(connection, now)

    # documents

    def ids(self, type_: str) -> Sequence[str]:
        """The ids of all resources of a type that are not deleted."""
        c = schema.resource.c
        with self._database.read() as connection:
            query = select(c.id).where(c.type == type_, c.deleted.is_(False)).order_by(c.pk)
            return list(connection.execute(query).scalars())

    def version(self, type_: str, id_: str) -> Version | None:
        """The current version's number and time, without its body."""
        return documents.version(self._database.one, type_, id_)

    def document(self, type_: str, id_: str, number: int | None = None) -> Document | None:
        """The current version of a resource, or its version `number`."""
        return documents.document(self._database.one, type_, id_, number)

    def summary(self, type_: str, id_: str) -> Document | None:
        """The current version of a resource, with its summary for a body."""
        return documents.summary(self._database.one, type_, id_)

    def search(self, query: Query, patience: Patience = PATIENT) -> Page:
        """One page of the resources that match. TooCostly when it takes longer than that."""
        with self._database.asking(patience) as ask:
            return search.search(ask, query, self._counts, self._shelf)

    def history(self, past: Past, patience: Patience = PATIENT) -> Versions:
        """One page of versions, the newest first. TooCostly as `search`."""
        with self._database.asking(patience) as ask:
            return history.history(ask, past)

    def find(
        self,
        query: Find,
        after: finding.Position | None,
        limit: int,
        offset: int = 0,
        patience: Patience = PATIENT,
    ) -> finding.Chunk:
        """The next records that a C-FIND or QIDO-RS query asks for, from at most `limit` rows. TooCostly."""
        with self._database.asking(patience) as ask:
            return finding.chunk(ask, self._states_with_attributes, query, after, limit, offset)

    def _states_with_attributes(self, pks: Sequence[int]) -> Mapping[int, StudyState]:
        with self._database.read() as connection:
            return states.study_states(connection, pks, attributes=True)

    # what went wrong

    def bury(self, letter: DeadLetter, now: int) -> int:
        """Record what could not be taken; the same again counts up. Returns how often that has been."""
        with self._database.write() as connection:
            return findings.bury(connection, letter, now)

    def dead_letters(self, key: str | None = None, limit: int = 1000) -> Sequence[DeadLetter]:
        """What could not be taken or sent on, the latest first; under one key, or all."""
        with self._database.read() as connection:
            return findings.dead_letters(connection, key, limit)

    def discard_letters(self, letters: Sequence[DeadLetter]) -> int:
        """Delete dead letters; returns how many those were."""
        with self._database.write() as connection:
            return sum(
                findings.unbury(connection, letter.kind, [letter.key], letter.source, letter.reason)
                for letter in letters
            )

    def why(self, key: str) -> Mapping[str, Any]:
        """What is on record about a UID, by kind, at most 100 each, and the `counts` of all."""
        with self._database.read() as connection:
            return findings.why(connection, key)

    def setting(self, name: str, fresh: Callable[[], str]) -> str:
        """A value that all processes share; the first one to ask makes it."""
        with self._database.write() as connection:
            found = kept.recall(connection, name)
            if found is not None:
                return found
            value = fresh()
            connection.execute(schema.setting.insert(), {"name": name, "value": value})
        return value
