"""Searches that find nothing, and what archives are asked then."""

from collections.abc import Callable, Sequence
from typing import Any

import fhirkit

from pacsbridge.kernel.query import Query

AWAY = "source main could not be asked: HTTP 503"


class Archives:
    """What stands for the archives: publishes a study when it is asked for one under `A-new`."""

    def __init__(self, store: Any, study: Callable[..., dict[str, Any]]) -> None:
        self.store = store
        self.study = study
        self.asked: list[Query] = []
        self.faults: Sequence[str] | None = ()

    def __call__(self, query: Query) -> Sequence[str] | None:
        """As the real ones."""
        self.asked.append(query)
        if any("A-new" in str(clause.values) for clause in query.clauses):
            found = [{"system": "urn:acc", "value": "A-new"}]
            self.store.add(self.study("1.2.77", identifier=found))
        return self.faults


def test_what_archives_have_is_in_the_first_answer(serve: Any, store: Any, study: Any) -> None:
    """Nothing here, something there: the answer has it; the next search finds it here."""
    archives = Archives(store, study)
    fhir = serve(asking=archives)
    assert fhir("/ImagingStudy?identifier=A-new").json()["total"] == 1
    assert fhir("/ImagingStudy?identifier=A-new").json()["total"] == 1
    assert len(archives.asked) == 1


def test_what_is_found_here_asks_nobody(serve: Any, store: Any, study: Any) -> None:
    """Archives are for what is not known."""
    archives = Archives(store, study)
    assert serve(asking=archives)("/ImagingStudy?identifier=A-1.2.1").json()["total"] == 1
    assert archives.asked == []


def test_archives_that_could_not_be_asked_are_named(serve: Any, store: Any, study: Any) -> None:
    """In an entry of mode outcome, each time: the answer is not kept."""
    archives = Archives(store, study)
    archives.faults = [AWAY]
    fhir = serve(asking=archives)
    for _time in range(2):
        response = fhir("/ImagingStudy?identifier=A-404")
        assert fhirkit.validate(response.content) == []
        [entry] = response.json()["entry"]
        assert entry["search"]["mode"] == "outcome"
        [issue] = entry["resource"]["issue"]
        assert (issue["severity"], issue["code"], issue["diagnostics"]) == ("warning", "incomplete", AWAY)
    assert len(archives.asked) == 2
    archives.faults = ()
    assert "entry" not in fhir("/ImagingStudy?identifier=A-404").json()


def test_nothing_to_ask_changes_nothing(serve: Any, store: Any, study: Any) -> None:
    """A search by neither patient nor identifier is answered as ever."""
    archives = Archives(store, study)
    archives.faults = None
    assert serve(asking=archives)("/ImagingStudy?modality=XA").json()["total"] == 0
