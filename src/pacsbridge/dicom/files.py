"""Finding the files that may be DICOM: folders walked in a stable order."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

_SKIPPED = frozenset({"DICOMDIR"})


def find_files(paths: Iterable[str | os.PathLike[str]]) -> Iterator[Path]:
    """The files named, and those below the folders named, by name; each once.

    DICOMDIR is left out: it lists files that are walked anyway; named outright, it stands for its folder.
    What else is named outright is handed out even if
    it does not exist, so that the caller can say so. Links to folders below a folder are not followed, and
    links to files only if they stay inside it; sockets, devices and pipes are passed over. A folder that
    cannot be read raises OSError.
    """
    seen: set[tuple[int, int]] = set()
    for path in map(_named, paths):
        for file in _walk(path, path.resolve()) if path.is_dir() else (path,):
            if _first_time(file, seen):
                yield file


def _named(path: str | os.PathLike[str]) -> Path:
    named = Path(path)
    return named.parent if named.name.upper() in _SKIPPED and named.is_file() else named


def _walk(folder: Path, root: Path) -> Iterator[Path]:
    """The files below one folder; a stack, so that depth is no matter."""
    waiting = [folder]
    while waiting:
        path = waiting.pop()
        with os.scandir(path) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        waiting.extend(path / entry.name for entry in reversed(found) if entry.is_dir(follow_symlinks=False))
        yield from (path / entry.name for entry in found if _wanted(entry, root))


def _wanted(entry: os.DirEntry[str], root: Path) -> bool:
    if entry.name.upper() in _SKIPPED or not entry.is_file():
        return False
    return not entry.is_symlink() or Path(entry.path).resolve().is_relative_to(root)


def _first_time(file: Path, seen: set[tuple[int, int]]) -> bool:
    """Whether this file was not handed out before, under this name or through a link."""
    if not file.exists():
        return True
    status = file.stat()
    key = (status.st_dev, status.st_ino)
    if key in seen:
        return False
    seen.add(key)
    return True
