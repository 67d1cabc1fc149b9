"""`pacsbridge serve` as a child process on free ports, ended by its process id."""

import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from ports import free_port


class Bridge:
    """A bridge in a folder of its own; further lines of `[dimse]` and `[fhir]`, and other tables, as text.

    `dimse_tls`: how it is called where its DIMSE port speaks TLS.
    """

    def __init__(
        self, folder: Path, config: str = "", dimse: str = "", data_dir: Path | None = None, fhir: str = ""
    ) -> None:
        self.folder = folder
        self.data_dir = data_dir or folder / "data"
        self.dimse_port, self.http_port = free_port(), free_port()
        blobs = "" if "[blobs]" in config else "[blobs]\nmin_free_bytes = 0\n"
        pace = "" if "quiet_seconds" in fhir else "quiet_seconds = 0.2\nmax_wait_seconds = 2\n"
        self.config = folder / "pacsbridge.toml"
        self.config.write_text(
            f'data_dir = "{self.data_dir}"\n[dimse]\nport = {self.dimse_port}\n{dimse}\n'
            f"[fhir]\nport = {self.http_port}\n{pace}{fhir}\n"
            f'[log]\nformat = "json"\n{blobs}{config}'
        )
        self.log = folder / "log"
        self.dimse_tls: ssl.SSLContext | None = None
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> str:
        """The URL of the HTTP port."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def fhir(self) -> str:
        """The FHIR base URL."""
        return f"{self.root}/fhir"

    @property
    def dicomweb(self) -> str:
        """The DICOMweb base URL."""
        return f"{self.root}/dicomweb"

    def start(
        self,
        *,
        preexec: Callable[[], None] | None = None,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        seconds: float = 60,
    ) -> "Bridge":
        """Start, behind the command `prefix` where there is one, and wait until it is ready."""
        self.launch(preexec=preexec, prefix=prefix, environment=environment)
        self.wait(self.ready, seconds)
        return self

    def launch(
        self,
        *,
        preexec: Callable[[], None] | None = None,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start without waiting."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "pacsbridge", "serve", "--config", str(self.config)],
                stdout=log,
                stderr=log,
                preexec_fn=preexec,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    def ready(self) -> bool:
        """Whether it says that it is ready. AssertionError when it has ended."""
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        try:
            return requests.get(f"{self.root}/health/ready", timeout=2).status_code == 200
        except (requests.ConnectionError, requests.Timeout):
            return False

    def wait(self, condition: Callable[[], Any], seconds: float = 20) -> Any:
        """The first truthy value of `condition`; AssertionError at the deadline."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < deadline, f"not within {seconds} s\n{self.log.read_text()[-2000:]}"
            time.sleep(0.05)
        return value

    def get(self, path: str, **options: Any) -> requests.Response:
        """GET below the FHIR base."""
        return requests.get(f"{self.fhir}/{path}", timeout=10, **options)

    def studies(self) -> dict[str, dict[str, Any]]:
        """Every published ImagingStudy by id, paged through."""
        found: dict[str, dict[str, Any]] = {}
        url: str | None = f"{self.fhir}/ImagingStudy?_count=200"
        while url:
            bundle = requests.get(url, timeout=10).json()
            found |= {entry["resource"]["id"]: entry["resource"] for entry in bundle.get("entry", [])}
            url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
        return found

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Another command of pacsbridge on the same configuration."""
        command = [sys.executable, "-m", "pacsbridge", *arguments, "--config", str(self.config)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)

    def kill(self) -> None:
        """SIGKILL, for the bridge and for what it may stand behind (`prefix`)."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@contextmanager
def bridges(folder: Path) -> Iterator[Callable[..., Bridge]]:
    """Makes bridges; whatever still runs at the end is killed."""
    made: list[Bridge] = []

    def make(config: str = "", dimse: str = "", data_dir: Path | None = None, fhir: str = "") -> Bridge:
        own = folder / f"bridge{len(made)}"
        own.mkdir()
        made.append(Bridge(own, config, dimse, data_dir, fhir))
        return made[-1]

    try:
        yield make
    finally:
        for bridge in made:
            bridge.kill()
