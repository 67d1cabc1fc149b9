"""OperationOutcome: how the FHIR API says what went wrong (FHIR R4 OperationOutcome)."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """Value set issue-severity."""

    ERROR = "error"
    WARNING = "warning"
    INFORMATION = "information"


class Code(StrEnum):
    """The codes of value set issue-type that pacsbridge uses."""

    INVALID = "invalid"
    VALUE = "value"
    NOT_SUPPORTED = "not-supported"
    SECURITY = "security"
    LOGIN = "login"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not-found"
    DELETED = "deleted"
    TOO_LONG = "too-long"
    DUPLICATE = "duplicate"
    PROCESSING = "processing"
    TRANSIENT = "transient"
    TOO_COSTLY = "too-costly"
    INCOMPLETE = "incomplete"
    EXCEPTION = "exception"


def issue(severity: Severity, code: Code, diagnostics: str, parameter: str | None = None) -> dict[str, Any]:
    """One issue; a search parameter is named as `http.name` (OperationOutcome.issue.expression)."""
    named = f"{diagnostics} (parameter {parameter})" if parameter else diagnostics
    fault = {"severity": severity.value, "code": code.value, "diagnostics": named}
    return fault | ({"expression": [f"http.{parameter}"]} if parameter else {})


def outcome(*issues: Mapping[str, Any]) -> dict[str, Any]:
    """An OperationOutcome of one issue or more."""
    return {"resourceType": "OperationOutcome", "issue": list(issues)}


def ignored(names: tuple[str, ...]) -> list[dict[str, Any]]:
    """What a searchset says about parameters that it left out."""
    return [
        issue(Severity.WARNING, Code.NOT_SUPPORTED, "this search parameter is not supported: ignored", name)
        for name in dict.fromkeys(names)
    ]
