"""What a client that stored is told (PS3.18 10.5.3, Annex I): a status, and the fate of each instance."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pacsbridge import errors
from pacsbridge.dicomweb.receiving import Names, Outcome, UnsupportedPart

PROCESSING_FAILURE = 0x0110

REASONS: Mapping[type[errors.PacsbridgeError], int] = {
    errors.Unavailable: 0xA700,
    errors.Misconfigured: 0xA700,
    errors.Mismatch: 0xA900,
    errors.NotUnderstood: 0xC000,
    errors.TooLarge: 0xC001,
    errors.Refused: 0xC002,
    errors.Conflicting: 0xC004,
    errors.Absent: 0xC003,
    errors.PacsbridgeError: PROCESSING_FAILURE,
}
"""The Failure Reason (0008,1197) of each error, the same as for C-STORE; the nearest base class decides."""

_STATUS: Mapping[type[Exception], HTTPStatus] = {
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedPart: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.PacsbridgeError: HTTPStatus.CONFLICT,
    Exception: HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""The status when nothing was stored, and all for this reason."""

_NO_ROOM = ("disk full", "disk quota reached")

RETRIEVE_URL = "00081190"
FAILED, REFERENCED, OTHER = "00081198", "00081199", "0008119A"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of each part of a body; `breach` is why no more was read of it than that."""

    outcomes: Sequence[Outcome]
    breach: Exception | None = None

    @property
    def stored(self) -> int:
        """How many instances are stored."""
        return sum(outcome.fault is None for outcome in self.outcomes)

    @property
    def status(self) -> HTTPStatus:
        """200 all, 202 some; when none is stored, what all of them have in common, or 409."""
        faults = [outcome.fault for outcome in self.outcomes if outcome.fault is not None]
        if len(faults) < len(self.outcomes):
            return HTTPStatus.ACCEPTED if faults or self.breach else HTTPStatus.OK
        kinds = {_status(fault) for fault in faults}
        least = min(kinds, default=HTTPStatus.BAD_REQUEST)
        return least if len(kinds) == 1 or least >= HTTPStatus.INTERNAL_SERVER_ERROR else HTTPStatus.CONFLICT

    def data_set(self, base_url: str, study: str | None) -> dict[str, Any]:
        """The Store Instances Response Module (PS3.18 Annex I) as DICOM JSON."""
        stored = [outcome.names for outcome in self.outcomes if outcome.fault is None]
        studies = {study} if study else {names.study for names in stored}
        url = f"{base_url}/studies/{studies.pop()}" if len(studies) == 1 else None
        sequences = {
            FAILED: [_failed(one.names, one.fault) for one in self.outcomes if one.fault is not None],
            REFERENCED: [_stored(names, base_url) for names in stored],
            OTHER: [_failed(Names(), self.breach)] if self.breach is not None else [],
        }
        return {
            RETRIEVE_URL: _element("UR", url),
            **{tag: {"vr": "SQ", "Value": items} for tag, items in sequences.items() if items},
        }


def failure_reason(fault: Exception) -> int:
    """The Failure Reason of an error; Processing Failure for what nobody foresaw."""
    return next((REASONS[base] for base in type(fault).__mro__ if base in REASONS), PROCESSING_FAILURE)


def _status(fault: Exception) -> HTTPStatus:
    status = next(_STATUS[base] for base in type(fault).__mro__ if base in _STATUS)
    if status is HTTPStatus.SERVICE_UNAVAILABLE and any(words in str(fault) for words in _NO_ROOM):
        return HTTPStatus.INSUFFICIENT_STORAGE
    return status


def _stored(names: Names, base_url: str) -> dict[str, Any]:
    url = f"{base_url}/studies/{names.study}/series/{names.series}/instances/{names.instance}"
    return {**_reference(names), RETRIEVE_URL: _element("UR", url)}


def _failed(names: Names, fault: Exception) -> dict[str, Any]:
    return {**_reference(names), "00081197": _element("US", failure_reason(fault))}


def _reference(names: Names) -> dict[str, Any]:
    """The SOP Instance Reference Macro, as far as the instance is known."""
    known: Iterable[tuple[str, str | None]] = (("00081150", names.sop_class), ("00081155", names.instance))
    return {tag: _element("UI", value) for tag, value in known if value}


def _element(vr: str, value: str | int | None) -> dict[str, Any]:
    return {"vr": vr} if value is None else {"vr": vr, "Value": [value]}
