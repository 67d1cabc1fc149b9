"""A pacsbridge of its own for each test: a child process on free ports, ended by its process id."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from orthanc_peer import Orthanc, dicomweb_plugin
from running_bridge import Bridge, bridges

from pacsbridge.samples import write_samples


@pytest.fixture
def make_bridge(tmp_path: Path) -> Iterator[Callable[..., Bridge]]:
    """Makes bridges for a test."""
    with bridges(tmp_path) as make:
        yield make


@pytest.fixture(scope="module")
def make_lasting_bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Bridge]]:
    """Makes bridges that the tests of a module share."""
    with bridges(tmp_path_factory.mktemp("bridges")) as make:
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
