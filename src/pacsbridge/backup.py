"""A consistent copy of a deployment while it serves.

The packs are the log from which the index is brought level, and the database says how far it has read them.
So the database is copied first, then the packs, which have all that it names, and more: what came in between
is indexed when the copy is started. The new copy of the database takes the place of the one before only at
the end, so that a backup that breaks off leaves the earlier one good.

What the source has lost stays in the copy. A database that is damaged, or has gone back behind what was
copied before, is put beside the good one, and told as a loss; `LEVEL` says how far the copies have come.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from pacsbridge import datadir
from pacsbridge.blobs.copying import copy_blobs, prune_blobs
from pacsbridge.blobs.folders import sync_folder
from pacsbridge.blobs.losses import Copied, Loss
from pacsbridge.config import Config
from pacsbridge.errors import Misconfigured, Unavailable
from pacsbridge.store.audit import FILE as AUDIT
from pacsbridge.store.copying import BESIDE, copy_embedded, is_damage
from pacsbridge.store.engine import embedded_file
from pacsbridge.store.standing import AUDIT_FORM, INDEX_FORM, Form, Standing, look

INDEX = "index.sqlite"
LEVEL = "level.json"
"""The file of the copy that says how far its databases have come."""

SUSPECT = ".suspect"
"""Ending of the copy of a database that is not to take the place of the one before."""

_FORMS: Mapping[str, Form] = {INDEX: INDEX_FORM, AUDIT: AUDIT_FORM}


class _Database(NamedTuple):
    """A copy that is to be put in place, or beside if `suspect`, and how far it has come."""

    copy: Path
    standing: Standing = ()
    suspect: bool = False


def back_up(
    settings: Config,
    folder: Path,
    advance: Callable[[int], None] = lambda _bytes: None,
    told: Callable[[Loss], object] = bool,
    *,
    prune: bool = False,
) -> Copied:
    """Bring the copy in `folder` level with the deployment; it is a data directory of its own afterwards.

    A database on a server is left to that server's tools, and has to be copied before. `advance` is told of
    every byte of the instances that is done, `told` of every loss. `prune`: remove what has been erased, once
    all else is in its place, and nothing is lost. Raises Misconfigured, Unavailable, OSError.
    """
    _refuse_wrong(settings.data_dir, folder)
    done = Copied(told=told)
    with datadir.held(settings.data_dir, reading=True), datadir.held(folder, alone=True):
        level = _level(folder)
        files = _databases(settings)
        found = [_copied(name, file, folder, level.get(name, ()), done) for name, file in files.items()]
        copies = [one for one in found if one is not None]
        try:
            datadir.copy_id_key(settings.data_dir, folder)
            copy_blobs(settings.data_dir, folder, done, advance)
            for one in copies:
                _put_in_place(one, level)
        finally:
            for one in copies:
                one.copy.unlink(missing_ok=True)
        datadir.write(folder / LEVEL, json.dumps(level))
        sync_folder(folder)
        if prune and not done.losses:
            prune_blobs(settings.data_dir, folder, done)
    return done


def _refuse_wrong(data_dir: Path, folder: Path) -> None:
    source, target = data_dir.resolve(), folder.resolve()
    if target == source or source in target.parents or target in source.parents:
        raise Misconfigured(
            f"{folder}: the copy must not stand in the data directory, nor the other way round"
        )
    known, own = datadir.read_id_key(folder), datadir.read_id_key(data_dir)
    if known is not None and own is None:
        raise Misconfigured(
            f"{data_dir / datadir.ID_KEY}: gone or empty; take it from {folder}, if that is its copy"
        )
    if known not in (None, own):
        raise Misconfigured(
            f"{folder}: this is the copy of another data directory, as its {datadir.ID_KEY} is another one"
        )


def _databases(settings: Config) -> Mapping[str, Path]:
    """The embedded databases, by their names in the copy."""
    index = embedded_file(settings.store.url, settings.data_dir)
    return {} if index is None else {INDEX: index, AUDIT: settings.data_dir / AUDIT}


def _level(folder: Path) -> dict[str, Standing]:
    """How far the databases of the copy have come; nothing where that is not known."""
    try:
        found = json.loads((folder / LEVEL).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _copied(name: str, file: Path, folder: Path, before: Standing, done: Copied) -> _Database | None:
    """A copy of a database under another name; None where there is none to be had."""
    known = (folder / name).exists()
    if not file.exists():
        if known:
            done.lose("gone", name)
        return None
    copy = folder / f"{name}.new"
    try:
        copy_embedded(file, copy)
    except Unavailable as exc:
        done.lose("damaged" if is_damage(exc) else "unread", name, str(exc))
        return None
    one = look(copy, _FORMS[name], before if known else ())
    for kind, words in (("damaged", one.unfit or one.fault), ("behind", one.behind)):
        if words is not None:
            done.lose(kind, name, words)
    worse = known and (one.fault or one.behind)
    return _Database(copy, one.standing, suspect=bool(one.unfit or worse))


def _put_in_place(one: _Database, level: dict[str, Standing]) -> None:
    target = one.copy.with_suffix("")
    if one.suspect:
        one.copy.replace(target.with_name(target.name + SUSPECT))
        return
    for ending in (*BESIDE, SUSPECT):
        target.with_name(target.name + ending).unlink(missing_ok=True)
    one.copy.replace(target)
    level[target.name] = one.standing
