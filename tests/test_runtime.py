"""The composition root: what belongs together, what is started and stopped, what is refused."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from holding_site import STUDY_GET, STUDY_MOVE, GetScu, identifier, numbers
from pydicom import dcmread

from pacsbridge import datadir, logs, opening, runtime
from pacsbridge.bridge.importing import import_file
from pacsbridge.bridge.sources import Source
from pacsbridge.config import Config, load
from pacsbridge.errors import Misconfigured
from pacsbridge.samples import write_samples


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Config]:
    """Makes configurations on free ports, each with a data directory."""

    def make(name: str = "data", **more: Any) -> Config:
        environ = {
            "PACSBRIDGE__DATA_DIR": str(tmp_path / name),
            "PACSBRIDGE__DIMSE__PORT": "0",
            "PACSBRIDGE__FHIR__PORT": "0",
            "PACSBRIDGE__FHIR__BASE_URL": "http://127.0.0.1/fhir",
            "PACSBRIDGE__BLOBS__MIN_FREE_BYTES": "0",
            **{f"PACSBRIDGE__{key.upper()}": value for key, value in more.items()},
        }
        return load(None, environ)

    return make


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """One DICOM file."""
    return write_samples(tmp_path / "samples")[0]


def fill(settings: Config, image: Path) -> None:
    """Import one instance."""
    with opening.offline(settings) as (_store, intake, publisher):
        import_file(image, intake, Source("urn:x", "x"), 1 << 30)
        assert intake.indexer.drain(20)
        publisher.publish_all()


def test_everything_starts_and_stops(make_settings: Callable[..., Config]) -> None:
    """No thread of ours is left behind."""
    before = set(threading.enumerate())
    running = runtime.Runtime(make_settings())
    running.start()
    assert running.dimse.port
    assert running.http.port
    running.stop()
    left = [thread.name for thread in set(threading.enumerate()) - before if thread.is_alive()]
    assert left == []


def test_what_is_held_is_retrieved(make_settings: Callable[..., Config], image: Path) -> None:
    """C-GET sends what has been imported; C-MOVE knows the configured peers, of which there are none."""
    settings = make_settings()
    fill(settings, image)
    data = dcmread(image, stop_before_pixels=True)
    running = runtime.Runtime(settings)
    running.start()
    try:
        pair = (str(data.SOPClassUID), [str(data.file_meta.TransferSyntaxUID)])
        scu = GetScu(running.dimse.port, [pair], models=(STUDY_GET, STUDY_MOVE))
        asked = identifier("STUDY", StudyInstanceUID=data.StudyInstanceUID)
        got = scu.get(asked)[-1][0]
        [(moved, _)] = scu.association.send_c_move(asked, "NOBODY", STUDY_MOVE)
        scu.release()
    finally:
        running.stop()
    assert numbers(got) == (0, 1, 0, 0)
    assert scu.got.keys() == {str(data.SOPInstanceUID)}
    assert moved.Status == 0xA801


def test_what_stands_in_the_first_line(
    make_settings: Callable[..., Config], capsys: pytest.CaptureFixture[str]
) -> None:
    """The ports that were bound, readable."""
    logs.configure("info", "json")
    running = runtime.Runtime(make_settings())
    running.start()
    running.stop()
    lines = map(json.loads, capsys.readouterr().err.splitlines())
    started = next(line for line in lines if line["event"] == "started")
    assert isinstance(started["dimse_port"], int)
    assert isinstance(started["http_port"], int)


@pytest.mark.parametrize(("least", "status"), [("0", 200), (str(1 << 50), 503)])
def test_a_full_disk_is_not_ready(make_settings: Callable[..., Config], least: str, status: int) -> None:
    """While every C-STORE would be refused, the health check says why."""
    running = runtime.Runtime(make_settings(blobs__min_free_bytes=least))
    running.start()
    answer = requests.get(f"http://127.0.0.1:{running.http.port}/health/ready", timeout=10)
    running.stop()
    assert answer.status_code == status
    assert ("blobs.min_free_bytes" in answer.json()["parts"]["blobs"]) == (status == 503)


def test_failed_start_leaves_nothing(make_settings: Callable[..., Config]) -> None:
    """A port that is taken: what was started before is stopped, and the data directory is free again."""
    first = runtime.Runtime(make_settings("one"))
    first.start()
    before = set(threading.enumerate())
    second = make_settings("two", dimse__port=str(first.dimse.port))
    with pytest.raises(Misconfigured, match=r"dimse\.port"):
        runtime.Runtime(second).start()
    with datadir.held(second.data_dir, alone=True):
        assert [thread for thread in set(threading.enumerate()) - before if thread.is_alive()] == []
    first.stop()


def test_id_key_outlives_the_loss_of_either(make_settings: Callable[..., Config], image: Path) -> None:
    """Database lost: the directory's key goes into the new one. File lost: it comes from the database."""
    settings = make_settings()
    fill(settings, image)
    path = settings.data_dir / datadir.ID_KEY
    key = path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    path.unlink()
    fill(settings, image)
    assert path.read_text() == key
    for file in settings.data_dir.glob("index.sqlite*"):
        file.unlink()
    fill(settings, image)
    assert path.read_text() == key


def test_key_file_that_a_crash_left_empty(make_settings: Callable[..., Config], image: Path) -> None:
    """Is written again."""
    settings = make_settings()
    fill(settings, image)
    path = settings.data_dir / datadir.ID_KEY
    key = path.read_text()
    path.write_text("")
    fill(settings, image)
    assert path.read_text() == key


@pytest.mark.parametrize("started_before", [False, True])
def test_database_of_another_data_directory(
    make_settings: Callable[..., Config], image: Path, empty_postgresql: str, *, started_before: bool
) -> None:
    """Its index names places in packs that are not here: refused, for a new directory and a used one."""
    fill(make_settings("one", store__url=empty_postgresql), image)
    if started_before:
        fill(make_settings("two"), image)
    with pytest.raises(Misconfigured, match="another data_dir"):
        fill(make_settings("two", store__url=empty_postgresql), image)
    fill(make_settings("one", store__url=empty_postgresql), image)


def test_new_database_for_a_data_directory(
    make_settings: Callable[..., Config], image: Path, empty_postgresql: str
) -> None:
    """From SQLite to PostgreSQL: the packs are indexed into the new one, ids stay the same."""
    fill(make_settings(), image)
    settings = make_settings(store__url=empty_postgresql)
    with opening.offline(settings) as (store, intake, publisher):
        assert intake.indexer.drain(20)
        assert publisher.publish_all() == 1
        assert opening.id_key(settings, store).decode() == (settings.data_dir / datadir.ID_KEY).read_text()


def test_configured_key_wins(make_settings: Callable[..., Config], tmp_path: Path) -> None:
    """`fhir.id_key_file` makes the ids; the directory is bound to its database all the same."""
    (tmp_path / "key").write_text("shared secret\n")
    settings = make_settings(fhir__id_key_file=str(tmp_path / "key"))
    store = opening.open_store(settings)
    assert opening.id_key(settings, store) == b"shared secret"
    store.close()
    assert (settings.data_dir / datadir.ID_KEY).exists()
