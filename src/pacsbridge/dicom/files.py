"""Finding the files that may be DICOM: folders walked in a stable order."""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

_SKIPPED = frozenset({"DICOMDIR"})


class Found(NamedTuple):
    """One path; `reason` says why it cannot be read, None where nothing speaks against it."""

    path: Path
    reason: str | None = None


def find_files(paths: Iterable[str | os.PathLike[str]]) -> Iterator[Found]:
    """The files named, and those below the folders named, by name; each once.

    DICOMDIR is left out: it lists files that are walked anyway; named outright, it stands for its folder.
    What is no file that can be read has a reason: what does not exist, folders that cannot be listed, pipes,
    sockets and devices, and links that leave the folder. Links to folders inside the folder are passed over.
    """
    seen: set[tuple[int, int]] = set()
    for path in map(_named, paths):
        for found in _below(path) if stat.S_ISDIR(_mode(path)) else (_judged(path, None),):
            if found.reason is not None or _first_time(found.path, seen):
                yield found


def unreadable(fault: OSError) -> str:
    """The reason of a path that the system refuses."""
    return f"cannot be read ({fault.strerror})"


def _named(path: str | os.PathLike[str]) -> Path:
    named = Path(path)
    return named.parent if named.name.upper() in _SKIPPED and stat.S_ISREG(_mode(named)) else named


def _mode(path: Path) -> int:
    """The kind of what the path leads to; 0 for what cannot be told."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _below(folder: Path) -> Iterator[Found]:
    """The files below one folder; a stack, so that depth is no matter."""
    root, waiting = folder.resolve(), [folder]
    while waiting:
        path = waiting.pop()
        try:
            with os.scandir(path) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as fault:
            yield Found(path, unreadable(fault))
            continue
        folders = {entry.name for entry in found if entry.is_dir(follow_symlinks=False)}
        waiting.extend(path / entry.name for entry in reversed(found) if entry.name in folders)
        files = (path / entry.name for entry in found if entry.name not in folders)
        yield from (_judged(file, root) for file in files if not _is_known(file, root))


def _is_known(file: Path, root: Path) -> bool:
    """Whether nothing need be said: a DICOMDIR, or a link to a folder that is walked anyway."""
    if file.name.upper() in _SKIPPED:
        return True
    return stat.S_ISDIR(_mode(file)) and file.resolve().is_relative_to(root)


def _judged(file: Path, root: Path | None) -> Found:
    """A file with what speaks against it; links must stay below `root`."""
    try:
        mode = file.stat().st_mode
    except OSError as fault:
        return Found(file, unreadable(fault))
    if root is not None and file.is_symlink() and not file.resolve().is_relative_to(root):
        return Found(file, "a link that leaves the folder")
    return Found(file, None if stat.S_ISREG(mode) else "not a regular file")


def _first_time(file: Path, seen: set[tuple[int, int]]) -> bool:
    """Whether this file was not handed out before, under this name or through a link."""
    try:
        status = file.stat()
    except OSError:  # gone meanwhile: whoever opens it says so
        return True
    key = (status.st_dev, status.st_ino)
    if key in seen:
        return False
    seen.add(key)
    return True
