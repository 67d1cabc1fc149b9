"""What is kept of a request: ids, log lines, metrics; never what patients are called."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from pacsbridge import metrics


@pytest.mark.parametrize(("sent", "kept"), [("abc-1", True), ("x" * 65, False), ("a b", False), ("", False)])
def test_request_ids(fhir: Any, sent: str, kept: bool) -> None:
    """A harmless id of the client is kept, others are replaced; faults have one too."""
    for path in ("/Patient/p1", "/Patient/p9", "/nowhere"):
        answered = fhir(path, headers={"X-Request-Id": sent}).headers["X-Request-Id"]
        assert (answered == sent) is kept
        assert answered


def test_the_access_log_has_no_query_and_no_ids(fhir: Any) -> None:
    """A line names route, type and status, and nothing of what the client wrote into the URL."""
    with capture_logs() as lines:
        fhir("/Patient?name=Doe&identifier=4711")
        fhir("/Patient/Doe-4711")
        fhir("/Doe/4711")
    requests = [line for line in lines if line["event"] == "request"]
    assert [line["status"] for line in requests] == [200, 404, 404]
    assert [line["type"] for line in requests] == ["Patient", "Patient", None]
    assert "Doe" not in str(lines)
    assert "4711" not in str(lines)


def test_a_failure_is_logged_by_its_place(fhir: Any, failing: Any) -> None:
    """A bug's log line says which exception it was and where, but not its text."""
    failing(ValueError("Jane Doe"))
    with capture_logs() as lines:
        fhir("/Patient/p1")
    [line] = [line for line in lines if line["event"] == "request_failed"]
    assert line["error"] == "ValueError"
    assert "conftest.py" in line["at"]
    assert "Doe" not in str(lines)


def test_requests_are_counted_by_route(fhir: Any) -> None:
    """The metrics know the route's pattern, the method and the status, not the path."""

    def count(status: str) -> float:
        samples = [s for metric in metrics.REGISTRY.collect() for s in metric.samples]
        return sum(
            s.value
            for s in samples
            if s.name == "pacsbridge_http_requests_total" and s.labels["status"] == status
        )

    before = count("410")
    fhir("/ImagingStudy/1.2.9")
    assert count("410") == before + 1
    labels = [s.labels for metric in metrics.REGISTRY.collect() for s in metric.samples]
    assert not [found for found in labels if "1.2.9" in str(found)]
