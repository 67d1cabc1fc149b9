"""The database finds by index rows what walking the JSON finds."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacsbridge.kernel.query_parsing import SearchSettings, parse
from pacsbridge.kernel.search_parameters import index_rows
from pacsbridge.kernel.search_values import PREFIXES
from pacsbridge.store.records import Draft, microseconds
from pacsbridge.store.store import Store

STARTED = (
    "2024",
    "2024-02",
    "2024-02-29",
    "2024-03-01",
    "2024-02-29T23:30:00+00:00",
    "2024-02-29T23:30:00-05:00",
    "2024-03-01T00:30:00+02:00",
    "2024-03-01T00:00:00Z",
    None,
)
ASKED = (
    *(text for text in STARTED if text),
    "2023",
    "2024-02-29T23:30:00",
    "2024-03-01T04:30Z",
    "2025-01-01",
)
NOW = microseconds(datetime(2026, 3, 1, tzinfo=UTC))
SETTINGS = SearchSettings("http://fhir.example/fhir", default_count=1000)

VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"subject": {"reference": "Patient/p2"}, "status": "unknown"},
    {"subject": {"display": "?"}, "basedOn": [{"identifier": {"value": "1"}}]},
    {"series": [{"uid": "1.9", "modality": {"system": "urn:dcm", "code": code}} for code in ("CT", "MR")]},
)

SEARCHES = st.lists(
    st.sampled_from(
        [
            ("_id", "1.2.1,1.2.4"),
            ("identifier", "1.2.1"),
            ("identifier", "urn:acc|"),
            ("identifier:not", "A-1.2.3"),
            ("identifier", "|A-1.2.3"),
            ("patient", "p1"),
            ("patient:missing", "true"),
            ("patient:missing", "false"),
            ("subject:Patient", "p2"),
            ("patient:identifier", "urn:pat|1"),
            ("modality", "CT"),
            ("modality:not", "CT"),
            ("modality", "urn:dcm|MR,XX"),
            ("series", "urn:oid:1.2.2.1"),
            ("dicom-class", "1.9"),
            ("status", "available,unknown"),
            ("status:not", "available"),
            ("_source", "urn:dicom:ae:CT1"),
            ("basedon:missing", "true"),
            ("started:missing", "true"),
            ("started", "lt2024-03"),
            ("started", "2024-02-29,2024-03-01T04:30:00Z"),
        ]
    ),
    max_size=3,
)


Ask = Callable[[list[tuple[str, str]]], tuple[list[str], list[str]]]


@pytest.fixture(scope="module")
def ask(
    tmp_path_factory: pytest.TempPathFactory, memory_store: Callable[[], Any], study: Callable[..., Any]
) -> Iterator[Ask]:
    """Asks a database and a walk over the same resources; both answer with ids, in their order."""
    walked = memory_store()
    database = Store("sqlite", tmp_path_factory.mktemp("store"), index_rows)
    database.migrate()
    for number, started in enumerate(STARTED, 1):
        resource = study(f"1.2.{number}", **VARIANTS[number % len(VARIANTS)])
        resource |= {"started": started} if started else {}
        walked.add(resource)
        database.publish([Draft("ImagingStudy", resource["id"], resource)], NOW)

    def both(pairs: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
        query = parse("ImagingStudy", pairs, SETTINGS, strict=True)
        found = (store.search(query).entries for store in (database, walked))
        of_database, of_walk = ([document.id for document in entries] for entries in found)
        return of_database, of_walk

    yield both
    database.close()


@pytest.mark.parametrize(("prefix", "text"), [*product(sorted(PREFIXES), ASKED)])
def test_dates_as_every_prefix_has_them(ask: Ask, prefix: str, text: str) -> None:
    """Years to seconds, with zones and without, against studies of every precision."""
    of_database, of_walk = ask([("started", prefix + text)])
    assert of_database == of_walk


@given(SEARCHES)
@settings(deadline=None)
def test_rows_find_what_walking_finds(ask: Ask, pairs: list[tuple[str, str]]) -> None:
    """Any conjunction of parameters and modifiers."""
    of_database, of_walk = ask(pairs)
    assert of_database == of_walk


@given(SEARCHES, SEARCHES)
@settings(deadline=None)
def test_more_conditions_find_less(
    ask: Ask, some: list[tuple[str, str]], more: list[tuple[str, str]]
) -> None:
    """What A and B find is what both A and B find."""
    together, of_some, of_more = (set(ask(pairs)[0]) for pairs in (some + more, some, more))
    assert together == of_some & of_more


def test_the_date_cases_tell_something(ask: Ask) -> None:
    """A wall clock and an instant of the same day find different studies."""
    assert ask([("started", "2024-03-01")])[0] == ["1.2.8", "1.2.7", "1.2.4"]
    assert ask([("started", "sa2024-03-01T04:00:00Z")])[0] == ["1.2.6"]
    assert ask([("started:missing", "true")])[0] == ["1.2.9"]
