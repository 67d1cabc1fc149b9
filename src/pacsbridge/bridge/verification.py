"""Whether the index, the stored bytes and the published documents agree; nothing is changed.

    packs → index       every record is as it was written, and indexed, superseded, or on record as unusable
    index → packs       every indexed instance is in its place, with its length and digest
    facts → documents   every published study lists the instances that there are, and refers to what there is
    facts → listings    C-FIND and QIDO-RS answer of every published study what its facts say
    documents → index   every published resource is found by what it says
    reports → index     studies of archives are found by the instances that the archives tell of
    index → counts      no fewer arrivals are counted than there are, and encodings are those of instances

It may run beside a process that writes: the index is compared with positions that were read before it, so
that what arrives meanwhile is no finding, and a study that changes meanwhile is left out.
"""

import io
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from pacsbridge.blobs.inspection import Inspected, Inspection
from pacsbridge.blobs.location import position
from pacsbridge.bridge.documents import contradictions, references
from pacsbridge.bridge.publish import drafts, listing
from pacsbridge.bridge.sources import Source
from pacsbridge.dicom.opening import encoding_in, named_in
from pacsbridge.dicom.reader import read_header
from pacsbridge.errors import Absent, Gone, PacsbridgeError
from pacsbridge.kernel.extract import extract
from pacsbridge.kernel.publication import Publication
from pacsbridge.store.inventory import PAGE, Body, Indexed, Shown, Uncounted
from pacsbridge.store.records import Due
from pacsbridge.store.store import Store

KINDS: Mapping[str, str] = {
    "damaged": "stored bytes are not those that were written",
    "lost-pack": "a pack that has been indexed is gone, or shorter than it was",
    "missing": "an indexed instance is not in its place",
    "differs": "what is stored has another length or digest than the index says",
    "erased": "an indexed instance has been erased",
    "origin": "from where, when or how encoded an instance came is not what is stored with it",
    "not-indexed": "a stored instance is neither indexed nor on record as refused",
    "not-referenced": "a large instance that no pack refers to",
    "not-published": "a study is settled, and nothing is published of it",
    "contradicts": "what is published of a study is not what its facts say",
    "dangling": "a published resource refers to one that is not there",
    "no-facts": "a study is published of which there are no facts",
    "listing": "what C-FIND and QIDO-RS answer of a study is not what its facts say",
    "search": "what a published resource is searched by is not what it says",
    "reported": "a study of an archive is found by other instances than the archive tells of",
    "encoding": "what C-GET prefers for a SOP class is not how its instances are encoded",
    "arrivals": "fewer instances are counted for an hour than there are",
}
"""Every kind of finding."""

REBUILT = frozenset(
    {"not-indexed", "origin", "contradicts", "dangling", "no-facts", "listing", "search"}
    | {"reported", "encoding", "arrivals"}
)
"""Those that a new index from the stored instances mends."""

RESTORED = frozenset({"damaged", "lost-pack", "missing", "differs"})
"""Those for which the bytes have to come from elsewhere."""

_ORIGIN = {"syntax": "transfer_syntax", "source": "source", "received": "received"}
"""What stands in the head of a record → the same in the index."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: its kind, the UID or id that it is about, where, and more in words."""

    kind: str
    uid: str = ""
    place: str = ""
    detail: str = ""


@dataclass(slots=True)
class Checked:
    """What has been looked at; `waiting` are records that the next start, or `serve`, will index."""

    records: int = 0
    instances: int = 0
    studies: int = 0
    resources: int = 0
    waiting: int = 0


