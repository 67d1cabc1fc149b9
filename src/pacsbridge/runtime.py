"""The composition root: parts are made from the configuration, started in order, stopped in reverse.

serve     store ─ intake (packs, indexer) ─ publisher ─ commitments ─ HTTP (FHIR, DICOMweb) ─ DIMSE
"""

import gc
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from hashlib import sha256

import structlog

from pacsbridge import __version__, archives, datadir, opening, pages, securing, wiring
from pacsbridge.access.gate import Gate
from pacsbridge.auditing import Audit
from pacsbridge.bridge.archive_asking import Asking
from pacsbridge.bridge.commitment import Commitments
from pacsbridge.bridge.fetching import Fetching
from pacsbridge.bridge.intake import Incoming
from pacsbridge.bridge.keeping import Keeping
from pacsbridge.bridge.letter_work import LetterWork
from pacsbridge.bridge.retrieving import Retrieval
from pacsbridge.bridge.sources import STOW_URI
from pacsbridge.config import Config
from pacsbridge.config.checks import exposures
from pacsbridge.dicomweb.app import dicomweb_app
from pacsbridge.dicomweb.proxy import Proxy
from pacsbridge.dicomweb.receiving import Entrance
from pacsbridge.dimse.find import Finder
from pacsbridge.dimse.get import Getter
from pacsbridge.dimse.move import Mover
from pacsbridge.dimse.operations import Operation
from pacsbridge.dimse.peers import Directory
from pacsbridge.dimse.receive import Caller, Stored
from pacsbridge.dimse.reporting import Reporter
from pacsbridge.dimse.server import DimseServer
from pacsbridge.errors import Misconfigured, PacsbridgeError, Unavailable, reason
from pacsbridge.fhir.app import fhir_app
from pacsbridge.httpd import HttpServer
from pacsbridge.kernel.audit import Who
from pacsbridge.tls.renewal import Renewal
from pacsbridge.turns import Turns
from pacsbridge.web.app import add_pages
from pacsbridge.web.operations import Operations
from pacsbridge.web.service import Web

log = structlog.get_logger("pacsbridge.runtime")

_HTTP_THREADS = 8


