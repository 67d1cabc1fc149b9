"""Children that decode: bounded, replaced, and of no harm to whoever asks."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import psutil
import pytest
from prometheus_client import generate_latest
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames
from pydicom.filereader import dcmread

from pacsbridge import metrics
from pacsbridge.dicom.frames import read_pixels
from pacsbridge.dicom.outline import Outline, read_outline
from pacsbridge.errors import NotAcceptable, PacsbridgeError, TooCostly, Unavailable
from pacsbridge.render.job import Job, Look
from pacsbridge.render.pool import Limits, Pool

pytest.importorskip("jpeg_ls", reason="nothing decodes pixels: pip install -e '.[render]'")

T = TypeVar("T")
MIB = 1 << 20


def sample(name: str) -> Job:
    """The first frame of a file that pydicom brings."""
    path = Path(str(get_testdata_file(name)))
    with path.open("rb") as file:
        found, outline = read_pixels(file), read_outline(file, 1)
    read = dcmread(path)
    native = not read.file_meta.TransferSyntaxUID.is_encapsulated
    frame = read.PixelData if native else next(generate_frames(read.PixelData, number_of_frames=1))
    syntax = "1.2.840.10008.1.2.1" if native else found.transfer_syntax_uid
    return Job(outline, frame, syntax, found.tag, Look())


GOOD = sample("CT_small.dcm")


def run(work: Callable[[Pool], Awaitable[T]], limits: Limits | None = None) -> T:
    """Work with a pool that is closed behind it; no child is left."""

    async def within() -> T:
        pool = Pool(limits or Limits(children=1, seconds=60.0))
        try:
            return await work(pool)
        finally:
            await pool.close()

    made = asyncio.run(within())
    assert not children()
    return made


def children() -> list[psutil.Process]:
    """The decoding processes of this one."""
    return [one for one in psutil.Process().children() if "pacsbridge.render.child" in one.cmdline()]


async def picture(pool: Pool, job: Job = GOOD) -> bytes:
    """A picture of a job."""

    async def made() -> Job:
        return job

    return await pool.picture(made)


async def fault(pool: Pool, job: Job = GOOD) -> PacsbridgeError:
    """What a job is refused with."""
    with pytest.raises(PacsbridgeError) as caught:
        await picture(pool, job)
    return caught.value


@pytest.fixture
def outcomes() -> Callable[[str], float]:
    """How much an outcome was counted since."""
    before = {one: metrics.RENDERS.labels(one)._value.get() for one in ("rendered", "late", "failed", "busy")}
    return lambda name: metrics.RENDERS.labels(name)._value.get() - before[name]


def test_a_child_is_kept_and_bounded(outcomes: Callable[[str], float]) -> None:
    """Two pictures, one process; it has its memory limit, no environment, no files but its pipes."""

    async def work(pool: Pool) -> None:
        first = await picture(pool)
        (child,) = children()
        assert await picture(pool) == first and first[:2] == b"\xff\xd8"
        assert children() == [child]
        assert child.rlimit(resource.RLIMIT_AS)[1] == 700 * MIB
        assert child.rlimit(resource.RLIMIT_NOFILE) == (3, 3)
        assert child.rlimit(resource.RLIMIT_CPU)[0] < 120
        assert set(child.environ()) <= {"LANG", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "LC_CTYPE"}
        open_files = [os.readlink(one) for one in Path(f"/proc/{child.pid}/fd").iterdir()]
        assert all(one.startswith(("socket:", "pipe:", "/dev/null")) for one in open_files), open_files

    run(work, Limits(children=1, seconds=60.0, memory=700 * MIB))
    assert outcomes("rendered") == 2
    assert b"pacsbridge_render_seconds_count" in generate_latest(metrics.REGISTRY)


def test_a_crash_is_one_fault(outcomes: Callable[[str], float]) -> None:
    """A child that is killed at work costs this picture; the next has a new child."""

    async def work(pool: Pool) -> None:
        await picture(pool)
        (child,) = children()
        child.send_signal(signal.SIGSTOP)
        asked = asyncio.ensure_future(fault(pool))
        await asyncio.sleep(0.1)
        child.kill()
        assert isinstance(await asked, NotAcceptable)
        assert await picture(pool)
        assert [one.pid for one in children()] != [child.pid]

    run(work)
    assert outcomes("failed") == 1 and outcomes("rendered") == 2


def test_what_takes_too_long_is_given_up(outcomes: Callable[[str], float]) -> None:
    """The deadline is of the clock: a child that does nothing at all is killed too."""

    async def work(pool: Pool) -> None:
        await picture(pool)
        (child,) = children()
        child.send_signal(signal.SIGSTOP)
        started = time.monotonic()
        assert isinstance(await fault(pool), TooCostly)
        assert time.monotonic() - started < 20
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE

    run(work, Limits(children=1, seconds=4.0))
    assert outcomes("late") == 1


def test_bombs_are_refused() -> None:
    """A header, and a stream, that promise more pixels than there is memory; the next picture comes."""
    vast = sample("CT_small.dcm")
    rows = vast.outline.elements.replace(b"\x28\0\x10\0US\2\0\x80\0", b"\x28\0\x10\0US\2\0\xff\xff")
    columns = rows.replace(b"\x28\0\x11\0US\2\0\x80\0", b"\x28\0\x11\0US\2\0\xff\xff")
    assert columns != vast.outline.elements
    stream = sample("MR_small_jp2klossless.dcm")
    at = stream.frame.index(b"\xff\x51") + 6
    huge = (120_000).to_bytes(4, "big") * 2 + bytes(8) + (120_000).to_bytes(4, "big") * 2
    bombs = (
        Job(Outline(explicit=True, big=False, elements=columns), vast.frame, *_rest(vast)),
        Job(stream.outline, stream.frame[:at] + huge + stream.frame[at + 24 :], *_rest(stream)),
    )

    async def work(pool: Pool) -> None:
        await picture(pool)
        for bomb in bombs:
            started = time.monotonic()
            assert isinstance(await fault(pool, bomb), NotAcceptable)
            assert time.monotonic() - started < 30
        assert await picture(pool)

    run(work, Limits(children=1, seconds=60.0, memory=512 * MIB))


def _rest(job: Job) -> tuple[str, int, Look]:
    return job.transfer_syntax_uid, job.pixel_tag, job.look


def test_rubbish_is_one_fault_each() -> None:
    """Streams cut short and turned over, of every codec, in one child."""
    names = (
        *("MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_RLE.dcm"),
        *("SC_rgb_jpeg_dcmtk.dcm", "CT_small.dcm"),
    )

    async def work(pool: Pool) -> None:
        for job in map(sample, names):
            for frame in (b"", job.frame[:40], job.frame[::-1], bytes(len(job.frame) // 3)):
                broken = Job(job.outline, frame, *_rest(job))
                (made,) = await asyncio.gather(picture(pool, broken), return_exceptions=True)
                assert isinstance(made, bytes | NotAcceptable), (job.transfer_syntax_uid, made)
        empty = Outline(explicit=True, big=False, elements=b"\1\2\3")
        assert isinstance(await fault(pool, Job(empty, *_all(GOOD))), NotAcceptable)
        assert await picture(pool)

    run(work)


def _all(job: Job) -> tuple[bytes, str, int, Look]:
    return job.frame, *_rest(job)


def test_children_are_as_many_as_said_and_few_may_wait(outcomes: Callable[[str], float]) -> None:
    """Forty at once in one child: most wait, the rest is told to come again; whoever goes frees the place."""

    async def work(pool: Pool) -> None:
        await picture(pool)
        (child,) = children()
        child.send_signal(signal.SIGSTOP)
        asked = [asyncio.ensure_future(picture(pool)) for _ in range(40)]
        await asyncio.sleep(0.2)
        assert len(children()) == 1
        over = [one for one in asked if one.done()]
        assert len(over) == 7 and all(isinstance(one.exception(), Unavailable) for one in over)
        for one in asked:
            one.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        assert await picture(pool)

    run(work)
    assert outcomes("busy") == 7 and outcomes("rendered") == 2


def test_a_server_does_without_codecs() -> None:
    """All of it is imported where neither numpy nor Pillow is: only children load them for us."""
    code = "import sys; sys.modules.update(numpy=None, PIL=None); import pacsbridge.runtime, pacsbridge.demo"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
