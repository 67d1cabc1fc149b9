"""Packs and objects copied while they are written: what has been copied before is not copied again.

A pack only grows, and an object is there before the record that names it. So packs are copied first, as far
as they have come, then objects: whatever a copied pack names has been copied, too.

A file that has another length or time than its copy is compared with it on the way. What the copy has whole
and the source has no more stays: a record of a pack is put back at its place (`salvage`), an object is kept.
That is told as a loss, and the rest is copied all the same.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

from pacsbridge.blobs.files import Keep, bring, listed
from pacsbridge.blobs.folders import descriptor, sync_folder, unavailable
from pacsbridge.blobs.losses import Copied
from pacsbridge.blobs.objects import Objects, Reference, decode
from pacsbridge.blobs.reader import PackReader, Span, opened
from pacsbridge.blobs.record import DISCARDED, HEADER_SIZE, REFERENCE
from pacsbridge.blobs.salvage import has_records, mark, put_back
from pacsbridge.errors import Unavailable


def copy_blobs(
    source: Path, target: Path, done: Copied, advance: Callable[[int], None] = lambda _bytes: None
) -> None:
    """Bring the packs and objects under `target` level with those of the data directory `source`.

    `advance` is told of every byte that has been copied or passed. On return all of it is durable. Raises
    Unavailable where the copy is at fault: it cannot be written, or not be compared.
    """
    with unavailable("cannot copy the instances"):
        _Packs(source, target, done, advance).level()
        _Objects(source, target, done, advance).level()


def prune_blobs(source: Path, target: Path, done: Copied) -> None:
    """Remove from the copy `target` the large instances that have been erased in the data directory `source`.

    Those are what `source` has no more and no record of a copied pack refers to. Packs are never removed: no
    pack goes by itself. For a copy that met no loss. Raises Unavailable, with nothing removed, where a pack
    of the copy is damaged, so that it cannot be told what is needed.
    """
    with unavailable("cannot prune the copy"):
        for name in _leftovers(source / "objects", target):
            path = target / "objects" / name
            path.unlink()
            sync_folder(path.parent)
            done.removed += 1


def blob_bytes(source: Path) -> int:
    """Bytes of all packs and objects of a data directory, as far as they can be told now."""
    sizes = map(_size, source.glob("packs/*.pack")), map(_size, source.glob("objects/??/*-*"))
    return sum(map(sum, sizes))


class _Packs:
    """The packs of one run."""

    def __init__(self, source: Path, target: Path, done: Copied, advance: Callable[[int], None]) -> None:
        self._source = source / "packs"
        self._target = target / "packs"
        self._done = done
        self._advance = advance

    def level(self) -> None:
        """Copy what has changed; tell of packs that the copy has alone."""
        there = listed(self._source, self._done, "packs", "*.pack")
        for path in there or ():
            keep = Keep(f"packs/{path.name}", self._put_back, self._is_other)
            bring(path, self._target / path.name, self._done, self._advance, keep)
        names = {path.name for path in there or ()}
        alone = [path for path in sorted(self._target.glob("*.pack")) if path.name not in names]
        for path in alone if there is not None else ():
            with descriptor(path) as fd:
                if fd is not None and has_records(fd):
                    self._done.lose("gone", f"packs/{path.name}")

    def _is_other(self, source: int, former: int) -> str | None:
        """What tells a pack from the one that has its name in the copy; None where it is the same."""
        known = mark(former)
        try:
            own = mark(source)
        except OSError:
            return None
        other = None not in (own, known) and own != known and has_records(former)
        return own.hex() if own and other else None

    def _put_back(self, source: int, former: int, new: int, place: str) -> bool:
        if count := put_back(former, new, source):
            self._done.lose("damaged", place, f"whole in the copy alone: {count} records")
        return True


class _Objects:
    """The large instances of one run: an object never changes, so that none that is whole is replaced."""

    def __init__(self, source: Path, target: Path, done: Copied, advance: Callable[[int], None]) -> None:
        self._source = source
        self._target = target
        self._done = done
        self._advance = advance

    def level(self) -> None:
        """Copy what has changed, by folders, as all names at once would be many; tell of what is gone."""
        folders = listed(self._source / "objects", self._done, "objects", "??")
        if folders is None:
            return
        names = {path.name for path in (*folders, *(self._target / "objects").glob("??"))}
        alone = {name for folder in sorted(names) for name in self._folder(folder)}
        for name in sorted(alone & self._needed()) if alone else ():
            self._done.lose("gone", f"objects/{name}")

    def _folder(self, name: str) -> Iterator[str]:
        """Copy the objects of a folder; the names of those that the copy has alone."""
        place = f"objects/{name}"
        there = listed(self._source / place, self._done, place, "*-*")
        for path in there or ():
            keep = Keep(f"{place}/{path.name}", self._is_lost)
            bring(path, self._target / place / path.name, self._done, self._advance, keep)
        if there is not None:
            copied = {path.name for path in (self._target / place).glob("*-????????????????")}
            yield from (f"{name}/{one}" for one in copied - {path.name for path in there})

    def _is_lost(self, _source: int, _former: int, _new: int, place: str) -> bool:
        reference = self._referred.get(place.removeprefix("objects/"))
        lost = reference is not None and Objects(self._target / "objects").blob(reference).verify()
        if lost:
            self._done.lose("damaged", place, "whole in the copy alone")
        return not lost

    @cached_property
    def _referred(self) -> Mapping[str, Reference]:
        """What the records of the copied packs refer to, by name; asked for where something is wrong."""
        packs = [*self._target.glob("packs/*.pack"), *self._target.glob("packs/*.pack.????????????????")]
        return {one.name: one for path in packs for one in _references(path) if one is not None}

    def _needed(self) -> set[str]:
        """What records of the copied packs refer to, unless it is being erased meanwhile."""
        needed = set(self._referred)
        for path in self._source.glob("packs/*.pack"):
            try:
                needed.difference_update(one.name for one in _references(path, DISCARDED) if one is not None)
            except Unavailable:
                continue  # told of already, as it could not be copied
        return needed


def _leftovers(objects: Path, target: Path) -> set[str]:
    copied = (f"{path.parent.name}/{path.name}" for path in (target / "objects").glob("??/*-*"))
    found = {name for name in copied if not (objects / name).exists()}
    for path in sorted((target / "packs").glob("*.pack")) if found else ():
        found.difference_update(_named(path))
    return found


def _named(pack: Path) -> Iterator[str]:
    """The names of the objects that the records of a pack refer to, but for those that are discarded."""
    for reference in _references(pack):
        if reference is None:
            raise Unavailable(f"nothing was removed: {pack.name} is damaged in the copy")
        yield reference.name


def _references(pack: Path, discarded: int = 0) -> Iterator[Reference | None]:
    """What records of a pack refer to, of those that are discarded or else not; None for a damaged one."""
    with opened(pack) as fd:
        if fd is None:
            return
        reader = PackReader(fd)
        for span in reader.spans(HEADER_SIZE):
            flags = span.prefix.flags & (REFERENCE | DISCARDED) if span.prefix else None
            if not span.torn and flags in (None, REFERENCE | discarded):
                yield _reference(reader, span)


def _reference(reader: PackReader, span: Span) -> Reference | None:
    """What a record refers to; None where it is damaged."""
    if span.prefix is None or not reader.content_is_intact(span.start, span.prefix):
        return None
    return decode(reader.content(span.start, span.prefix))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