def settle() -> None:
    """What is there by now stays: the garbage collector need not look at it again, nor so often at others."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


class Runtime:
    """Everything that `serve` runs."""

    def __init__(self, settings: Config) -> None:
        self.settings = settings
        self._sources = wiring.sources(settings)
        self._parts = ExitStack()
        self._listening = False

    def start(self) -> None:
        """Start every part, DIMSE last: nothing is let in that could not be taken. Raises PacsbridgeError."""
        with ExitStack() as parts:
            self._start(parts)
            self._parts = parts.pop_all()
        for one in exposures(self.settings):
            log.warning("open to the network", port=one.port, host=one.host, reason=one.told)
        log.info(
            "started",
            version=__version__,
            fhir=self.settings.fhir.base_url,
            http_port=self.http.port,
            dimse_port=self.dimse.port,
        )

    def reload(self) -> None:
        """Read the certificates anew; all other settings are those of the start."""
        log.info("reloading")
        self.certificates.renew()

    def stop(self) -> None:
        """Stop in reverse order: callers first, so that what is under way is finished."""
        self._listening = False
        log.info("stopping")
        self._parts.close()
        log.info("stopped")

    def _start(self, parts: ExitStack) -> None:
        settings = self.settings
        parts.enter_context(datadir.held(settings.data_dir))
        self._tls = securing.secured(settings)
        self.certificates = Renewal(self._tls.contexts, securing.places(settings))
        self._peers = wiring.dimse_peers(settings, self._tls.peers)
        self.store = opening.open_store(settings)
        parts.callback(self.store.close)
        self.audit = self._audit(parts)
        self.publisher = opening.open_publisher(settings, self.store)
        if self.audit is not None:
            self.publisher.deleted = self.audit.deleted
        self.intake = opening.open_intake(settings, self.store)
        self.publisher.start()
        parts.callback(self.publisher.stop)
        parts.callback(self.intake.stop)
        self.intake.start(look=True)
        self._poll(parts)
        self._read_archives(parts)
        self._commit(parts)
        self.dimse = self._dimse()
        self.http = self._http(parts)
        self.http.start()
        parts.callback(self.http.stop)
        parts.callback(self.dimse.stop)
        self._listen()
        self._renew(parts)

    def _renew(self, parts: ExitStack) -> None:
        """Certificates are looked after from now on."""
        if self.audit is not None:
            self.certificates.tell = self.audit.renewed
        parts.callback(self.certificates.stop)
        self.certificates.start()

    def _audit(self, parts: ExitStack) -> Audit | None:
        """What keeps the audit log: it hears of everything else, so that it begins first and ends last."""
        settings = self.settings
        log_ = opening.open_audit_log(settings)
        if log_ is None:
            return None
        publication = wiring.publication(settings, opening.id_key(settings, self.store))
        audit = Audit(settings, log_, self.store, publication, opening.now)
        parts.callback(audit.stop)
        audit.start()
        self.store.clashed = audit.conflicts.found
        return audit

    def _listen(self) -> None:
        dimse = self.settings.dimse
        try:
            self.dimse.start()
        except OSError as exc:
            raise Misconfigured(
                f"dimse.port: cannot listen on {dimse.host}:{dimse.port} ({exc.strerror})"
            ) from exc
        self._listening = True

    def _poll(self, parts: ExitStack) -> None:
        """Keep up with the archives; the threads end together, as each may be waiting for an answer."""
        self.archives = [archives.connect(self.settings, one) for one in self.settings.sources]
        self.watched = [
            archives.Watched(one, archives.poller(one, self.store, opening.now), self.store)
            for one in self.archives
        ]
        for each in self.watched:
            parts.callback(each.poller.stop)
            each.poller.start()
        for connection in self.archives:
            parts.callback(connection.close)

    def _read_archives(self, parts: ExitStack) -> None:
        """What archives alone hold can be fetched, on connections of its own."""
        readers = {one.url: archives.retriever(self.settings, one) for one in self.settings.sources}
        for reader in readers.values():
            parts.callback(reader.close)
        dimse = self.settings.dimse
        keeping = Keeping(self.intake, self._sources.of_uri, dimse.spool_bytes)
        self.fetching = Fetching(self.store, readers, keeping.keep if dimse.keep_fetched else None)

    def _proxy(self, parts: ExitStack) -> Proxy | None:
        """What passes on instances of archives, where that is wanted."""
        dicomweb = self.settings.dicomweb
        if not dicomweb.proxy_sources:
            return None
        executor = ThreadPoolExecutor(dicomweb.proxy_connections, "proxy")
        parts.callback(executor.shutdown)
        return Proxy(self.fetching, executor)

    def _commit(self, parts: ExitStack) -> None:
        """Storage commitment: what an earlier process left is reported too, whatever is switched on now."""
        reporter = Reporter(self.settings.dimse.ae_title, self._peers)
        self.commitments = Commitments(self.store, self.intake, reporter, opening.now)
        parts.callback(self.commitments.stop)
        self.commitments.start()

    def _http(self, parts: ExitStack) -> HttpServer:
        settings = self.settings
        turns = self._turns(parts)
        secret = sha256(b"cursors:" + opening.id_key(settings, self.store)).digest()
        fhir = wiring.fhir_settings(settings, secret)
        dicomweb = wiring.dicomweb_settings(settings)
        front = wiring.front(settings, self._tls.http)
        if front.gate is not None:
            parts.callback(front.gate.close)
        audit = self.audit
        witness = None if audit is None else audit.witness
        if audit is not None:
            front.strangers.tell = audit.strangers["http"]
        entrance = Entrance(self.intake, self._sources.of_uri(STOW_URI))
        applications = {
            "/fhir": fhir_app(
                self.store,
                fhir,
                turns,
                self._asking(parts),
                front.gate,
                witness,
                None if audit is None else audit.log,
            ),
            "/dicomweb": dicomweb_app(
                self.store,
                self.intake.packs,
                dicomweb,
                turns,
                entrance,
                self._proxy(parts),
                front.gate,
                witness,
            ),
        }
        checks = {
            "store": self._store_fault,
            "blobs": self._blobs_fault,
            "dimse": self._dimse_fault,
            "index": self.intake.indexer.fault,
            **({} if audit is None else {"audit": audit.recorder.fault}),
        }
        service = self._pages(parts, turns, front.gate, secret)
        mount = partial(add_pages, service, witness)
        return HttpServer(settings.fhir.host, settings.fhir.port, applications, checks, front, witness, mount)

    def _turns(self, parts: ExitStack) -> Turns:
        """Threads of HTTP; a search of an embedded database takes one of this machine's processors."""
        executor = ThreadPoolExecutor(_HTTP_THREADS, "http")
        parts.callback(executor.shutdown)
        processors = max(2, os.cpu_count() or 1) if self.store.embedded else _HTTP_THREADS
        return Turns(executor, self.settings.limits.turn_seconds, min(_HTTP_THREADS, processors))

    def _pages(self, parts: ExitStack, turns: Turns, gate: Gate | None, secret: bytes) -> Web:
        """What the pages share."""
        if gate is not None and self.audit is not None:
            gate.sessions.tell = self.audit.signed_out
        operations = self._operating(parts)
        return pages.web_service(self.settings, self.store, turns, gate, self.archives, operations, secret)

    def _operating(self, parts: ExitStack) -> Operations:
        """What the pages of operators look at, and set in motion."""
        work = LetterWork(self.store, self.intake, opening.now)
        parts.callback(work.stop)
        return Operations(
            lambda: [one.standing() for one in self.watched],
            lambda name: archives.sync(self.watched, name),
            self.dimse.associations,
            work,
            opening.now,
            wiring.shown_peers(self.settings),
            {one.url: one.name for one in self.settings.sources},
        )

    def _asking(self, parts: ExitStack) -> Asking | None:
        """What asks the archives when a search finds nothing, where that is wanted."""
        if not (self.settings.fhir.ask_sources and self.archives):
            return None
        askable = [archives.askable(one, self.store, opening.now) for one in self.archives]
        asking = Asking(self.store, self.publisher, askable, self.settings.fhir.ask_seconds)
        parts.callback(asking.close)
        return asking

    def _store_fault(self) -> str | None:
        try:
            self.store.ping()
            return "migrations are pending" if self.store.pending_migrations() else None
        except PacsbridgeError as exc:
            return str(exc)

    def _blobs_fault(self) -> str | None:
        """What makes every C-STORE fail: too little room, or a disk that takes no writes."""
        least = self.settings.blobs.min_free_bytes
        try:
            free = self.intake.packs.free_bytes()
        except Unavailable as exc:
            return str(exc)
        return str(opening.full(free, least)) if free < least else self.intake.packs.write_fault()

    def _dimse_fault(self) -> str | None:
        return None if self._listening else "DIMSE does not listen"

    def _dimse(self) -> DimseServer:
        retrieval = Retrieval(self.store, self.intake.packs, self.fetching.further)
        operations = self._operations(retrieval)
        audit = self.audit
        settings = wiring.dimse_settings(self.settings, self._tls.dimse)
        server = DimseServer(
            settings,
            self._take,
            self.intake.spool,
            self._peers,
            self._refuse,
            self.commitments.request,
            operations if audit is None else audit.operations(operations),
            retrieval.syntaxes,
        )
        server.heed(self.intake.packs.is_low)
        if audit is not None:
            server.tell(audit.watch)
            settings.strangers.tell = audit.strangers["dimse"]
        return server

    def _operations(self, retrieval: Retrieval) -> dict[str, Operation]:
        """What answers queries and retrievals, by service."""
        dimse = self.settings.dimse
        finder = Finder(self.store, dimse.ae_title, dimse.find_limit)
        mover = Mover(retrieval, dimse.ae_title, Directory(self._peers), dimse.move_seconds)
        return {"find": finder.find, "get": Getter(retrieval).get, "move": mover.move}

    def _take(self, stored: Stored) -> None:
        """An instance that came by C-STORE; a command that names none is at odds with every data set."""
        source = self._sources.of_ae(stored.calling_ae)
        class_uid, uid = stored.sop_class_uid or "", stored.sop_instance_uid or ""
        sender = Who(stored.address[0], stored.calling_ae)
        incoming = Incoming(stored.dataset, stored.transfer_syntax_uid, source, class_uid, uid, sender=sender)
        adopted = self.intake.adopt(incoming)
        if self.audit is not None:
            self.audit.stored(stored.address, stored.calling_ae, adopted.facts)

    def _refuse(self, caller: Caller, uid: str | None, fault: Exception) -> None:
        """An instance that the listener itself refused."""
        self.intake.refuse(uid or "", self._sources.of_ae(caller.calling_ae), reason(fault))
