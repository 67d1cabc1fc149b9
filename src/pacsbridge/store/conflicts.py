"""The conflicts of a batch: which content stands, what is on record of it, and what is to be told."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, select

from pacsbridge.kernel.attributes import TRUNCATED
from pacsbridge.kernel.conflicts import Clash, Done, Policy, Ruling, is_other_patient
from pacsbridge.kernel.model import Conflict, Level, Values
from pacsbridge.store import schema
from pacsbridge.store.findings import bury, unbury
from pacsbridge.store.records import Arrival, DeadLetter
from pacsbridge.store.texts import indexed

ASIDE = "conflict"
"""The kind of dead letters of instances that are put aside."""

CONTENT = "content"
"""The field name of a conflict about the bytes of an instance: its SHA-256 before and after."""

REASON = "other content is held under this SOP Instance UID"


@dataclass(frozen=True, slots=True)
class Holder:
    """What a batch must know of an instance that is there already."""

    study: str
    series: str
    sha256: bytes
    source: str


class Conflicts:
    """Collects the conflicts of one batch; `clashes` are for the audit log, once the batch is committed."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._rows: list[dict[str, Any]] = []
        self._aside: list[Arrival] = []
        self._chosen: list[Arrival] = []
        self.clashes: list[Clash] = []

    def record(self, arrival: Arrival, conflicts: Iterable[Conflict], now: int, study: str = "") -> None:
        """What an instance says differs from what is known, of its own study unless of another one."""
        self._rows.extend(
            {
                "study_uid": study or arrival.facts.study["uid"],
                "instance_uid": arrival.facts.instance["uid"],
                "level": conflict.level,
                "field": conflict.field,
                "known": orjson.dumps(conflict.known).decode(),
                "new": orjson.dumps(conflict.new).decode(),
                "at": now,
            }
            for conflict in conflicts
        )

    def moved(self, arrival: Arrival, patient: Values, now: int) -> None:
        """The study of an instance belonged to another patient before, of whom these are the facts."""
        known, new = patient.get("key"), arrival.facts.patient.get("key")
        self.record(arrival, [Conflict(Level.STUDY, "patient", known, new)], now)
        self._tell(Done.MOVED, arrival, arrival.facts.study["uid"], patient, ["patient"])

    def judge(self, arrival: Arrival, held: Holder, patient: Values, now: int) -> bool:
        """Whether an instance takes the place of the one held with other content; on record either way.

        patient: the facts of the one whose study is held.
        """
        values = _values(arrival, held, patient)
        apart = [name for name, (known, new) in values.items() if _differ(name, known, new)]
        done = self._done(arrival, held)
        stays = done in (Done.KEPT, Done.REFUSED)
        found = (Conflict(Level.INSTANCE, name, *values[name]) for name in apart)
        self.record(arrival, found, now, held.study if stays else "")
        self._tell(done, arrival, held.study, patient, apart)
        if stays:
            self._aside.append(arrival)
        elif done is Done.CHOSEN:
            self._chosen.append(arrival)
        return not stays

    def admits(self, arrival: Arrival) -> bool:
        """Whether an instance is taken of whose UID nothing is held: one that was refused remains so."""
        if arrival.ruling is Ruling.REFUSED:
            self._aside.append(arrival)
        return arrival.ruling is not Ruling.REFUSED

    def _done(self, arrival: Arrival, held: Holder) -> Done:
        if arrival.ruling is not Ruling.NONE:
            return _RULED[arrival.ruling]
        if TRUNCATED in arrival.facts.issues or not self._policy.lets(held.source, arrival.source):
            return Done.KEPT
        return Done.REPLACED

    def _tell(self, done: Done, arrival: Arrival, study: str, patient: Values, apart: Sequence[str]) -> None:
        self.clashes.append(Clash(done, arrival.source, arrival.sender, study, patient, apart))

    def write(self, connection: Connection, now: int) -> None:
        """Put all of it on record."""
        if self._rows:
            connection.execute(schema.conflict.insert(), self._rows)
        for one in self._aside:
            bury(connection, letter(one.facts.instance["uid"], one.source, one.location), now)
        for one in self._chosen:
            unbury(connection, ASIDE, [one.facts.instance["uid"]], one.source)


def letter(uid: str, source: str, location: str | None) -> DeadLetter:
    """The dead letter of an instance that is put aside: its bytes are at a location of the packs."""
    return DeadLetter(ASIDE, uid, REASON, source, location)


def put_aside(connection: Connection, uid: str, source: str) -> str | None:
    """Where the latest bytes are that a source has sent under a UID and that were put aside."""
    c = schema.dead_letter.c
    query = select(c.location).where(c.kind == ASIDE, c.key == indexed(uid), c.source == indexed(source))
    return connection.execute(query).scalar()


_RULED: Mapping[Ruling, Done] = {Ruling.REFUSED: Done.REFUSED, Ruling.CHOSEN: Done.CHOSEN}


def _values(arrival: Arrival, held: Holder, patient: Values) -> dict[str, tuple[Any, Any]]:
    """What is held and what the instance says, by what they may differ in."""
    facts = arrival.facts
    return {
        CONTENT: (held.sha256.hex(), arrival.sha256.hex()),
        "series": (held.series, facts.series["uid"]),
        "study": (held.study, facts.study["uid"]),
        "patient": (patient.get("key"), facts.patient.get("key")),
    }


def _differ(name: str, known: Any, new: Any) -> bool:
    return is_other_patient(known, new) if name == "patient" else known != new
