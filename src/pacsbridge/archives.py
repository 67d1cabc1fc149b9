"""The archives of a configuration: what asks each of them, and the threads that keep up with them."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from pacsbridge import config, securing, wiring
from pacsbridge.bridge.archive_asking import Askable
from pacsbridge.bridge.archive_changes import Changes
from pacsbridge.bridge.archive_poller import Poller
from pacsbridge.bridge.archive_records import FIELDS
from pacsbridge.bridge.archive_rounds import Rounds, Told
from pacsbridge.bridge.archive_rules import ArchiveRules
from pacsbridge.bridge.archive_standing import ArchiveStanding, load, reach
from pacsbridge.config import Config
from pacsbridge.config.sources import Source
from pacsbridge.errors import Misconfigured
from pacsbridge.remote.orthanc import OrthancChanges, detect
from pacsbridge.remote.qido import Archive
from pacsbridge.remote.settings import ArchiveSettings, Auth, Basic, BearerFile, ClientCredentials
from pacsbridge.remote.wado import Wado
from pacsbridge.store.store import Store


@dataclass(frozen=True, slots=True)
class Connection:
    """One archive that can be asked; `stopping` ends what waits for it."""

    settings: Config
    source: Source
    archive: Archive
    stopping: threading.Event

    def rounds(
        self, store: Store, clock: Callable[[], int], told: Told = lambda _tally, _state: None
    ) -> Rounds:
        """Rounds with it; one thread at a time may use them."""
        return Rounds(
            store,
            self.archive,
            wiring.archive_source(self.settings, self.source),
            _rules(self.source),
            clock,
            stopping=self.stopping.is_set,
            told=told,
            limits=wiring.header_limits(self.settings),
        )

    def changes(self) -> Changes:
        """Its own changes, where it tells them."""
        return Changes(lambda: _orthanc(self.source, self.archive))

    def close(self) -> None:
        """End what is under way, and close the connections."""
        self.stopping.set()
        self.archive.close()


def connect(settings: Config, source: Source) -> Connection:
    """Make ready to ask an archive; nothing is sent yet. Raises Misconfigured."""
    securing.check_source(source)
    stopping = threading.Event()
    archive = Archive(_settings(source), FIELDS, sleep=stopping.wait)
    return Connection(settings, source, archive, stopping)


@contextmanager
def connected(settings: Config, source: Source) -> Iterator[Connection]:
    """The same for as long as a command runs."""
    connection = connect(settings, source)
    try:
        yield connection
    finally:
        connection.close()


def poller(connection: Connection, store: Store, clock: Callable[[], int]) -> Poller:
    """The thread that keeps up with an archive; not started."""
    source = connection.source
    return Poller(
        source.name,
        connection.rounds(store, clock),
        connection.changes(),
        source.poll_seconds,
        connection.stopping,
    )


@dataclass(frozen=True, slots=True)
class Watched:
    """An archive and the thread that keeps up with it."""

    connection: Connection
    poller: Poller
    store: Store

    def standing(self) -> ArchiveStanding:
        """How it stands. Raises Unavailable."""
        source, poller = self.connection.source, self.poller
        state = poller.state
        backlog = self.store.overview.backlog(source.url)
        left = self.connection.archive.client.circuit.left
        waits = [seconds for seconds in (left, poller.waits) if seconds is not None]
        return ArchiveStanding(
            source.name,
            source.url,
            source.poll_seconds,
            reach(state, under_way=poller.under_way, left_alone=bool(left)),
            max(waits, default=None),
            state,
            backlog,
            load(state, backlog.known, poller.load_rate),
        )

    def sync(self) -> None:
        """Have a round begin now, whatever has failed before."""
        self.connection.archive.client.circuit.hurry()
        self.poller.wake()


def sync(watched: Iterable[Watched], name: str) -> bool:
    """Have a round with the archive of a name begin now; False where there is none."""
    found = [one for one in watched if one.connection.source.name == name]
    for one in found:
        one.sync()
    return bool(found)


def retriever(settings: Config, source: Source) -> Wado:
    """What reads the instances of an archive. Raises Misconfigured where a secret cannot be read."""
    reading = replace(_settings(source), connections=settings.dicomweb.proxy_connections)
    return Wado(reading, settings.data_dir, settings.limits.object_bytes)


def askable(connection: Connection, store: Store, clock: Callable[[], int]) -> Askable:
    """An archive that a search may ask."""
    return Askable(connection.source.name, connection.archive, lambda: connection.rounds(store, clock))


def named(settings: Config, name: str | None) -> tuple[Source, ...]:
    """The archives that a command means. Raises Misconfigured where there is none of that name."""
    found = tuple(one for one in settings.sources if name in (None, one.name))
    if found:
        return found
    if name is None:
        raise Misconfigured("source: no archive is configured ([[source]])")
    known = ", ".join(one.name for one in settings.sources) or "none"
    raise Misconfigured(f"source: there is no {name}; configured are: {known}")


def try_out(settings: Config, source: Source) -> str:
    """Ask an archive for one study; returns what to say of it. Raises Unavailable, BadAnswer."""
    with connected(settings, source) as connection:
        found = connection.archive.studies((), limit=1).rows
        kind = "Orthanc" if _orthanc(source, connection.archive) else "an archive"
    return f"{source.url} answers as {kind}" + ("" if found else ", without any study")


def _orthanc(source: Source, archive: Archive) -> OrthancChanges | None:
    """What reads the changes of an Orthanc; None where it is none, or they are not to be read."""
    if source.changes == "none":
        return None
    root = detect(archive.client, source.url)
    return None if root is None else OrthancChanges(archive.client, root)


def _settings(one: Source) -> ArchiveSettings:
    """How an archive is reached. Raises Misconfigured where a secret cannot be read."""
    return ArchiveSettings(
        name=one.name,
        url=one.url,
        auth=_auth(one),
        headers=one.headers,
        verify=one.ca or one.verify_tls,
        certificate=one.certificate,
        key=one.key,
        answer_seconds=one.answer_seconds,
        answer_bytes=one.answer_bytes,
        connections=one.connections,
    )


def _auth(one: Source) -> Auth | None:
    prefix = f"source {one.name}"
    if one.username is not None:
        password = one.password or ""
        if one.password_file is not None:
            password = config.secret(one.password_file, f"{prefix}: password_file").decode()
        return Basic(one.username, password)
    if one.bearer_token_file is not None:
        return BearerFile(one.bearer_token_file)
    if one.oauth2_token_url is None or one.oauth2_client_secret_file is None:
        return None
    secret = config.secret(one.oauth2_client_secret_file, f"{prefix}: oauth2_client_secret_file").decode()
    return ClientCredentials(one.oauth2_token_url, one.oauth2_client_id or "", secret, one.oauth2_scope or "")


def _rules(one: Source) -> ArchiveRules:
    """How an archive is kept up with."""
    return ArchiveRules(one.lookback_days, one.on_delete, one.level, one.page, one.connections)
