"""From errors to answers: the table is complete, and nothing leaks."""

from collections.abc import Callable, Iterator
from typing import Any

import fhirkit
import pytest

from pacsbridge import errors
from pacsbridge.fhir.faults import FAULTS


def tree(error: type[errors.PacsbridgeError]) -> Iterator[type[errors.PacsbridgeError]]:
    """An error class and all below it."""
    yield error
    for below in error.__subclasses__():
        yield from tree(below)


def test_the_table_covers_every_error() -> None:
    """Each error class of pacsbridge has a row of its own."""
    assert set(FAULTS) == {e for e in tree(errors.PacsbridgeError) if e.__module__ == errors.__name__}


@pytest.mark.parametrize("error", FAULTS)
def test_every_error_is_an_operation_outcome(
    fhir: Any, failing: Callable[[BaseException], None], error: type[errors.PacsbridgeError]
) -> None:
    """Raised by the store, each is answered as its row says, with its message."""
    failing(error("the reason why"))
    response = fhir("/Patient/p1")
    assert response.status_code == FAULTS[error].status
    assert fhirkit.validate(response.content) == []
    [issue] = response.json()["issue"]
    assert (issue["code"], issue["diagnostics"]) == (FAULTS[error].code, "the reason why")


def test_other_exceptions_say_nothing(fhir: Any, failing: Callable[[BaseException], None]) -> None:
    """A bug is a 500 whose text tells nothing of what it met; the server goes on."""
    failing(ValueError("Jane Doe"))
    response = fhir("/Patient/p1")
    assert response.status_code == 500
    assert fhirkit.validate(response.content) == []
    assert "Doe" not in response.text
    fhir.store.failure = None
    assert fhir("/Patient/p1").status_code == 200
