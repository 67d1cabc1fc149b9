"""The data directory: made, held against other processes, and bound to its database by the secret of ids."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pacsbridge.errors import Misconfigured, Unavailable

if TYPE_CHECKING:  # `translate` has no store and shall not wait for its libraries
    from pacsbridge.store.store import Store

ID_KEY = "id.key"
"""The file with the secret, as text."""

_LOCK = "lock"
_BUSY = {
    True: "is in use by another pacsbridge: stop it first",
    False: "is being reindexed by another pacsbridge: wait until that is done",
}


def make(folder: Path) -> None:
    """Create the directory where it is missing. Raises Misconfigured."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise Misconfigured(f"data_dir: cannot make {folder} ({exc.strerror})") from exc


def try_out(folder: Path) -> None:
    """Whether the directory can be made and written, without doing either. Raises Misconfigured."""
    whole = folder.absolute()
    present = next(one for one in (whole, *whole.parents) if os.path.lexists(one))
    if not present.is_dir() or not os.access(present, os.W_OK | os.X_OK):
        verb = "write to" if present == whole else "make"
        raise Misconfigured(f"data_dir: cannot {verb} {folder} ({present} is not a folder to write to)")
    try:
        os.close(os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return
    except OSError as exc:
        raise Misconfigured(f"data_dir: cannot write to {folder} ({exc.strerror})") from exc


@contextmanager
def held(folder: Path, *, alone: bool = False, reading: bool = False) -> Iterator[None]:
    """Use the directory together with other processes, or alone; if `reading`, though it be read-only.

    Raises Unavailable when others are in the way, Misconfigured when the directory cannot be written.
    """
    make(folder)
    flags = os.O_RDONLY if reading and (folder / _LOCK).exists() else os.O_RDWR | os.O_CREAT
    try:
        fd = os.open(folder / _LOCK, flags | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise Misconfigured(f"data_dir: cannot write to {folder} ({exc.strerror})") from exc
    try:
        _lock(fd, folder, alone=alone)
        yield
    finally:
        os.close(fd)


def is_in_use(folder: Path) -> bool:
    """Whether another process holds the directory."""
    try:
        fd = os.open(folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _lock(fd: int, folder: Path, *, alone: bool) -> None:
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise Unavailable(f"data_dir: {folder} {_BUSY[alone]}") from exc


def id_key(folder: Path, store: "Store") -> str:
    """The secret of keyed ids, made at the first start.

    It stands in the directory and in the database, so that it outlives the loss of either, and it tells
    whether the two belong together: the index names places in the packs of one directory.
    Raises Misconfigured where they do not.
    """
    path = folder / ID_KEY
    kept = read_id_key(folder)
    text = store.setting("id_key", lambda: kept or secrets.token_hex(32))
    foreign = kept != text if kept else bool(store.checkpoints()) and not _has_packs(folder)
    if foreign:
        raise Misconfigured(
            f"store.url: {store.label} was filled from another data_dir than {folder}: "
            "each data_dir needs a database of its own"
        )
    if not kept:
        write(path, text)
    return text


def read_id_key(folder: Path) -> str | None:
    """The secret that the directory keeps; None when there is none yet."""
    path = folder / ID_KEY
    return (path.read_text(errors="replace").strip() or None) if path.exists() else None


def copy_id_key(source: Path, target: Path) -> None:
    """Give a copy of the directory `source` its secret, unless it has it. Raises OSError."""
    own = read_id_key(source)
    if own is not None and read_id_key(target) is None:
        write(target / ID_KEY, own)


def _has_packs(folder: Path) -> bool:
    packs = folder / "packs"
    return packs.is_dir() and any(packs.iterdir())


def write(path: Path, text: str) -> None:
    """Write a private file, whole or not at all. Raises OSError."""
    unfinished = path.with_suffix(".new")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
