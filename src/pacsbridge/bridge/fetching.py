"""What archives hold and the bridge does not: who has it, its bytes, its instances."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import BinaryIO, NamedTuple, TypeVar

import structlog

from pacsbridge.bridge.archive_listing import Row, first_text
from pacsbridge.bridge.retrieving import Further, Instance, Wanted, studies
from pacsbridge.dicom.reader import read_header
from pacsbridge.errors import Absent, BadAnswer, PacsbridgeError, reason
from pacsbridge.kernel.model import Level
from pacsbridge.kernel.reports import ReportedSeries
from pacsbridge.remote.transport import Stream
from pacsbridge.remote.wado import Wado
from pacsbridge.store.store import Store

log = structlog.get_logger("pacsbridge.bridge")


T = TypeVar("T")

Keep = Callable[[str, Instance], None]
"""Keeps an instance that came from an archive (the URI of its source), or says why not; raises nothing."""


class Lacking(NamedTuple):
    """What an archive has of a study that is not held here: instances by series.

    A series without any is one of which the archive was not asked for instances.
    """

    source: str
    archive: Wado
    study_uid: str
    series: Mapping[str, Sequence[str]]
    whole: Collection[str]
    """Series of which nothing is held."""
    held: Collection[str]


class Fetching:
    """Asks archives for what they hold; `archives` by the URI of their source.

    `keep`: what becomes of instances that retrievals have fetched, before they are passed on.
    """

    def __init__(self, store: Store, archives: Mapping[str, Wado], keep: Keep | None = None) -> None:
        self._store = store
        self._archives = archives
        self._keep = keep

    def holders(self, study_uid: str) -> Sequence[Wado]:
        """The archives that have a study, the one that said something new last first."""
        told = reversed(self._store.told_by(study_uid))
        return [self._archives[one.source] for one in told if one.source in self._archives]

    def open(
        self, study_uid: str, path: str, accept: str, query: tuple[tuple[str, str], ...] = ()
    ) -> tuple[Wado, Stream]:
        """The answer of the first archive that gives one. Raises Absent where none has the study.

        Raises what the last one came to, when none gives one.
        """
        return self._first(study_uid, lambda archive: archive.stream(path, accept, query))

    def _first(self, study_uid: str, ask: Callable[[Wado], T]) -> tuple[Wado, T]:
        fault: PacsbridgeError = Absent("no archive has it")
        for archive in self.holders(study_uid):
            try:
                return archive, ask(archive)
            except PacsbridgeError as exc:
                log.warning("archive_not_read", source=archive.name, reason=reason(exc))
                fault = exc
        raise fault

    def lacking(
        self, study_uid: str, held: Collection[str], series_uid: str | None = None
    ) -> Sequence[Lacking]:
        """What archives have of a study, or of one of its series, besides the instances that are held."""
        known = set(held)
        found = []
        for one in reversed(self._store.told_by(study_uid)):
            if one.source in self._archives:
                series = {each.facts["uid"]: each for each in one.report.series}
                chosen = {uid: each for uid, each in series.items() if series_uid in (None, uid)}
                lacks = _lacks(chosen, known)
                whole = {uid for uid, each in chosen.items() if known.isdisjoint(_uids(each))}
                known.update(uid for each in chosen.values() for uid in _uids(each))
                if lacks:
                    found.append(
                        Lacking(one.source, self._archives[one.source], study_uid, lacks, whole, held)
                    )
        return found

    def instances(
        self, lacking: Lacking, only: Collection[str] | None = None, *, strict: bool = False
    ) -> Iterator[Instance | None]:
        """The instances of it, or some of them, one at a time; None while one is coming.

        What cannot be had is on record in the log, or where one is `strict` raised.
        """
        for path, wanted in _paths(lacking, only):
            try:
                yield from self._of(lacking, path, wanted)
            except PacsbridgeError as exc:
                log.warning("archive_not_read", source=lacking.archive.name, reason=reason(exc))
                if strict:
                    raise

    def metadata(self, study_uid: str, path: str) -> tuple[Wado, Sequence[Row]]:
        """The DICOM JSON of the first archive that gives it. Raises as `open`."""
        return self._first(study_uid, lambda archive: archive.metadata(path))

    def lacking_metadata(self, lacking: Lacking) -> Iterator[Row]:
        """The DICOM JSON of the instances of it. Raises what the archive's answer comes to."""
        for path, wanted in _paths(lacking, None):
            for row in lacking.archive.metadata(f"{path}/metadata"):
                uid = first_text(row, "00080018")
                if uid not in lacking.held and (wanted is None or uid in wanted):
                    yield row

    def further(self, wanted: Wanted, held: Sequence[str]) -> Further:
        """What archives have of what a retrieval asks for, besides what is held; see `retrieving.Ask`."""
        series = set(wanted.series) if wanted.level in (Level.SERIES, Level.INSTANCE) else None
        only = set(wanted.instances) if wanted.level is Level.INSTANCE else None
        found = [
            one._replace(
                series={uid: uids for uid, uids in one.series.items() if series is None or uid in series}
            )
            for study in studies(self._store, wanted)
            for one in self.lacking(study, held)
        ]
        uids = [
            uid
            for one in found
            for some in one.series.values()
            for uid in some
            if only is None or uid in only
        ]
        return Further(uids, (each for one in found for each in self._kept(one, only)))

    def _kept(self, lacking: Lacking, only: Collection[str] | None) -> Iterator[Instance | None]:
        for instance in self.instances(lacking, only):
            if instance is not None and self._keep is not None:
                self._keep(lacking.source, instance)
            yield instance

    def _of(self, lacking: Lacking, path: str, wanted: Collection[str] | None) -> Iterator[Instance | None]:
        for file in lacking.archive.instances(path):
            if file is None:
                yield None
                continue
            instance = _instance(file)
            if instance.sop_uid not in lacking.held and (wanted is None or instance.sop_uid in wanted):
                yield instance


def _uids(series: ReportedSeries) -> Sequence[str]:
    return [one["uid"] for one in series.instances]


def _lacks(series: Mapping[str, ReportedSeries], known: Collection[str]) -> dict[str, Sequence[str]]:
    """Series with the instances that are not known; one without any where only series were asked for."""
    found = {uid: [one for one in _uids(each) if one not in known] for uid, each in series.items()}
    return {uid: uids for uid, uids in found.items() if uids or not series[uid].instances}


def _paths(lacking: Lacking, only: Collection[str] | None) -> Iterator[tuple[str, Collection[str] | None]]:
    """What to ask for: series of which nothing is held as a whole, else instance by instance."""
    for series, uids in lacking.series.items():
        path = f"/studies/{lacking.study_uid}/series/{series}"
        chosen = uids if only is None else [uid for uid in uids if uid in only]
        if not uids or (series in lacking.whole and len(chosen) == len(uids)):
            yield path, only if not uids else chosen
        else:
            yield from ((f"{path}/instances/{uid}", (uid,)) for uid in chosen)


def _instance(file: BinaryIO) -> Instance:
    """A Part 10 file as an instance that can be sent on. Raises Refused for what is none."""
    header = read_header(file)
    attributes = header.attributes
    class_uid, uid = attributes.text("SOPClassUID"), attributes.text("SOPInstanceUID")
    if class_uid is None or uid is None:
        raise BadAnswer("an instance without its UIDs")
    start, end = header.dataset_offset, file.seek(0, 2)

    def pieces(size: int) -> Iterator[bytes]:
        file.seek(start)
        while piece := file.read(size):
            yield piece

    return Instance(class_uid, uid, header.transfer_syntax_uid, end - start, pieces)
