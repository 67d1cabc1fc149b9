"""What associations come to, for the audit log: an event for each study that was stored."""

import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pacsbridge.dimse.operations import Exchange, Operation, Steps
from pacsbridge.dimse.receive import Caller
from pacsbridge.dimse.retrieval import wanted
from pacsbridge.dimse.status import SUCCESS as STORED
from pacsbridge.errors import PacsbridgeError, reason
from pacsbridge.kernel.audit import MINOR, SERIOUS, SUCCESS, Event, Who

_OPEN_SECONDS = 60.0
"""An association that stays open is told of after so long, and not at its end only."""

_LONGEST_IDENTIFIER = 6_000
"""Bytes of a query that are kept; a list of UIDs may be longer."""


@dataclass(slots=True)
class _Tally:
    """What one association has stored since `since`: study → instances, and whose it is."""

    since: float
    studies: dict[str, int] = field(default_factory=dict)
    patients: dict[str, str] = field(default_factory=dict)
    told: bool = False


class Associations:
    """Events of associations: for each study stored, each query and retrieval, or that one was there."""

    def __init__(
        self,
        record: Callable[[Event], object],
        ae_title: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._record = record
        self._ae_title = ae_title
        self._clock = clock
        self._open: dict[tuple[str, int], _Tally] = {}

    def stored(self, address: tuple[str, int], title: str, study: str, patient: Callable[[], str]) -> None:
        """An instance of a study has been stored."""
        tally = self._tally(address)
        if study not in tally.studies:
            tally.patients[study] = patient()
        tally.studies[study] = tally.studies.get(study, 0) + 1
        if self._clock() - tally.since > _OPEN_SECONDS:
            self._tell(tally, Who(address[0], title))

    def watched(self, service: str, operation: Operation) -> Operation:
        """An operation whose end is told."""

        def run(exchange: Exchange) -> Steps:
            outcome, why = MINOR, "broken off"
            try:
                yield from operation(exchange)
                outcome, why = _outcome(exchange), ""
            except Exception as exc:
                outcome, why = SERIOUS, reason(exc)
                raise
            finally:
                self._answered(service, exchange, outcome, why)

        return run

    def _answered(self, service: str, exchange: Exchange, outcome: str, why: str) -> None:
        """A query or a retrieval has been answered; one of several studies has an event for each."""
        self._tally(exchange.address).told = True
        details = {"SOPClass": exchange.abstract_syntax, "TransferSyntax": exchange.transfer_syntax}
        event = Event(
            service,
            outcome,
            Who(exchange.address[0], exchange.calling_ae),
            self._ae_title,
            query=b64encode(exchange.identifier[:_LONGEST_IDENTIFIER]).decode("ascii"),
            destination=exchange.request.destination if service == "move" else "",
            reason=why,
            details=details,
        )
        studies = _studies(exchange) if service != "find" else ()
        if len(studies) <= 1:
            study = next(iter(studies), "")
            self._record(replace(event, study=study, instances=exchange.sent, failed=exchange.failed))
            return
        for study in studies:
            self._record(replace(event, study=study, query=""))

    def rejected(self, caller: Caller, why: str) -> None:
        """A caller has been turned away."""
        self._record(Event("refused", SERIOUS, _who(caller), self._ae_title, reason=why))

    def ended(self, caller: Caller, statuses: Mapping[int, int], outcome: str) -> None:
        """An association has ended."""
        tally = self._open.pop(caller.address, None) or _Tally(0.0)
        who = _who(caller)
        self._tell(tally, who)
        failed = sum(count for status, count in statuses.items() if status != STORED)
        if failed:
            stored = statuses.get(STORED, 0)
            common = Event("store", MINOR if stored else SERIOUS, who, self._ae_title)
            self._record(replace(common, failed=failed, reason="instances refused"))
        if not (tally.told or failed):
            self._record(Event("association", SUCCESS, who, self._ae_title, reason=outcome))

    def _tally(self, address: tuple[str, int]) -> _Tally:
        found = self._open.get(address)
        if found is None:
            found = self._open[address] = _Tally(self._clock())
        return found

    def _tell(self, tally: _Tally, who: Who) -> None:
        for study, count in tally.studies.items():
            patient = tally.patients[study]
            self._record(Event("store", SUCCESS, who, self._ae_title, patient, study=study, instances=count))
            tally.told = True
        tally.since = self._clock()
        tally.studies, tally.patients = {}, {}


def _outcome(exchange: Exchange) -> str:
    """What an operation came to that has been answered to its end."""
    if exchange.failed and not exchange.sent:
        return SERIOUS
    return MINOR if exchange.failed or exchange.cancelled else SUCCESS


def _who(caller: Caller) -> Who:
    return Who(caller.address[0], caller.calling_ae)


def _studies(exchange: Exchange) -> Sequence[str]:
    """The studies that a retrieval names."""
    try:
        return wanted(exchange).studies
    except PacsbridgeError:
        return ()
