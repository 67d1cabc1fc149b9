"""Hostile archives and clients that ask them, on a clock that nobody waits for."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from remote.hostile import Clock, HostileArchive, running

from pacsbridge.remote.client import Client
from pacsbridge.remote.qido import Archive
from pacsbridge.remote.settings import ArchiveSettings


@pytest.fixture
def archive() -> Iterator[HostileArchive]:
    """An archive that holds nothing and does no harm yet."""
    with running() as one:
        yield one


@pytest.fixture
def other() -> Iterator[HostileArchive]:
    """Somebody else's server."""
    with running() as one:
        yield one


@pytest.fixture
def clock() -> Clock:
    """A clock of this test's own."""
    return Clock()


@pytest.fixture
def make_client(archive: HostileArchive, clock: Clock) -> Iterator[Callable[..., Client]]:
    """Makes clients of the archive, by settings; chance is a half."""
    made: list[Client] = []

    def make(**settings: Any) -> Client:
        given = ArchiveSettings(**{"name": "main", "url": archive.url, **settings})
        made.append(Client(given, clock=clock, sleep=clock.sleep, random=lambda: 0.5))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def client(make_client: Callable[..., Client]) -> Client:
    """A client with nothing special."""
    return make_client()


@pytest.fixture
def make_archive(archive: HostileArchive, clock: Clock) -> Iterator[Callable[..., Archive]]:
    """Makes searchers of the archive, by fields and settings."""
    made: list[Archive] = []

    def make(fields: dict[str, list[str]] | None = None, **settings: Any) -> Archive:
        given = ArchiveSettings(**{"name": "main", "url": archive.url, **settings})
        made.append(Archive(given, fields or {}, clock=clock, sleep=clock.sleep, random=lambda: 0.5))
        return made[-1]

    yield make
    for one in made:
        one.close()
