"""The audit log of a configuration: what keeps it, what forwards it, and what tells it of what happens."""

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from functools import partial
from hashlib import sha256
from json import dumps, loads
from typing import Any

from pacsbridge import __version__, config, securing
from pacsbridge.access.auditing import Witness
from pacsbridge.audit.completion import Completion
from pacsbridge.audit.conflicts import Conflicts, Tally
from pacsbridge.audit.forwarding import Forwarder, Sink
from pacsbridge.audit.recorder import Recorder
from pacsbridge.audit.repository import Repository
from pacsbridge.audit.syslog import Syslog
from pacsbridge.bridge.publish import Deleted
from pacsbridge.config import Config
from pacsbridge.config.effective import effective
from pacsbridge.dimse.auditing import Associations
from pacsbridge.dimse.operations import Operation
from pacsbridge.dimse.watch import Watch
from pacsbridge.errors import PacsbridgeError
from pacsbridge.kernel.audit import MINOR, SERIOUS, SUCCESS, Event, Who
from pacsbridge.kernel.model import Facts, Values
from pacsbridge.kernel.patients import reference
from pacsbridge.kernel.publication import Publication
from pacsbridge.remote.settings import ArchiveSettings, Auth, Basic, BearerFile
from pacsbridge.store.audit import AuditLog
from pacsbridge.store.store import Store


