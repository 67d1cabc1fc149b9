"""Packs and objects copied while they are written: what has been copied before is not copied again.

A pack only grows, and an object is there before the record that names it. So packs are copied first, as far
as they have come, then objects: whatever a copied pack names has been copied, too.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pacsbridge.blobs.folders import PRIVATE_FILE, make_folder, remove, sync_folder, unavailable
from pacsbridge.blobs.objects import Reference, decode
from pacsbridge.blobs.reader import PackReader, Span, opened
from pacsbridge.blobs.record import DISCARDED, HEADER_SIZE, REFERENCE
from pacsbridge.errors import Unavailable

_PIECE = 8 << 20


@dataclass(slots=True)
class Copied:
    """What a copy took: files and bytes written, files that were there already, files that were removed."""

    files: int = 0
    bytes: int = 0
    kept: int = 0
    removed: int = 0


def copy_blobs(source: Path, target: Path, advance: Callable[[int], None] = lambda _bytes: None) -> Copied:
    """Bring the packs and objects under `target` level with those of the data directory `source`.

    `advance` is told of every byte that has been copied or passed. On return all of it is durable. Raises
    Unavailable.
    """
    done = Copied()
    with unavailable("cannot copy the instances"):
        for path in _files(source):
            copy_file(path, target / path.relative_to(source), done, advance)
    return done


def prune_blobs(source: Path, target: Path, done: Copied) -> None:
    """Remove from the copy `target` the large instances that have been erased in the data directory `source`.

    Those are what `source` has no more and no record of a copied pack refers to. Packs are never removed: no
    pack goes by itself. Raises Unavailable, with nothing removed, where a pack of the copy is missing in
    `source`, or damaged, so that it cannot be told what is needed.
    """
    with unavailable("cannot prune the copy"):
        lost = {path.name for path in (target / "packs").glob("*.pack")}
        lost -= {path.name for path in (source / "packs").glob("*.pack")}
        if lost:
            raise Unavailable(f"nothing was removed: {min(lost)} is in the copy, and in data_dir no more")
        for name in _leftovers(source / "objects", target):
            path = target / "objects" / name
            path.unlink()
            sync_folder(path.parent)
            done.removed += 1


def _leftovers(objects: Path, target: Path) -> set[str]:
    copied = (f"{path.parent.name}/{path.name}" for path in (target / "objects").glob("??/*-*"))
    found = {name for name in copied if not (objects / name).exists()}
    for path in sorted((target / "packs").glob("*.pack")) if found else ():
        found.difference_update(_named(path))
    return found


def _named(pack: Path) -> Iterator[str]:
    """The names of the objects that the records of a pack refer to, but for those that are discarded."""
    with opened(pack) as fd:
        if fd is None:
            return
        reader = PackReader(fd)
        for span in reader.spans(HEADER_SIZE):
            if span.torn or (span.prefix and span.prefix.flags & (REFERENCE | DISCARDED) != REFERENCE):
                continue
            reference = _reference(reader, span)
            if reference is None:
                raise Unavailable(f"nothing was removed: {pack.name} is damaged in the copy")
            yield reference.name


def _reference(reader: PackReader, span: Span) -> Reference | None:
    """What a record refers to; None where it is damaged."""
    if span.prefix is None or not reader.content_is_intact(span.start, span.prefix):
        return None
    return decode(reader.content(span.start, span.prefix))


def blob_bytes(source: Path) -> int:
    """Bytes of all packs and objects of a data directory. Raises Unavailable."""
    with unavailable("cannot measure the blob store"):
        return sum(path.stat().st_size for path in _files(source))


def _files(source: Path) -> Iterator[Path]:
    """Packs in their order, then objects, by folders: the names of all at once would be many."""
    yield from sorted((source / "packs").glob("*.pack"))
    for folder in sorted((source / "objects").glob("??")):
        yield from folder.glob("*-*")


def copy_file(path: Path, target: Path, done: Copied, advance: Callable[[int], None]) -> None:
    """Copy a file that has another length or time than its copy, whole or not at all. Raises OSError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        state = os.fstat(fd)
        if _is_copy(target, state):
            done.kept += 1
        else:
            make_folder(target.parent)
            _copy(fd, state, target)
            done.files += 1
            done.bytes += state.st_size
        advance(state.st_size)
    finally:
        os.close(fd)


def _is_copy(target: Path, state: os.stat_result) -> bool:
    try:
        copy = target.stat()
    except FileNotFoundError:
        return False
    return (copy.st_size, copy.st_mtime_ns) == (state.st_size, state.st_mtime_ns)


def _copy(fd: int, state: os.stat_result, target: Path) -> None:
    unfinished = target.with_name(f"{target.name}.new")
    try:
        _write(fd, state.st_size, unfinished)
        os.utime(unfinished, ns=(state.st_atime_ns, state.st_mtime_ns))
        unfinished.replace(target)
    except BaseException:
        remove(unfinished)
        raise
    sync_folder(target.parent)


def _write(fd: int, size: int, target: Path) -> None:
    out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        at = 0
        while at < size and (sent := os.sendfile(out, fd, at, min(_PIECE, size - at))):
            at += sent
        os.fsync(out)
    finally:
        os.close(out)
