"""Stores of both engines, each empty at the start of a test."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pacsbridge.bridge.publish import Publisher
from pacsbridge.kernel.attributes import Attributes
from pacsbridge.kernel.extract import extract
from pacsbridge.kernel.resources import Publication
from pacsbridge.store.records import Arrival
from pacsbridge.store.store import Store


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return "sqlite"
    url: str = request.getfixturevalue("empty_postgresql")
    return url


@pytest.fixture
def make_store(store_url: str, tmp_path: Path) -> Iterator[Callable[..., Store]]:
    """Makes migrated stores over one database; closes them at the end."""
    stores: list[Store] = []

    def make(**options: Any) -> Store:
        store = Store(store_url, tmp_path, **options)
        store.migrate()
        stores.append(store)
        return store

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def make_published(make_store: Callable[..., Store]) -> Callable[[Iterable[Attributes], int], Store]:
    """Makes stores in which instances of some headers are published, all at one moment."""

    def make(headers: Iterable[Attributes], now: int) -> Store:
        store = make_store(quiet_seconds=0)
        arrivals = [
            Arrival(extract(one), "urn:x", now, "1.2.840.10008.1.2.1", f"p:{place}", 1, place.to_bytes(32))
            for place, one in enumerate(headers)
        ]
        store.put(arrivals, {}, now)
        Publisher(store, Publication(), lambda: now).publish_all()
        return store

    return make


@pytest.fixture
def store(make_store: Callable[..., Store]) -> Store:
    """A migrated, empty store."""
    return make_store()
