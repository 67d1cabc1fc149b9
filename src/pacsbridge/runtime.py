"""The composition root: parts are made from the configuration, started in order, stopped in reverse.

serve     store ─ intake (packs, indexer) ─ publisher ─ commitments ─ HTTP (FHIR, DICOMweb) ─ DIMSE
import    store ─ intake ─ publisher
"""

import gc
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from hashlib import sha256

import structlog

from pacsbridge import __version__, archives, config, datadir, wiring
from pacsbridge.bridge.archive_asking import Asking
from pacsbridge.bridge.commitment import Commitments
from pacsbridge.bridge.fetching import Fetching
from pacsbridge.bridge.intake import Incoming, Intake
from pacsbridge.bridge.publish import Publisher
from pacsbridge.bridge.retrieving import Retrieval
from pacsbridge.bridge.sources import STOW_URI
from pacsbridge.config import Config
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
from pacsbridge.dimse.settings import DimseSettings
from pacsbridge.dimse.settings import Limits as DimseLimits
from pacsbridge.dimse.settings import Peer as DimsePeer
from pacsbridge.errors import Misconfigured, PacsbridgeError, Unavailable, reason
from pacsbridge.fhir.app import fhir_app
from pacsbridge.httpd import HttpServer
from pacsbridge.store.store import Store

log = structlog.get_logger("pacsbridge.runtime")

_HTTP_THREADS = 8


