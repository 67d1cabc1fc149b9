"""Lists of studies in the orders that studies alone have, on both engines."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product

import pytest

from pacsbridge.kernel.attributes import Attributes
from pacsbridge.kernel.query import STUDY_ORDERS, Query, study_order
from pacsbridge.kernel.query_parsing import SearchSettings, parse
from pacsbridge.store import planning
from pacsbridge.store.records import Draft, Page
from pacsbridge.store.store import Store

NOW = 1_800_000_000_000_000
SETTINGS = SearchSettings("http://fhir.example/fhir", default_count=3)

STUDIES = (
    ("Zander^A", "A1", "MR", (1,)),
    ("ander^B", "", "CT", (1, 1)),
    ("Ünal^C", "A10", "CT", (1, 1, 1)),
    ("", "A2", "SR", (2,)),
    ("Zander^A", "", "CT", (4, 1)),
    ("Berg^D", "B1", "US", (1,)),
    ("berg^d", "B0", "MR", (12,)),
    ("漢^字", "A1", "CT", (3,)),
)
"""Patient's name, accession number, modality, the instances of each series; the first came first."""

ORDERED = {
    "patient_name": [3, 1, 5, 6, 2, 0, 4, 7],
    "accession": [1, 4, 0, 7, 2, 3, 6, 5],
    "modalities": [1, 2, 4, 7, 0, 6, 3, 5],
    "series": [0, 3, 5, 6, 7, 1, 4, 2],
    "instances": [0, 5, 1, 3, 2, 7, 4, 6],
}
"""Field → the studies in its order, those that are equal as they came."""


CONDITIONS: Sequence[tuple[tuple[tuple[str, str], ...], set[int]]] = (
    ((), set(range(8))),
    ((("modality", "CT"),), {1, 2, 4, 7}),
    ((("patient.name", "zander"), ("modality", "CT,MR")), {0, 4}),
)
"""What is asked for besides, and the studies that it leaves."""


def headers() -> Iterator[Attributes]:
    """The instances of all studies."""
    for study, (name, accession, modality, series) in enumerate(STUDIES):
        for place, count in enumerate(series):
            for number in range(count):
                texts = {
                    "StudyInstanceUID": f"1.2.{study}",
                    "SeriesInstanceUID": f"1.3.{study}.{place}",
                    "SOPInstanceUID": f"1.4.{study}.{place}.{number}",
                    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
                    "PatientName": name,
                    "PatientID": f"P{study}",
                    "AccessionNumber": accession,
                    "Modality": modality,
                }
                yield Attributes({keyword: (text,) for keyword, text in texts.items() if text})


@pytest.fixture
def filled(make_published: Callable[..., Store]) -> Store:
    """A store in which all of them are published."""
    return make_published(headers(), NOW)


def numbers(page: Page) -> list[int]:
    """The places in STUDIES of what a page has."""
    return [int(one.id.rpartition(".")[2]) for one in page.entries]


def whole(store: Store, query: Query) -> list[int]:
    """All pages, forth; each page back is the one that was there before."""
    page = store.search(query)
    found = numbers(page)
    while page.next:
        before = numbers(page)
        page = store.search(replace(query, after=page.next))
        assert page.previous is not None
        assert numbers(store.search(replace(query, after=page.previous))) == before
        found += numbers(page)
    return found


@pytest.mark.parametrize("few", [0, planning.FEW], ids=["common", "rare"])
def test_studies_are_listed_in_every_order(filled: Store, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, and those that a condition leaves; in pages both ways, whichever way they are found."""
    monkeypatch.setattr(planning, "FEW", few)
    assert ORDERED.keys() == set(STUDY_ORDERS)
    for field, descends, (pairs, left) in product(ORDERED, (False, True), CONDITIONS):
        query = parse("ImagingStudy", pairs, SETTINGS, strict=True)
        found = whole(filled, replace(query, sort=study_order(field, descends=descends)))
        wanted = [one for one in ORDERED[field] if one in left]
        assert found == (wanted[::-1] if descends else wanted), (field, descends, pairs)


def test_a_study_that_is_gone_is_in_no_order(filled: Store) -> None:
    """A deleted study is not listed."""
    filled.publish([Draft("ImagingStudy", "1.2.3", None)], NOW)
    asked = Query("ImagingStudy", sort=study_order("patient_name"), count=100)
    assert numbers(filled.search(asked)) == [1, 5, 6, 2, 0, 4, 7]
