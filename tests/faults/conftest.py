"""A bridge under attack for each test, with the oracle that knows what it promised.

The numbers of a test are those that every change is tested with; `--night` takes the true ones of the table
in the manual's page about faults.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from benchmarks.sender import uid
from bystander import GENEROUS, LIMIT, Patience
from oracle import Oracle
from pushing import Association, Sender, association, encoded
from running_bridge import Bridge, bridges

N = TypeVar("N")


@dataclass(frozen=True)
class Site:
    """A bridge and its oracle."""

    bridge: Bridge
    oracle: Oracle

    def start(self) -> "Site":
        """Run the bridge."""
        self.bridge.start()
        return self

    def dial(self, seconds: float = 60) -> Association:
        """An association whose answers the oracle learns of."""
        return Association(self.bridge.dimse_port, self.oracle.note, seconds, self.bridge.dimse_tls)

    def line(self, seconds: float = 60) -> AbstractContextManager[Association]:
        """The same, released at the end."""
        return association(self.bridge.dimse_port, self.oracle.note, seconds, self.bridge.dimse_tls)

    def push(self, line: Association, number: int, study: int = 1, size: int = 10_000) -> int:
        """The status of the C-STORE of an instance of the oracle's canary."""
        return line.store(uid(1, number), encoded(number, study, size, self.oracle.canary))

    def sender(self, study: int, numbers: range, sizes: tuple[int, ...] = (10_000,)) -> Sender:
        """A thread that pushes instances of the oracle's canary; not started."""
        return Sender(self.bridge.dimse_port, self.oracle.note, study, numbers, sizes, self.oracle.canary)


MakeSite = Callable[..., Site]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """At night tests take as long as they take: a day at most."""
    if config.getoption("--night"):
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.timeout(86_400), append=False)


@pytest.fixture(scope="session")
def night(pytestconfig: pytest.Config) -> bool:
    """Whether the true numbers are asked for."""
    return bool(pytestconfig.getoption("--night"))


@pytest.fixture(scope="session", autouse=True)
def bystanders(night: bool) -> None:
    """At night bystanders wait no longer than the table allows."""
    Patience.seconds = LIMIT if night else GENEROUS


@pytest.fixture(scope="session")
def numbers(night: bool) -> Callable[[N, N], N]:
    """Of two numbers the first, at night the second."""
    return lambda every_change, true: true if night else every_change


@contextmanager
def sites(folder: Path) -> Iterator[MakeSite]:
    """Makes sites that don't run yet: `make(config, dimse, data_dir, fhir, url=…)`.

    `url` is the address of the database, where it is not the embedded one of the data directory.
    """
    with bridges(folder) as make:

        def build(
            config: str = "",
            dimse: str = "",
            data_dir: Path | None = None,
            fhir: str = "",
            *,
            url: str | None = None,
        ) -> Site:
            store = "" if url is None else f'[store]\nurl = "{url}"\n'
            bridge = make(config + store, dimse, data_dir, fhir)
            return Site(bridge, Oracle(bridge, url))

        yield build


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[MakeSite]:
    """Makes sites for a test."""
    with sites(tmp_path) as make:
        yield make


@pytest.fixture(scope="module")
def lasting_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A running bridge on embedded defaults that the tests of a module attack one after the other."""
    with sites(tmp_path_factory.mktemp("site")) as make:
        yield make().start()


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """A running bridge on embedded defaults."""
    return make_site().start()


@pytest.fixture(params=["sqlite", "postgresql"])
def each_engine(request: pytest.FixtureRequest) -> str | None:
    """The address of a database of each kind: None for the embedded one."""
    if request.param == "sqlite":
        return None
    url: str = request.getfixturevalue("empty_postgresql")
    return url
