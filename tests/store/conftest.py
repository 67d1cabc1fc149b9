"""Stores of both engines, each empty at the start of a test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

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
def store(make_store: Callable[..., Store]) -> Store:
    """A migrated, empty store."""
    return make_store()
