"""Archives asked for what a search did not find: real HTTP, a real store, and a deadline."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.remote import hostile

from pacsbridge.bridge.archive_asking import Askable, Asking
from pacsbridge.bridge.archive_records import FIELDS
from pacsbridge.bridge.archive_rounds import Rounds
from pacsbridge.bridge.archive_rules import ArchiveRules
from pacsbridge.bridge.publish import Publisher
from pacsbridge.bridge.sources import Source
from pacsbridge.kernel.publication import Publication
from pacsbridge.kernel.query_parsing import SearchSettings, parse
from pacsbridge.remote.qido import Archive
from pacsbridge.remote.settings import ArchiveSettings
from pacsbridge.store.store import Store

SETTINGS = SearchSettings("http://fhir.example/fhir")
NOW = 1_790_000_000_000_000


@pytest.fixture
def archive() -> Iterator[hostile.HostileArchive]:
    """An archive of one study, under the accession number A1."""
    found = hostile.HostileArchive()
    found.holdings.add(hostile.study("2.999.7", accession="A1", patient="P7"))
    yield found
    found.close()


class Bridge:
    """A store, a publisher, and what asks the archives."""

    def __init__(self, store: Store, urls: list[str], seconds: float = 5) -> None:
        self.store = store
        self.seconds = 0.0
        publisher = Publisher(store, Publication(base_url="http://fhir.example/fhir"), lambda: NOW)
        self.archives = [
            Archive(ArchiveSettings(f"a{n}", url, tries=1), FIELDS) for n, url in enumerate(urls)
        ]
        askable = [self._askable(one) for one in self.archives]
        self.asking = Asking(store, publisher, askable, seconds, lambda: self.seconds)

    def _askable(self, archive: Archive) -> Askable:
        name, url = archive.client.settings.name, archive.client.settings.url
        return Askable(
            name, archive, lambda: Rounds(self.store, archive, Source(url, name), ArchiveRules(), lambda: NOW)
        )

    def ask(self, name: str, value: str) -> Any:
        """What could not be asked, and how many studies there are then."""
        query = parse("ImagingStudy", [(name, value)], SETTINGS, strict=False)
        faults = self.asking(query)
        return faults, len(self.store.search(query).entries)

    def close(self) -> None:
        """Close the connections."""
        self.asking.close()
        for archive in self.archives:
            archive.close()


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Callable[..., Bridge]]:
    """Makes bridges to archives by their URLs."""
    made: list[Bridge] = []
    store = Store("sqlite", tmp_path)
    store.migrate()

    def make(*urls: str, **options: Any) -> Bridge:
        made.append(Bridge(store, list(urls), **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
    store.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [("identifier", "A1"), ("identifier", "urn:oid:2.999.7"), ("patient.identifier", "P7")],
)
def test_the_study_is_published_at_once(
    bridge: Callable[..., Bridge], archive: hostile.HostileArchive, name: str, value: str
) -> None:
    """By accession number, UID or patient: found by the same search right after."""
    assert bridge(archive.url).ask(name, value) == ([], 1)


def test_nothing_there_is_no_fault(bridge: Callable[..., Bridge], archive: hostile.HostileArchive) -> None:
    """An archive that has nothing has been asked all the same."""
    assert bridge(archive.url).ask("identifier", "A404") == ([], 0)


def test_one_that_is_away_is_named_and_the_other_heard(
    bridge: Callable[..., Bridge], archive: hostile.HostileArchive
) -> None:
    """Each by itself."""
    faults, found = bridge(archive.url, "http://127.0.0.1:9/dicom-web").ask("identifier", "A1")
    assert found == 1
    assert [fault.partition(":")[0] for fault in faults] == ["source a1 could not be asked"]


def test_nobody_waits_longer_than_the_deadline(
    bridge: Callable[..., Bridge], archive: hostile.HostileArchive
) -> None:
    """An archive that does not answer costs so many seconds, and is named."""
    archive.faults.append(hostile.hang(20))
    begun = time.monotonic()
    faults, found = bridge(archive.url, seconds=0.2).ask("identifier", "A1")
    assert (faults, found) == (["source a0 could not be asked: no answer within 0.2 s"], 0)
    assert time.monotonic() - begun < 5


def test_the_same_is_not_asked_twice_in_a_row(
    bridge: Callable[..., Bridge], archive: hostile.HostileArchive
) -> None:
    """A client that asks again and again costs the archive one question in a while."""
    here = bridge(archive.url)
    assert here.ask("identifier", "A404") == ([], 0)
    assert here.ask("identifier", "A404") == (None, 0)
    here.seconds = 11
    assert here.ask("identifier", "A404") == ([], 0)
    assert len(archive.of("/dicom-web/studies")) == 2
