"""What commands do, in the audit log: who, what, and what came of it, before the command ends."""

import os
import pwd
import signal
import socket
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from pacsbridge import opening, wiring
from pacsbridge.audit.completion import Completion
from pacsbridge.auditing import deletion, tally
from pacsbridge.bridge.publish import Deleted
from pacsbridge.config import Config
from pacsbridge.errors import PacsbridgeError, reason
from pacsbridge.kernel.audit import MINOR, SERIOUS, SUCCESS, Event, Who
from pacsbridge.kernel.model import Facts
from pacsbridge.kernel.patients import reference
from pacsbridge.kernel.publication import Publication
from pacsbridge.store.store import Store

_TOGETHER = 1_000
"""Events of one transaction."""

_MOST_STUDIES = 10_000
"""Studies that are counted before they are told: one that goes on after that is told again."""

_LOGIN = Path("/proc/self/loginuid")
_NOBODY = 2**32 - 1
"""The login of processes that nobody's session has started."""


@dataclass(slots=True)
class Deed:
    """What a command comes to; the command itself adds to it while it runs."""

    outcome: str = SUCCESS
    reason: str = ""
    details: dict[str, str] = field(default_factory=dict)
    deleted: list[Deleted] = field(default_factory=list)

    def tell(self, **counts: int) -> None:
        """Add numbers by their names."""
        self.details |= {name: str(count) for name, count in counts.items()}

    def fail(self, why: str, outcome: str = MINOR) -> None:
        """It was not done, or not all of it."""
        self.outcome, self.reason = outcome, why


@contextmanager
def recorded(
    settings: Config, kind: str, *, query: str = "", destination: str = "", **details: str
) -> Iterator[Deed]:
    """Have a command's event recorded at its end, SIGTERM too. `query` is base64; for the main thread."""
    deed = Deed(details=details)
    fault: BaseException | None = None
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        yield deed
    except BaseException as exc:
        fault = exc
        _note(deed, exc)
        raise
    finally:
        event = Event(
            kind,
            deed.outcome,
            operator(),
            settings.fhir.base_url,
            query=query,
            destination=destination,
            reason=deed.reason,
            details={**deed.details, **_place()},
        )
        events = [*deletions(settings, deed.deleted), event]
        record(settings, events, aloud=not isinstance(fault, PacsbridgeError))
        signal.signal(signal.SIGTERM, before)


def _terminated(number: int, _frame: FrameType | None) -> NoReturn:
    """As a shell tells it: what is under way is closed in order."""
    sys.exit(128 + number)


def record(settings: Config, events: Iterable[Event], *, aloud: bool = True) -> None:
    """Append events to the log; where that fails the command goes on, and says so unless not `aloud`."""
    try:
        log = opening.open_audit_log(settings)
        if log is None:
            return
        try:
            rest = iter(events)
            while some := list(islice(rest, _TOGETHER)):
                log.append(some, opening.now())
        finally:
            log.close()
    except PacsbridgeError as exc:
        if aloud:
            click.echo(f"pacsbridge: not in the audit log: {exc}", err=True)


def deletions(settings: Config, studies: Iterable[Deleted]) -> Iterator[Event]:
    """The events of studies that a command has found to be no longer there."""
    return (deletion(one, settings, operator()) for one in studies)


class Imported:
    """Counts what an import stores of each study, and tells it: one event for a study and its patient."""

    def __init__(self, settings: Config, store: Store, publication: Publication) -> None:
        self._settings = settings
        self._publication = publication
        self._completion = Completion(store, publication)
        self.conflicts = tally(settings, lambda facts: reference(facts, publication))
        self._studies: Counter[tuple[str, str]] = Counter()

    def count(self, facts: Facts | None) -> None:
        """An instance was stored, or was there already; None: neither."""
        if facts is None:
            return
        patient = reference(facts.patient, self._publication)
        self._studies[facts.study["uid"], patient] += 1
        if len(self._studies) >= _MOST_STUDIES:
            self.tell()

    def tell(self) -> None:
        """Record what has been counted."""
        who, server = operator(), self._settings.fhir.base_url
        events = (
            self._complete(Event("import", SUCCESS, who, server, patient, study=study, instances=count))
            for (study, patient), count in self._studies.items()
        )
        conflicts = (replace(one, who=who) for one in self.conflicts.events())
        record(self._settings, chain(events, map(self._complete, conflicts)))
        self._studies.clear()

    def _complete(self, event: Event) -> Event:
        """With what the store knows; as it is while that is away."""
        try:
            return self._completion(event)
        except PacsbridgeError:
            return event


@contextmanager
def importing(settings: Config, store: Store) -> Iterator[Imported]:
    """Counts what an import stores, and tells it at the end, however it ends. Raises Misconfigured."""
    imported = Imported(settings, store, wiring.publication(settings, opening.id_key(settings, store)))
    store.clashed = imported.conflicts.add
    try:
        yield imported
    finally:
        imported.tell()


def operator() -> Who:
    """Who called a command: the user of the operating system that it runs as."""
    return Who(client="pacsbridge", user=_name(os.getuid()))


def _place() -> dict[str, str]:
    """The machine, and as whom the caller had logged in to it where that is known and somebody else."""
    told = {"host": socket.gethostname()}
    try:
        number = int(_LOGIN.read_text())
    except (OSError, ValueError):
        return told
    return told if number in (_NOBODY, os.getuid()) else told | {"login": _name(number)}


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _note(deed: Deed, fault: BaseException) -> None:
    """What an exception stands for."""
    if isinstance(fault, SystemExit):
        if fault.code:
            deed.fail(deed.reason or f"exit code {fault.code}")
    elif isinstance(fault, Exception):
        deed.fail((isinstance(fault, OSError) and fault.strerror) or reason(fault), SERIOUS)
    else:
        deed.fail("interrupted")
