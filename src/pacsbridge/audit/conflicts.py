"""Conflicts of instances, for the audit log: those of one kind are summed up, for a study is sent as a whole.

DICOM Instances Accessed (PS3.15 A.5.3), an update: somebody changes what is held of a study, or tries to. A
Security Alert has no code for it, and does not name the study and the patient whom it is about.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from pacsbridge.kernel.audit import MINOR, SERIOUS, SUCCESS, Event, Who
from pacsbridge.kernel.conflicts import Clash, Done
from pacsbridge.kernel.identity import ae_of
from pacsbridge.kernel.model import Values

SECONDS = 5.0
"""How long conflicts are summed up."""

MOST = 1_000
"""Kinds of conflicts that are summed up at the same time."""

OUTCOMES: Mapping[Done, tuple[str, str]] = {
    Done.REPLACED: (SUCCESS, "other content of the same UID takes the place of what was held"),
    Done.CHOSEN: (SUCCESS, "what had been put aside takes the place of what was held"),
    Done.KEPT: (MINOR, "other content of the same UID is put aside"),
    Done.REFUSED: (SERIOUS, "other content of the same UID is refused"),
    Done.MOVED: (SUCCESS, "a study moves to another patient"),
}
"""What came of conflicts → the outcome of their event, and its reason."""

_Key = tuple[Done, str, Who | None, str, str, str]


class Tally:
    """Counts instances by who sent them, whose study they concern, what they differ in, what came of it.

    `servers`: as what we are called by DIMSE, and by HTTP. `patient` makes the reference to one of its facts.
    """

    def __init__(self, servers: tuple[str, str], patient: Callable[[Values], str]) -> None:
        self._servers = servers
        self._patient = patient
        self._counts: Counter[_Key] = Counter()
        self.aside = 0
        """How many instances have been put aside or refused."""

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, clashes: Iterable[Clash]) -> None:
        """Some more."""
        for one in clashes:
            patient, apart = self._patient(one.patient), ", ".join(one.apart)
            self._counts[one.done, one.source, one.sender, one.study, patient, apart] += 1
            self.aside += one.done in (Done.KEPT, Done.REFUSED)

    def events(self) -> Iterator[Event]:
        """What has been counted, once."""
        counts, self._counts = self._counts, Counter()
        return (self._event(key, count) for key, count in counts.items())

    def _event(self, key: _Key, count: int) -> Event:
        done, source, sender, study, patient, apart = key
        outcome, why = OUTCOMES[done]
        title = ae_of(source)
        told = sender is not None or not title or done is Done.CHOSEN
        return Event(
            "conflict",
            outcome,
            sender if told else Who(title=title),
            self._servers[0 if title else 1],
            patient,
            study=study,
            instances=0 if done is Done.REFUSED else count,
            failed=count if done is Done.REFUSED else 0,
            reason=why,
            details={"done": done.value, "differs in": apart, "source": source},
        )


class Conflicts:
    """Hears of conflicts from any thread, and records what they come to a few seconds later."""

    def __init__(self, record: Callable[[Event], object], tally: Tally, seconds: float = SECONDS) -> None:
        self._record = record
        self._tally = tally
        self._seconds = seconds
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def found(self, clashes: Sequence[Clash]) -> None:
        """There are some more."""
        with self._lock:
            self._tally.add(clashes)
            if self._timer is None:
                self._timer = threading.Timer(self._seconds, self.tell)
                self._timer.daemon = True
                self._timer.start()
            many = len(self._tally) >= MOST
        if many:
            self.tell()

    def tell(self) -> None:
        """Record what has been counted so far."""
        with self._lock:
            events = list(self._tally.events())
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        for event in events:
            self._record(event)
