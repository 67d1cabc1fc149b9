"""Children that decode, kept warm: each does one job at a time, and is replaced after a fault.

What a codec does to a child (memory, processor, a crash, a hang) ends there. A child has no open files but
its pipes, no environment, and a deadline in real time. For one event loop.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec

import structlog

from pacsbridge import metrics
from pacsbridge.errors import NotAcceptable, NotUnderstood, PacsbridgeError, TooCostly, Unavailable
from pacsbridge.render.job import REPLY, Job, Outcome, pack

_LIBRARIES = ("numpy", "PIL", "pylibjpeg", "openjpeg", "rle", "jpeg_ls")
_WAITING = 32
_JOBS = 1000
_START_SECONDS = 30.0
_WHOLE = frozenset(Outcome) - {Outcome.TOO_LARGE}
_ENVIRONMENT = {"LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
_LABELS: Mapping[type[PacsbridgeError], str] = {
    TooCostly: "late",
    Unavailable: "busy",
    NotUnderstood: "refused",
}

_log = structlog.get_logger("pacsbridge.render")


@dataclass(frozen=True, slots=True)
class Limits:
    """What children may take: how many there are, `seconds` for a picture, bytes of memory each, pixels."""

    children: int = 2
    seconds: float = 10.0
    memory: int = 1 << 30
    pixels: int = 64_000_000


class _Broken(Exception):
    """A child ended, or said what makes no sense."""


def missing() -> str | None:
    """The first library of the extra that is not installed; none is imported."""
    return next((name for name in _LIBRARIES if find_spec(name) is None), None)


_REFUSALS: Mapping[int, PacsbridgeError] = {
    Outcome.BAD_REGION: NotUnderstood("viewport: nothing of the image is in this region", "viewport"),
    Outcome.UNDECODABLE: NotAcceptable("no picture: the pixel data cannot be decoded"),
    Outcome.TOO_LARGE: NotAcceptable("no picture: it would take more memory than one may"),
    Outcome.UNSUPPORTED: NotAcceptable("no picture: images of this kind cannot be shown"),
}


class Pool:
    """Does jobs in at most `limits.children` children at a time; as many again, and some more, may wait."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._places = asyncio.Semaphore(limits.children)
        self._idle: list[_Child] = []
        self._alive: set[_Child] = set()
        self._waiting = 0

    @property
    def frame_bytes(self) -> int:
        """How long the bytes of a frame may be: decoding takes some times as much memory."""
        return self._limits.memory // 4

    async def picture(self, job: Callable[[], Awaitable[Job]]) -> bytes:
        """The encoded picture of a frame; the job is asked for once there is a place for it.

        Raises NotAcceptable where there can be none, NotUnderstood, TooCostly, Unavailable.
        """
        started = time.monotonic()
        try:
            async with self._place():
                made = await self._made(await job())
        except PacsbridgeError as exc:
            metrics.RENDERS.labels(_LABELS.get(type(exc), "failed")).inc()
            raise
        metrics.RENDERS.labels("rendered").inc()
        metrics.RENDER_SECONDS.observe(time.monotonic() - started)
        return made

    async def close(self) -> None:
        """Ends every child."""
        self._idle.clear()
        for child in list(self._alive):
            await self._end(child)

    @contextlib.asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self._waiting >= self._limits.children + _WAITING:
            raise Unavailable("too many pictures are being made; try again")
        self._waiting += 1
        try:
            async with self._places:
                yield
        finally:
            self._waiting -= 1

    async def _made(self, job: Job) -> bytes:
        """One job in a child of its own for so long; the child stays if it is as it was."""
        child = await self._taken()
        whole = False
        try:
            async with asyncio.timeout(self._limits.seconds):
                outcome, made = await child.do(job, self.frame_bytes)
            whole = outcome in _WHOLE and child.jobs < _JOBS
        except TimeoutError:
            _log.warning("picture given up", seconds=self._limits.seconds)
            raise TooCostly(f"no picture within {self._limits.seconds:g} seconds") from None
        except (_Broken, OSError, EOFError):
            _log.warning("child lost", reason="it ended or made no sense")
            raise NotAcceptable("no picture: decoding the pixel data failed") from None
        finally:
            if whole:
                self._idle.append(child)
            else:
                await self._end(child)
        if outcome in _REFUSALS:
            raise _refusal(outcome)
        return made

    async def _taken(self) -> "_Child":
        if self._idle:
            return self._idle.pop()
        child = await _Child.started(self._limits)
        self._alive.add(child)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await child.ready()
        except (TimeoutError, _Broken, OSError, EOFError):
            await self._end(child)
            raise Unavailable("what makes pictures does not start") from None
        except BaseException:
            await self._end(child)
            raise
        return child

    async def _end(self, child: "_Child") -> None:
        self._alive.discard(child)
        await child.end()


def _refusal(outcome: int) -> PacsbridgeError:
    """A fault of its own for each request."""
    known = _REFUSALS[outcome]
    return (
        NotUnderstood(str(known), known.parameter)
        if isinstance(known, NotUnderstood)
        else type(known)(str(known))
    )


class _Child:
    """One process, and its pipes."""

    def __init__(
        self, process: asyncio.subprocess.Process, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._source = source
        self._sink = sink
        self.jobs = 0

    @classmethod
    async def started(cls, limits: Limits) -> "_Child":
        """A process that loads its libraries. Raises Unavailable."""
        numbers = (str(limits.memory), str(limits.seconds), str(limits.pixels))
        pipe, nowhere = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-m", "pacsbridge.render.child", *numbers),
                stdin=pipe,
                stdout=pipe,
                stderr=nowhere,
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        except OSError as exc:
            raise Unavailable("what makes pictures cannot be started") from exc
        if process.stdin is None or process.stdout is None:
            raise Unavailable("what makes pictures has no pipes")
        return cls(process, process.stdout, process.stdin)

    async def ready(self) -> None:
        """Waits until it can work."""
        if await self._reply(0) != (Outcome.DONE, b""):
            raise _Broken

    async def do(self, job: Job, most: int) -> tuple[int, bytes]:
        """Has a job done; a reply may have `most` bytes. Raises _Broken, OSError, EOFError."""
        self.jobs += 1
        self._sink.write(pack(job))
        await self._sink.drain()
        return await self._reply(most)

    async def _reply(self, most: int) -> tuple[int, bytes]:
        outcome, length = REPLY.unpack(await self._source.readexactly(REPLY.size))
        if outcome not in set(Outcome) or length > most or (outcome and length):
            raise _Broken
        return outcome, await self._source.readexactly(length)

    async def end(self) -> None:
        """Kills it and waits until it is gone; somebody who is cancelled meanwhile does not stop that."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._sink.close()
        await asyncio.shield(self._process.wait())
