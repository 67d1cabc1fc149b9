"""The one way in: read the header, make the instance durable, hand it to the indexer.

    adopt    header → facts → checks → pack (one sync for all that wait) → return: the caller may say success
    index    whatever is durable and not yet indexed → one transaction, with the pack positions it reaches

An instance is safe once it is in a pack, so the index may follow a moment later: after a crash, `recover`
reads again what lies behind the indexed positions. A re-sent instance is recognised before it is written.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import structlog

from pacsbridge import metrics
from pacsbridge.blobs.location import position
from pacsbridge.blobs.packs import Committed, Packs
from pacsbridge.blobs.replay import Entry
from pacsbridge.blobs.spool import Spool
from pacsbridge.bridge.indexer import Indexer, Pending
from pacsbridge.bridge.sources import Source
from pacsbridge.dicom.part10 import part10_head
from pacsbridge.dicom.reader import DEFAULT, Header, Limits, read_header
from pacsbridge.errors import (
    Absent,
    Conflicting,
    Mismatch,
    NotUnderstood,
    PacsbridgeError,
    Refused,
    Unavailable,
    reason,
)
from pacsbridge.kernel.audit import Who
from pacsbridge.kernel.conflicts import Policy, Ruling
from pacsbridge.kernel.extract import extract
from pacsbridge.kernel.model import Facts
from pacsbridge.store.conflicts import REASON, later, letter, replacing
from pacsbridge.store.records import Arrival, DeadLetter, Standing
from pacsbridge.store.store import Store

log = structlog.get_logger("pacsbridge.bridge")

LOOK_SECONDS = 60.0
"""How often packs are looked for that a killed process has left behind."""

_RECOVERY_SECONDS = 60
_UID = frozenset("0123456789.")

Content = bytes | bytearray | memoryview
"""An encoded data set in memory."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """One instance as it arrives.

    `dataset` is the encoded data set without preamble and file meta, or a spool whose file begins with the
    Part 10 head (see `spool`). The UIDs are what the command claims, None where there was no command. `head`
    is kept instead of a Part 10 head of our own (files that are DICOM and TIFF at once need theirs). `label`
    is the key of its dead letter where no command names the instance. `sender` is for the audit log.
    `ruling`: what is decided already, should other content be held under its UID.
    """

    dataset: Content | Spool
    transfer_syntax_uid: str
    source: Source
    sop_class_uid: str | None = None
    sop_instance_uid: str | None = None
    head: bytes | None = None
    label: str = ""
    sender: Who | None = None
    ruling: Ruling = Ruling.NONE

    @property
    def key(self) -> str:
        """What a dead letter calls it."""
        return self.sop_instance_uid or self.label


class Adopted(NamedTuple):
    """What was taken in; not `new`: it was there already, with the same content."""

    facts: Facts
    new: bool


class Intake:
    """Takes instances in from any thread.

    `source_of` finds a source again by its URI when instances are read from the packs; `clock` gives
    microseconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        data_dir: Path,
        source_of: Callable[[str], Source],
        clock: Callable[[], int],
        *,
        limits: Limits = DEFAULT,
        look_seconds: float = LOOK_SECONDS,
        **pack_options: Any,
    ) -> None:
        self._store = store
        self._source_of = source_of
        self._clock = clock
        self._limits = limits
        self.indexer = Indexer(store, clock)
        self.packs = Packs(data_dir, committed=self._committed, **pack_options)
        self.damaged = 0
        self._claims: dict[str, bytes] = {}
        self._look_seconds = look_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look_after, name="recovery", daemon=True)

    def start(self, *, look: bool = False) -> None:
        """Index what a crash left behind in the packs, then whatever comes.

        Returns when that is done: nobody should miss what was acknowledged before. `look`: take over what
        other processes leave behind later, too.
        """
        self.indexer.start()
        count = self.recover()
        if count:
            indexed = self.indexer.drain(_RECOVERY_SECONDS)
            log.info("recovered", instances=count, outcome="indexed" if indexed else "still being indexed")
        if look:
            self._thread.start()

    def stop(self, timeout: float = 30) -> None:
        """Refuse what comes; index what waits."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self.packs.close()
        self.indexer.stop()

    def adopt(self, incoming: Incoming) -> Adopted:
        """Make one instance durable; once this returns it survives a crash and a power cut.

        Raises NotUnderstood, Mismatch, TooLarge for what is bad (it is then on record as a dead letter),
        Conflicting for other content under a known UID where that is refused (it is then put aside), and
        Unavailable when it cannot be kept now. A spool is spent or discarded either way.
        """
        try:
            with metrics.INTAKE_SECONDS.time():
                return self._adopt(incoming)
        except Conflicting:
            raise
        except Refused as exc:
            self.refuse(incoming.key, incoming.source, str(exc))
            raise
        except PacsbridgeError:
            raise
        except Exception as exc:
            self.refuse(incoming.key, incoming.source, reason(exc))
            raise
        finally:
            if isinstance(incoming.dataset, Spool):
                incoming.dataset.discard()

    def refuse(self, key: str, source: Source, why: str) -> None:
        """Put on record that something was refused, and why. The caller answers and logs it."""
        try:
            self._store.bury(DeadLetter("refused", key, why, source.uri), self._clock())
        except PacsbridgeError as exc:
            uid = None if set(key) - _UID else key  # a path may name a patient
            log.error("refusal_not_recorded", uid=uid, reason=str(exc))

    def spool(
        self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, head: bytes | None = None
    ) -> Spool:
        """A file for a large instance while it is received; its Part 10 head stands in it already."""
        return self.packs.spool(head or part10_head(sop_class_uid, sop_instance_uid, transfer_syntax_uid))

    def header(self, content: Content | BinaryIO, transfer_syntax_uid: str | None, source: Source) -> Header:
        """The header of an instance of a source, within the limits.

        `transfer_syntax_uid` None: the content begins with its Part 10 head. Raises NotUnderstood, TooLarge.
        """
        return read_header(content, transfer_syntax_uid, source.charset, self._limits)

    def _adopt(self, incoming: Incoming) -> Adopted:
        facts = self._incoming_facts(incoming)
        _check(facts, incoming)
        uid, digest = facts.instance["uid"], _digest(incoming.dataset)
        with self._claimed(uid, digest) as first:
            held = self._standing(uid, digest, incoming.source.uri)
            if held is not None and held.sha256 == digest:
                return Adopted(facts, new=False)
            self.indexer.admit()
            if self._may_stand(incoming, held, first=first):
                ruling = incoming.ruling or replacing(held, incoming.source.uri)
                self._keep(replace(incoming, ruling=ruling), facts, digest, held)
                return Adopted(facts, new=True)
            return self._put_aside(incoming, facts, digest, held)

    @contextmanager
    def _claimed(self, sop_uid: str, digest: bytes) -> Iterator[bool]:
        """While an instance is being taken: whether no other content is, under the same UID."""
        claimed = self._claims.setdefault(sop_uid, digest)
        try:
            yield claimed == digest
        finally:
            if claimed == digest:
                self._claims.pop(sop_uid, None)

    def _may_stand(self, incoming: Incoming, held: Standing | None, *, first: bool) -> bool:
        """Whether an instance may take its place; the index has the last word."""
        if incoming.ruling is Ruling.CHOSEN:
            return True
        policy = self._store.policy
        if held is None:
            return first or policy is not Policy.REFUSE
        return policy.lets(held.source, incoming.source.uri)

    def _put_aside(self, incoming: Incoming, facts: Facts, digest: bytes, held: Standing | None) -> Adopted:
        """Keep what takes nobody's place; the same again is only counted. Conflicting where it is refused."""
        refused = self._store.policy is Policy.REFUSE
        known = self._is_aside(facts.instance["uid"], incoming.source.uri, digest)
        if not known:
            ruling = Ruling.REFUSED if refused else Ruling.NONE
            self._keep(replace(incoming, ruling=ruling), facts, digest, held)
        if refused:
            raise Conflicting(REASON)
        return Adopted(facts, new=not known)

    def _is_aside(self, sop_uid: str, source: str, digest: bytes) -> bool:
        location = self._store.put_aside(sop_uid, source)
        try:
            aside = location is not None and self.packs.open(location).sha256 == digest
        except Absent:
            return False
        if aside:
            self._store.bury(letter(sop_uid, source, location), self._clock())
        return aside

    def choose(self, location: str, source_uri: str, sop_uid: str) -> None:
        """Let an instance that was put aside take the place of what is held under its UID.

        Raises Absent where its bytes are gone or damaged, Mismatch where they are another's, Unavailable.
        """
        blob, source = self.packs.open(location), self._source_of(source_uri)
        if not blob.verify():
            raise Absent("its stored bytes are damaged")
        head = b"".join(blob.chunks(stop=blob.prelude_size))
        with self.packs.spool(head) as spool:
            for piece in blob.chunks(start=blob.prelude_size):
                spool.write(piece)
            with spool.file() as file:
                header = self.header(file, None, source)
            if extract(header.attributes, source.context).instance["uid"] != sop_uid:
                raise Mismatch("another instance stands where this one was put")
            self.adopt(Incoming(spool, header.transfer_syntax_uid, source, ruling=Ruling.CHOSEN))

    def _incoming_facts(self, incoming: Incoming) -> Facts:
        if not isinstance(incoming.dataset, Spool):
            return self._facts(incoming.dataset, incoming.transfer_syntax_uid, incoming.source)
        with incoming.dataset.file() as file:
            return self._facts(file, None, incoming.source)

    def _facts(self, content: Content | BinaryIO, transfer_syntax_uid: str | None, source: Source) -> Facts:
        return extract(self.header(content, transfer_syntax_uid, source).attributes, source.context)

    def _standing(self, sop_uid: str, digest: bytes, source: str) -> Standing | None:
        """What waits for the index under a UID, or stands in it.

        The same of another source that waits may yet be put aside: it says nothing of this one.
        """
        waiting = self.indexer.waiting(sop_uid)
        if waiting is not None and (waiting.sha256 != digest or waiting.source == source):
            return waiting
        return self._store.standing(sop_uid)

    def _keep(self, incoming: Incoming, facts: Facts, digest: bytes, held: Standing | None) -> None:
        received = later(self._clock(), held)
        head = {"source": incoming.source.uri, "received": received, "syntax": incoming.transfer_syntax_uid}
        if incoming.ruling is not Ruling.NONE:
            head["ruling"] = incoming.ruling
        token = _Token(facts, incoming, received)
        if isinstance(incoming.dataset, Spool):
            self.packs.adopt(head, incoming.dataset, token=token)
            return
        instance = facts.instance
        prelude = incoming.head or part10_head(
            instance["sop_class"], instance["uid"], incoming.transfer_syntax_uid
        )
        self.packs.append(head, [incoming.dataset], prelude, digest, token)

    def _committed(self, group: Sequence[Committed]) -> None:
        self.indexer.add([one.token.pending(one) for one in group])

    def recover(self, done: Mapping[str, int] | None = None, *, live: bool = False) -> int:
        """Queue what lies in the packs behind the indexed positions; returns how many instances that is.

        What a living process writes is left to it, unless `live`. Damaged records are put on record, and
        counted in `damaged`.
        """
        indexed = self._store.checkpoints()
        self.packs.pass_over(indexed)
        entries = self.packs.replay(indexed if done is None else done, live)
        return sum(self._again(entry) for entry in entries)

    def read_again(self, locations: Iterable[str]) -> None:
        """Index stored instances again, with what stands behind them in their packs: that changes nothing.

        Raises Absent where one is no location, Unavailable.
        """
        done = dict(self._store.checkpoints())
        for place in map(position, locations):
            done[place.pack] = min(done.get(place.pack, place.start), place.start)
        self.recover(done, live=True)

    def _look_after(self) -> None:
        """Now and then take over what other processes, killed meanwhile, have left behind in their packs."""
        while not self._stopping.wait(self._look_seconds):
            try:
                if self.indexer.is_idle() and (count := self.recover()):
                    log.info("recovered", instances=count)
            except PacsbridgeError as exc:
                log.warning("recovery_waits", reason=str(exc))
            except Exception:
                log.exception("recovery_failed")

    def _again(self, entry: Entry) -> bool:
        """Queue one record; what cannot be used is put on record and passed over."""
        source = self._source_of(str(entry.head.get("source", "")))
        self.indexer.admit(timeout=600)
        arrival = None
        try:
            arrival = self._arrival(entry, source)
        except (Unavailable, OSError):
            raise
        except Exception as exc:
            self.damaged += entry.damaged
            kind, key = "damaged" if entry.damaged else "index", entry.location or entry.pack
            letter = DeadLetter(kind, key, reason(exc), source.uri, entry.location or None)
            self._store.bury(letter, self._clock())
        self.indexer.add([Pending(arrival, entry.pack, entry.end)])
        return arrival is not None

    def _arrival(self, entry: Entry, source: Source) -> Arrival:
        if entry.damaged:
            raise NotUnderstood("the stored bytes are damaged")
        blob = self.packs.open(entry.location)
        syntax = str(entry.head["syntax"])
        if blob.offset:
            facts = self._facts(blob.read(), None, source)
        else:
            with blob.path.open("rb") as file:
                facts = self._facts(file, None, source)
        received = int(entry.head["received"])
        ruling = Ruling(entry.head.get("ruling", ""))
        return Arrival(
            facts, source.uri, received, syntax, entry.location, entry.size, entry.sha256, ruling=ruling
        )


