"""What `pacsbridge check` tries: the database, the disk, the ports, every peer that has an address."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pacsbridge import runtime
from pacsbridge.config import Config
from pacsbridge.dimse.echo import echo
from pacsbridge.errors import PacsbridgeError


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried."""

    name: str
    ok: bool
    text: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def check_all(settings: Config) -> list[Finding]:
    """Try everything; nothing stops at the first fault."""
    return [_tried(name, check) for name, check in _checks(settings)]


def _checks(settings: Config) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "store", lambda: _store(settings)
    yield "blobs", lambda: _blobs(settings)
    for peer in settings.peers:
        host = peer.host
        if host is not None and "/" not in host:
            yield (
                f"peer {peer.ae_title}",
                lambda host=host, peer=peer: echo(  # type: ignore[misc]
                    settings.dimse.ae_title, peer.ae_title, host, peer.port
                ),
            )


def _tried(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except PacsbridgeError as exc:
        return Finding(name, False, str(exc))


def _store(settings: Config) -> str:
    if settings.store.url == "sqlite" and not settings.data_dir.exists():
        return "no data directory yet: the first start makes it"
    store = runtime.open_store(settings, migrate=False)
    try:
        store.ping()
        pending = store.pending_migrations()
        return f"{store.label} answers" + (f", {pending} migrations will run at the start" if pending else "")
    finally:
        store.close()


def _blobs(settings: Config) -> str:
    free, least = runtime.free_bytes(settings), settings.blobs.min_free_bytes
    if free < least:
        raise runtime.full(free, least)
    return f"{settings.data_dir}: {free >> 20} MiB free"