def settle() -> None:
    """What is there by now stays: the garbage collector need not look at it again, nor so often at others."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def now() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000


def open_store(settings: Config, *, migrate: bool = True) -> Store:
    """The store of a configuration, brought up to date in its data directory if `migrate`.

    Raises Misconfigured, Unavailable.
    """
    if migrate:
        datadir.make(settings.data_dir)
    password = None
    if settings.store.password_file is not None:
        password = config.secret(settings.store.password_file, "store.password_file").decode()
    store = Store(
        settings.store.url,
        settings.data_dir,
        password=password,
        quiet_seconds=settings.fhir.quiet_seconds,
        max_wait_seconds=settings.fhir.max_wait_seconds,
        keep_first=settings.store.on_conflict == "keep-first",
    )
    if migrate:
        _migrated(store)
    return store


def migrate(settings: Config) -> int:
    """Bring the schema up to date; returns how many migrations ran. Raises Misconfigured, Unavailable."""
    datadir.make(settings.data_dir)
    store = open_store(settings, migrate=False)
    done = _migrated(store)
    store.close()
    return done


def _migrated(store: Store) -> int:
    try:
        return store.migrate()
    except Unavailable as exc:
        store.close()
        raise Unavailable(f"store.url: {store.label}: {exc}") from exc
    except Misconfigured:
        store.close()
        raise


def open_intake(settings: Config, store: Store) -> Intake:
    """The way in of a configuration; not started."""
    return Intake(
        store,
        settings.data_dir,
        wiring.sources(settings).of_uri,
        now,
        limits=wiring.header_limits(settings),
        pack_bytes=settings.blobs.pack_bytes,
        min_free_bytes=settings.blobs.min_free_bytes,
    )


def id_key(settings: Config, store: Store) -> bytes:
    """The secret of keyed ids: the configured one, else the one made at the first start.

    Raises Misconfigured when database and data directory don't belong together.
    """
    own = datadir.id_key(settings.data_dir, store)
    return own.encode() if settings.fhir.id_key_file is None else wiring.configured_id_key(settings)


def open_publisher(settings: Config, store: Store) -> Publisher:
    """The publisher of a configuration; not started."""
    return Publisher(store, wiring.publication(settings, id_key(settings, store)), now)


def reindex(settings: Config) -> tuple[int, int]:
    """Rebuild the facts from the packs and publish them.

    Returns how many instances there are, and how many records are damaged.
    """
    with offline(settings, alone=True) as (store, intake, publisher):
        intake.indexer.drain()
        store.forget_facts()
        intake.damaged = 0
        count = intake.recover({})
        if not intake.indexer.drain(3600):
            raise Unavailable(
                "the index could not be rebuilt: " + (intake.indexer.fault() or "it takes too long")
            )
        store.restore_reports(now())
        publisher.publish_all()
    return count, intake.damaged


def free_bytes(settings: Config) -> int:
    """What is free on the disk of the data directory, which need not be there yet."""
    folder = settings.data_dir.absolute()
    present = next(one for one in (folder, *folder.parents) if one.exists())
    return shutil.disk_usage(present).free


def full(free: int, least: int) -> Unavailable:
    """The fault of a disk that has too little room."""
    return Unavailable(f"{free >> 20} MiB free, blobs.min_free_bytes asks for {least >> 20} MiB")


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
        log.info(
            "started",
            version=__version__,
            fhir=self.settings.fhir.base_url,
            http_port=self.http.port,
            dimse_port=self.dimse.port,
        )

    def stop(self) -> None:
        """Stop in reverse order: callers first, so that what is under way is finished."""
        self._listening = False
        log.info("stopping")
        self._parts.close()
        log.info("stopped")

    def _start(self, parts: ExitStack) -> None:
        settings = self.settings
        parts.enter_context(datadir.held(settings.data_dir))
        self.store = open_store(settings)
        parts.callback(self.store.close)
        self.publisher = open_publisher(settings, self.store)
        self.intake = open_intake(settings, self.store)
        self.publisher.start()
        parts.callback(self.publisher.stop)
        parts.callback(self.intake.stop)
        self.intake.start(look=True)
        self._poll(parts)
        self._read_archives(parts)
        self._commit(parts)
        self.http = self._http(parts)
        self.http.start()
        parts.callback(self.http.stop)
        self.dimse = self._dimse()
        parts.callback(self.dimse.stop)
        self._listen()

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
        pollers = [
            archives.poller(connection, self.store, now)
            for connection in self.archives
            if connection.source.poll_seconds
        ]
        for each in pollers:
            parts.callback(each.stop)
            each.start()
        for connection in self.archives:
            parts.callback(connection.close)

    def _read_archives(self, parts: ExitStack) -> None:
        """What archives alone hold can be fetched, on connections of its own."""
        readers = {one.url: archives.retriever(self.settings, one) for one in self.settings.sources}
        for reader in readers.values():
            parts.callback(reader.close)
        self.fetching = Fetching(self.store, readers)

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
        reporter = Reporter(self.settings.dimse.ae_title, self._peers())
        self.commitments = Commitments(self.store, self.intake, reporter, now)
        parts.callback(self.commitments.stop)
        self.commitments.start()

    def _http(self, parts: ExitStack) -> HttpServer:
        settings = self.settings
        executor = ThreadPoolExecutor(_HTTP_THREADS, "http")
        parts.callback(executor.shutdown)
        secret = sha256(b"cursors:" + id_key(settings, self.store)).digest()
        fhir = wiring.fhir_settings(settings, secret)
        dicomweb = wiring.dicomweb_settings(settings)
        front = wiring.front(settings)
        if front.gate is not None:
            parts.callback(front.gate.close)
        entrance = Entrance(self.intake, self._sources.of_uri(STOW_URI))
        applications = {
            "/fhir": fhir_app(self.store, fhir, executor, self._asking(parts), front.gate),
            "/dicomweb": dicomweb_app(
                self.store, self.intake.packs, dicomweb, executor, entrance, self._proxy(parts), front.gate
            ),
        }
        checks = {
            "store": self._store_fault,
            "blobs": self._blobs_fault,
            "dimse": self._dimse_fault,
            "index": self.intake.indexer.fault,
        }
        return HttpServer(settings.fhir.host, settings.fhir.port, applications, checks, front)

    def _asking(self, parts: ExitStack) -> Asking | None:
        """What asks the archives when a search finds nothing, where that is wanted."""
        if not (self.settings.fhir.ask_sources and self.archives):
            return None
        askable = [archives.askable(one, self.store, now) for one in self.archives]
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
        """What makes every C-STORE fail for lack of room."""
        least = self.settings.blobs.min_free_bytes
        try:
            free = self.intake.packs.free_bytes()
        except Unavailable as exc:
            return str(exc)
        return str(full(free, least)) if free < least else None

    def _dimse_fault(self) -> str | None:
        return None if self._listening else "DIMSE does not listen"

    def _peers(self) -> list[DimsePeer]:
        return [
            DimsePeer(peer.ae_title, peer.host, frozenset(peer.services or ()), peer.port)
            for peer in self.settings.peers
        ]

    def _dimse(self) -> DimseServer:
        retrieval = Retrieval(self.store, self.intake.packs, self.fetching.further)
        return DimseServer(
            dimse_settings(self.settings),
            self._take,
            self.intake.spool,
            self._peers(),
            self._refuse,
            self.commitments.request,
            self._operations(retrieval),
            retrieval.syntaxes,
        )

    def _operations(self, retrieval: Retrieval) -> dict[str, Operation]:
        """What answers queries and retrievals, by service."""
        dimse = self.settings.dimse
        finder = Finder(self.store, dimse.ae_title, dimse.find_limit)
        mover = Mover(retrieval, dimse.ae_title, Directory(self._peers()), dimse.move_seconds)
        return {"find": finder.find, "get": Getter(retrieval).get, "move": mover.move}

    def _take(self, stored: Stored) -> None:
        """An instance that came by C-STORE; a command that names none is at odds with every data set."""
        source = self._sources.of_ae(stored.calling_ae)
        class_uid, uid = stored.sop_class_uid or "", stored.sop_instance_uid or ""
        self.intake.adopt(Incoming(stored.dataset, stored.transfer_syntax_uid, source, class_uid, uid))

    def _refuse(self, caller: Caller, uid: str | None, fault: Exception) -> None:
        """An instance that the listener itself refused."""
        self.intake.refuse(uid or "", self._sources.of_ae(caller.calling_ae), reason(fault))


def dimse_settings(settings: Config) -> DimseSettings:
    """The listener's settings and limits."""
    dimse, limits = settings.dimse, settings.limits
    return DimseSettings(
        ae_title=dimse.ae_title,
        host=dimse.host,
        port=dimse.port,
        services=frozenset(dimse.services),
        max_associations=dimse.max_associations,
        max_pdu=dimse.max_pdu,
        require_called_ae=dimse.require_called_ae,
        limits=replace(
            DimseLimits(),
            pdu=limits.pdu_bytes,
            memory=dimse.spool_bytes,
            instance=limits.object_bytes,
            waiting=dimse.max_waiting,
            first_pdu=dimse.first_pdu_seconds,
            pdu_per_mib=dimse.pdu_seconds_per_mib,
            idle=dimse.network_timeout,
            send=dimse.send_seconds,
        ),
    )


@contextmanager
def offline(settings: Config, *, alone: bool = False) -> Iterator[tuple[Store, Intake, Publisher]]:
    """Store, intake and publisher without listeners, for commands.

    `alone`: no other process may use the data directory meanwhile; Unavailable when one does.
    """
    with ExitStack() as parts:
        parts.enter_context(datadir.held(settings.data_dir, alone=alone))
        store = open_store(settings)
        parts.callback(store.close)
        publisher = open_publisher(settings, store)
        intake = open_intake(settings, store)
        parts.callback(intake.stop)
        intake.start()
        yield store, intake, publisher
