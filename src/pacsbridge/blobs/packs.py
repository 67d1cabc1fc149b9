"""The blob store: instances made durable in packs, read back, read again, and discarded."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from pacsbridge.blobs.blob import Blob
from pacsbridge.blobs.folders import make_folder, unavailable
from pacsbridge.blobs.group import GroupCommit
from pacsbridge.blobs.location import Location, Position
from pacsbridge.blobs.lookup import Lookup
from pacsbridge.blobs.objects import Objects
from pacsbridge.blobs.record import REFERENCE, Buffer, Draft, draft, encode_head
from pacsbridge.blobs.replay import Entry, Replay
from pacsbridge.blobs.space import NEVER, Space, Watermark
from pacsbridge.blobs.spool import Spool, remove_leftovers
from pacsbridge.blobs.writer import PackWriter, begin
from pacsbridge.blobs.writes import Writes
from pacsbridge.errors import Unavailable

log = structlog.get_logger("pacsbridge.blobs")

PACK_BYTES = 256 << 20
MIN_FREE_BYTES = 1 << 30
GROUP_BYTES = 16 << 20
"""What one sync makes durable at most, unless one record alone is larger."""

ORPHAN_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Committed:
    """A record that has become durable: where, its head, and the token that the caller passed along."""

    location: Location
    head: Mapping[str, Any]
    token: Any


@dataclass(slots=True)
class _Pending:
    """A record on its way; `size` and `sha256` are those of what will be read back.

    `written` says that a pack holds it, or may hold it: after a failed sync nobody knows.
    """

    draft: Draft
    head: Mapping[str, Any]
    token: Any
    size: int
    sha256: bytes
    location: Location | None = None
    written: bool = False

    def place(self, pack: str, start: int) -> None:
        """Note where the record stands, now that it is durable."""
        text = str(Position(pack, start, self.size))
        self.written = True
        self.location = Location(text, pack, start + self.draft.size, self.size, self.sha256)

    def committed(self) -> Committed:
        """What is told about the record once it is durable."""
        assert self.location is not None  # noqa: S101 (for the type checker)
        return Committed(self.location, self.head, self.token)


class Packs:
    """A folder of packs and objects, for any number of threads and processes.

    Begin it after forking: a pack belongs to one process.
    """

    def __init__(
        self,
        folder: Path,
        pack_bytes: int = PACK_BYTES,
        committed: Callable[[Sequence[Committed]], None] | None = None,
        min_free_bytes: int = MIN_FREE_BYTES,
        clock: Callable[[], float] = time.monotonic,
        watermark: Watermark = NEVER,
    ) -> None:
        """Open `folder` (the data directory), creating what is missing; removes spools of dead processes.

        `committed` is called once a group, by the thread that synced it, in pack order, before any `append`
        of the group returns. It must be quick. Where it raises, every caller of the group gets an error.
        `watermark`: from where on `is_low` says so.
        Raises Unavailable.
        """
        self._folder = folder / "packs"
        self._incoming = folder / "incoming"
        self._pack_bytes = pack_bytes
        self._committed = committed
        with unavailable("cannot open the blob store"):
            for needed in (self._folder, self._incoming, folder / "objects"):
                make_folder(needed)
            leftovers = remove_leftovers(self._incoming)
        if leftovers:
            log.info("spools_removed", count=leftovers)
        self._objects = Objects(folder / "objects")
        self._lookup = Lookup(self._folder, self._objects)
        self._replay = Replay(self._folder, self._objects)
        self._space = Space(folder, min_free_bytes, clock)
        self._watermark = watermark
        self._writes = Writes((self._incoming, self._folder), clock)
        self._group: GroupCommit[_Pending] = GroupCommit(self._commit, GROUP_BYTES)
        self._writing = threading.Lock()
        self._writer: PackWriter | None = None
        self._last = 0
        self._closed = False

    def append(
        self,
        head: Mapping[str, Any],
        payload: Sequence[Buffer],
        prelude: bytes = b"",
        sha256: bytes | None = None,
        token: Any = None,
    ) -> Location:
        """Store `prelude` + `payload` and return once they are durable.

        head: JSON of the caller, given back by `replay`. payload: buffers that together are the content; they
        must not change meanwhile. prelude: what is to be read back before the content and does not count for
        its digest. sha256: the digest of the payload, where the caller knows it. token: see `Committed`.
        Raises Unavailable when it is not durable; ValueError when head or prelude exceed 1 MiB.
        """
        record = draft(encode_head(head), prelude, payload, sha256)
        prefix = record.prefix
        return self._submit(_Pending(record, head, token, prefix.payload_size, prefix.sha256))

    def spool(self, prelude: bytes = b"") -> Spool:
        """A file for a large instance that is being received; the prelude stands at its beginning already.

        Raises Unavailable.
        """
        return Spool(self._incoming, self._space, self._writes, prelude)

    def adopt(self, head: Mapping[str, Any], spool: Spool, token: Any = None) -> Location:
        """Store what was spooled and return once it is durable; the spool is spent. Raises as `append`."""
        encoded = encode_head(head)
        with self._writes.watched("cannot store a large instance"):
            reference = self._objects.adopt(spool)
        record = draft(encoded, b"", [reference.encode()], flags=REFERENCE)
        pending = _Pending(record, head, token, reference.size, reference.sha256)
        try:
            return self._submit(pending)
        except Unavailable:
            if not pending.written:
                self._objects.forget(reference)
            raise

    def open(self, location: str, sha256: bytes | None = None) -> Blob:
        """The instance at a location, to be read; of that digest, where one is given.

        Raises Gone when it has been discarded, Unavailable, Absent when nothing intact is there, or another
        instance, because a pack was put back from elsewhere.
        """
        return self._lookup.open(location, sha256)

    def discard(self, location: str) -> None:
        """Erase an instance, durably, and give its room back; nothing happens when it is discarded already.

        Its head stays in the pack. Raises Absent, Unavailable.
        """
        self._lookup.discard(location)

    def replay(self, done: Mapping[str, int], live: bool = False) -> Iterator[Entry]:
        """Every record behind the given positions (pack name → `end` of what has been read).

        They come in the order of their packs, and packs that were written at the same time are merged by when
        their records were received (`received` of the head, microseconds since 1970).
        Packs that a living process writes are left out, unless `live`: then they are read as far as they have
        come. Torn tails of the others are cut off. Damaged records are among the entries, marked as such;
        discarded ones are not. Raises Unavailable, and Misconfigured for a pack of a newer format.
        """
        return self._replay.entries(done, live)

    def pass_over(self, names: Iterable[str]) -> None:
        """Give no new pack the name of one of these: an index has places in them, lost though they may be."""
        with self._writing:
            self._last = max([self._last, *map(int, names)])

    def orphans(self, now: float, older_than: float = ORPHAN_SECONDS) -> list[str]:
        """Objects that no record refers to: left by a crash between the object and its record.

        now: seconds since the epoch. Those younger than `older_than` seconds may still be on their way.
        Reads every pack's prefixes. Raises Unavailable.
        """
        old = self._objects.changed_before(now - older_than)
        return sorted(old.difference(reference.name for reference in self._replay.references()))

    def packs(self) -> list[tuple[str, int]]:
        """Name and length in bytes of each pack, in order. Raises Unavailable."""
        with unavailable("cannot list the packs"):
            return self._replay.sizes()

    def total_bytes(self) -> int:
        """Bytes that packs and objects take on the disk, without those discarded. Raises Unavailable."""
        with unavailable("cannot measure the blob store"):
            return self._replay.allocated() + self._objects.allocated()

    def free_bytes(self) -> int:
        """Bytes that are free on the disk. Raises Unavailable."""
        return self._space.free()

    def is_low(self) -> bool:
        """Whether the disk is beyond the watermark: better nobody begins to send."""
        return self._space.is_low(self._watermark)

    def write_fault(self) -> str | None:
        """What is wrong with writing, see `Writes.fault`; it may write a little to find out."""
        return self._writes.fault()

    def close(self) -> None:
        """End this process's pack. What is appended later is refused with Unavailable."""
        with self._writing:
            self._closed = True
            self._end_pack()

    def _submit(self, pending: _Pending) -> Location:
        self._group.submit(pending, pending.draft.size)
        if pending.location is None:
            raise Unavailable("the record was not written")
        return pending.location

    def _commit(self, group: Sequence[_Pending]) -> None:
        """Write, sync, and report one group."""
        with self._writing:
            if self._closed:
                raise Unavailable("shutting down")
            self._space.claim(sum(pending.draft.size for pending in group))
            self._write(self._pack(), group)
            if self._committed is not None:
                self._committed([pending.committed() for pending in group])

    def _write(self, writer: PackWriter, group: Sequence[_Pending]) -> None:
        start = writer.end
        buffers = [buffer for pending in group for buffer in pending.draft.buffers(writer.mark)]
        try:
            with self._writes.watched("cannot write a pack"):
                writer.append(buffers)
        finally:
            if not writer.sound:
                self._abandon(writer, group)
        for pending in group:
            pending.place(writer.name, start)
            start += pending.draft.size

    def _pack(self) -> PackWriter:
        """The pack that is being written, or a new one. Raises Unavailable."""
        if self._writer is not None and self._writer.end >= self._pack_bytes:
            self._end_pack()
        if self._writer is None:
            with self._writes.watched("cannot begin a pack", durable=False):
                self._writer = begin(self._folder, self._last)
            self._last = int(self._writer.name)
        return self._writer

    def _end_pack(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _abandon(self, writer: PackWriter, group: Sequence[_Pending]) -> None:
        log.error("pack_abandoned", pack=writer.name, end=writer.end)
        self._writer = None
        for pending in group:
            pending.written = True
        with unavailable("cannot close a pack"):
            writer.abandon()
