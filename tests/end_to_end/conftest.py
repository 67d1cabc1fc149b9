"""A pacsbridge of its own for each test: a child process on free ports, ended by its process id."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from orthanc_peer import Orthanc, dicomweb_plugin
from ports import free_port

from pacsbridge.samples import write_samples


class Bridge:
    """`pacsbridge serve` as a child process."""

    def __init__(self, folder: Path, config: str, dimse: str, data_dir: Path | None) -> None:
        self.folder = folder
        self.data_dir = data_dir or folder / "data"
        self.dimse_port, self.http_port = free_port(), free_port()
        blobs = "" if "[blobs]" in config else "[blobs]\nmin_free_bytes = 0\n"
        self.config = folder / "pacsbridge.toml"
        self.config.write_text(
            f'data_dir = "{self.data_dir}"\n[dimse]\nport = {self.dimse_port}\n{dimse}\n'
            f"[fhir]\nport = {self.http_port}\nquiet_seconds = 0.2\nmax_wait_seconds = 2\n"
            f'[log]\nformat = "json"\n{blobs}{config}'
        )
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def fhir(self) -> str:
        """The FHIR base URL."""
        return f"http://127.0.0.1:{self.http_port}/fhir"

    @property
    def dicomweb(self) -> str:
        """The DICOMweb base URL."""
        return f"http://127.0.0.1:{self.http_port}/dicomweb"

    def start(self, *, preexec: Callable[[], None] | None = None) -> "Bridge":
        """Start, and wait until it is ready."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pacsbridge", "serve", "--config", str(self.config)],
                stdout=log,
                stderr=log,
                preexec_fn=preexec,
            )
        self.wait(self.ready, 30)
        return self

    def ready(self) -> bool:
        """Whether it says that it is ready. AssertionError when it has ended."""
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        try:
            return (
                requests.get(f"http://127.0.0.1:{self.http_port}/health/ready", timeout=2).status_code == 200
            )
        except requests.ConnectionError:
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
        """SIGKILL."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@contextmanager
def _bridges(folder: Path) -> Iterator[Callable[..., Bridge]]:
    """Makes bridges; whatever still runs at the end is killed."""
    bridges: list[Bridge] = []

    def make(config: str = "", dimse: str = "", data_dir: Path | None = None) -> Bridge:
        own = folder / f"bridge{len(bridges)}"
        own.mkdir()
        bridges.append(Bridge(own, config, dimse, data_dir))
        return bridges[-1]

    try:
        yield make
    finally:
        for bridge in bridges:
            bridge.kill()


@pytest.fixture
def make_bridge(tmp_path: Path) -> Iterator[Callable[..., Bridge]]:
    """Makes bridges for a test."""
    with _bridges(tmp_path) as make:
        yield make


@pytest.fixture(scope="module")
def make_lasting_bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Bridge]]:
    """Makes bridges that the tests of a module share."""
    with _bridges(tmp_path_factory.mktemp("bridges")) as make:
        yield make


@pytest.fixture
def bridge(make_bridge: Callable[..., Bridge]) -> Bridge:
    """A running pacsbridge on embedded defaults."""
    return make_bridge().start()


@pytest.fixture(scope="module")
def make_orthanc(
    program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Orthanc]]:
    """Makes Orthancs that run and have some files; all are ended after the last test."""
    path, plugin = program("Orthanc"), dicomweb_plugin()
    with ExitStack() as running:

        def make(*files: Path | bytes) -> Orthanc:
            made = Orthanc(path, plugin, tmp_path_factory.mktemp("orthanc")).start()
            running.callback(made.kill)
            made.upload(*files)
            return made

        yield make


@pytest.fixture(scope="session")
def sample_files(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    """All samples, which no test changes."""
    return list(write_samples(tmp_path_factory.mktemp("samples")))


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Sequence[Path]]:
    """The sample files by the name of their folder."""
    found: dict[str, list[Path]] = {}
    for path in write_samples(tmp_path_factory.mktemp("samples")):
        found.setdefault(path.parent.name, []).append(path)
    return found
