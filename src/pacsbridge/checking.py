"""What `pacsbridge check` tries: database, disk, ports, peers with an address, archives, audit receivers."""

import errno
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from pacsbridge import archives, auditing, datadir, opening, securing
from pacsbridge.bridge.archive_state import read_state, said
from pacsbridge.config import Config
from pacsbridge.config.checks import exposures
from pacsbridge.config.dimse import Peer
from pacsbridge.config.sources import Source
from pacsbridge.dimse.echo import echo
from pacsbridge.dimse.settings import Place
from pacsbridge.errors import BadAnswer, PacsbridgeError, Unavailable
from pacsbridge.store.engine import embedded_file
from pacsbridge.tls.certificates import Identity, ListPlace, check_key, exposed
from pacsbridge.tls.certificates import Place as File
from pacsbridge.tls.contexts import Files
from pacsbridge.tls.revocation import RevocationList, revocations
from pacsbridge.tls.standing import standing


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
    yield "data_dir", lambda: _data_dir(settings)
    yield "store", lambda: _store(settings)
    yield "blobs", lambda: _blobs(settings)
    yield "dimse", lambda: _port(settings, "dimse", settings.dimse.host, settings.dimse.port)
    yield "fhir", lambda: _port(settings, "fhir", settings.fhir.host, settings.fhir.port)
    for files in securing.all_files(settings):
        for place in files.places:
            yield place.label, partial(_certificate, files, place)
    for peer in settings.peers:
        host = peer.host
        if host is not None and "/" not in host:
            yield (
                f"peer {peer.ae_title}",
                lambda place=(host, peer): _echoed(settings, *place),  # type: ignore[misc]
            )
    for source in settings.sources:
        yield f"source {source.name}", partial(_source, settings, source)
    yield from auditing.try_outs(settings)


def _certificate(files: Files, place: File) -> str:
    """Until when the certificates or lists of a file are good, and what else there is to say of it."""
    found = standing(place, datetime.now(UTC))
    if found.fault:
        raise place.fault(found.fault)
    said = f"WARNING: {place.path} {found.warning}" if found.warning else ""
    good = f"{place.path} is valid until {found.until:%Y-%m-%d %H:%M} UTC"
    return "; ".join((said or good, *_more(files, place)))


def _more(files: Files, place: File) -> Iterator[str]:
    """Of lists what each of them says; a certificate of ours needs its key besides."""
    if isinstance(place, ListPlace):
        yield from (_list(one) for one in revocations(place).lists)
    elif files.own is not None and not place.trusted:
        yield from _key(files.own)


def _list(one: RevocationList) -> str:
    """Whose list it is, and what it says."""
    said = f"list of {one.issuer} of {one.since:%Y-%m-%d %H:%M} until {one.until:%Y-%m-%d %H:%M} UTC"
    return f"{said}: {one.revoked} revoked" if one.counts else f"{said}, of no authority that is trusted here"


def _key(own: Identity) -> Iterator[str]:
    """What there is to say of the key of a certificate of ours."""
    check_key(own)
    if exposed(own):
        yield f"WARNING: {own.key.path} can be read by everybody on this machine"


def _echoed(settings: Config, host: str, peer: Peer) -> str:
    tls = securing.calling_tls(settings, peer) if peer.tls else None
    return echo(settings.dimse.ae_title, peer.ae_title, Place(host, peer.port, tls))


def _tried(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except PacsbridgeError as exc:
        return Finding(name, False, str(exc))
    except OSError as exc:
        return Finding(name, False, exc.strerror or str(exc))


def _data_dir(settings: Config) -> str:
    datadir.try_out(settings.data_dir)
    return f"{settings.data_dir} can be written"


def _port(settings: Config, name: str, host: str, port: int) -> str:
    """Whether it can be listened on, and who gets in though nothing secures it."""
    told = [f"WARNING: {one.told}" for one in exposures(settings) if one.port == name]
    return "; ".join((_bound(settings, f"{name}.port", host, port), *told))


def _bound(settings: Config, key: str, host: str, port: int) -> str:
    """As the servers bind, but without listening; taken by a running `serve` is as it should be."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE and datadir.is_in_use(settings.data_dir):
            return f"{host}:{port} is in use, and so is data_dir: pacsbridge runs"
        raise Unavailable(f"{key}: cannot listen on {host}:{port} ({exc.strerror})") from exc
    return f"{host}:{port} is free"


def _source(settings: Config, source: Source) -> str:
    """What an archive answers, how far its first load is, and what the last rounds came to."""
    try:
        answered = archives.try_out(settings, source)
    except (Unavailable, BadAnswer) as exc:
        raise Unavailable(f"{exc}; {_loaded(settings, source)}") from exc
    return f"{answered}; {_loaded(settings, source)}"


def _loaded(settings: Config, source: Source) -> str:
    path = embedded_file(settings.store.url, settings.data_dir)
    if path is not None and not path.exists():
        return "nothing loaded yet"
    store = opening.open_store(settings, migrate=False)
    try:
        state = read_state(store, source.url)
        studies = f"{store.count_reports(source.url)} studies known"
    except PacsbridgeError:
        return "how much is loaded cannot be told before the migrations"
    finally:
        store.close()
    reached = f"all since {state.frontier}" if state.frontier else "nothing loaded yet"
    return "; ".join((f"{studies}, {'all loaded' if state.loaded else reached}", *said(state)))


def _store(settings: Config) -> str:
    path = embedded_file(settings.store.url, settings.data_dir)
    if path is not None and not path.exists():
        return "no store yet: the first start makes it"
    store = opening.open_store(settings, migrate=False)
    try:
        store.ping()
        pending = store.pending_migrations()
        return f"{store.label} answers" + (f", {pending} migrations will run at the start" if pending else "")
    finally:
        store.close()


def _blobs(settings: Config) -> str:
    free, least = opening.free_bytes(settings), settings.blobs.min_free_bytes
    if free < least:
        raise opening.full(free, least)
    told = f"{settings.data_dir}: {free >> 20} MiB free"
    low = "associations that could only store are rejected (blobs.reject_free_bytes, reject_used_percent)"
    return f"WARNING: {told}: {low}" if opening.is_low(settings) else told
