"""What runs in a child: `python -m pacsbridge.render.child MEMORY_BYTES CPU_SECONDS PIXELS`.

Jobs come on standard input, replies go to standard output, until the input ends. Limits stand before any
library is loaded; once all are, no file can be opened any more.
"""

import math
import os
import resource
import sys
from collections.abc import Callable
from typing import BinaryIO

from pacsbridge.render.job import HEAD, REPLY, Job, Outcome, unpack

_NO_MORE_FILES = 3


def main(memory: int, seconds: float, pixels: int) -> None:
    """Works until the input ends. What goes wrong with a job is an `Outcome`, or the end of the process."""
    for limit, value in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)):
        resource.setrlimit(limit, (value, value))
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints goes nowhere
    do = _worker(pixels)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_NO_MORE_FILES, _NO_MORE_FILES))
    sink.write(REPLY.pack(Outcome.DONE, 0))
    sink.flush()
    while (job := _next(source)) is not None:
        _allow(seconds)
        outcome, made = do(job)
        sink.write(REPLY.pack(outcome, len(made)) + made)
        sink.flush()


def _worker(pixels: int) -> Callable[[Job], tuple[Outcome, bytes]]:
    """Loads every library that a job may need."""
    from pacsbridge.render.decoding import TooManyPixels, Unsupported  # noqa: PLC0415 under limits
    from pacsbridge.render.picture import BadRegion, picture  # noqa: PLC0415
    from pacsbridge.render.warming import warm  # noqa: PLC0415

    warm()
    outcomes: tuple[tuple[type[BaseException], Outcome], ...] = (
        (BadRegion, Outcome.BAD_REGION),
        (Unsupported, Outcome.UNSUPPORTED),
        (TooManyPixels, Outcome.TOO_LARGE),
        (MemoryError, Outcome.TOO_LARGE),
    )

    def do(job: Job) -> tuple[Outcome, bytes]:
        try:
            return Outcome.DONE, picture(job, pixels)
        except Exception as exc:
            found = (outcome for kind, outcome in outcomes if isinstance(exc, kind))
            return next(found, Outcome.UNDECODABLE), b""

    return do


def _next(source: BinaryIO) -> Job | None:
    head = source.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    words, elements, frame = (source.read(length) for length in HEAD.unpack(head))
    return unpack(words, elements, frame)


def _allow(seconds: float) -> None:
    """So much processor time for the next job: the limit counts from the start of the process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    until = math.ceil(usage.ru_utime + usage.ru_stime + seconds)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (until, hard))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
