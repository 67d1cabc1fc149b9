"""The golden cases of `tests/cases`: instances in DICOM JSON, and what they become.

An expectation is partial: of an object the named members are compared, `null` says that a member is absent;
arrays are compared member by member and have no others. `covers` names the rows or pitfalls that a case is
about. What the instances become is a legal resource in every case.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from r4_validation import assert_r4

from pacsbridge.dicom.dicom_json import from_json
from pacsbridge.kernel.endpoints import endpoint
from pacsbridge.kernel.extract import extract
from pacsbridge.kernel.identity import Context
from pacsbridge.kernel.mapping import ROWS
from pacsbridge.kernel.publication import EndpointSpec, Publication
from pacsbridge.kernel.resources import imaging_study, patient

FOLDER = Path(__file__).parent.parent / "cases"
CASES = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}

Assemble = Any


def context_of(case: Mapping[str, Any]) -> Context:
    """The case's context; its zone is an IANA name."""
    values = dict(case.get("context", {}))
    return Context(**values | ({"zone": ZoneInfo(values["zone"])} if "zone" in values else {}))


def publication_of(case: Mapping[str, Any]) -> Publication:
    """The case's publication; keys are text, endpoints are objects."""
    values = dict(case.get("publication", {}))
    values["id_key"] = values.get("id_key", "key").encode()
    values["default_endpoints"] = _specs(values.get("default_endpoints", ()))
    values["endpoints"] = {uri: _specs(specs) for uri, specs in values.get("endpoints", {}).items()}
    return Publication(**values)


def _specs(rows: Any) -> tuple[EndpointSpec, ...]:
    return tuple(EndpointSpec(**row) for row in rows)


def differences(expected: Any, found: Any, path: str) -> list[str]:
    """Where a value differs from a partial expectation."""
    if isinstance(expected, dict) and isinstance(found, dict):
        pairs = ((differences(value, found.get(name), f"{path}.{name}")) for name, value in expected.items())
        return [line for lines in pairs for line in lines]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        members = enumerate(zip(expected, found, strict=True))
        lines = (differences(one, other, f"{path}[{number}]") for number, (one, other) in members)
        return [line for some in lines for line in some]
    return [] if expected == found else [f"{path}: expected {expected!r}, found {found!r}"]


@pytest.mark.parametrize("name", CASES)
def test_case(name: str, assemble: Assemble) -> None:
    """The instances of a case become the resources, issues and conflicts that it expects."""
    case = CASES[name]
    instances = [from_json(instance) for instance in case["instances"]]
    sources = case.get("sources", ["urn:dicom:ae:CT1"])
    state, assembly = assemble(instances, context_of(case), sources, case.get("series_sources"))
    publication = publication_of(case)
    found: dict[str, Any] = {
        "ImagingStudy": imaging_study(state, publication),
        "Patient": patient(state.patient, publication),
        "Endpoints": [endpoint(spec) for spec in publication.all_endpoints()],
        "issues": [{"keyword": issue.keyword, "reason": issue.reason} for issue in assembly.issues],
        "conflicts": [{"level": one.level, "field": one.field} for one in assembly.conflicts],
    }
    assert_r4(found["ImagingStudy"], found["Patient"], *found["Endpoints"])
    expected = {"issues": [], "conflicts": []} | case["expect"]
    assert differences(expected, found, "") == []


def test_every_row_of_the_mapping_has_a_case() -> None:
    """Each row of the table yields a fact in at least one case."""
    yielded = set()
    for case in CASES.values():
        for instance in case["instances"]:
            facts = extract(from_json(instance), context_of(case))
            for level in ("patient", "study", "series", "instance"):
                yielded |= {(level, name) for name in getattr(facts, level)}
    assert yielded == {(row.level.value, row.name) for row in ROWS}


def test_titles_are_sentences_of_their_own() -> None:
    """Every case says what it is about, and no two say the same."""
    titles = [case["title"] for case in CASES.values()]
    assert len(set(titles)) == len(titles) == len(CASES) > 0
