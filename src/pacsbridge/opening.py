"""The parts that every command opens from a configuration: store, intake, publisher.

import    store ─ intake ─ publisher
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pacsbridge import config, datadir, wiring
from pacsbridge.blobs.space import Space
from pacsbridge.bridge.intake import Intake
from pacsbridge.bridge.publish import Deleted, Publisher
from pacsbridge.config import Config
from pacsbridge.errors import Misconfigured, PacsbridgeError, Unavailable
from pacsbridge.store.audit import AuditLog
from pacsbridge.store.store import Store


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
        on_conflict=settings.store.on_conflict,
    )
    if migrate:
        _migrated(store)
    return store


def open_audit_log(settings: Config) -> AuditLog | None:
    """The log of a configuration, its tables made; None where there is none.

    Raises Misconfigured, Unavailable.
    """
    if not settings.audit.enabled:
        return None
    password = None
    if settings.store.password_file is not None:
        password = config.secret(settings.store.password_file, "store.password_file").decode()
    log = AuditLog(settings.store.url, settings.data_dir, password)
    try:
        log.migrate()
    except PacsbridgeError:
        log.close()
        raise
    return log


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
        watermark=wiring.watermark(settings),
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


def reindex(settings: Config, deleted: Callable[[Deleted], object] = bool) -> tuple[int, int]:
    """Rebuild the facts from the packs and publish them; make what resources are searched by again.

    Returns how many instances there are, and how many records are damaged.
    """
    with offline(settings, alone=True, deleted=deleted) as (store, intake, publisher):
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
        store.search_anew()
    return count, intake.damaged


def free_bytes(settings: Config) -> int:
    """What is free on the disk of the data directory, which need not be there yet."""
    return shutil.disk_usage(_present(settings)).free


def is_low(settings: Config) -> bool:
    """Whether that disk is beyond the watermark."""
    return Space(_present(settings), 0).is_low(wiring.watermark(settings))


def _present(settings: Config) -> Path:
    folder = settings.data_dir.absolute()
    return next(one for one in (folder, *folder.parents) if one.exists())


def full(free: int, least: int) -> Unavailable:
    """The fault of a disk that has too little room."""
    return Unavailable(f"{free >> 20} MiB free, blobs.min_free_bytes asks for {least >> 20} MiB")


@contextmanager
def offline(
    settings: Config, *, alone: bool = False, deleted: Callable[[Deleted], object] = bool
) -> Iterator[tuple[Store, Intake, Publisher]]:
    """Store, intake and publisher without listeners, for commands.

    `alone`: no other process may use the data directory meanwhile; Unavailable when one does. `deleted` hears
    of studies that are no longer published.
    """
    with ExitStack() as parts:
        parts.enter_context(datadir.held(settings.data_dir, alone=alone))
        store = open_store(settings)
        parts.callback(store.close)
        publisher = open_publisher(settings, store)
        publisher.deleted = deleted
        intake = open_intake(settings, store)
        parts.callback(intake.stop)
        intake.start()
        yield store, intake, publisher
