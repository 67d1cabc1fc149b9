"""Queries chunk by chunk: they end where others wait, and go on where nobody does."""

from collections.abc import Iterator

import pytest
from queries import fill

from pacsbridge.bridge.querying import first, matches
from pacsbridge.errors import TooCostly
from pacsbridge.kernel.finding import Find
from pacsbridge.kernel.model import Level
from pacsbridge.kernel.qido import search
from pacsbridge.store.sql import Patience
from pacsbridge.store.store import Store

STUDIES = 70
"""More than a few chunks of instances."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with studies of one instance each."""
    folder = tmp_path_factory.mktemp("queries")
    config = folder / "pacsbridge.toml"
    config.write_text(f'data_dir = "{folder}"\n')
    fill(config, STUDIES)
    opened = Store("sqlite", folder)
    yield opened
    opened.close()


@pytest.fixture
def nothing() -> Find:
    """A query that the database cannot answer alone, and that nothing matches."""
    return search(Level.INSTANCE, [("InstanceNumber", "99999")], {}, 100).find


def test_a_query_ends_where_others_wait(store: Store, nothing: Find) -> None:
    """Between two chunks: however quick each is, together they would take long."""
    looks = 0

    def yields() -> bool:
        nonlocal looks
        looks += 1
        return looks > 2

    with pytest.raises(TooCostly, match="others wait"):
        first(store, nothing, 100, patience=Patience(yields=yields))
    assert looks == 3


def test_a_query_goes_on_where_nobody_waits(store: Store, nothing: Find) -> None:
    """All of it is looked at, in several chunks."""
    assert first(store, nothing, 100) == ([], False)
    assert len(list(matches(store, nothing))) > 3


def test_chunks_have_their_time(store: Store, nothing: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk that takes too long is ended by the database."""
    monkeypatch.setattr("pacsbridge.store.readers._STEPS", 1)
    with pytest.raises(TooCostly, match="longer"):
        first(store, nothing, 100, patience=Patience(0))
