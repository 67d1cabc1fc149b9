"""The audit log of a configuration: what keeps it, what forwards it, and what tells it of what happens."""

import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from json import dumps

from pacsbridge import __version__, config, wiring
from pacsbridge.access.auditing import Witness
from pacsbridge.audit.completion import Completion
from pacsbridge.audit.forwarding import Forwarder, Sink
from pacsbridge.audit.recorder import Recorder
from pacsbridge.audit.repository import Repository
from pacsbridge.audit.syslog import Syslog
from pacsbridge.config import Config
from pacsbridge.config.effective import effective
from pacsbridge.dimse.auditing import Associations
from pacsbridge.dimse.operations import Operation
from pacsbridge.dimse.watch import Watch
from pacsbridge.errors import Misconfigured, PacsbridgeError
from pacsbridge.kernel.audit import MINOR, SUCCESS, Event
from pacsbridge.kernel.model import Facts, Values
from pacsbridge.kernel.patients import subject
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
        self.witness = Witness(self.recorder.record, self.patient)
        self.watch = Watch(self.associations.rejected, self.associations.ended)

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

    def patient(self, facts: Values) -> str:
        """The reference to a patient, as resources have it; "" where there is none to be had."""
        return str(subject(facts, self._publication).get("reference", ""))

    def operations(self, operations: Mapping[str, Operation]) -> dict[str, Operation]:
        """The same operations, watched."""
        return {name: self.associations.watched(name, one) for name, one in operations.items()}

    def _look(self) -> None:
        for each in self._forwarders:
            each.look()

    def _started(self) -> Iterator[Event]:
        server = self._settings.fhir.base_url
        digest = sha256(dumps(effective(self._settings), sort_keys=True, default=str).encode()).hexdigest()
        clean = self.log.changed(f"running {self._instance}", "yes") is not None
        before = self.log.changed(f"settings {self._instance}", digest)
        details = {"version": __version__, "settings": digest}
        left = "" if clean else "the process before ended without a word: its last events may be missing"
        yield Event("start", SUCCESS if clean else MINOR, server=server, reason=left, details=details)
        if before:
            yield Event("settings", server=server, details={"settings": digest, "before": before})


def _destinations(settings: Config) -> Iterator[tuple[str, str, Sink]]:
    """Name, service and sink of each. Raises Misconfigured for files that cannot be read."""
    audit = settings.audit
    if audit.syslog_url is not None:
        yield (
            audit.syslog_url,
            "syslog",
            Syslog(audit.syslog_url, socket.gethostname(), lambda: _tls(settings)),
        )
    if audit.fhir_url is not None:
        remote = ArchiveSettings("audit", audit.fhir_url, _auth(settings), verify=audit.fhir_ca or True)
        yield audit.fhir_url, "fhir", Repository(remote)


def _tls(settings: Config) -> ssl.SSLContext:
    audit = settings.audit
    try:
        context = ssl.create_default_context(cafile=audit.syslog_ca)
        if audit.syslog_certificate is not None:
            wiring.show_certificate(context, audit.syslog_certificate, audit.syslog_key)
    except OSError as exc:
        raise Misconfigured("audit: syslog_ca, syslog_certificate or syslog_key cannot be read") from exc
    return context


def _auth(settings: Config) -> Auth | None:
    audit = settings.audit
    if audit.fhir_bearer_token_file is not None:
        return BearerFile(audit.fhir_bearer_token_file)
    if audit.fhir_username is None or audit.fhir_password_file is None:
        return None
    password = config.secret(audit.fhir_password_file, "audit.fhir_password_file").decode()
    return Basic(audit.fhir_username, password)
