"""A consistent copy of a deployment while it serves.

The packs are the log from which the index is brought level, and the database says how far it has read them.
So the database is copied first, then the packs, which have all that it names, and more: what came in between
is indexed when the copy is started. The new copy of the database takes the place of the one before only at
the end, so that a backup that breaks off leaves the earlier one good.
"""

from collections.abc import Callable
from pathlib import Path

from pacsbridge import datadir
from pacsbridge.blobs.copying import Copied, copy_blobs, copy_file, prune_blobs
from pacsbridge.blobs.folders import sync_folder
from pacsbridge.config import Config
from pacsbridge.errors import Misconfigured
from pacsbridge.store.audit import FILE as AUDIT
from pacsbridge.store.copying import BESIDE, copy_embedded
from pacsbridge.store.engine import embedded_file

INDEX = "index.sqlite"


def back_up(
    settings: Config,
    folder: Path,
    advance: Callable[[int], None] = lambda _bytes: None,
    *,
    prune: bool = False,
) -> Copied:
    """Bring the copy in `folder` level with the deployment; it is a data directory of its own afterwards.

    A database on a server is left to that server's tools, and has to be copied before. `advance` is told of
    every byte of the instances that is done. `prune`: remove what has been erased, once all else is in its
    place. Raises Misconfigured, Unavailable, OSError.
    """
    _refuse_wrong(settings.data_dir, folder)
    with datadir.held(settings.data_dir), datadir.held(folder, alone=True):
        copies = [_database(file, folder / name) for name, file in _databases(settings).items()]
        key = datadir.ID_KEY
        copy_file(settings.data_dir / key, folder / key, Copied(), lambda _bytes: None)
        done = copy_blobs(settings.data_dir, folder, advance)
        for copy in copies:
            _put_in_place(copy)
        sync_folder(folder)
        if prune:
            prune_blobs(settings.data_dir, folder, done)
    return done


def _refuse_wrong(data_dir: Path, folder: Path) -> None:
    source, target = data_dir.resolve(), folder.resolve()
    if target == source or source in target.parents or target in source.parents:
        raise Misconfigured(
            f"{folder}: the copy must not stand in the data directory, nor the other way round"
        )
    known, own = datadir.read_id_key(folder), datadir.read_id_key(data_dir)
    if known not in (None, own):
        raise Misconfigured(f"{folder}: this is the copy of another data directory")


def _databases(settings: Config) -> dict[str, Path]:
    """The embedded databases that there are, by their names in the copy."""
    index = embedded_file(settings.store.url, settings.data_dir)
    if index is None:
        return {}
    files = {INDEX: index, AUDIT: settings.data_dir / AUDIT}
    return {name: file for name, file in files.items() if file.exists()}


def _database(file: Path, target: Path) -> Path:
    unfinished = target.with_name(f"{target.name}.new")
    copy_embedded(file, unfinished)
    return unfinished


def _put_in_place(copy: Path) -> None:
    target = copy.with_suffix("")
    for ending in BESIDE:
        target.with_name(target.name + ending).unlink(missing_ok=True)
    copy.replace(target)
