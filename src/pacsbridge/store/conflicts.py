"""The conflicts of a batch: which content stands, what is on record of it, and what is to be told."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import orjson
from sqlalchemy import Connection, exists, or_, select

from pacsbridge.kernel.attributes import TRUNCATED
from pacsbridge.kernel.conflicts import Clash, Done, Policy, Ruling, is_other_patient
from pacsbridge.kernel.model import Conflict, Level, Values
from pacsbridge.store import schema
from pacsbridge.store.findings import bury, unbury
from pacsbridge.store.records import Arrival, DeadLetter, Standing
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
    received: int


class Conflicts:
    """Collects the conflicts of one batch; `clashes` are for the audit log, once the batch is committed."""

    def __init__(self, connection: Connection, policy: Policy) -> None:
        self._connection = connection
        self._policy = policy
        self._rows: list[dict[str, Any]] = []
        self._letters: list[Callable[[int], object]] = []
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

        patient: the facts of the one whose study is held. What was received at the same moment counts in the
        order in which it is judged.
        """
        if arrival.received < held.received:
            self._look_back(arrival, held, patient, now)
            return False
        done = self._done(arrival, held)
        self._put_on_record(done, arrival, held, patient, now)
        return done in (Done.REPLACED, Done.CHOSEN)

    def _look_back(self, arrival: Arrival, held: Holder, patient: Values, now: int) -> None:
        """An instance that is older than the one held takes nobody's place.

        Where it was read again, what came of it is on record. Otherwise it is seen too late: it is put aside,
        unless the one held would have taken its place.
        """
        if self._is_on_record(arrival):
            return
        if arrival.ruling is Ruling.REFUSED:
            self._put_on_record(Done.REFUSED, arrival, held, patient, now)
        elif not self._policy.lets(arrival.source, held.source):
            self._put_on_record(Done.KEPT, arrival, held, patient, now)
        else:
            found = _apart(arrival, held, patient)
            turned = [replace(one, known=one.new, new=one.known) for one in found]
            self.record(arrival, turned, now, held.study)

    def _put_on_record(self, done: Done, arrival: Arrival, held: Holder, patient: Values, now: int) -> None:
        found = _apart(arrival, held, patient)
        stays = done in (Done.KEPT, Done.REFUSED)
        self.record(arrival, found, now, held.study if stays else "")
        self._tell(done, arrival, held.study, patient, [one.field for one in found])
        if stays:
            self._put_aside(arrival)
        elif done is Done.CHOSEN:
            uids = [arrival.facts.instance["uid"]]
            self._letters.append(lambda _now: unbury(self._connection, ASIDE, uids, arrival.source))

    def admits(self, arrival: Arrival) -> bool:
        """Whether an instance is taken of whose UID nothing is held: one that was refused remains so."""
        if arrival.ruling is Ruling.REFUSED:
            self._put_aside(arrival)
        return arrival.ruling is not Ruling.REFUSED

    def _is_on_record(self, arrival: Arrival) -> bool:
        """Whether a conflict names the content of an instance."""
        uid, content = arrival.facts.instance["uid"], orjson.dumps(arrival.sha256.hex()).decode()
        if any(row["instance_uid"] == uid and content in (row["known"], row["new"]) for row in self._rows):
            return True
        c = schema.conflict.c
        named = (c.instance_uid == uid, c.field == CONTENT, or_(c.known == content, c.new == content))
        return bool(self._connection.execute(select(exists().where(*named))).scalar())

    def _done(self, arrival: Arrival, held: Holder) -> Done:
        if arrival.ruling in _RULED:
            return _RULED[arrival.ruling]
        lets = arrival.ruling is Ruling.REPLACES or self._policy.lets(held.source, arrival.source)
        return Done.REPLACED if lets and TRUNCATED not in arrival.facts.issues else Done.KEPT

    def _tell(self, done: Done, arrival: Arrival, study: str, patient: Values, apart: Sequence[str]) -> None:
        self.clashes.append(Clash(done, arrival.source, arrival.sender, study, patient, apart))

    def _put_aside(self, arrival: Arrival) -> None:
        one = letter(arrival.facts.instance["uid"], arrival.source, arrival.location)
        self._letters.append(partial(bury, self._connection, one))

    def write(self, now: int) -> None:
        """Put all of it on record, in the order in which it was judged."""
        if self._rows:
            self._connection.execute(schema.conflict.insert(), self._rows)
        for write in self._letters:
            write(now)


def letter(uid: str, source: str, location: str | None) -> DeadLetter:
    """The dead letter of an instance that is put aside: its bytes are at a location of the packs."""
    return DeadLetter(ASIDE, uid, REASON, source, location)


def later(now: int, held: Standing | None) -> int:
    """When an instance counts as received: after what is held, though the clock may have been put back."""
    return now if held is None else max(now, held.received + 1)


def replacing(held: Standing | None, source: str) -> Ruling:
    """What is kept with an instance that takes the place of what is held."""
    return Ruling.NONE if held is None or held.source == source else Ruling.REPLACES


def put_aside(connection: Connection, uid: str, source: str) -> str | None:
    """Where the latest bytes are that a source has sent under a UID and that were put aside."""
    c = schema.dead_letter.c
    query = select(c.location).where(c.kind == ASIDE, c.key == indexed(uid), c.source == indexed(source))
    return connection.execute(query).scalar()


_RULED: Mapping[Ruling, Done] = {Ruling.REFUSED: Done.REFUSED, Ruling.CHOSEN: Done.CHOSEN}


def _apart(arrival: Arrival, held: Holder, patient: Values) -> Sequence[Conflict]:
    """What an instance differs in from the one that is held."""
    facts = arrival.facts
    values = {
        CONTENT: (held.sha256.hex(), arrival.sha256.hex()),
        "series": (held.series, facts.series["uid"]),
        "study": (held.study, facts.study["uid"]),
        "patient": (patient.get("key"), facts.patient.get("key")),
    }
    return [Conflict(Level.INSTANCE, name, *pair) for name, pair in values.items() if _differ(name, *pair)]


def _differ(name: str, known: Any, new: Any) -> bool:
    return is_other_patient(known, new) if name == "patient" else known != new