class Verification:
    """One run over a deployment. `checksum`: read and compare every stored byte, too.

    `advance` is told of every byte of the packs that has been passed. Raises Unavailable, Misconfigured.
    """

    def __init__(
        self,
        store: Store,
        inspection: Inspection,
        publication: Publication,
        *,
        checksum: bool = True,
        advance: Callable[[int], None] = lambda _bytes: None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self.checked = Checked()
        self._store = store
        self._inspection = inspection
        self._publication = publication
        self._checksum = checksum
        self._advance = advance
        self._clock = clock
        self._unheld: set[tuple[str, str]] = set()
        self._faults: dict[str, Inspected] = {}

    def findings(self) -> Iterator[Finding]:
        """All that is wrong."""
        encodings = self._store.inventory.encodings()
        self._unheld |= encodings.noted - encodings.held
        yield from (_encoding(pair, "not noted") for pair in sorted(encodings.held - encodings.noted))
        yield from self._packs()
        yield from (_encoding(pair, "there is none") for pair in sorted(self._unheld))
        yield from self._instances()
        yield from (_damage(one, "") for one in self._faults.values())
        yield from (Finding("not-referenced", place=name) for name in self._inspection.unreferenced())
        yield from self._studies()
        yield from (Finding("no-facts", uid) for uid in self._store.inventory.groundless())
        yield from self._resources()
        yield from map(_uncounted, self._store.inventory.uncounted(self._clock()))

    # packs → index

    def _packs(self) -> Iterator[Finding]:
        done = self._store.checkpoints()
        sizes = dict(self._inspection.packs())
        for pack, reached in done.items():
            if sizes.get(pack, 0) < reached:
                detail = f"{reached} bytes have been indexed, {sizes.get(pack, 0)} are there"
                yield Finding("lost-pack", place=pack, detail=detail)
        for pack, size in sizes.items():
            records = self._inspection.records(pack, checksum=self._checksum)
            while some := list(islice(records, PAGE)):
                yield from self._records(some, done.get(pack, 0))
            self._advance(size)

    def _records(self, records: Sequence[Inspected], reached: int) -> Iterator[Finding]:
        """Damage that has a location is kept until the index has told whose it is."""
        self.checked.records += len(records)
        for one in records:
            if one.fault is not None and one.location:
                self._faults[one.location] = one
            elif one.fault is not None:
                yield _damage(one, "")
            if self._unheld:
                self._unheld.discard(encoding_in(one.prelude))
        whole = {one.location: named_in(one.prelude) for one in records if one.fault is None}
        known = self._store.inventory.named(list(set(whole.values())))
        unknown = {place: uid for place, uid in whole.items() if uid not in known}
        yield from self._unknown(unknown, reached)

    def _unknown(self, records: Mapping[str, str], reached: int) -> Iterator[Finding]:
        """Records (location → UID) whose instances are not indexed under those UIDs."""
        late = {place: uid for place, uid in records.items() if position(place).start < reached}
        self.checked.waiting += len(records) - len(late)
        if not late:
            return
        recorded = self._store.inventory.unusable([*late, *late.values()])
        for place, uid in late.items():
            if not {place, uid} & recorded and not self._known_inside(place):
                yield Finding("not-indexed", uid, place)

    def _known_inside(self, location: str) -> bool:
        """Whether the instance is indexed under the UID of its data set, should its head have another."""
        try:
            blob = self._inspection.blob(location)
            with blob.path.open("rb") if not blob.offset else io.BytesIO(blob.read()) as file:
                facts = extract(read_header(file).attributes, Source("", "").context)
        except PacsbridgeError:
            return False
        return bool(self._store.inventory.named([facts.instance["uid"]]))

    # index → packs

    def _instances(self) -> Iterator[Finding]:
        for some in self._store.inventory.instances():
            self.checked.instances += len(some)
            found = [finding for one in some if (finding := self._instance(one))]
            erased = [one.uid for one in found if one.kind == "erased"]
            expired = self._store.inventory.expired(erased) if erased else set()
            yield from (one for one in found if one.kind != "erased" or one.uid not in expired)

    def _instance(self, one: Indexed) -> Finding | None:
        fault = self._faults.pop(one.location, None)
        if fault is not None:
            return _damage(fault, one.uid)
        try:
            blob, head = self._inspection.entry(one.location)
        except Gone:
            return Finding("erased", one.uid, one.location)
        except Absent:
            return Finding("missing", one.uid, one.location)
        if (blob.length, blob.sha256) != (one.size, one.sha256):
            return Finding("differs", one.uid, one.location)
        if head is None:
            return Finding("damaged", one.uid, one.location)
        other = [column for name, column in _ORIGIN.items() if head.get(name) != getattr(one, column)]
        return Finding("origin", one.uid, one.location, ", ".join(other)) if other else None

    # facts → documents

    def _studies(self) -> Iterator[Finding]:
        for some in self._store.inventory.studies():
            self.checked.studies += len(some)
            astray = self._store.inventory.misreported([one.pk for one in some])
            yield from (Finding("reported", one.uid) for one in some if one.pk in astray)
            settled = [one for one in some if one.settled]
            found = list(self._shown(settled))
            now = self._store.inventory.revisions([one.pk for one, _finding in found]) if found else {}
            yield from (finding for one, finding in found if now.get(one.pk) == one.revision)

    def _shown(self, studies: Sequence[Shown]) -> Iterator[tuple[Shown, Finding]]:
        bodies: dict[int | None, list[Body]] = {}
        for body in self._store.inventory.bodies([one.pk for one in studies]):
            bodies.setdefault(body.study, []).append(body)
        due = {one.pk: Due(one.pk, one.uid, one.revision, 0) for one in studies}
        states = self._store.study_states(list(due.values()))
        listed = self._store.inventory.differing([listing(due[pk], states[pk]) for pk in due])
        yield from ((one, Finding("listing", one.uid)) for one in studies if one.pk in listed)
        for one in studies:
            there = bodies.get(one.pk, [])
            said = drafts(due[one.pk], states[one.pk], self._publication)
            wanted = next((d.content for d in said if d.type == "ImagingStudy" and d.content), None)
            if wanted is not None and not there:
                yield one, Finding("not-published", one.uid)
            for body in there:
                yield from (
                    (one, Finding("contradicts", one.uid, body.id, word))
                    for word in contradictions(body.body, wanted)
                )
        yield from self._dangling(studies, bodies)

    def _dangling(
        self, studies: Iterable[Shown], bodies: Mapping[int | None, Sequence[Body]]
    ) -> Iterator[tuple[Shown, Finding]]:
        named = {one: references(body.body for body in bodies.get(one.pk, ())) for one in studies}
        wanted: dict[str, set[str]] = {}
        for type_, id_ in set().union(*named.values()):
            wanted.setdefault(type_, set()).add(id_)
        there = {
            (type_, id_)
            for type_, ids in wanted.items()
            for id_ in self._store.inventory.published(type_, list(ids))
        }
        for one, targets in named.items():
            for type_, id_ in sorted(targets - there):
                yield one, Finding("dangling", one.uid, f"{type_}/{id_}")

    # documents → index

    def _resources(self) -> Iterator[Finding]:
        for some in self._store.inventory.findable():
            self.checked.resources += len(some)
            for one in some:
                if one.faults:
                    yield Finding("search", one.uid, f"{one.type}/{one.id}", ", ".join(one.faults))


def _damage(one: Inspected, uid: str) -> Finding:
    place = one.location or f"{one.pack} from byte {one.start} to {one.end}"
    return Finding("damaged", uid or named_in(one.prelude), place, one.fault or "")


def _encoding(pair: tuple[str, str], detail: str) -> Finding:
    return Finding("encoding", place=" ".join(pair), detail=detail)


def _uncounted(one: Uncounted) -> Finding:
    hour = datetime.fromtimestamp(one.hour * 3600, UTC).strftime("%Y-%m-%dT%HZ")
    return Finding("arrivals", place=f"{hour} {one.source}", detail=f"{one.counted} of {one.there}")
