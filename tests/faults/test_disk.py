"""T-ENOSPC, T-EIO, T-FSYNC: disks that are full, read-only or failing, and descriptors that run out."""

import contextlib
import errno
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from benchmarks.sender import uid
from bystander import bystander, echoes, reads
from pushing import OUT_OF_RESOURCES, SUCCESS, Association, encoded
from pydicom.uid import ExplicitVRLittleEndian

from pacsbridge.blobs.writes import TRY_SECONDS
from pacsbridge.dicom.part10 import part10_head

from .conftest import MakeSite, Site

MIB = 1 << 20
FAILURE_REASON = "00081197"
CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.fixture
def mounted() -> Iterator[Callable[..., None]]:
    """Runs `mount` with arguments, the last of which is the place; all is unmounted at the end."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root: run the tests as root")
    places: list[str] = []

    def mount(*arguments: str | Path) -> None:
        done = subprocess.run(["mount", *map(str, arguments)], check=False, capture_output=True)
        if done.returncode != 0:
            pytest.skip("no file system can be mounted here: run the tests where mount works")
        places.append(str(arguments[-1]))

    yield mount
    for place in reversed(places):
        subprocess.run(["umount", "-l", place], check=True)


def stow(site: Site, number: int, study: int) -> requests.Response:
    """One instance of 1 MB by STOW-RS."""
    data = encoded(number, study, MIB, site.oracle.canary)
    part = b"--b\r\nContent-Type: application/dicom\r\n\r\n"
    part += part10_head(CT, uid(1, number), ExplicitVRLittleEndian) + data
    answer = requests.post(
        f"{site.bridge.dicomweb}/studies",
        part + b"\r\n--b--\r\n",
        headers={"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'},
        timeout=30,
    )
    site.oracle.note(uid(1, number), data, SUCCESS if answer.status_code == 200 else OUT_OF_RESOURCES)
    return site.oracle.answered(answer)


@pytest.mark.parametrize(
    ("place", "watermark"),
    [("spool and objects", 0), ("spool and objects", 8), ("packs", 0), ("index", 0)],
)
def test_full_disk_and_back(
    make_site: MakeSite,
    mounted: Callable[..., None],
    tmp_path: Path,
    numbers: Callable[..., int],
    place: str,
    watermark: int,
) -> None:
    """T-ENOSPC: 0xA700 (507), the association lives, echoes and reads go on; with room again all goes on."""
    data, packs = tmp_path / "data", tmp_path / "data" / "packs"
    disk = packs if place == "packs" else data
    disk.mkdir(parents=True)
    mounted("-t", "tmpfs", "-o", f"size={numbers(32, 64)}m", "tmpfs", disk)
    if place == "index":
        packs.mkdir()
        mounted("-t", "tmpfs", "-o", "size=1g", "tmpfs", packs)
    tables = f"[blobs]\nmin_free_bytes = {watermark * MIB}\n"
    site = make_site(tables, "spool_bytes = 65536" if place.startswith("spool") else "", data).start()
    ballast = disk / "ballast"
    with bystander(site.bridge), site.line() as line:
        assert {site.push(line, number, size=MIB) for number in range(1, 6)} == {SUCCESS}
        site.oracle.stored()
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        if place == "index":
            _without_an_index(site, line, numbers(60, 200))
        else:
            statuses = {site.push(line, number, size=MIB) for number in range(6, 6 + numbers(60, 200))}
            assert OUT_OF_RESOURCES in statuses
            assert statuses <= {SUCCESS, OUT_OF_RESOURCES}
            refused = stow(site, 900, 2)
            assert refused.status_code == 507
            assert f'"{FAILURE_REASON}":{{"vr":"US","Value":[42752]}}' in refused.text
        ballast.unlink()
        site.bridge.wait(lambda: site.push(line, 901, size=MIB) == SUCCESS, 10)
    site.oracle.check()
    assert site.bridge.stop() == 0


@pytest.mark.parametrize("mark", [f"reject_free_bytes = {16 * MIB}", "reject_used_percent = 50"])
def test_storage_is_turned_away_before_the_disk_is_full(
    make_site: MakeSite, mounted: Callable[..., None], tmp_path: Path, mark: str
) -> None:
    """T-ENOSPC, watermark: no new association that only stores; those there are, and all others, go on."""
    disk = tmp_path / "data"
    disk.mkdir()
    mounted("-t", "tmpfs", "-o", "size=32m", "tmpfs", disk)
    site = make_site(f"[blobs]\nmin_free_bytes = {2 * MIB}\n{mark}\n", "", disk).start()
    ballast = disk / "ballast"
    with bystander(site.bridge), site.line() as line:
        assert site.push(line, 1, size=MIB) == SUCCESS
        ballast.write_bytes(bytes(18 * MIB))
        with pytest.raises(ConnectionError, match="PDU type 3"):
            site.dial()
        assert site.push(line, 2, size=MIB) == SUCCESS
        assert stow(site, 3, 2).status_code == 200
        assert site.bridge.ready()
        ballast.unlink()
        with site.line() as another:
            assert site.push(another, 4, size=MIB) == SUCCESS
    site.oracle.check()
    reason = "too little room on the disk"
    metrics = requests.get(f"{site.bridge.root}/metrics", timeout=30).text
    assert f'pacsbridge_dimse_rejected_total{{reason="{reason}"}} 1.0' in metrics


def _without_an_index(site: Site, line: Association, count: int) -> None:
    """While the packs have room instances are taken; the index is told of at the health check."""
    statuses = {site.push(line, number, size=MIB) for number in range(6, 6 + count)}
    assert statuses <= {SUCCESS, OUT_OF_RESOURCES}
    site.bridge.wait(lambda: not site.bridge.ready())


WRITING = ("sync/fsync", "sync/fdatasync", "rw/pwritev", "rw/pwrite", "rw/ftruncate", "dir/rename")


@pytest.fixture
def failing(
    make_site: MakeSite, program: Callable[[str], str], tmp_path: Path
) -> tuple[Site, Callable[[str, str], None]]:
    """A running bridge, and what makes its calls that write fail: `control(word, options)` of libfiu."""
    site, pipe = make_site(dimse="spool_bytes = 65536"), tmp_path / "fiu"
    site.bridge.start(prefix=(program("fiu-run"), "-x", "-f", str(pipe)))
    assert site.bridge.process is not None
    pid = str(site.bridge.process.pid)

    def control(word: str, options: str) -> None:
        commands = [part for name in WRITING for part in ("-c", f"{word} name=posix/io/{name}{options}")]
        subprocess.run([program("fiu-ctrl"), "-f", str(pipe), *commands, pid], check=True)

    return site, control


@pytest.mark.parametrize("error", [errno.EIO, errno.EROFS], ids=["EIO", "EROFS"])
def test_a_disk_that_takes_nothing(
    failing: tuple[Site, Callable[[str, str], None]], numbers: Callable[..., float], error: int
) -> None:
    """T-EIO: every write fails, as on a dying disk or one that turned read-only; refused, and no crash.

    Readiness is red from then on, and green again by itself: nobody has sent anything meanwhile.
    """
    site, control = failing
    asked = echoes(site.bridge), reads(site.bridge, "metadata")
    with bystander(site.bridge, *asked), site.line() as line:
        assert site.push(line, 1) == SUCCESS
        site.oracle.stored()
        control("enable", f",failinfo={error}")
        assert {site.push(line, number, size=100_000) for number in range(2, 22)} == {OUT_OF_RESOURCES}
        assert _blobs(site) != "ok"
        assert not site.bridge.ready()
        threading.Event().wait(numbers(TRY_SECONDS + 1, 300))
        assert _blobs(site) != "ok"
        control("disable", "")
        site.bridge.wait(lambda: _blobs(site) == "ok", 30)
        site.bridge.wait(site.bridge.ready, 30)
        site.bridge.wait(lambda: site.push(line, 30) == SUCCESS, 10)
    site.oracle.check()


def _blobs(site: Site) -> str:
    """What readiness says of the blobs."""
    parts = requests.get(f"{site.bridge.root}/health/ready", timeout=30).json()["parts"]
    return str(parts["blobs"])


def test_no_descriptors_left(site: Site, numbers: Callable[..., float]) -> None:
    """T-EIO: with 64 descriptors allowed, and callers who take them all, it refuses and does not crash."""
    assert site.bridge.process is not None
    site.oracle.rest()
    pid = site.bridge.process.pid
    _soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (64, hard))
    with contextlib.ExitStack() as crowd:
        for _ in range(200):
            with contextlib.suppress(OSError):
                crowd.enter_context(socket.create_connection(("127.0.0.1", site.bridge.http_port), timeout=1))
                crowd.enter_context(
                    socket.create_connection(("127.0.0.1", site.bridge.dimse_port), timeout=1)
                )
        threading.Event().wait(numbers(2, 300))
        assert site.bridge.process.poll() is None
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
    site.bridge.wait(site.bridge.ready, 30)
    with site.line() as line:
        assert site.push(line, 1) == SUCCESS
    site.oracle.check(settled=True)


def test_syncs_and_writes_that_fail(
    failing: tuple[Site, Callable[[str, str], None]], numbers: Callable[..., int], night: bool
) -> None:
    """T-FSYNC: one in a hundred syncs, writes and renames fails (here one in twenty): 0xA700 for those."""
    site, control = failing
    control("enable_random", f",probability={0.01 if night else 0.05}")
    senders = [
        site.sender(study, range(study * 100_000, study * 100_000 + numbers(150, 5000)), (10_000, 100_000))
        for study in range(1, 5)
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    control("disable", "")
    assert site.oracle.statuses[OUT_OF_RESOURCES] > 0, "nothing was injected"
    site.bridge.wait(site.bridge.ready)
    site.oracle.check()


def test_no_room_for_a_copy(site: Site, mounted: Callable[..., None], tmp_path: Path) -> None:
    """T-ENOSPC: a copy that does not fit says so of itself, not of what is copied."""
    with site.line() as line:
        for number in range(1, 200):
            assert site.push(line, number, number, 1_000) == SUCCESS
    site.oracle.check()
    folder = tmp_path / "copy"
    folder.mkdir()
    mounted("-t", "tmpfs", "-o", "size=128k", "tmpfs", folder)
    command = [sys.executable, "-m", "pacsbridge", "backup", str(folder), "--config", str(site.bridge.config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr and str(folder) in done.stderr
    assert "unread" not in done.stdout
    assert not (folder / "index.sqlite").exists()
