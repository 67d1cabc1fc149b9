"""Files → facts, for `translate`: one after the other, or by all processors once there are many."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from pacsbridge.bridge.sources import Source
from pacsbridge.dicom.files import Found, find_files, unreadable
from pacsbridge.dicom.reader import Limits, read_header
from pacsbridge.errors import PacsbridgeError, Unavailable
from pacsbridge.kernel.extract import extract
from pacsbridge.kernel.model import Facts

CHUNK = 100
"""Files that a process reads before it hands over their facts."""

MANY = 1_000
"""Files from which on starting processes pays."""


class Reading(NamedTuple):
    """What one file says, or why it cannot be used."""

    path: Path
    facts: Facts | None
    reason: str | None = None


def readings(paths: Iterable[Path], source: Source, limits: Limits, many: int = MANY) -> Iterator[Reading]:
    """Every file below `paths`, in the order in which they are found, whoever reads them.

    Raises Unavailable when one of the processes is killed.
    """
    chunks = _chunks(find_files(paths))
    read = partial(_read_all, source, limits)
    few = list(islice(chunks, -(-many // CHUNK)))
    if sum(map(len, few)) < many:
        yield from chain.from_iterable(map(read, few))
        return
    try:
        with ProcessPoolExecutor(mp_context=get_context("fork")) as pool:
            for result in pool.map(read, chain(few, chunks)):
                yield from result
    except BrokenProcessPool as exc:
        raise Unavailable("a process that read files was killed: out of memory, perhaps") from exc


def _chunks(found: Iterator[Found]) -> Iterator[Sequence[Found]]:
    while chunk := list(islice(found, CHUNK)):
        yield chunk


def _read_all(source: Source, limits: Limits, chunk: Iterable[Found]) -> Sequence[Reading]:
    return [_read(source, limits, found) for found in chunk]


def _read(source: Source, limits: Limits, found: Found) -> Reading:
    if found.reason is not None:
        return Reading(found.path, None, found.reason)
    try:
        with found.path.open("rb") as file:
            header = read_header(file, None, source.charset, limits)
        return Reading(found.path, extract(header.attributes, source.context))
    except PacsbridgeError as exc:
        return Reading(found.path, None, str(exc))
    except OSError as exc:
        return Reading(found.path, None, unreadable(exc))
