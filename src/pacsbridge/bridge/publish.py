"""Studies whose revisions are due → documents, each rendered once a revision.

What is pending stands in the store: a restart goes on where it was. A study that cannot be rendered becomes
a dead letter and is tried again later; the others go on.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import structlog

from pacsbridge import metrics
from pacsbridge.errors import Unavailable, reason
from pacsbridge.kernel.identity import study_id
from pacsbridge.kernel.model import StudyState
from pacsbridge.kernel.patients import reference
from pacsbridge.kernel.reports import DELETED
from pacsbridge.kernel.resources import Publication, endpoint, imaging_study, patient
from pacsbridge.kernel.study_records import study_record
from pacsbridge.kernel.titles import KEY_OBJECT_SELECTION, RETENTION_EXPIRED
from pacsbridge.store.records import DeadLetter, Draft, Due, Listing
from pacsbridge.store.store import Store

log = structlog.get_logger("pacsbridge.bridge")

GROUP = 50
"""Studies a transaction at most."""

GROUP_INSTANCES = 5_000
"""Instances of all studies of a group, unless one study alone has more."""

POLL_SECONDS = 0.25
"""How often the store is asked for what is due."""

_RETRY_SECONDS = 2.0
"""How long to wait for a store that is away."""

_LATER = 300 * 1_000_000
"""When a study that cannot be rendered is tried again, in microseconds."""


class Deleted(NamedTuple):
    """A study that is no longer published: its UID, its resource, and the reference to its patient, or ""."""

    uid: str
    resource: str
    patient: str


class Publisher:
    """The thread that publishes what is due. `deleted` hears of studies that are no longer published."""

    deleted: Callable[[Deleted], object] = bool

    def __init__(self, store: Store, publication: Publication, clock: Callable[[], int]) -> None:
        self._store = store
        self._publication = publication
        self._clock = clock
        self._endpoints_published = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Publish the endpoints, then whatever becomes due."""
        self._thread.start()

    def stop(self, timeout: float = 30) -> None:
        """End after the group that is under way; what is due stays due."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def publish_endpoints(self) -> int:
        """Publish the Endpoint resources of the configuration; returns how many changed.

        Those that are no longer configured are deleted. Where anything else about publication has changed
        as well, every study becomes due.
        """
        contents = {spec.id: endpoint(spec) for spec in self._publication.all_endpoints()}
        former = dict.fromkeys(self._store.ids("Endpoint"))
        changed = [Draft("Endpoint", id_, content) for id_, content in (former | contents).items()]
        now = self._clock()
        count = self._store.publish(changed, now)
        if studies := self._store.published_under(self._publication.fingerprint, now):
            log.info("publication settings are new", studies=studies)
        return count

    def publish_due(self) -> int:
        """Publish one group of what is due now; returns how many studies it was."""
        studies = _group(self._store.due(self._clock(), GROUP))
        if studies:
            with metrics.PUBLISH_SECONDS.time():
                self._publish(studies)
        return len(studies)

    def publish_named(self, uids: Sequence[str]) -> None:
        """Publish what has changed of some studies now, whoever else waits."""
        for start in range(0, len(uids), GROUP):
            some = uids[start : start + GROUP]
            self._store.hasten(self._clock(), some)
            if studies := self._store.due(self._clock(), GROUP, some):
                self._publish(studies)

    def publish_all(self) -> int:
        """Publish the endpoints and every study that has changed, without waiting for quiet."""
        self.publish_endpoints()
        self._store.hasten(self._clock())
        count = 0
        while done := self.publish_due():
            count += done
        return count

    def _publish(self, studies: Sequence[Due]) -> None:
        """Publish studies in one transaction, or else one by one; what fails alone is put off, on record."""
        try:
            self._publish_group(studies)
        except Unavailable:
            raise
        except Exception as exc:
            if len(studies) == 1:
                self._put_off(studies[0], exc)
                return
            for study in studies:
                self._publish([study])

    def _publish_group(self, studies: Sequence[Due]) -> None:
        states = self._store.study_states(studies)
        known = [(study, states[study.pk]) for study in studies if study.pk in states]
        rendered = [draft for study, state in known for draft in drafts(study, state, self._publication)]
        listings = [listing(study, state) for study, state in known]
        gone = [self._named(study, state) for study, state in known if self._goes(study, state)]
        self._store.publish(rendered, self._clock(), studies, listings)
        metrics.STUDIES_PUBLISHED.inc(len(studies))
        for one in gone:
            self.deleted(one)

    def _goes(self, study: Due, state: StudyState) -> bool:
        """Whether a study is published, and nothing remains of it."""
        if living(state):
            return False
        there = self._store.version("ImagingStudy", self._id(study))
        return there is not None and not there.deleted

    def _named(self, study: Due, state: StudyState) -> Deleted:
        patient_ = reference(state.patient, self._publication)
        return Deleted(study.uid, f"ImagingStudy/{self._id(study)}", patient_)

    def _id(self, study: Due) -> str:
        return study_id(study.uid, self._publication.id_key, self._publication.id_form)

    def _put_off(self, study: Due, fault: Exception) -> None:
        log.error("study_not_published", uid=study.uid, reason=reason(fault))
        now = self._clock()
        self._store.bury(DeadLetter("publish", study.uid, reason(fault), "publisher"), now)
        self._store.postpone(study, now + _LATER)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._stopping.wait(self._step())

    def _step(self) -> float:
        """Publish what is due; how long to wait before the next step."""
        try:
            if not self._endpoints_published:
                self.publish_endpoints()
                self._endpoints_published = True
            return 0 if self.publish_due() else POLL_SECONDS
        except Unavailable as exc:
            log.warning("publishing_waits", reason=str(exc))
        except Exception:
            log.exception("publishing_failed")
        return _RETRY_SECONDS


def _group(studies: Sequence[Due]) -> Sequence[Due]:
    """As many of the studies as make a transaction of bounded size; one at least."""
    room = GROUP_INSTANCES
    for number, study in enumerate(studies):
        room -= study.instances
        if room < 0 and number:
            return studies[:number]
    return studies


def drafts(study: Due, state: StudyState, publication: Publication) -> Iterator[Draft]:
    """The resources that one study becomes: its Patient, where it has one, and its ImagingStudy."""
    person = patient(state.patient, publication)
    if person is not None:
        yield Draft("Patient", person["id"], person)
    id_ = study_id(study.uid, publication.id_key, publication.id_form)
    content = imaging_study(state, publication) if living(state) else None
    yield Draft("ImagingStudy", id_, content, study.pk)
    yield from _former(study, id_, publication)


def listing(study: Due, state: StudyState) -> Listing:
    """What queries answer of a study: nothing once it is withdrawn."""
    there = living(state) and state.withdrawn is None
    return Listing(study.pk, study_record(state) if there else None)


def _former(study: Due, id_: str, publication: Publication) -> Iterator[Draft]:
    """The same study under the other form of ids, where it was published before: deleted."""
    other = study_id(study.uid, publication.id_key, "hash" if publication.id_form == "uid" else "uid")
    if other != id_:
        yield Draft("ImagingStudy", other, None, study.pk)


def living(state: StudyState) -> bool:
    """Whether anything remains of a study: not where an archive's deletion of it means that.

    Else once what a note has expired is gone, and the notes with it.
    """
    if state.withdrawn == DELETED:
        return False
    instances = [instance for series in state.series for instance in series.instances]
    expired = [instance for instance in instances if instance.rejected == RETENTION_EXPIRED]
    others = [instance for instance in instances if instance.rejected != RETENTION_EXPIRED]
    return not expired or any(instance.sop_class != KEY_OBJECT_SELECTION for instance in others)