class _Token:
    """What travels through the pack's commit to the indexer."""

    __slots__ = ("_facts", "_received", "_ruling", "_sender", "_source", "_syntax")

    def __init__(self, facts: Facts, incoming: Incoming, received: int) -> None:
        self._facts = facts
        self._received = received
        self._source = incoming.source.uri
        self._syntax = incoming.transfer_syntax_uid
        self._sender = incoming.sender
        self._ruling = incoming.ruling

    def pending(self, one: Committed) -> Pending:
        """The instance, now that it has a location."""
        at = one.location
        arrival = Arrival(
            self._facts, self._source, self._received, self._syntax, at.text, at.size, at.sha256,
            self._sender, self._ruling,
        )  # fmt: skip
        return Pending(arrival, at.pack, at.end)


def _digest(dataset: Content | Spool) -> bytes:
    return dataset.sha256 if isinstance(dataset, Spool) else sha256(dataset).digest()


def _check(facts: Facts, incoming: Incoming) -> None:
    """PS3.4 B.2.3: what the command says must be what the data set is."""
    for claimed, found, name in (
        (incoming.sop_class_uid, facts.instance["sop_class"], "SOP Class"),
        (incoming.sop_instance_uid, facts.instance["uid"], "SOP Instance"),
    ):
        if claimed is not None and claimed != found:
            raise Mismatch(f"{name} UID differs between command and data set")