class Audit:
    """Everything that audits while `serve` runs."""

    def __init__(
        self,
        settings: Config,
        log: AuditLog,
        store: Store,
        publication: Publication,
        clock: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._publication = publication
        self.log = log
        self._instance = "" if log.embedded else f"{socket.gethostname()}:{settings.data_dir.absolute()}"
        self._destinations = list(_destinations(settings))
        self._forwarders = [Forwarder(log, *one, self._instance) for one in self._destinations]
        self.recorder = Recorder(
            log,
            clock,
            complete=Completion(store, publication),
            keep_days=settings.audit.keep_days,
            recorded=self._look,
        )
        self.associations = Associations(self.recorder.record, settings.dimse.ae_title)
        self.conflicts = Conflicts(self.recorder.record, tally(settings, self.patient))
        self.witness = Witness(self.recorder.record, self.patient)
        self.watch = Watch(self.associations.rejected, self.associations.ended)
        self.strangers = {name: partial(self._stranger, name) for name in ("dimse", "http")}

    def start(self) -> None:
        """Begin to record and to forward; that we have started is the first event. Raises Unavailable."""
        self.log.drop_others([name for name, _service, _sink in self._destinations])
        for each in self._forwarders:
            each.start()
        for event in self._started():
            self.recorder.record(event)
        self.recorder.start()

    def stop(self) -> None:
        """The last event is that we stop; what was recorded and not sent is sent after the next start."""
        self.conflicts.tell()
        self.recorder.record(Event("stop", server=self._settings.fhir.base_url))
        self.recorder.stop()
        for each in self._forwarders:
            each.stop()
        with suppress(PacsbridgeError):
            self.log.changed(f"running {self._instance}", "no")
        self.log.close()

    def stored(self, address: tuple[str, int], title: str, facts: Facts) -> None:
        """An instance has been stored by C-STORE."""
        self.associations.stored(address, title, facts.study["uid"], lambda: self.patient(facts.patient))

    def _stranger(self, port: str, address: str, why: str, more: int) -> None:
        """A caller has failed the TLS handshake of a port (IHE ATNA: node authentication failure)."""
        servers = {"dimse": self._settings.dimse.ae_title, "http": self._settings.fhir.base_url}
        details = {"not told before": str(more)} if more else {}
        reason = f"TLS handshake: {why}"
        self.recorder.record(
            Event("refused", SERIOUS, Who(address), servers[port], reason=reason, details=details)
        )

    def deleted(self, study: Deleted) -> None:
        """A study is no longer published."""
        self.recorder.record(deletion(study, self._settings))

    def renewed(self, use: str, fault: str) -> None:
        """Certificates of a port (or of what calls peers) have been read anew, or could not be used."""
        server, outcome = self._settings.fhir.base_url, MINOR if fault else SUCCESS
        self.recorder.record(
            Event("certificates", outcome, server=server, reason=fault, details={"used for": use})
        )

    def signed_out(self, who: Who, why: str) -> None:
        """A session of the pages has ended before its time (PS3.15 A.5.3, User Authentication: Logout)."""
        server = self._settings.fhir.base_url
        self.recorder.record(Event("logout", who=who, server=server, details={"end": why}))

    def patient(self, facts: Values) -> str:
        """The reference to a patient, as resources have it; "" where there is none to be had."""
        return reference(facts, self._publication)

    def operations(self, operations: Mapping[str, Operation]) -> dict[str, Operation]:
        """The same operations, watched."""
        return {name: self.associations.watched(name, one) for name, one in operations.items()}

    def _look(self) -> None:
        for each in self._forwarders:
            each.look()

    def _started(self) -> Iterator[Event]:
        server = self._settings.fhir.base_url
        settings = effective(self._settings)
        digest = _digest(settings)
        clean = self.log.changed(f"running {self._instance}", "yes") is not None
        before = self.log.changed(f"settings {self._instance}", digest)
        known = self.log.changed(f"keys {self._instance}", dumps(_digests(settings)))
        details = {"version": __version__, "settings": digest}
        left = "" if clean else "the process before ended without a word: its last events may be missing"
        yield Event("start", SUCCESS if clean else MINOR, server=server, reason=left, details=details)
        if before:
            details = {"settings": digest, "before": before, "keys": _changed(known, settings)}
            yield Event("settings", server=server, details=details)


def tally(settings: Config, patient: Callable[[Values], str]) -> Tally:
    """What sums conflicts up; `patient` makes the reference to one of its facts."""
    return Tally((settings.dimse.ae_title, settings.fhir.base_url), patient)


def deletion(study: Deleted, settings: Config, who: Who | None = None) -> Event:
    """The event of a study that is no longer published; `who` let the application look."""
    server, patient, resource = settings.fhir.base_url, study.patient, study.resource
    return Event("deleted", SUCCESS, who, server, patient, resource, study.uid)


def _digest(value: Any) -> str:
    return sha256(dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _digests(settings: Mapping[str, Any]) -> dict[str, str]:
    """What tells whether a key has changed: settings themselves are not kept."""
    return {name: _digest(value)[:16] for name, value in settings.items()}


def _changed(known: str | None, settings: Mapping[str, Any]) -> str:
    """The keys whose values are others than those of which the digests are `known`; "" where none are."""
    before, now = loads(known or "{}"), _digests(settings)
    names = before.keys() | now if before else ()
    return ", ".join(sorted(name for name in names if before.get(name) != now.get(name)))


def try_outs(settings: Config) -> Iterator[tuple[str, Callable[[], str]]]:
    """The key of each receiver of the audit log, and what tries it. That raises PacsbridgeError."""
    for url, service, made in _receivers(settings) if settings.audit.enabled else ():
        yield f"audit.{service}_url", partial(_tried, url, made)


def _tried(url: str, made: Callable[[], Sink]) -> str:
    with closing(made()) as sink:
        return f"{url} {sink.try_out()}"


def _destinations(settings: Config) -> Iterator[tuple[str, str, Sink]]:
    """Name, service and sink of each. Raises Misconfigured for files that cannot be read."""
    for url, service, made in _receivers(settings):
        yield url, service, made()


def _receivers(settings: Config) -> Iterator[tuple[str, str, Callable[[], Sink]]]:
    """The address and service of each receiver, and what makes its sink. That raises Misconfigured."""
    audit = settings.audit
    if audit.syslog_url is not None:
        yield audit.syslog_url, "syslog", partial(_syslog, settings, audit.syslog_url)
    if audit.fhir_url is not None:
        yield audit.fhir_url, "fhir", partial(_repository, settings, audit.fhir_url)


def _syslog(settings: Config, url: str) -> Syslog:
    return Syslog(url, socket.gethostname(), lambda: securing.syslog_tls(settings))


def _repository(settings: Config, url: str) -> Repository:
    return Repository(ArchiveSettings("audit", url, _auth(settings), verify=settings.audit.fhir_ca or True))


def _auth(settings: Config) -> Auth | None:
    audit = settings.audit
    if audit.fhir_bearer_token_file is not None:
        return BearerFile(audit.fhir_bearer_token_file)
    if audit.fhir_username is None or audit.fhir_password_file is None:
        return None
    password = config.secret(audit.fhir_password_file, "audit.fhir_password_file").decode()
    return Basic(audit.fhir_username, password)
