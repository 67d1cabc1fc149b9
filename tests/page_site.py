"""The whole bridge in this process, looked at as a browser without script does."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any

import requests
from ports import free_port
from pydicom import dcmread

from pacsbridge import runtime
from pacsbridge.bridge.importing import import_file
from pacsbridge.config import load
from pacsbridge.samples import write_samples

CT = "2.25.275668020775428070672558510918988787737"
"""One of the sample studies."""

HOSTILE = "<script>alert(1)</script>"
RIGHT_TO_LEFT = "\u202eכהן\u202c"
LONG = "漢" * 64

_SEAL = re.compile(r'name="csrf" value="([^"]+)"')
_TAGS = re.compile(r"<[^>]*>")


class Site:
    """A running bridge and a browser's cookies; redirects are followed unless a test says otherwise."""

    def __init__(self, running: runtime.Runtime) -> None:
        self.running = running
        self.root = f"http://127.0.0.1:{running.http.port}"
        self.browser = requests.Session()

    def get(self, path: str, **options: Any) -> requests.Response:
        """One page."""
        return self.browser.get(self.root + path, timeout=30, **options)

    def post(
        self, path: str, fields: Mapping[str, str], page: str = "/", **options: Any
    ) -> requests.Response:
        """A form of the page at `page` is sent, with its seal."""
        seal = _SEAL.search(self.get(page).text)
        assert seal is not None
        return self.browser.post(self.root + path, {**fields, "csrf": seal[1]}, timeout=30, **options)


@contextmanager
def site(folder: Path, samples: bool = True, config: str = "", **keys: str) -> Iterator[Site]:
    """A bridge with the sample studies; `config` as in a file, `keys` as in the environment."""
    port = free_port()
    environ = {
        "DATA_DIR": str(folder / "data"),
        "DIMSE__PORT": str(free_port()),
        "FHIR__PORT": str(port),
        "FHIR__QUIET_SECONDS": "0",
        "LOG__LEVEL": "error",
        "BLOBS__MIN_FREE_BYTES": "0",
        "DICOMWEB__RENDER": "true",
        **keys,
    }
    folder.mkdir(exist_ok=True)
    file = folder / "pacsbridge.toml"
    file.write_text(config, encoding="utf-8")
    running = runtime.Runtime(load(file, {f"PACSBRIDGE__{key}": value for key, value in environ.items()}))
    running.start()
    try:
        if samples:
            fill(running, write_samples(folder / "samples"))
        yield Site(running)
    finally:
        running.stop()


def fill(running: runtime.Runtime, paths: Iterable[Path]) -> None:
    """Have files taken as if a modality called DEMO had pushed them, and wait until they are published."""
    for path in paths:
        import_file(path, running.intake, running._sources.of_ae("DEMO"), 1 << 30)
    assert running.intake.indexer.drain(60)
    running.publisher.publish_all()


def words(answer: requests.Response) -> str:
    """What a page says, without its tags."""
    return " ".join(unescape(_TAGS.sub(" ", answer.text.replace("<wbr>", ""))).split())


def changed(folder: Path, **elements: object) -> Path:
    """One instance of the CT study whose header says something else."""
    source = next(one for one in write_samples(folder) if dcmread(one).StudyInstanceUID == CT)
    data = dcmread(source)
    data.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in elements.items():
        setattr(data, keyword, value)
    path = folder / "changed.dcm"
    data.save_as(path)
    return path
